//! Whether the brokers let us do what we are to do: asked of each topic and each group, and nothing is changed by it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postrider_log::{Group, Topic};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::catalog::{Catalog, Entry};
use crate::error::forbids;
use crate::inspector::NOBODY;
use crate::onlooker::{Looking, Onlooker};
use crate::topics::unreachable;
use crate::{OpenError, Options, config};

/// For one question.
const ASK: Duration = Duration::from_secs(10);
/// For one try of it, between which is heard what went wrong.
const TRY: Duration = Duration::from_millis(500);

/// What somebody is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// To be read.
    pub reads: Vec<Topic>,
    /// To be written.
    pub writes: Vec<Topic>,
    /// To be a member of.
    pub groups: Vec<Group>,
}

/// Asks the brokers whether they let the configured user do this; says in words what they refuse. That a group may be
/// described is asked, and that it may be joined is not: whoever may read it may describe it.
///
/// # Errors
/// If the brokers do not answer.
pub async fn check_access(options: &Options, access: &Access) -> Result<Vec<String>, OpenError> {
    options.check()?;
    let (asked, access) = (options.clone(), access.clone());
    let faults = tokio::task::spawn_blocking(move || ask(&asked, &access)).await;
    let faults = faults.unwrap_or_else(|error| Err(KafkaError::AdminOpCreation(error.to_string())));
    faults.map_err(|error| unreachable(options, &error))
}

fn ask(options: &Options, access: &Access) -> KafkaResult<Vec<String>> {
    let catalog = Catalog::new(options);
    let of = |topics: &[Topic]| -> Vec<&Entry> {
        let entries = catalog.entries().iter();
        entries
            .filter(|entry| topics.contains(&entry.spec.topic))
            .collect()
    };
    let mut faults = unread(options, &catalog, &of(&access.reads))?;
    faults.extend(unwritten(options, &of(&access.writes))?);
    for group in &access.groups {
        let name = catalog.group(*group);
        if let Some(why) = refused(options, &catalog, &name)? {
            faults.push(format!("the group {name} may not be read: {why}"));
        }
    }
    Ok(faults)
}

fn list(entry: &Entry, offset: Offset) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&entry.name, 0, offset)?;
    Ok(list)
}

/// Reads nothing of each, at its end: whoever may not read it is told so.
fn unread(options: &Options, catalog: &Catalog, entries: &[&Entry]) -> KafkaResult<Vec<String>> {
    let mut config = config::consumer(options, &catalog.group(NOBODY));
    config.set("enable.partition.eof", "true");
    let mut faults = Vec::new();
    for entry in entries {
        let reader: Onlooker = config.create_with_context(Looking)?;
        reader.assign(&list(entry, Offset::End)?)?;
        let until = Instant::now() + ASK;
        loop {
            match reader.poll(TRY) {
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if forbids(&error) => {
                    faults.push(format!("{} may not be read: {error}", entry.name));
                    break;
                }
                Some(Err(error)) if Instant::now() > until => return Err(error),
                None if Instant::now() > until => return Err(KafkaError::NoMessageReceived),
                Some(Err(_)) | None => {}
            }
        }
    }
    Ok(faults)
}

/// Hears what became of records.
#[derive(Default)]
struct Answers(Mutex<Vec<(usize, KafkaError)>>);

impl ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Self::DeliveryOpaque) {
        if let Err((error, _)) = result {
            let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push((*number, error.clone()));
        }
    }
}

/// Writes nothing to each. Brokers look first whether somebody may write, and then at how many copies are to acknowledge:
/// none, the leader or all. A record that wants two is refused by that, and so tells the one from the other.
fn unwritten(options: &Options, entries: &[&Entry]) -> KafkaResult<Vec<String>> {
    let mut config = config::base(options);
    config
        .set("acks", "2")
        .set("enable.idempotence", "false")
        .set("retries", "0")
        .set("message.timeout.ms", ASK.as_millis().to_string());
    let producer: BaseProducer<Answers> =
        BaseProducer::from_config_and_context(&config, Answers::default())?;
    for (number, entry) in entries.iter().enumerate() {
        let record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&entry.name, Box::new(number));
        let record = record.partition(0).key(&[]).payload(&[]);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(ASK * 2)?;
    let answers = producer.context().0.lock();
    let mut faults = Vec::new();
    for (number, error) in answers.unwrap_or_else(PoisonError::into_inner).iter() {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::InvalidRequiredAcks) => {}
            _ if forbids(error) => {
                let name = entries.get(*number).map_or("", |entry| entry.name.as_str());
                faults.push(format!("{name} may not be written: {error}"));
            }
            _ => return Err(error.clone()),
        }
    }
    Ok(faults)
}

/// Why the group's positions may not be asked for.
fn refused(options: &Options, catalog: &Catalog, group: &str) -> KafkaResult<Option<String>> {
    let Some(entry) = catalog.entries().first() else {
        return Ok(None);
    };
    let client: Onlooker = config::consumer(options, group).create_with_context(Looking)?;
    let until = Instant::now() + ASK;
    loop {
        let error = match client.committed_offsets(list(entry, Offset::Invalid)?, TRY) {
            Ok(_) => return Ok(None),
            Err(error) => error,
        };
        if forbids(&error) {
            return Ok(Some(error.to_string()));
        }
        // Of a coordinator that may not be asked for only this tells.
        while let Some(heard) = client.poll(Duration::from_millis(50)) {
            if let Err(heard) = heard
                && forbids(&heard)
            {
                return Ok(Some(heard.to_string()));
            }
        }
        if Instant::now() > until {
            return Err(error);
        }
    }
}
