//! The first question to the brokers: are they there, and do they let us in?

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode;

use crate::topics::unreachable;
use crate::{OpenError, Options, config};

/// How long the brokers may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// After so long it is looked for the first time whether they have refused us, and each time after twice as long: librdkafka
/// itself tries again for as long as it is told to, and a slow machine needs one long try.
const LOOK: Duration = Duration::from_millis(500);

/// How long it listens for what went wrong. Not zero: rdkafka then returns after the first line that librdkafka logs, and
/// errors wait behind such lines.
const HEAR: Duration = Duration::from_millis(50);

/// Hears why connections fail.
#[derive(Default)]
struct Asking {
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// What trying again does not mend.
    refused: Option<String>,
    /// What else there was, at last.
    last: Option<String>,
}

impl ClientContext for Asking {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match error.rdkafka_error_code() {
            Some(code) if lasts(code, reason) => heard.refused = Some(reason.to_owned()),
            // Says less than what came before it.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => heard.last = Some(reason.to_owned()),
        }
        tracing::debug!(%error, reason, "asking the brokers who is there");
    }
}

impl ConsumerContext for Asking {}

/// Whether trying again changes nothing. A broker that stops, or is slow, in the midst of a handshake is an error of
/// authentication or of TLS, too: librdkafka says "Local:" of what it found out by itself. What a broker finds wrong with our
/// certificate it says when the handshake is over, so that is an error of a connection that was closed.
fn lasts(code: RDKafkaErrorCode, reason: &str) -> bool {
    let of_certificates = || reason.contains("certificate") || reason.contains("unknown ca");
    match code {
        RDKafkaErrorCode::Authentication => !reason.contains("Local:"),
        RDKafkaErrorCode::SSL => of_certificates(),
        _ => reason.contains("SSL alert number") && of_certificates(),
    }
}

/// Every broker and every topic of the cluster. Blocks.
///
/// # Errors
/// If no broker answers in time, or one does not let us in.
pub(crate) fn metadata(options: &Options) -> Result<Metadata, OpenError> {
    ask(options, PATIENCE)
}

/// The numbers of the brokers that are there, asked for so long at most.
///
/// # Errors
/// If no broker answers in time, or one does not let us in.
pub async fn reach(options: &Options, within: Duration) -> Result<Vec<i32>, OpenError> {
    options.check()?;
    let asked = options.clone();
    let asking = tokio::task::spawn_blocking(move || {
        let metadata = ask(&asked, within)?;
        let brokers = metadata.brokers().iter();
        Ok(brokers.map(|broker| broker.id()).collect())
    });
    asking.await.unwrap_or_else(|error| {
        let error = KafkaError::AdminOpCreation(error.to_string());
        Err(unreachable(options, &error))
    })
}

fn ask(options: &Options, within: Duration) -> Result<Metadata, OpenError> {
    let config = config::consumer(options, "nobody");
    let client = BaseConsumer::from_config_and_context(&config, Asking::default());
    let client = client.map_err(|error| OpenError::of_client(options, error))?;
    let (begun, mut look) = (Instant::now(), LOOK);
    loop {
        let asked = client.fetch_metadata(None, look);
        look *= 2;
        // What went wrong with connections waits to be heard.
        while client.poll(HEAR).is_some() {}
        let error = match asked {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        let heard = &client.context().heard;
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let brokers = options.brokers.clone();
        if let Some(reason) = heard.refused.take() {
            return Err(OpenError::Refused { brokers, reason });
        }
        if begun.elapsed() >= within {
            let reason = heard.last.take().unwrap_or_else(|| error.to_string());
            return Err(OpenError::Unreachable { brokers, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lasts_and_a_handshake_that_was_cut_off_does_not() {
        use RDKafkaErrorCode::{Authentication, BrokerTransportFailure, SSL};
        for (code, reason, expected) in [
            (
                Authentication,
                "SASL authentication error: Authentication failed: Invalid username or password",
                true,
            ),
            (
                Authentication,
                "SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported \
                 mechanisms: PLAIN",
                true,
            ),
            (
                Authentication,
                "SASL SCRAM-SHA-512 mechanism handshake failed: Local: Timed out: broker's supported mechanisms: (n/a)",
                false,
            ),
            (
                SSL,
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
                true,
            ),
            (SSL, "SSL handshake failed: Disconnected", false),
            (
                BrokerTransportFailure,
                "Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert number 42",
                true,
            ),
            (
                BrokerTransportFailure,
                "Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116",
                true,
            ),
            (
                SSL,
                "SSL handshake failed: error:0A000418:SSL routines::tlsv1 alert unknown ca: SSL alert number 48",
                true,
            ),
            (BrokerTransportFailure, "Connection refused", false),
        ] {
            assert_eq!(lasts(code, reason), expected, "{reason}");
        }
    }
}
