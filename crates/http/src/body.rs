//! Bodies: as they are, bounded in size and time before they are read.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::Semaphore;

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

/// Of a body that is too large so much more is read and dropped, within this time: a client that writes all of it before it
/// reads would meet a closed connection instead of the answer.
const DROPPED_BYTES: usize = 32 << 20;
const DROPPED_WITHIN: Duration = Duration::from_secs(5);
/// Of so many bodies at once, in the whole process: beyond that clients take their chance, and cost nothing.
static DROPPING: Semaphore = Semaphore::const_new(16);

/// The whole body. Of one that is too large nothing is kept.
pub async fn read_body(
    headers: &HeaderMap,
    mut body: Body,
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
    if let Some(length) = announced.filter(|length| *length > limit.bytes) {
        // Who asks first is told before it sends anything.
        if length <= DROPPED_BYTES && !headers.contains_key(header::EXPECT) {
            drop_rest(&mut body).await;
        }
        return Err(too_large());
    }
    let read = Limited::new(&mut body, limit.bytes).collect();
    match tokio::time::timeout(limit.within, read).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            drop_rest(&mut body).await;
            Err(too_large())
        }
        Ok(Err(_)) => Err(HttpError::Unreadable("the body broke off".to_owned())),
        Err(_) => Err(HttpError::Unreadable(format!(
            "the body did not come within {} s",
            limit.within.as_secs()
        ))),
    }
}

async fn drop_rest(body: &mut Body) {
    let Ok(_one_of_them) = DROPPING.try_acquire() else {
        return;
    };
    let read = async {
        let mut left = DROPPED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else {
                return;
            };
            left = rest;
        }
    };
    // Whoever is slower than that has no answer to see.
    let _ = tokio::time::timeout(DROPPED_WITHIN, read).await;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Full;

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
    async fn the_rest_of_a_body_that_is_too_large_is_taken_unless_the_client_asked_first() {
        let limit = BodyLimit {
            bytes: 4,
            ..BodyLimit::default()
        };
        let taken = async |named: &[(header::HeaderName, &str)]| {
            let taken = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&taken);
            let body = Full::new(Bytes::from_static(b"1234567")).map_frame(move |frame| {
                count.fetch_add(frame.data_ref().map_or(0, Bytes::len), Ordering::SeqCst);
                frame
            });
            let mut headers = HeaderMap::new();
            for (name, value) in named {
                headers.insert(name, value.parse().unwrap());
            }
            let error = read_body(&headers, Body::new(body), limit).await;
            assert!(matches!(error, Err(HttpError::TooLarge(_))));
            taken.load(Ordering::SeqCst)
        };
        let length = (header::CONTENT_LENGTH, "7");
        assert_eq!(taken(std::slice::from_ref(&length)).await, 7);
        assert_eq!(taken(&[length, (header::EXPECT, "100-continue")]).await, 0);
        let huge = (header::CONTENT_LENGTH, "9999999999");
        assert_eq!(taken(&[huge]).await, 0);
        // No more bodies at once than there is room for.
        let all = u32::try_from(DROPPING.available_permits()).unwrap();
        let full = DROPPING.acquire_many(all).await;
        let length = (header::CONTENT_LENGTH, "7");
        assert_eq!(taken(std::slice::from_ref(&length)).await, 0);
        drop(full);
        assert_eq!(taken(&[length]).await, 7);
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
