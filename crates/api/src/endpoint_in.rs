//! An endpoint as it is sent, by both generations of clients, for creation, replacement or change.

use std::collections::BTreeMap;
use std::time::Duration;

use postrider_guard::Guard;
use postrider_http::{
    Bounded, Bounds, Given, HttpError, PerSecond, check_description, check_metadata, check_uid,
    either,
};
use postrider_model::{
    AppId, Channel, Disabled, Endpoint, EndpointId, EndpointPolicy, EndpointSecret, EventType,
    Schedule, SecretText, Timestamp, Uid,
};
use postrider_signing::Secret;
use serde::Deserialize;
use serde_json::Value;
use url::{Host, Url};

use crate::endpoint_headers;

/// The longest URL, in bytes. It goes with each attempt into log and history.
const MAX_URL: usize = 4096;
/// The longest name of a host, and the longest part of one, in characters.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// The most channels that an endpoint may listen to.
const MAX_CHANNELS: usize = 10;
/// The most event types that one may name; more want all.
const MAX_TYPES: usize = 500;

/// How long an attempt may be given.
struct TimeoutMs;

impl Bounds for TimeoutMs {
    const LOW: u32 = 100;
    const HIGH: u32 = 120_000;
    const OF: &'static str = "milliseconds; null for the default";
}

/// How many attempts may be in flight.
struct InFlight;

impl Bounds for InFlight {
    const LOW: u32 = 1;
    const HIGH: u32 = 1_000;
    const OF: &'static str = "attempts; null for the default";
}

/// A status after which there may be no further attempt.
struct FailureStatus;

impl Bounds for FailureStatus {
    const LOW: u32 = 300;
    const HIGH: u32 = 599;
    const OF: &'static str = "a status of failure";
}

/// An endpoint as it is sent. Not `Debug`: it may hold a secret.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct EndpointIn {
    url: Given<String>,
    uid: Given<Uid>,
    description: Given<String>,
    metadata: Given<BTreeMap<String, String>>,
    event_types: Given<Vec<EventType>>,
    filter_types: Given<Vec<EventType>>,
    channels: Given<Vec<Channel>>,
    disabled: Given<bool>,
    throttle_rate: Given<Bounded<PerSecond>>,
    rate_limit: Given<Bounded<PerSecond>>,
    secret: Given<String>,
    headers: Given<BTreeMap<String, String>>,
    retry_schedule: Given<Value>,
    timeout_ms: Given<Bounded<TimeoutMs>>,
    max_in_flight: Given<Bounded<InFlight>>,
    final_statuses: Given<Vec<Bounded<FailureStatus>>>,
}

impl EndpointIn {
    /// The event types that are asked for, and the name under which they were sent.
    pub(crate) fn wanted_types(&self) -> Result<(&'static str, &[EventType]), HttpError> {
        let (name, given) = either(
            ("eventTypes", self.event_types.as_ref()),
            ("filterTypes", self.filter_types.as_ref()),
        )?;
        Ok((name, given.value().map_or(&[], Vec::as_slice)))
    }

    /// A new endpoint, with a new secret unless one is sent.
    pub(crate) fn create(
        mut self,
        app_id: AppId,
        guard: &Guard,
        now: Timestamp,
    ) -> Result<Endpoint, HttpError> {
        let Given::Value(text) = std::mem::take(&mut self.url) else {
            return Err(HttpError::body("url", "is missing"));
        };
        self.change(
            Endpoint {
                // Not made from `now`: ids of one moment stand in the order in which they were made.
                id: EndpointId::new(),
                app_id,
                uid: None,
                url: checked_url(&text, guard)?,
                description: String::new(),
                metadata: BTreeMap::new(),
                event_types: None,
                channels: None,
                disabled: None,
                policy: EndpointPolicy::default().shared(),
                secrets: vec![EndpointSecret {
                    secret: SecretText::new(Secret::generate().to_whsec().as_str()),
                    expires_at: None,
                }],
                version: 0,
                created_at: now,
                updated_at: now,
            },
            guard,
        )
    }

