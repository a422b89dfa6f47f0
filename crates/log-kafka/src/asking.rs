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
/// So often it is looked whether they have refused us: librdkafka itself tries again for as long as it is told to.
const LOOK: Duration = Duration::from_millis(500);

/// Hears why connections fail.
#[derive(Default)]
struct Asking {
    refused: Mutex<Option<String>>,
}

impl ClientContext for Asking {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Authentication) {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some(reason.to_owned());
        } else {
            tracing::debug!(%error, reason, "asking the brokers who is there");
        }
    }
}

impl ConsumerContext for Asking {}

/// Every broker and every topic of the cluster. Blocks.
///
/// # Errors
/// If no broker answers in time, or one does not let us in.
pub(crate) fn metadata(options: &Options) -> Result<Metadata, OpenError> {
    let config = config::consumer(options, "nobody");
    let client = BaseConsumer::from_config_and_context(&config, Asking::default());
    let client = client.map_err(OpenError::Client)?;
    let begun = Instant::now();
    loop {
        let asked = client.fetch_metadata(None, LOOK);
        // What went wrong with connections waits to be heard.
        while client.poll(Duration::ZERO).is_some() {}
        let error = match asked {
            Ok(metadata) => return Ok(metadata),
            Err(error) => error,
        };
        let refused = &client.context().refused;
        let refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = refused.as_ref() {
            return Err(OpenError::Refused {
                brokers: options.brokers.clone(),
                reason: reason.clone(),
            });
        }
        if begun.elapsed() >= PATIENCE {
            return Err(unreachable(options, &error));
        }
    }
}
