//! Rate limits, judged from the starts that all workers recorded: arrivals jitter.

use postrider_testkit::Api;

/// When the attempts at an endpoint started, as recorded, in milliseconds since 1970, oldest first.
pub(crate) async fn starts(api: &Api, app: &str, endpoint: &str) -> Vec<i64> {
    let path = format!("/api/v1/app/{app}/attempt/endpoint/{endpoint}?limit=250");
    let mut starts = Vec::new();
    let mut from = String::new();
    loop {
        let page = api.get(&format!("{path}{from}")).await.unwrap();
        for attempt in page["data"].as_array().unwrap() {
            let at: jiff::Timestamp = attempt["timestamp"].as_str().unwrap().parse().unwrap();
            starts.push(at.as_millisecond());
        }
        if page["done"] == true {
            break;
        }
        from = format!("&iterator={}", page["iterator"].as_str().unwrap());
    }
    starts.sort_unstable();
    starts
}

/// Holds an endpoint to its limit in every second. A start is told without the fraction of its millisecond, which takes
/// as much from a later one as from one a whole second before it: what is told may be judged exactly.
pub(crate) fn hold(starts: &[i64], limit: usize) {
    for some in starts.windows(limit + 1) {
        let span = some[limit] - some[0];
        assert!(span >= 1_000, "{} starts in {span} ms: {some:?}", limit + 1);
    }
}

/// Whether as many started within some second as may.
pub(crate) fn is_met(starts: &[i64], limit: usize) -> bool {
    let mut seconds = starts.windows(limit);
    seconds.any(|some| some[limit - 1] - some[0] < 1_000)
}
