//! `postrider listen`: a receiver for development.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::http::StatusCode;
use postrider_signing::Secret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::{self, Bounds};
use crate::receiver::{Arrival, Behaviour, Receiver, Signature};
use crate::shown::{self, inline};
use crate::signals::{AGAIN, Signals};
use crate::{config, out};

const CONNECTIONS: usize = 10_000;
const DRAIN: Duration = Duration::from_secs(5);

/// Receives webhooks and prints each: a line with its time, path, webhook-id, the type that the payload names, the answer,
/// the signature and the size; and the payload below it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 asks the system for one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8072")]
    listen: String,
    /// Verify signatures with this secret (whsec_…); may be given again, as while a secret rotates
    #[arg(long, value_name = "SECRET")]
    secret: Vec<Secret>,
    /// Fail the first N requests
    #[arg(long, value_name = "N")]
    fail: Option<u64>,
    /// Fail with this status, 300 to 599; without --fail, every request
    #[arg(long, value_name = "STATUS", value_parser = status)]
    fail_status: Option<StatusCode>,
    /// Never answer
    #[arg(long, conflicts_with_all = ["fail", "fail_status"])]
    hang: bool,
    /// Wait this long before answering, such as 2s
    #[arg(long, value_name = "DURATION", value_parser = config::duration, default_value = "0s")]
    delay: Duration,
    /// Exit after N requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print each payload whole and as it came, instead of its beginning in one line
    #[arg(long, conflicts_with = "quiet")]
    whole: bool,
    /// Print nothing of what came
    #[arg(long)]
    quiet: bool,
}

impl Args {
    fn behaviour(&self) -> Behaviour {
        let default = Behaviour::default();
        let fail_first = match (self.fail, self.fail_status) {
            (Some(first), _) => first,
            (None, Some(_)) => u64::MAX,
            (None, None) => 0,
        };
        Behaviour {
            fail_first,
            fail_status: self.fail_status.unwrap_or(default.fail_status),
            hang: self.hang,
            delay: self.delay,
        }
    }
}

/// A status that a sender takes as failure. Below 300 it is success, or no end of an answer yet; above 599 there is none.
fn status(text: &str) -> Result<StatusCode, String> {
    text.parse()
        .ok()
        .filter(|status: &StatusCode| (300..=599).contains(&status.as_u16()))
        .ok_or_else(|| "expected a status of failure, 300 to 599".to_owned())
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(receive(args))
}

async fn receive(args: Args) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let signals = Signals::new().context("cannot handle signals")?;
    out::line(format_args!("ready http://{}", listener.local_addr()?))?;
    let done = CancellationToken::new();
    let receiver = Receiver::new(&args.secret, args.behaviour(), teller(&args, done.clone()));
    let bounds = Bounds {
        first: http::FIRST_REQUEST,
        connections: CONNECTIONS,
        leave: Duration::ZERO,
        drain: DRAIN,
    };
    let stop = done.clone();
    tokio::spawn(async move {
        let why = signals.stop().await;
        let most = DRAIN.as_secs();
        out::notice(format_args!(
            "{why}: finishing requests in flight, {most} s at most; {AGAIN}"
        ));
        stop.cancel();
    });
    http::serve(listener, receiver.router(), bounds, done).await;
    Ok(ExitCode::SUCCESS)
}

/// Prints each request, and ends after the last that was asked for.
fn teller(args: &Args, done: CancellationToken) -> impl Fn(Arrival) + Send + Sync + 'static {
    let (quiet, whole, count) = (args.quiet, args.whole, args.count);
    let came = std::sync::atomic::AtomicU64::new(0);
    move |arrival| {
        if !quiet && let Err(error) = out::line(describe(&arrival, whole)) {
            tracing::warn!(%error, "standard output takes no more");
        }
        let number = came.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        if count.is_some_and(|count| number >= count) {
            done.cancel();
        }
    }
}

/// How much is shown of a payload, and of the type that it names, in characters.
const SHOWN: usize = 400;
const SHOWN_TYPE: usize = 80;

