//! What people and their programs write about a thing: as long as somebody may want to read it, and no longer. Every process
//! holds it in memory for every thing.

use std::collections::BTreeMap;

use crate::{Given, HttpError};

/// The longest description, in characters.
pub const MAX_DESCRIPTION: usize = 4096;
/// The most that a thing's metadata may hold, names and values together, in bytes.
pub const MAX_METADATA: usize = 4096;

/// Refuses a text that not every store can keep: PostgreSQL's know no U+0000.
fn check_storable(field: &'static str, text: &str) -> Result<(), HttpError> {
    match text.chars().position(|c| c == '\0') {
        None => Ok(()),
        Some(index) => Err(HttpError::body(
            field,
            format!(
                "character {} is U+0000, which cannot be stored: leave it out",
                index + 1
            ),
        )),
    }
}

/// Refuses a description that is too long, or cannot be stored.
pub fn check_description(given: &Given<String>) -> Result<(), HttpError> {
    let Given::Value(text) = given else {
        return Ok(());
    };
    // Bytes first: what is far too long is not counted through.
    if text.len() <= 4 * MAX_DESCRIPTION && text.chars().count() <= MAX_DESCRIPTION {
        return check_storable("description", text);
    }
    Err(HttpError::body(
        "description",
        format!("expected at most {MAX_DESCRIPTION} characters"),
    ))
}

/// Refuses metadata that is too large.
pub fn check_metadata(given: &Given<BTreeMap<String, String>>) -> Result<(), HttpError> {
    let Given::Value(metadata) = given else {
        return Ok(());
    };
    let held: usize = metadata
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if held <= MAX_METADATA {
        return Ok(());
    }
    Err(HttpError::body(
        "metadata",
        format!("names and values have {held} bytes together: expected at most {MAX_METADATA}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_may_have_so_many_characters_whatever_their_bytes() {
        let of = |letter: &str, count| check_description(&Given::Value(letter.repeat(count)));
        for letter in ["a", "ä", "🜁"] {
            of(letter, MAX_DESCRIPTION).unwrap();
            of(letter, MAX_DESCRIPTION + 1).unwrap_err();
        }
        check_description(&Given::Null).unwrap();
    }

    #[test]
    fn what_no_database_can_store_is_refused_and_named() {
        let described = |text: &str| check_description(&Given::Value(text.to_owned()));
        described("two\nlines\tand\u{7f}").unwrap();
        let Err(HttpError::Invalid(faults)) = described("no\0pe") else {
            panic!("it is the client's fault")
        };
        assert_eq!(faults[0].loc, ["body", "description"]);
        let why = &faults[0].msg;
        assert!(why.contains("character 3 is U+0000"), "{why}");
    }

    #[test]
    fn names_and_values_of_metadata_count_together() {
        let of = |name, value| {
            let entry = ("n".repeat(name), "v".repeat(value));
            check_metadata(&Given::Value(BTreeMap::from([entry])))
        };
        of(96, 4000).unwrap();
        let HttpError::Invalid(faults) = of(97, 4000).unwrap_err() else {
            panic!("it is the client's fault")
        };
        assert_eq!(faults[0].loc, ["body", "metadata"]);
        assert!(faults[0].msg.contains("4097"), "{}", faults[0].msg);
    }
}
