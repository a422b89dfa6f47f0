//! The types of values that only traces have.

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::secret::{HIDDEN, was_hidden};
use super::value::{Value, quoted};

/// Where a collector takes OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collector(Url);

impl Collector {
    /// Where it takes traces: what OTLP has each signal add to the address.
    pub(crate) fn traces(&self) -> Url {
        const TRACES: &str = "/v1/traces";
        let mut url = self.0.clone();
        let path = url.path().trim_end_matches('/');
        if !path.ends_with(TRACES) {
            let path = format!("{path}{TRACES}");
            url.set_path(&path);
        }
        url
    }
}

/// Empty text is none.
impl Value for Option<Collector> {
    const EXPECTED: &'static str =
        "an address such as http://collector:4318 without name, password and query, or nothing";
    // What is wrong with it may be that it has a password.
    const SECRET: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(text).map_err(|_| "it is no URL".to_owned())?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err("it begins with neither http:// nor https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err("what is secret goes into traces.headers".to_owned());
        }
        Ok(Some(Collector(url)))
    }

    fn toml(&self) -> String {
        quoted(self.as_ref().map_or("", |collector| collector.0.as_str()))
    }
}

/// Headers whose values nobody is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretHeaders(pub(crate) HeaderMap);

/// Empty text is none.
impl Value for Option<SecretHeaders> {
    const EXPECTED: &'static str = "headers such as authorization=Bearer TOKEN;x-tenant=a, separated by semicolons, or nothing";
    const SECRET: bool = true;
    const TABLE: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for pair in text.split(';').filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(String::new)?;
            let name: HeaderName = name
                .trim()
                .parse()
                .map_err(|_| "a name is none".to_owned())?;
            if value.trim() == HIDDEN {
                return Err(format!("{name}: {}", was_hidden()));
            }
            let mut value = HeaderValue::from_str(value.trim())
                .map_err(|_| format!("{name} has a value that no header can have"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok((!headers.is_empty()).then_some(SecretHeaders(headers)))
    }

    fn toml(&self) -> String {
        let names = self.iter().flat_map(|headers| headers.0.keys());
        let shown: Vec<String> = names.map(|name| format!("{name}={HIDDEN}")).collect();
        quoted(&shown.join(";"))
    }
}

/// A share of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share {
    millionths: u32,
}

const MILLION: f64 = 1e6;

impl Share {
    /// From 0 to 1.
    pub(crate) fn ratio(self) -> f64 {
        f64::from(self.millionths) / MILLION
    }
}

impl Value for Share {
    const EXPECTED: &'static str = "a share such as 0.01";

    fn read(text: &str) -> Result<Self, String> {
        let ratio: f64 = text.parse().map_err(|_| String::new())?;
        // Beyond the range, so that the range is what is told.
        let millionths = (ratio * MILLION).round().clamp(-1.0, 2.0 * MILLION);
        if millionths < 0.0 || !ratio.is_finite() {
            return Err(String::new());
        }
        if ratio > 0.0 && millionths < 1.0 {
            return Err("one in a million is the least".to_owned());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped above"
        )]
        let millionths = millionths as u32;
        Ok(Self { millionths })
    }

    fn toml(&self) -> String {
        self.ratio().to_string()
    }
}

/// What the service is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceName(pub(crate) String);

impl Value for ServiceName {
    const EXPECTED: &'static str = "a name of up to 200 printable characters";

    fn read(text: &str) -> Result<Self, String> {
        let legal = (1..=200).contains(&text.len()) && !text.contains(char::is_control);
        legal.then(|| Self(text.to_owned())).ok_or_else(String::new)
    }

    fn toml(&self) -> String {
        quoted(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_once() {
        for (given, called) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("https://c/otlp/", "https://c/otlp/v1/traces"),
            ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
        ] {
            let collector = Option::<Collector>::read(given).unwrap().unwrap();
            assert_eq!(collector.traces().as_str(), called);
        }
    }

    #[test]
    fn an_address_with_a_secret_in_it_is_refused() {
        for given in [
            "http://user:pass@c:4318",
            "https://c/?key=a",
            "c:4318",
            "ftp://c",
        ] {
            assert!(Option::<Collector>::read(given).is_err(), "{given}");
        }
    }

    #[test]
    fn headers_are_read_and_their_values_hidden() {
        let given = "authorization=Bearer a=b; x-tenant = acme";
        let headers = Option::<SecretHeaders>::read(given).unwrap();
        assert_eq!(headers.toml(), "\"authorization=***;x-tenant=***\"");
        assert!(!format!("{headers:?}").contains("Bearer"));
        assert_eq!(headers.unwrap().0["authorization"], "Bearer a=b");
        for wrong in ["authorization", "a b=c", "a=\u{1}b", "authorization=***"] {
            assert!(Option::<SecretHeaders>::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_reads_back_as_it_was_written() {
        for text in ["0", "0.01", "0.000001", "0.5", "1"] {
            assert_eq!(Share::read(text).unwrap().toml(), text);
        }
        for wrong in ["", "1%", "-0.1", "NaN", "0.0000001"] {
            assert!(Share::read(wrong).is_err(), "{wrong}");
        }
    }
}
