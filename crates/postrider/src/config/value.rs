//! The types of values: how each is read from text, and how it is shown.
//!
//! A file's numbers, booleans and lists are turned into text first, so that file and environment follow one rule.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use postrider_model::Schedule;

/// A type that a key can have.
pub(crate) trait Value: Sized {
    /// What would be right: the end of "expected …".
    const EXPECTED: &'static str;
    /// Whether the value may carry a password, so that no error shows it.
    const SECRET: bool = false;
    /// Whether a file may write it as a table: it is read as `name=value`, separated by semicolons.
    const TABLE: bool = false;

    /// Reads it; `Err` is a reason beyond [`Value::EXPECTED`], possibly empty.
    fn read(text: &str) -> Result<Self, String>;

    /// As TOML writes it, with any password hidden.
    fn toml(&self) -> String;
}

/// Text in TOML's quotes. JSON's escapes are all valid in TOML.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

macro_rules! whole_numbers {
    ($($ty:ty),*) => { $(
        impl Value for $ty {
            const EXPECTED: &'static str = "a whole number";

            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| String::new())
            }

            fn toml(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

whole_numbers!(u32, usize);

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| String::new())
    }

    fn toml(&self) -> String {
        self.to_string()
    }
}

const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Value for Duration {
    const EXPECTED: &'static str = "a duration such as 15s (units ms, s, m, h, d)";

    fn read(text: &str) -> Result<Self, String> {
        let (number, unit) = number_and_unit(text).ok_or_else(String::new)?;
        let (_, unit_ms) = DURATION_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(String::new)?;
        let ms = number
            .checked_mul(*unit_ms)
            .ok_or("that is longer than can be counted")?;
        Ok(Self::from_millis(ms))
    }

    fn toml(&self) -> String {
        quoted(&duration_text(*self))
    }
}

/// In the largest unit that writes it whole.
fn duration_text(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let whole = DURATION_UNITS
        .iter()
        .find(|(_, unit_ms)| ms > 0 && ms.is_multiple_of(*unit_ms));
    whole.map_or_else(
        || "0s".to_owned(),
        |(name, unit_ms)| format!("{}{name}", ms / unit_ms),
    )
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) u64);

const BYTE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Bytes {
    /// For what counts in memory.
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Value for Bytes {
    const EXPECTED: &'static str = "a size such as 256KiB (units B, KiB, MiB, GiB, TiB)";

    fn read(text: &str) -> Result<Self, String> {
        let (number, unit) = number_and_unit(text).ok_or_else(String::new)?;
        let (_, unit_bytes) = BYTE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(String::new)?;
        let bytes = number.checked_mul(*unit_bytes);
        Ok(Self(bytes.ok_or("that is more than can be counted")?))
    }

    fn toml(&self) -> String {
        let whole = BYTE_UNITS
            .iter()
            .find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        quoted(&whole.map_or_else(
            || "0B".to_owned(),
            |(name, unit)| format!("{}{name}", self.0 / unit),
        ))
    }
}

/// `never` is none.
impl Value for Option<Duration> {
    const EXPECTED: &'static str = "a duration such as 90d (units ms, s, m, h, d), or never";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(None),
            text => Duration::read(text).map(Some),
        }
    }

    fn toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted("never"), Value::toml)
    }
}

/// `none` is none.
impl Value for Option<Bytes> {
    const EXPECTED: &'static str = "a size such as 10GiB (units B, KiB, MiB, GiB, TiB), or none";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(None),
            text => Bytes::read(text).map(Some),
        }
    }

    fn toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted("none"), Value::toml)
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

impl Value for Schedule {
    const EXPECTED: &'static str = "waits separated by commas, such as 0s,5s,5m";

    fn read(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|error: postrider_model::ScheduleError| error.to_string())
    }

    fn toml(&self) -> String {
        let waits = self.waits().iter().map(Value::toml);
        format!("[{}]", waits.collect::<Vec<_>>().join(", "))
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(Self::from(text))
    }

    fn toml(&self) -> String {
        quoted(&self.display().to_string())
    }
}

/// Empty text is none.
impl Value for Option<PathBuf> {
    const EXPECTED: &'static str = "a path, or nothing";

    fn read(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| text.into()))
    }

    fn toml(&self) -> String {
        self.as_ref()
            .map_or_else(|| quoted(""), <PathBuf as Value>::toml)
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str =
        "an address and a port such as 127.0.0.1:8071 or [::1]:8071 (port 0: the system chooses)";

    fn read(text: &str) -> Result<Self, String> {
        let text = text
            .strip_prefix("localhost:")
            .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
        text.parse().map_err(|_| String::new())
    }

    fn toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Empty text is none.
impl Value for Option<SocketAddr> {
    const EXPECTED: &'static str = "an address and a port such as 127.0.0.1:9090, or nothing";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        SocketAddr::read(text).map(Some)
    }

    fn toml(&self) -> String {
        self.as_ref()
            .map_or_else(|| quoted(""), <SocketAddr as Value>::toml)
    }
}

impl Value for Vec<IpNet> {
    const EXPECTED: &'static str = "networks such as 127.0.0.0/8,10.0.0.0/8";

    fn read(text: &str) -> Result<Self, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let (mut networks, mut wrong) = (Self::new(), Vec::new());
        for part in parts {
            match part.parse() {
                Ok(network) => networks.push(network),
                Err(_) => wrong.push(format!("\"{part}\"")),
            }
        }
        match &wrong[..] {
            [] => Ok(networks),
            [one] => Err(format!("{one} is no network with a prefix length")),
            several => Err(format!(
                "{} are no networks with a prefix length",
                several.join(", ")
            )),
        }
    }

    fn toml(&self) -> String {
        let nets = self.iter().map(|net| quoted(&net.to_string()));
        format!("[{}]", nets.collect::<Vec<_>>().join(", "))
    }
}

/// A duration from a flag.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    Duration::read(text).map_err(|_| format!("expected {}", Duration::EXPECTED))
}
