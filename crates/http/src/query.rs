//! Parameters of the query.

use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use postrider_model::Timestamp;

use crate::HttpError;

/// The parameters of a request's query, decoded. An empty value counts as absent, but not where it is [asked for as a
/// filter](Query::filter).
#[derive(Debug, Clone, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    /// The names of those without a value.
    empty: Vec<String>,
}

impl Query {
    /// Those of this text, the part of a URL behind `?`.
    pub fn parse(text: &str) -> Self {
        let pairs = url::form_urlencoded::parse(text.as_bytes());
        let (empty, pairs): (Vec<_>, Vec<_>) = pairs
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .partition(|(_, value)| value.is_empty());
        Self {
            pairs,
            empty: empty.into_iter().map(|(name, _)| name).collect(),
        }
    }

    /// These parameters under the names of `known`, which may be sent in camel case too. Refuses others, and one that is sent
    /// twice with different values: for listings where a filter that is overlooked would show more than was meant.
    pub fn only(self, known: &[&'static str]) -> Result<Self, HttpError> {
        let mut pairs: Vec<(String, String)> = Vec::with_capacity(self.pairs.len());
        for (given, value) in self.pairs {
            let Some(name) = known.iter().copied().find(|name| *name == snake(&given)) else {
                let why = format!("unknown parameter: expected {}", known.join(", "));
                return Err(HttpError::query(given, why));
            };
            match pairs.iter().find(|(there, _)| there == name) {
                None => pairs.push((name.to_owned(), value)),
                Some((_, first)) if *first == value => {}
                Some(_) => {
                    let why = format!("two different values of {name}: send one");
                    return Err(HttpError::query(given, why));
                }
            }
        }
        let empty = self.empty.iter().map(|name| snake(name)).collect();
        Ok(Self { pairs, empty })
    }

    /// Refuses parameters that are none of `known`, for listings of the dialect: a filter that is overlooked would show more
    /// than was meant. Lists are repeated there, so a name may come several times.
    pub fn check(&self, known: &[&[&'static str]]) -> Result<(), HttpError> {
        let is_known = |name: &str| known.iter().any(|some| some.contains(&name));
        match self.pairs.iter().find(|(name, _)| !is_known(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let why = format!("unknown parameter: expected {}", known.concat().join(", "));
                Err(HttpError::query(name.clone(), why))
            }
        }
    }

    /// The first value of `name`.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of `name`. Refuses two that differ.
    pub fn single(&self, name: &'static str) -> Result<Option<&str>, HttpError> {
        let given = self.pairs.iter().filter(|(given, _)| given == name);
        let mut values = given.map(|(_, value)| value.as_str());
        let first = values.next();
        if values.any(|other| Some(other) != first) {
            let why = format!("two different values of {name}: send one");
            return Err(HttpError::query(name, why));
        }
        Ok(first)
    }

    /// Likewise, but refuses one that is empty: overlooked, it would show more than was meant.
    pub fn filter(&self, name: &'static str) -> Result<Option<&str>, HttpError> {
        match self.text(name) {
            None if self.is_empty(name) => Err(HttpError::query(
                name,
                "expected a value: give one, or leave the parameter out",
            )),
            found => Ok(found),
        }
    }

    fn is_empty(&self, name: &str) -> bool {
        self.empty.iter().any(|given| given == name)
    }

    /// The first value of `name`, read as a `T`. An empty one is none: left out, it would show more than was meant.
    pub fn get<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, HttpError> {
        let empty = || self.is_empty(name).then_some("");
        self.text(name)
            .or_else(empty)
            .map(|text| text.parse().map_err(|error| HttpError::query(name, error)))
            .transpose()
    }

    /// Every value of `name`, given repeatedly or separated by commas. Clients differ in that.
    pub fn list<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Vec<T>, HttpError> {
        let given = self.pairs.iter().filter(|(given, _)| given == name);
        given
            .flat_map(|(_, value)| value.split(','))
            .map(|text| text.parse().map_err(|error| HttpError::query(name, error)))
            .collect()
    }

    /// `true` or `false`; `default` if `name` is absent.
    pub fn flag(&self, name: &'static str, default: bool) -> Result<bool, HttpError> {
        match self.text(name) {
            None => Ok(default),
            Some("true" | "True" | "1") => Ok(true),
            Some("false" | "False" | "0") => Ok(false),
            Some(_) => Err(HttpError::query(name, "expected true or false")),
        }
    }

    /// A time in RFC 3339.
    pub fn time(&self, name: &'static str) -> Result<Option<Timestamp>, HttpError> {
        self.filter(name)?
            .map(|text| {
                // A "+" of the offset that was not encoded arrives as a space.
                Timestamp::parse(&text.replace(' ', "+")).ok_or_else(|| {
                    HttpError::query(
                        name,
                        "expected a time in RFC 3339, such as 2026-01-31T12:00:00Z",
                    )
                })
            })
            .transpose()
    }
}

/// `endpointId` as `endpoint_id`.
fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.uri.query().map(Self::parse).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_be_repeated_or_separated_by_commas() {
        let query = Query::parse("event_types=a,b&limit=5&event_types=c");
        let names: Vec<String> = query.list("event_types").unwrap();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(query.get::<u32>("limit").unwrap(), Some(5));
    }

    #[test]
    fn only_known_parameters_pass_in_either_spelling_and_with_one_value() {
        let only = |text| Query::parse(text).only(&["app_id", "limit"]);
        for text in [
            "app_id=a&limit=5",
            "appId=a",
            "appId=a&app_id=a",
            "appId=a&x=",
        ] {
            assert_eq!(only(text).unwrap().text("app_id"), Some("a"), "{text}");
        }
        for (text, field, says) in [
            (
                "bogus=1",
                "bogus",
                "unknown parameter: expected app_id, limit",
            ),
            ("appID=a", "appID", "unknown parameter"),
            ("limit=1&app_id=a&appId=b", "appId", "two different values"),
        ] {
            let HttpError::Invalid(faults) = only(text).unwrap_err() else {
                panic!("{text}")
            };
            assert_eq!(faults[0].loc, ["query", field]);
            assert!(faults[0].msg.contains(says), "{}", faults[0].msg);
        }
    }

    #[test]
    fn a_parameter_that_a_listing_does_not_know_is_named_with_those_that_it_knows() {
        let known: [&[&str]; 2] = [&["limit"], &["channel"]];
        let check = |text| Query::parse(text).check(&known);
        check("limit=5&channel=a&channel=b&bogus=").unwrap();
        let HttpError::Invalid(faults) = check("limit=5&Channel=a").unwrap_err() else {
            panic!("it is the client's fault")
        };
        assert_eq!(faults[0].loc, ["query", "Channel"]);
        assert_eq!(faults[0].msg, "unknown parameter: expected limit, channel");
    }

    #[test]
    fn a_name_without_a_value_is_refused_where_it_is_read_and_overlooked_elsewhere() {
        use postrider_model::{Channel, EventType};
        let query = Query::parse("channel=&event_types=&limit=5");
        let HttpError::Invalid(faults) = query.get::<Channel>("channel").unwrap_err() else {
            panic!("it is the client's fault")
        };
        assert_eq!(faults[0].loc, ["query", "channel"]);
        assert!(
            faults[0].msg.contains("expected 1 to 128"),
            "{}",
            faults[0].msg
        );
        assert!(query.list::<EventType>("event_types").unwrap().is_empty());
        let query = Query::parse("eventType=").only(&["event_type"]).unwrap();
        query.get::<EventType>("event_type").unwrap_err();

        let query = Query::parse("endpoint_id=&after=&limit=5");
        assert!(query.text("endpoint_id").is_none());
        for refused in [
            query.filter("endpoint_id").unwrap_err(),
            query.time("after").unwrap_err(),
        ] {
            let HttpError::Invalid(faults) = refused else {
                panic!("it is the client's fault")
            };
            assert!(faults[0].msg.contains("leave the parameter out"));
        }
        assert_eq!(query.filter("limit").unwrap(), Some("5"));
        assert_eq!(query.filter("app_id").unwrap(), None);
    }

    #[test]
    fn a_time_is_read_with_its_plus_encoded_or_not() {
        for text in ["2021-02-25T16:02:10%2B01:00", "2021-02-25T16:02:10+01:00"] {
            let query = Query::parse(&format!("before={text}"));
            let at = query.time("before").unwrap().unwrap();
            assert_eq!(at.to_string(), "2021-02-25T15:02:10.000Z");
        }
    }

    #[test]
    fn a_bad_value_is_named_by_its_parameter() {
        let error = Query::parse("limit=many").get::<u32>("limit").unwrap_err();
        let HttpError::Invalid(faults) = error else {
            panic!("{error}")
        };
        assert_eq!(faults[0].loc, ["query", "limit"]);
    }
}
