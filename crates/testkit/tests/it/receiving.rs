//! A receiver behaves as it was told, and says what came.

use std::time::Duration;

use postrider_testkit::{Behaviour, Checked, Receiver, Recording, Refusing, sign};
use reqwest::{Client, Response};

const DEADLINE: Duration = Duration::from_secs(20);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn client() -> Client {
    let policy = reqwest::redirect::Policy::none();
    let builder = Client::builder().no_proxy().redirect(policy);
    builder.timeout(Duration::from_millis(500)).build().unwrap()
}

async fn post(url: String) -> reqwest::Result<Response> {
    let request = client().post(url).header("webhook-id", "msg_1");
    request.body(r#"{"n":7,"meant":1,"pad":""}"#).send().await
}

#[tokio::test]
async fn each_path_behaves_as_it_was_told() {
    let receiver = Receiver::start().unwrap();
    let statuses = [
        (receiver.url("/unknown"), 200),
        (receiver.url("/status/418/of-itself"), 418),
        (receiver.on("/status", Behaviour::Status(503)), 503),
        (receiver.on("/later", Behaviour::RetryAfter(429, 3)), 429),
        (receiver.on("/garbage", Behaviour::Garbage(500)), 500),
        (
            receiver.on("/moved", Behaviour::Redirect("/x".to_owned())),
            302,
        ),
    ];
    for (url, status) in statuses {
        assert_eq!(post(url).await.unwrap().status(), status);
    }
    let first = receiver.on("/first", Behaviour::FailFirst(1, 500));
    assert_eq!(post(first.clone()).await.unwrap().status(), 500);
    assert_eq!(post(first).await.unwrap().status(), 200);
    let huge = receiver.on("/huge", Behaviour::Huge(200, 1 << 20));
    assert_eq!(
        post(huge).await.unwrap().bytes().await.unwrap().len(),
        1 << 20
    );
}

#[tokio::test]
async fn a_receiver_that_hangs_drips_closes_or_talks_nonsense_gives_no_whole_answer() {
    let receiver = Receiver::start().unwrap();
    let drip = Behaviour::Drip(Duration::from_millis(10));
    assert!(
        post(receiver.on("/hang", Behaviour::Hang))
            .await
            .unwrap_err()
            .is_timeout()
    );
    let dripping = post(receiver.on("/drip", drip)).await.unwrap();
    assert!(dripping.bytes().await.is_err());
    assert!(post(receiver.on("/close", Behaviour::Close)).await.is_err());
    assert!(
        post(receiver.on("/nonsense", Behaviour::Nonsense))
            .await
            .is_err()
    );
    let refusing = Refusing::bind().unwrap();
    assert!(
        post(refusing.url().unwrap())
            .await
            .unwrap_err()
            .is_connect()
    );
}

#[tokio::test]
async fn a_hanging_request_is_open_until_its_sender_leaves() {
    let receiver = Receiver::start().unwrap();
    let url = receiver.url("/hang/of-itself");
    let sending = tokio::spawn(post(url));
    receiver.wait_for("/hang/", 1, DEADLINE).await.unwrap();
    assert_eq!(receiver.stats("/hang/").open, 1);
    sending.await.unwrap().unwrap_err();
    let left = postrider_testkit::eventually("it is over", DEADLINE, async || {
        (receiver.stats("/hang/").open == 0).then_some(())
    });
    left.await.unwrap();
}

#[tokio::test]
async fn an_arrival_tells_event_number_signature_and_answer() {
    let receiver = Receiver::recording(Recording::Requests).unwrap();
    receiver.verify("/signed", SECRET);
    let body = r#"{"n":7}"#;
    for signature in [
        sign(SECRET, "msg_1", "5", body.as_bytes()).unwrap(),
        "bad".to_owned(),
    ] {
        let request = client().post(receiver.url("/signed")).body(body);
        let request = request
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", "5")
            .header("webhook-signature", format!("v1,{signature}"));
        request.send().await.unwrap();
    }
    let answered = postrider_testkit::eventually("both are answered", DEADLINE, async || {
        let arrivals = receiver.arrivals_at("/signed");
        arrivals
            .iter()
            .all(|one| one.answered.is_some())
            .then_some(arrivals)
    });
    let arrivals = answered.await.unwrap();
    let checked: Vec<_> = arrivals.iter().map(|one| one.signature).collect();
    assert_eq!(checked, [Checked::Good, Checked::Bad]);
    let first = &arrivals[0];
    assert_eq!(
        (&*first.event, first.number, first.timestamp),
        ("msg_1", Some(7), 5)
    );
    assert_eq!(receiver.requests("/signed")[1].body, body);
}