/// What came, in a line, and the payload in another.
fn describe(arrival: &Arrival, whole: bool) -> String {
    let answer = arrival.answer.map_or_else(
        || "no answer".to_owned(),
        |status| status.as_str().to_owned(),
    );
    let signature = match &arrival.signature {
        Signature::Unchecked => "signature not checked (no --secret)".to_owned(),
        Signature::Verified => "verified ✓".to_owned(),
        Signature::Refused(why) => format!("verified ✗ ({why})"),
    };
    let mut text = format!("{:.3}  {} {}", arrival.at, arrival.method, arrival.path);
    text += &format!("  {}", arrival.id.as_deref().unwrap_or("no webhook-id"));
    if let Some(event_type) = arrival.event_type() {
        text += &format!("  {}", inline(&event_type, SHOWN_TYPE));
    }
    text += &format!("  {answer}  {signature}  {} bytes", arrival.body.len());
    match std::str::from_utf8(&arrival.body) {
        Ok("") => {}
        Ok(payload) if whole => text += &format!("\n{}", shown::printable(payload)),
        Ok(payload) => text += &format!("\n    {}", inline(payload, SHOWN)),
        Err(_) => text += "\n    (not UTF-8)",
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches};

    use super::*;

    fn parsed(given: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(Command::new("listen").no_binary_name(true));
        let matches = command.try_get_matches_from(given)?;
        Args::from_arg_matches(&matches)
    }

    #[test]
    fn it_fails_only_with_a_status_of_failure() {
        for good in ["300", "404", "599"] {
            let behaviour = parsed(&["--fail-status", good]).unwrap().behaviour();
            assert_eq!(behaviour.fail_status.as_str(), good);
            assert_eq!(behaviour.fail_first, u64::MAX);
        }
        for bad in ["100", "200", "299", "600", "999", "x"] {
            let error = parsed(&["--fail-status", bad]).unwrap_err().to_string();
            assert!(
                error.contains("expected a status of failure, 300 to 599"),
                "{error}"
            );
        }
    }

    #[test]
    fn never_to_answer_and_to_fail_exclude_each_other() {
        assert!(parsed(&["--hang"]).unwrap().behaviour().hang);
        for fail in [["--fail", "2"], ["--fail-status", "503"]] {
            let error = parsed(&["--hang", fail[0], fail[1]]).unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
        }
    }

    fn arrival(body: &'static [u8]) -> Arrival {
        Arrival {
            at: "2026-11-22T19:40:01.1239Z".parse().unwrap(),
            method: axum::http::Method::POST,
            path: "/hook".to_owned(),
            id: Some("msg_1".to_owned()),
            body: bytes::Bytes::from_static(body),
            signature: Signature::Unchecked,
            answer: Some(StatusCode::NO_CONTENT),
        }
    }

    #[test]
    fn a_delivery_is_told_in_a_line_with_its_payload_below() {
        let typed = arrival(b"{\n  \"type\": \"a.b\",\n  \"n\": \"x  y\"\n}");
        assert_eq!(
            describe(&typed, false),
            "2026-11-22T19:40:01.123Z  POST /hook  msg_1  a.b  204  signature not checked (no --secret)  34 bytes\n    \
             { \"type\": \"a.b\", \"n\": \"x  y\" }"
        );
        assert!(
            describe(&typed, true)
                .ends_with("  34 bytes\n{\n  \"type\": \"a.b\",\n  \"n\": \"x  y\"\n}")
        );
    }

    #[test]
    fn what_is_not_known_of_a_delivery_is_not_told() {
        let untyped = Arrival {
            signature: Signature::Verified,
            answer: None,
            ..arrival(br#"{"order":17}"#)
        };
        assert_eq!(
            describe(&untyped, false),
            "2026-11-22T19:40:01.123Z  POST /hook  msg_1  no answer  verified ✓  12 bytes\n    {\"order\":17}"
        );
        assert!(describe(&arrival(b""), false).ends_with("0 bytes"));
        assert!(describe(&arrival(b"\xff"), true).ends_with("\n    (not UTF-8)"));
    }

    #[test]
    fn a_long_payload_is_told_by_its_beginning_unless_it_is_asked_for_whole() {
        let body: &'static str = Box::leak("ä".repeat(10_000).into_boxed_str());
        let long = arrival(body.as_bytes());
        let text = describe(&long, false);
        assert!(text.chars().count() < 600, "{text}");
        assert!(text.ends_with("… (9600 characters more)"), "{text}");
        assert!(describe(&long, true).ends_with(body));
    }
}
