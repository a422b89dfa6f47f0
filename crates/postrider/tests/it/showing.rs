//! What a newcomer runs first: the demonstration, and the receiver for development.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider_testkit::{eventually, sign};
use reqwest::StatusCode;

use crate::asking::command;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What is shown, each by a line with a tick.
const SHOWN: [&str; 8] = [
    "every accepted event arrived: 100 of 100",
    "every signature verified: 100",
    "duplicates: 0",
    "nothing accepted was lost",
    "only what was in flight at the kill came again",
    "it was tried again until it was delivered",
    "what was given up was kept, and arrived when it was asked for again",
    "it came with the webhook-id that it always had",
];

#[test]
fn the_demonstration_shows_all_that_it_claims() {
    let (kept, told) = command(&["demo", "--events", "100"], &[]);
    assert!(kept, "{told}");
    assert!(told.contains("Everything was as promised."), "{told}");
    let ticks: Vec<&str> = told.lines().filter(|line| line.contains('✓')).collect();
    for claim in SHOWN {
        assert!(
            ticks.iter().any(|line| line.contains(claim)),
            "{claim}:\n{told}"
        );
    }
    assert!(!told.contains('✗'), "{told}");
    // More than the 64 in flight that may come again: otherwise that tick could not become a cross.
    assert!(
        told.contains("kill -9 while 512 more are published"),
        "{told}"
    );
}

/// `postrider listen`, which is killed when it is dropped.
struct Listening {
    child: Child,
    url: String,
    told: BufReader<std::process::ChildStdout>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It has ended already, or ends here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(arguments: &[&str]) -> Listening {
    let mut child = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .args(["listen", "--listen", "127.0.0.1:0", "--secret", SECRET])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    let mut ready = String::new();
    told.read_line(&mut ready).unwrap();
    let url = ready.trim().strip_prefix("ready ").unwrap().to_owned();
    Listening { child, url, told }
}

/// Asks the receiver itself, whatever the environment says of proxies.
fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Listening {
    /// Sends it a webhook that is signed with `secret`.
    async fn send(&self, secret: &str) -> StatusCode {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let (now, body) = (now.as_secs().to_string(), "{\"order\":17}");
        let signature = sign(secret, "msg_1", &now, body.as_bytes()).unwrap();
        let request = client()
            .post(format!("{}/hook", self.url))
            .header("webhook-id", "msg_1")
            .header("webhook-timestamp", now)
            .header("webhook-signature", format!("v1,{signature}"))
            .body(body);
        request.send().await.unwrap().status()
    }

    /// What it printed of the next request, without the payload.
    fn line(&mut self) -> String {
        let (mut line, mut payload) = (String::new(), String::new());
        self.told.read_line(&mut line).unwrap();
        self.told.read_line(&mut payload).unwrap();
        assert_eq!(payload.trim(), "{\"order\":17}");
        line
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_for_development_verifies_prints_fails_as_told_and_ends() {
    let mut receiver = listen(&["--fail", "1", "--fail-status", "503", "--count", "3"]);
    assert_eq!(receiver.send(SECRET).await, 503);
    assert!(receiver.line().contains("msg_1  503  verified ✓"));
    assert!(receiver.send(SECRET).await.is_success());
    assert!(receiver.line().contains("verified ✓"));
    let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    assert_eq!(receiver.send(other).await, 401);
    assert!(receiver.line().contains("401  verified ✗"));
    let ended = eventually("it ends after three", Duration::from_secs(60), async || {
        receiver.child.try_wait().unwrap()
    });
    assert!(ended.await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_for_development_hangs_when_it_is_told_to() {
    let receiver = listen(&["--hang"]);
    let request = client().post(&receiver.url).timeout(Duration::from_secs(1));
    let error = request.send().await.unwrap_err();
    assert!(error.is_timeout() && !error.is_connect(), "{error:?}");
}
