//! Bodies: as they are, bounded in size and time before they are read.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use crate::HttpError;

/// How large a body may be and how long it may take to come.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit {
    /// Bytes, at most.
    pub bytes: usize,
    /// From the head of the request to the end of its body.
    pub within: Duration,
}

impl Default for BodyLimit {
    /// 1 MiB within 30 seconds.
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            within: Duration::from_secs(30),
        }
    }
}

/// The whole body. One that announces too much is refused before any of it is read.
pub async fn read_body(
    headers: &HeaderMap,
    body: Body,
    limit: BodyLimit,
) -> Result<Bytes, HttpError> {
    refuse_encoded(headers)?;
    let too_large = || {
        HttpError::TooLarge(format!(
            "the body is larger than the {} bytes that are taken here",
            limit.bytes
        ))
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit.bytes) {
        return Err(too_large());
    }
    let read = tokio::time::timeout(limit.within, axum::body::to_bytes(body, limit.bytes));
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_over_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(HttpError::Unreadable("the body broke off".to_owned())),
        Err(_) => Err(HttpError::Unreadable(format!(
            "the body did not come within {} s",
            limit.within.as_secs()
        ))),
    }
}

/// Payloads are delivered byte for byte, so what was compressed would reach endpoints compressed.
fn refuse_encoded(headers: &HeaderMap) -> Result<(), HttpError> {
    let given = headers.get_all(header::CONTENT_ENCODING);
    let plain = given.iter().all(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"identity"))
    });
    if plain {
        return Ok(());
    }
    Err(HttpError::UnsupportedMedia(
        "a body with a Content-Encoding is not taken: send it unencoded, without that header"
            .to_owned(),
    ))
}

fn is_over_limit(error: &axum::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<LengthLimitError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_over_its_limit_is_refused_announced_or_not() {
        let limit = BodyLimit {
            bytes: 4,
            ..BodyLimit::default()
        };
        let read = |body: &'static str, headers: HeaderMap| async move {
            read_body(&headers, Body::from(body), limit).await
        };
        assert_eq!(read("1234", HeaderMap::new()).await.unwrap(), "1234");
        let error = read("12345", HeaderMap::new()).await.unwrap_err();
        assert!(matches!(error, HttpError::TooLarge(why) if why.contains("4 bytes")));
        let announced = HeaderMap::from_iter([(header::CONTENT_LENGTH, "5".parse().unwrap())]);
        assert!(matches!(
            read("1", announced).await,
            Err(HttpError::TooLarge(_))
        ));
    }

    #[tokio::test]
    async fn an_encoded_body_is_refused_and_identity_is_no_encoding() {
        for (encoding, taken) in [
            ("identity", true),
            ("Identity , identity", true),
            ("gzip", false),
            ("identity, br", false),
            ("", false),
        ] {
            let value = encoding.parse().unwrap();
            let headers = HeaderMap::from_iter([(header::CONTENT_ENCODING, value)]);
            let read = read_body(&headers, Body::from("{}"), BodyLimit::default()).await;
            match read {
                Ok(body) => assert!(taken && body == "{}", "{encoding}"),
                Err(HttpError::UnsupportedMedia(why)) => {
                    assert!(
                        !taken && why.contains("send it unencoded"),
                        "{encoding}: {why}"
                    );
                }
                Err(error) => panic!("{encoding}: {error}"),
            }
        }
    }
}
