//! Numbers of a request that lie in a range: the one place that says which.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// Which whole numbers a field may have.
pub trait Bounds {
    /// The least.
    const LOW: u32;
    /// The greatest.
    const HIGH: u32;
    /// What they count, and what else the field may be: shown behind the range.
    const OF: &'static str;
}

/// A whole number within `B`. Whatever else is sent, of any type, is refused with the same words.
#[derive(Debug)]
pub struct Bounded<B>(u32, PhantomData<B>);

impl<B> Bounded<B> {
    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

// By hand: derived they would ask the same of `B`, which is only a name.
impl<B> Clone for Bounded<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Bounded<B> {}

impl<B> PartialEq for Bounded<B> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<'de, B: Bounds> Deserialize<'de> for Bounded<B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(Within(PhantomData))
    }
}

struct Within<B>(PhantomData<B>);

impl<B: Bounds> Visitor<'_> for Within<B> {
    type Value = Bounded<B>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high, of) = (B::LOW, B::HIGH, B::OF);
        write!(f, "a whole number from {low} to {high} ({of})")
    }

    fn visit_u64<E: Error>(self, given: u64) -> Result<Self::Value, E> {
        match u32::try_from(given) {
            Ok(number) if (B::LOW..=B::HIGH).contains(&number) => Ok(Bounded(number, PhantomData)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(given), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpError, parse_json};

    #[derive(Debug)]
    struct Dozen;

    impl Bounds for Dozen {
        const LOW: u32 = 1;
        const HIGH: u32 = 12;
        const OF: &'static str = "eggs";
    }

    #[derive(Debug, Deserialize)]
    struct Sample {
        eggs: Bounded<Dozen>,
    }

    #[test]
    fn whatever_does_not_lie_in_the_range_is_refused_with_the_same_words() {
        for good in [1, 12] {
            let body = format!(r#"{{"eggs":{good}}}"#);
            let sample: Sample = parse_json(body.as_bytes()).unwrap();
            assert_eq!(sample.eggs.get(), good);
        }
        for bad in [
            "0",
            "13",
            "-1",
            "1.5",
            "99999999999999999999",
            r#""5""#,
            "[]",
            "null",
        ] {
            let body = format!(r#"{{"eggs":{bad}}}"#);
            let refused = parse_json::<Sample>(body.as_bytes()).unwrap_err();
            let HttpError::Invalid(faults) = refused else {
                panic!("{bad}: not a 422")
            };
            assert_eq!(faults[0].loc, ["body", "eggs"], "{bad}");
            let says = "expected a whole number from 1 to 12 (eggs), not ";
            assert!(faults[0].msg.starts_with(says), "{bad}: {}", faults[0].msg);
        }
    }
}