    /// `there` with everything that the dialect's update has; what is absent of it takes its default. Secret, headers and
    /// what the dialect has not stay unless they are sent: its clients do not know them.
    pub(crate) fn replace(self, there: Endpoint, guard: &Guard) -> Result<Endpoint, HttpError> {
        if !matches!(self.url, Given::Value(_)) {
            return Err(HttpError::body("url", "is missing"));
        }
        let policy = EndpointPolicy {
            rate_limit: None,
            ..EndpointPolicy::clone(&there.policy)
        };
        self.change(
            Endpoint {
                uid: None,
                description: String::new(),
                metadata: BTreeMap::new(),
                event_types: None,
                channels: None,
                disabled: None,
                policy: policy.shared(),
                ..there
            },
            guard,
        )
    }

    /// `there` with what is sent; what is absent stays.
    pub(crate) fn change(self, mut there: Endpoint, guard: &Guard) -> Result<Endpoint, HttpError> {
        match self.url {
            Given::Absent => {}
            Given::Null => return Err(HttpError::body("url", "expected a URL")),
            Given::Value(text) => there.url = checked_url(&text, guard)?,
        }
        let (types_name, event_types) = either(
            ("eventTypes", self.event_types),
            ("filterTypes", self.filter_types),
        )?;
        check_uid::<EndpointId>(&self.uid)?;
        check_description(&self.description)?;
        check_metadata(&self.metadata)?;
        some_and_each_once(types_name, &event_types, MAX_TYPES)?;
        some_and_each_once("channels", &self.channels, MAX_CHANNELS)?;
        event_types.put_option(&mut there.event_types);
        self.channels.put_option(&mut there.channels);
        self.uid.put_option(&mut there.uid);
        self.description.put(&mut there.description);
        self.metadata.put(&mut there.metadata);
        match self.disabled {
            Given::Absent => {}
            Given::Null | Given::Value(false) => there.disabled = None,
            // What it was disabled by before stays.
            Given::Value(true) => there.disabled = there.disabled.or(Some(Disabled::ByOwner)),
        }
        if let Given::Value(text) = self.secret {
            there.secrets = vec![EndpointSecret {
                secret: checked_secret("secret", &text)?,
                expires_at: None,
            }];
        }
        endpoint_headers::check(&self.headers)?;
        let mut policy = EndpointPolicy::clone(&there.policy);
        self.headers
            .try_map(|given| Ok::<_, HttpError>(endpoint_headers::lower(given)))?
            .put(&mut policy.headers);
        let (_, rate) = either(
            ("throttleRate", self.throttle_rate),
            ("rateLimit", self.rate_limit),
        )?;
        let limits = Limits {
            rate,
            schedule: self.retry_schedule,
            timeout_ms: self.timeout_ms,
            max_in_flight: self.max_in_flight,
            final_statuses: self.final_statuses,
        };
        limits.put(&mut policy)?;
        there.policy = policy.shared();
        Ok(there)
    }
}

/// What is sent of a policy.
struct Limits {
    rate: Given<Bounded<PerSecond>>,
    schedule: Given<Value>,
    timeout_ms: Given<Bounded<TimeoutMs>>,
    max_in_flight: Given<Bounded<InFlight>>,
    final_statuses: Given<Vec<Bounded<FailureStatus>>>,
}

impl Limits {
    fn put(self, policy: &mut EndpointPolicy) -> Result<(), HttpError> {
        let schedule = self.schedule.try_map(|value| schedule(&value))?;
        let timeout = self
            .timeout_ms
            .map(|ms| Duration::from_millis(ms.get().into()));
        let statuses = self.final_statuses.map(|statuses| {
            // None is left out: all are at most 599.
            let numbers = statuses.into_iter().map(Bounded::get);
            let mut numbers: Vec<u16> = numbers
                .filter_map(|status| status.try_into().ok())
                .collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        });
        self.rate
            .map(Bounded::get)
            .put_option(&mut policy.rate_limit);
        schedule.put_option(&mut policy.schedule);
        timeout.put_option(&mut policy.timeout);
        let in_flight = self.max_in_flight.map(Bounded::get);
        in_flight.put_option(&mut policy.max_in_flight);
        statuses.put(&mut policy.final_statuses);
        Ok(())
    }
}

