//! An application as the dialect sends it: to the API, or beside an event to ingest.

use std::collections::BTreeMap;

use postrider_model::{AppId, Timestamp, Uid};
use postrider_store::Application;
use serde::Deserialize;

use crate::{Bounded, Bounds, Fault, Given, HttpError, check_metadata, check_uid};

/// The longest name of an application, in characters.
const MAX_NAME: usize = 256;

/// A rate under which something is sent, and that the dialect can write.
#[derive(Debug)]
pub struct PerSecond;

impl Bounds for PerSecond {
    const LOW: u32 = 1;
    const HIGH: u32 = 65_535;
    const OF: &'static str = "attempts a second; null for no limit";
}

/// An application as it is sent for creation, replacement or change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationIn {
    name: Given<String>,
    uid: Given<Uid>,
    metadata: Given<BTreeMap<String, String>>,
    rate_limit: Given<Bounded<PerSecond>>,
    throttle_rate: Given<Bounded<PerSecond>>,
}

impl ApplicationIn {
    /// The user's own name for it.
    pub fn uid(&self) -> Option<&Uid> {
        match &self.uid {
            Given::Value(uid) => Some(uid),
            Given::Absent | Given::Null => None,
        }
    }

    /// A new application.
    pub fn create(self, now: Timestamp) -> Result<Application, HttpError> {
        self.replace(Application {
            // Not made from `now`: ids of one moment stand in the order in which they were made.
            id: AppId::new(),
            uid: None,
            name: String::new(),
            metadata: BTreeMap::new(),
            rate_limit: None,
            version: 0,
            created_at: now,
            updated_at: now,
        })
    }

    /// `application` with everything from here; what is absent takes its default.
    pub fn replace(self, application: Application) -> Result<Application, HttpError> {
        if self.name == Given::Absent {
            return Err(HttpError::body("name", "is missing"));
        }
        self.change(Application {
            uid: None,
            metadata: BTreeMap::new(),
            rate_limit: None,
            ..application
        })
    }

    /// `application` with what is given here; what is absent stays.
    pub fn change(self, mut application: Application) -> Result<Application, HttpError> {
        check_name(&self.name)?;
        check_uid::<AppId>(&self.uid)?;
        check_metadata(&self.metadata)?;
        let (_, limit) = either(
            ("throttleRate", self.throttle_rate),
            ("rateLimit", self.rate_limit),
        )?;
        self.name.put(&mut application.name);
        self.uid.put_option(&mut application.uid);
        self.metadata.put(&mut application.metadata);
        limit
            .map(Bounded::get)
            .put_option(&mut application.rate_limit);
        Ok(application)
    }
}

/// Refuses a name that nobody can read. The dialect asks only that it is not empty.
fn check_name(given: &Given<String>) -> Result<(), HttpError> {
    let fits = match given {
        Given::Absent => true,
        Given::Null => false,
        Given::Value(name) => {
            // Bytes first: what is far too long is not counted through.
            (1..=4 * MAX_NAME).contains(&name.len())
                && name.chars().count() <= MAX_NAME
                && !name.chars().any(char::is_control)
        }
    };
    if fits {
        return Ok(());
    }
    Err(HttpError::body(
        "name",
        format!("expected a name of 1 to {MAX_NAME} characters, without control characters"),
    ))
}

/// One field under the names that two generations of clients have for it, and the name that was used: what is wrong with
/// the content is told under that. Both, with different contents, is an error.
pub fn either<T: PartialEq>(
    (new_name, new): (&'static str, Given<T>),
    (old_name, old): (&'static str, Given<T>),
) -> Result<(&'static str, Given<T>), HttpError> {
    match (new, old) {
        (new, Given::Absent) => Ok((new_name, new)),
        (Given::Absent, old) => Ok((old_name, old)),
        (new, old) if new == old => Ok((new_name, new)),
        _ => Err(HttpError::Invalid(vec![Fault::new(
            "body",
            new_name,
            format!(
                "{new_name} and {old_name} are two names of one thing: send one of them, or both with the same content"
            ),
        )])),
    }
}
