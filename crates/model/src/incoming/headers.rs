//! The headers by which producers say what a record of `events` is.

use bytes::Bytes;

use crate::{Headers, Refused, RefusedFor};

/// A header that is read. Its name is taken in any case, as HTTP's are: libraries differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    ContentType,
    CeSpecversion,
    CeId,
    CeSource,
    CeType,
    CeTime,
    CeChannels,
    CeApplication,
    CeTraceparent,
    CeTracestate,
    Application,
    EventType,
    EventId,
    Channels,
    Traceparent,
    Tracestate,
}

const NAMES: [(Known, &str); 16] = [
    (Known::ContentType, "content-type"),
    (Known::CeSpecversion, "ce_specversion"),
    (Known::CeId, "ce_id"),
    (Known::CeSource, "ce_source"),
    (Known::CeType, "ce_type"),
    (Known::CeTime, "ce_time"),
    (Known::CeChannels, "ce_channels"),
    (Known::CeApplication, "ce_application"),
    (Known::CeTraceparent, "ce_traceparent"),
    (Known::CeTracestate, "ce_tracestate"),
    (Known::Application, "application"),
    (Known::EventType, "event-type"),
    (Known::EventId, "event-id"),
    (Known::Channels, "channels"),
    (Known::Traceparent, "traceparent"),
    (Known::Tracestate, "tracestate"),
];

impl Known {
    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize].1
    }
}

/// The known headers of one record.
#[derive(Debug, Default)]
pub(super) struct Given<'a> {
    values: [Option<&'a str>; NAMES.len()],
}

impl<'a> Given<'a> {
    /// Refuses what comes twice and what is not UTF-8 (Kafka binding, section 3.2.3). Headers of others are not looked at.
    pub(super) fn of(headers: &'a Headers) -> Result<Self, Refused> {
        let mut given = Self::default();
        for (name, value) in headers.iter() {
            let known = NAMES
                .iter()
                .find(|(_, known)| known.eq_ignore_ascii_case(name));
            let Some((known, name)) = known else {
                check_attribute(name, value)?;
                continue;
            };
            let slot = &mut given.values[*known as usize];
            if slot.replace(text(name, value)?).is_some() {
                return Err(Refused::malformed(*name, "stands there twice"));
            }
        }
        Ok(given)
    }

    pub(super) fn get(&self, header: Known) -> Option<&'a str> {
        self.values[header as usize]
    }

    pub(super) fn needed(&self, header: Known, mode: &str) -> Result<&'a str, Refused> {
        self.get(header).ok_or_else(|| {
            let why = format!("is missing: {mode} has it");
            Refused::malformed(header.name(), why)
        })
    }

    pub(super) fn owned(&self, header: Known) -> Option<String> {
        self.get(header).map(str::to_owned)
    }

    /// True if any of these is there.
    pub(super) fn any(&self, headers: &[Known]) -> bool {
        headers.iter().any(|header| self.get(*header).is_some())
    }
}

/// An extension attribute that we do not use has to be UTF-8 too.
fn check_attribute(name: &str, value: &Bytes) -> Result<(), Refused> {
    let is_attribute = name
        .get(..3)
        .is_some_and(|prefix| prefix.eq_ignore_ascii_case("ce_"));
    match is_attribute {
        true => text(name, value).map(drop),
        false => Ok(()),
    }
}

fn text<'a>(name: &str, value: &'a Bytes) -> Result<&'a str, Refused> {
    std::str::from_utf8(value)
        .map_err(|_| Refused::new(RefusedFor::NotUtf8, name.to_owned(), "not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_header_is_found_under_its_own_name() {
        for (place, (known, _)) in NAMES.iter().enumerate() {
            assert_eq!(*known as usize, place);
        }
    }
}
