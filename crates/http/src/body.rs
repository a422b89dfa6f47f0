//! Bodies: bounded in size and time before they are read, and told exactly what is wrong with them.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use serde::Deserialize;

use crate::{Fault, HttpError};

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

fn is_over_limit(error: &axum::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<LengthLimitError>())
}

/// Reads a JSON body. What is not JSON is 400; JSON that does not fit is 422 with the way to the value.
pub fn parse_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, HttpError> {
    serde_json::from_slice(body).map_err(|_| fault_of::<T>(body))
}

/// Parses again, keeping the way to what is wrong: only a request that is refused pays for it.
fn fault_of<'a, T: Deserialize<'a>>(body: &'a [u8]) -> HttpError {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) => error,
        // The value is well; what follows it is not.
        Ok(_) => {
            return HttpError::Unreadable("the body has more behind its JSON value".to_owned());
        }
    };
    let cause = error.inner();
    if !cause.is_data() {
        return HttpError::Unreadable(format!("the body is not JSON: {cause}"));
    }
    let way = error.path().iter().map(|step| Cow::Owned(step.to_string()));
    let loc = std::iter::once(Cow::Borrowed("body")).chain(way).collect();
    HttpError::Invalid(vec![Fault {
        loc,
        msg: cause.to_string(),
        kind: "value_error",
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[allow(dead_code, reason = "only its type matters")]
        names: Vec<String>,
    }

    #[test]
    fn what_is_not_json_and_what_does_not_fit_are_told_apart() {
        let error = parse_json::<Sample>(b"{names").unwrap_err();
        assert!(matches!(&error, HttpError::Unreadable(why) if why.contains("line 1")));
        let HttpError::Invalid(faults) = parse_json::<Sample>(br#"{"names":["a",5]}"#).unwrap_err()
        else {
            panic!("not a 422")
        };
        assert_eq!(faults[0].loc, ["body", "names", "[1]"]);
        assert!(faults[0].msg.contains("expected a string"));
    }

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
}
