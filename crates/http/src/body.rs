//! Bodies: as they are, bounded in size and time before they are read.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use crate::{BodyBudget, HttpError};

/// How large a body may be, how long it may take to come, and what all may hold meanwhile.
#[derive(Debug, Clone)]
pub struct BodyLimit {
    /// Bytes, at most.
    pub bytes: usize,
    /// From the head of the request to the end of its body.
    pub within: Duration,
    /// What those that have come in part may hold together.
    pub budget: BodyBudget,
}

impl Default for BodyLimit {
    /// 1 MiB within 30 seconds, 64 MiB together.
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            within: Duration::from_secs(30),
            budget: BodyBudget::default(),
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
    limit: &BodyLimit,
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
    let read = collect(&mut body, limit);
    match tokio::time::timeout(limit.within, read).await {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(Cut::TooLarge)) => {
            drop_rest(&mut body).await;
            Err(too_large())
        }
        Ok(Err(Cut::NoRoom)) => {
            drop_rest(&mut body).await;
            Err(HttpError::Unavailable(
                "too many requests are being received at once: ask again in a moment".to_owned(),
            ))
        }
        Ok(Err(Cut::BrokeOff)) => Err(HttpError::Unreadable("the body broke off".to_owned())),
        Err(_) => Err(HttpError::Unreadable(format!(
            "the body did not come within {} s",
            limit.within.as_secs()
        ))),
    }
}

/// Why a body is not read to its end.
enum Cut {
    TooLarge,
    /// It does not come at once, and the budget has no room for what has come of it.
    NoRoom,
    BrokeOff,
}

async fn collect(body: &mut Body, limit: &BodyLimit) -> Result<Bytes, Cut> {
    let mut come = Come::default();
    let mut hold = limit.budget.hold();
    while !body.is_end_stream() {
        let frame = poll_fn(|context| match Pin::new(&mut *body).poll_frame(context) {
            Poll::Pending if !hold.cover(come.waits()) => Poll::Ready(Err(Cut::NoRoom)),
            polled => polled.map(Ok),
        });
        let Some(frame) = frame.await? else { break };
        let frame = frame.map_err(|_| Cut::BrokeOff)?;
        // Trailers are nobody's here.
        if let Ok(data) = frame.into_data() {
            come.add(data, limit.bytes)?;
        }
    }
    Ok(come.whole())
}

/// What has come of a body.
#[derive(Default)]
struct Come {
    /// All of it, as it came.
    first: Bytes,
    /// All of it if it came in several parts. They are copied: each may be a few bytes that keep a buffer of many.
    parts: Vec<u8>,
}

impl Come {
    fn add(&mut self, data: Bytes, most: usize) -> Result<(), Cut> {
        let come = self.first.len() + self.parts.len();
        if data.len() > most.saturating_sub(come) {
            return Err(Cut::TooLarge);
        }
        if come == 0 {
            self.first = data;
            return Ok(());
        }
        self.settle();
        if self.parts.capacity() - self.parts.len() < data.len() {
            // Twice as much as there is, since it may be much; never more than it may become, which a vector's own way of
            // growing does not keep to.
            let grown = (come * 2).min(most).max(come + data.len());
            let reserved = self.parts.try_reserve_exact(grown - come);
            reserved.map_err(|_| Cut::NoRoom)?;
        }
        self.parts.extend_from_slice(&data);
        Ok(())
    }

    /// Bytes that it holds while more is waited for.
    fn waits(&mut self) -> usize {
        self.settle();
        self.parts.capacity()
    }

    fn settle(&mut self) {
        if !self.first.is_empty() {
            self.parts
                .extend_from_slice(&std::mem::take(&mut self.first));
        }
    }

    fn whole(self) -> Bytes {
        match self.parts.is_empty() {
            true => self.first,
            false => self.parts.into(),
        }
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

    use futures::StreamExt;
    use futures::stream;
    use http_body_util::Full;

    use super::*;

    /// Held by tests in which a rest is dropped: there is room for so many of them in the whole process.
    static DROPS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[tokio::test]
    async fn a_body_over_its_limit_is_refused_announced_or_not() {
        let _alone = DROPS.lock().await;
        let limit = BodyLimit {
            bytes: 4,
            ..BodyLimit::default()
        };
        let read = async |body: &'static str, headers: HeaderMap| {
            read_body(&headers, Body::from(body), &limit).await
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
        let _alone = DROPS.lock().await;
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
            let error = read_body(&headers, Body::new(body), &limit).await;
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

    /// A body of these parts, and then of no more: its end, or nothing for ever.
    fn parts(parts: Vec<Bytes>, ends: bool) -> Body {
        let come = stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>));
        match ends {
            true => Body::from_stream(come),
            false => Body::from_stream(come.chain(stream::pending())),
        }
    }