/// A schedule: the text `0s,5s,5m`, or a list of such waits or of seconds.
fn schedule(value: &Value) -> Result<Schedule, HttpError> {
    let refused = |why: String| HttpError::body("retrySchedule", why);
    let form = || {
        refused(
            "expected waits such as \"0s,5s,5m\", or a list of them, or a list of seconds"
                .to_owned(),
        )
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(waits) => waits
            .iter()
            .map(|wait| match wait {
                Value::String(text) => Ok(text.clone()),
                Value::Number(seconds) => Ok(format!("{seconds}s")),
                _ => Err(form()),
            })
            .collect::<Result<Vec<_>, _>>()?
            .join(","),
        _ => return Err(form()),
    };
    text.parse()
        .map_err(|error: postrider_model::ScheduleError| refused(error.to_string()))
}

/// A URL that an endpoint may have.
fn checked_url(text: &str, guard: &Guard) -> Result<Url, HttpError> {
    let refused = |why: String| HttpError::body("url", why);
    if text.len() > MAX_URL {
        return Err(refused(format!("expected at most {MAX_URL} bytes")));
    }
    // The parser leaves line breaks and tabs out and rewrites the others: what is called would not be what was given.
    if let Some((index, control)) = text.chars().enumerate().find(|(_, c)| c.is_control()) {
        return Err(refused(format!(
            "character {} is a control character (U+{:04X}): leave it out, or write it percent-encoded",
            index + 1,
            u32::from(control)
        )));
    }
    let url = Url::parse(text).map_err(|error| {
        refused(format!(
            "not a URL ({error}): write it as https://HOST/PATH"
        ))
    })?;
    if url.port() == Some(0) {
        return Err(refused(
            "port 0 cannot be called: write a port from 1 to 65535, or none for that of the scheme"
                .to_owned(),
        ));
    }
    if url.fragment().is_some() {
        return Err(refused(
            "what stands behind # is never sent to a server: leave it out".to_owned(),
        ));
    }
    check_name(&url)?;
    guard.check_url(&url).map_err(|error| {
        if let Some(setting) = error.setting() {
            tracing::info!("an endpoint's URL was refused: {error} ({setting} may let it through)");
        }
        refused(error.to_string())
    })?;
    Ok(url)
}

/// A name that the DNS cannot hold (RFC 1035, 2.3.4) has no address, and no attempt would ever succeed.
fn check_name(url: &Url) -> Result<(), HttpError> {
    let Some(Host::Domain(name)) = url.host() else {
        return Ok(());
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let fits = |part: &str| (1..=MAX_LABEL).contains(&part.len());
    if name.len() <= MAX_NAME && name.split('.').all(fits) {
        return Ok(());
    }
    Err(HttpError::body(
        "url",
        format!(
            "no host can have this name: a name has at most {MAX_NAME} characters, and 1 to {MAX_LABEL} between two dots"
        ),
    ))
}

/// A secret in its one text form.
pub(crate) fn checked_secret(field: &'static str, text: &str) -> Result<SecretText, HttpError> {
    let secret: Secret = text
        .parse()
        .map_err(|error: postrider_signing::Error| HttpError::body(field, error))?;
    Ok(SecretText::new(secret.to_whsec().as_str()))
}

fn some_and_each_once<T: Ord>(
    field: &'static str,
    given: &Given<Vec<T>>,
    most: usize,
) -> Result<(), HttpError> {
    let Given::Value(list) = given else {
        return Ok(());
    };
    if list.is_empty() {
        return Err(HttpError::body(
            field,
            "expected at least one, or null for all",
        ));
    }
    if list.len() > most {
        return Err(HttpError::body(field, format!("expected at most {most}")));
    }
    let mut sorted: Vec<&T> = list.iter().collect();
    sorted.sort();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(HttpError::body(field, "one stands there twice"));
    }
    Ok(())
}
