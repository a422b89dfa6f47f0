//! An application as the dialect sends it: to the API, or beside an event to ingest.

use std::collections::BTreeMap;

use postrider_model::{AppId, Timestamp, Uid};
use postrider_store::Application;
use serde::Deserialize;

use crate::{Fault, Given, HttpError};

/// An application as it is sent for creation, replacement or change.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApplicationIn {
    name: Given<String>,
    uid: Given<Uid>,
    metadata: Given<BTreeMap<String, String>>,
    rate_limit: Given<u32>,
    throttle_rate: Given<u32>,
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
        if !matches!(&self.name, Given::Value(name) if !name.is_empty()) {
            return Err(HttpError::body(
                "name",
                "expected a name of at least one character",
            ));
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
        let nameless = matches!(&self.name, Given::Value(name) if name.is_empty());
        if nameless || self.name == Given::Null {
            return Err(HttpError::body(
                "name",
                "expected a name of at least one character",
            ));
        }
        let limit = either(
            ("throttleRate", self.throttle_rate),
            ("rateLimit", self.rate_limit),
        )?;
        check_rate(&limit)?;
        self.name.put(&mut application.name);
        self.uid.put_option(&mut application.uid);
        self.metadata.put(&mut application.metadata);
        limit.put_option(&mut application.rate_limit);
        Ok(application)
    }
}

/// One field under the names that two generations of clients have for it. Both, with different contents, is an error.
pub fn either<T: PartialEq>(
    (new_name, new): (&'static str, Given<T>),
    (old_name, old): (&'static str, Given<T>),
) -> Result<Given<T>, HttpError> {
    match (new, old) {
        (new, Given::Absent) => Ok(new),
        (Given::Absent, old) => Ok(old),
        (new, old) if new == old => Ok(new),
        _ => Err(HttpError::Invalid(vec![Fault::new(
            "body",
            new_name,
            format!(
                "{new_name} and {old_name} are two names of one thing: send one of them, or both with the same content"
            ),
        )])),
    }
}

/// Refuses a rate under which nothing would ever be sent, or that the dialect cannot write.
pub fn check_rate(limit: &Given<u32>) -> Result<(), HttpError> {
    match limit {
        Given::Value(rate) if !(1..=65_535).contains(rate) => Err(HttpError::body(
            "throttleRate",
            "expected 1 to 65535 attempts a second, or null for no limit",
        )),
        _ => Ok(()),
    }
}