    fn half_sent(bytes: usize) -> Body {
        parts(vec![vec![1; bytes].into()], false)
    }

    #[tokio::test]
    async fn many_half_sent_bodies_hold_no_more_than_their_budget_and_whole_and_small_ones_pass() {
        let _alone = DROPS.lock().await;
        const BUDGET: usize = 8 << 20;
        let limit = BodyLimit {
            budget: BodyBudget::new(BUDGET),
            ..BodyLimit::default()
        };
        let mut waiting = tokio::task::JoinSet::new();
        let mut read = |body: Body| {
            let limit = limit.clone();
            waiting.spawn(async move { read_body(&HeaderMap::new(), body, &limit).await });
        };
        (0..200).for_each(|_| read(half_sent(600_000)));
        (0..200).for_each(|_| read(half_sent(1_000)));
        // Who finds no room is told at once; the others wait.
        let held = BUDGET / 4 * 3 / 600_000;
        for _ in held..200 {
            let refused = waiting.join_next().await.unwrap().unwrap();
            assert!(
                matches!(refused, Err(HttpError::Unavailable(_))),
                "{refused:?}"
            );
        }
        assert!(waiting.try_join_next().is_none());
        assert!(limit.budget.free() >= BUDGET / 8, "{:?}", limit.budget);
        assert!(limit.budget.free() <= BUDGET / 2, "{:?}", limit.budget);
        let whole = Body::from(vec![2; 1 << 20]);
        let whole = read_body(&HeaderMap::new(), whole, &limit).await.unwrap();
        assert_eq!(whole.len(), 1 << 20);
        waiting.shutdown().await;
        assert_eq!(limit.budget.free(), BUDGET);
    }

    #[tokio::test]
    async fn the_largest_body_that_comes_in_parts_is_taken_where_the_budget_has_room_for_two() {
        const LARGEST: usize = 32 << 20;
        let limit = BodyLimit {
            bytes: LARGEST + (64 << 10),
            budget: BodyBudget::new(2 * LARGEST),
            ..BodyLimit::default()
        };
        // How it grows depends on what comes first.
        for first in [1, 10_000, 40 << 10, 48 << 10, 64 << 10] {
            let mut sizes = vec![first];
            sizes.resize(1 + (LARGEST - first) / (64 << 10), 64 << 10);
            sizes.push(LARGEST - sizes.iter().sum::<usize>());
            let come = stream::iter(sizes).then(async |size| {
                tokio::task::yield_now().await;
                Ok::<_, std::convert::Infallible>(Bytes::from(vec![7; size]))
            });
            let read = read_body(&HeaderMap::new(), Body::from_stream(come), &limit).await;
            assert_eq!(read.unwrap().len(), LARGEST, "{first} bytes first");
            assert_eq!(limit.budget.free(), 2 * LARGEST);
        }
    }

    #[test]
    fn a_body_holds_no_more_than_twice_what_has_come_nor_than_it_may_become() {
        const MOST: usize = 1_000_000;
        let mut come = Come::default();
        for n in 1..=100 {
            assert!(come.add(vec![1; 10_000].into(), MOST).is_ok());
            assert!(come.waits() <= (n * 20_000).min(MOST), "{}", come.waits());
        }
        assert!(matches!(come.add(vec![1].into(), MOST), Err(Cut::TooLarge)));
        assert_eq!(come.whole(), vec![1; MOST]);
    }

    #[tokio::test]
    async fn a_body_in_many_parts_is_put_together_and_still_bounded() {
        let _alone = DROPS.lock().await;
        let all: Vec<_> = (0..1_001_u32)
            .map(|n| Bytes::from(n.to_le_bytes()[..3].to_vec()))
            .collect();
        let limit = BodyLimit {
            bytes: 3_000,
            ..BodyLimit::default()
        };
        let most = parts(all[..1_000].to_vec(), true);
        let read = read_body(&HeaderMap::new(), most, &limit).await;
        assert_eq!(read.unwrap(), all[..1_000].concat());
        let read = read_body(&HeaderMap::new(), parts(all, true), &limit).await;
        assert!(matches!(read, Err(HttpError::TooLarge(_))));
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
            let read = read_body(&headers, Body::from("{}"), &BodyLimit::default()).await;
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
