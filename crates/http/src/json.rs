//! JSON bodies, told in the words of the API exactly what is wrong with them, and where.
//!
//! The parser speaks of Rust's types; what it says is translated here.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;

use crate::{Fault, HttpError};

/// How much of a value that is not taken is shown, in characters.
const SHOWN: usize = 80;

/// Reads a body that is one JSON object. What is not JSON is 400 with line and column; JSON that does not fit is 422 with
/// the way to the value.
pub fn parse_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, HttpError> {
    // The parser would take a list for the fields of an object in their order.
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => serde_json::from_slice(body).map_err(|_| fault_of::<T>(body)),
        Some(first) => Err(no_object(*first, body)),
        None => Err(HttpError::Unreadable(
            "the body is empty: expected a JSON object".to_owned(),
        )),
    }
}

/// Checks that `text` is one JSON value, of any kind. What is not is 400 with line and column.
pub fn check_json(text: &[u8]) -> Result<(), HttpError> {
    // What is skipped is not looked into: a string could be anything.
    if std::str::from_utf8(text).is_err() {
        return Err(HttpError::Unreadable(
            "the body is not JSON: it is not UTF-8".to_owned(),
        ));
    }
    serde_json::from_slice::<IgnoredAny>(text)
        .map(drop)
        .map_err(|error| unreadable(&error))
}

fn no_object(first: u8, body: &[u8]) -> HttpError {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(body) {
        return unreadable(&error);
    }
    let given = match first {
        b'[' => "a list",
        b'"' => "a string",
        b't' | b'f' => "true or false",
        b'n' => "null",
        _ => "a number",
    };
    HttpError::Invalid(vec![Fault {
        loc: vec![Cow::Borrowed("body")],
        msg: format!("expected a JSON object, not {given}"),
        kind: "value_error",
    }])
}

/// Parses again, keeping the way to what is wrong: only a request that is refused pays for it.
fn fault_of<'a, T: Deserialize<'a>>(body: &'a [u8]) -> HttpError {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) => error,
        // The value is well; what follows it is not.
        Ok(_) => match reader.end() {
            Err(error) => return unreadable(&error),
            Ok(()) => return HttpError::Unreadable("the body cannot be read".to_owned()),
        },
    };
    if error.inner().classify() != Category::Data {
        return unreadable(error.inner());
    }
    let (field, msg) = in_words(&without_place(error.inner()));
    let way = error.path().iter().map(|step| Cow::Owned(step.to_string()));
    let mut loc: Vec<_> = std::iter::once(Cow::Borrowed("body")).chain(way).collect();
    if let Some(field) = field
        && loc.last() != Some(&field)
    {
        loc.push(field);
    }
    HttpError::Invalid(vec![Fault {
        loc,
        msg,
        kind: "value_error",
    }])
}

/// What the parser says, without the place, which is told apart.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) if error.line() > 0 => text[..end].to_owned(),
        _ => text,
    }
}

fn unreadable(error: &serde_json::Error) -> HttpError {
    let (line, column) = (error.line(), error.column());
    let why = match without_place(error).as_str() {
        "trailing characters" => {
            return HttpError::Unreadable(format!(
                "the body has more behind its JSON value (line {line}, column {column})"
            ));
        }
        "EOF while parsing a list" => "it ends inside a list".to_owned(),
        "EOF while parsing an object" => "it ends inside an object".to_owned(),
        "EOF while parsing a string" => "it ends inside a string".to_owned(),
        "EOF while parsing a value" => "it ends where a value was expected".to_owned(),
        "expected `:`" => "expected a colon behind a key".to_owned(),
        "expected `,` or `]`" => "expected a comma or ] in a list".to_owned(),
        "expected `,` or `}`" => "expected a comma or } in an object".to_owned(),
        "expected ident" => "expected true, false or null".to_owned(),
        "expected value" => "expected a value".to_owned(),
        "expected `\"`" | "key must be a string" => {
            "expected a key, a string in double quotes".to_owned()
        }
        "trailing comma" => "a comma has nothing behind it".to_owned(),
        "invalid escape" => "a string has a backslash before what cannot be escaped".to_owned(),
        "invalid unicode code point" => "a string is not UTF-8".to_owned(),
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a string has half a pair of \\u escapes".to_owned()
        }
        "recursion limit exceeded" => "it is nested too deep".to_owned(),
        text if text.starts_with("control character") => {
            "a string has a control character in it: write it as an escape, such as \\n".to_owned()
        }
        text => text.to_owned(),
    };
    HttpError::Unreadable(format!(
        "the body is not JSON: {why} (line {line}, column {column})"
    ))
}

/// A field that the parser names, and what is wrong in the API's terms.
fn in_words(text: &str) -> (Option<Cow<'static, str>>, String) {
    let quoted = |rest: &str| {
        let (name, rest) = rest.split_once('`')?;
        let name: String = name.chars().take(SHOWN).collect();
        Some((Some(Cow::Owned(name)), rest.replace('`', "")))
    };
    if let Some((field, _)) = text.strip_prefix("missing field `").and_then(quoted) {
        return (field, "is missing".to_owned());
    }
    if let Some((field, _)) = text.strip_prefix("duplicate field `").and_then(quoted) {
        return (field, "stands there twice: send it once".to_owned());
    }
    if let Some((field, rest)) = text.strip_prefix("unknown field `").and_then(quoted) {
        let right = rest.replace(", expected one of ", ": expected ");
        let right = right.replace(", expected ", ": expected ");
        return (field, format!("is not known here{right}"));
    }
    let mismatch = text
        .strip_prefix("invalid type: ")
        .or_else(|| text.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "));
    let msg = match mismatch {
        Some((given, right)) => format!("expected {}, not {}", expected(right), found(given)),
        None => text.to_owned(),
    };
    (None, msg)
}

/// What would be right, from the parser's name of it.
fn expected(right: &str) -> &str {
    match right {
        "a borrowed string" => "a string",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        _ if right.starts_with("struct ") => "an object",
        _ => right,
    }
}

/// What is there, from the parser's name of it.
fn found(given: &str) -> String {
    match given {
        "sequence" => return "a list".to_owned(),
        "map" => return "an object".to_owned(),
        _ => {}
    }
    let bare = ["integer `", "floating point `", "boolean `"]
        .iter()
        .find_map(|kind| given.strip_prefix(kind)?.strip_suffix('`'));
    let text = match bare {
        Some(bare) => bare.to_owned(),
        None if given.starts_with("string ") => format!("the {given}"),
        None => given.to_owned(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[allow(dead_code, reason = "only its types matter")]
    struct Sample {
        names: Vec<String>,
        rate: u16,
        on: bool,
        inner: Inner,
    }

    #[derive(Debug, Default, Deserialize)]
    #[allow(dead_code, reason = "only its types matter")]
    struct Inner {
        id: String,
        labels: std::collections::BTreeMap<String, String>,
    }

    fn refused(body: &str) -> HttpError {
        parse_json::<Sample>(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_way_and_what_would_be_right() {
        for (body, way, says) in [
            (
                r#"{"names":["a",5]}"#,
                "names [1]",
                "expected a string, not 5",
            ),
            (r#"{"names":{}}"#, "names", "expected a list, not an object"),
            (
                r#"{"rate":-1}"#,
                "rate",
                "expected a whole number from 0 to 65535, not -1",
            ),
            (
                r#"{"rate":1.5}"#,
                "rate",
                "expected a whole number from 0 to 65535, not 1.5",
            ),
            (
                r#"{"rate":70000}"#,
                "rate",
                "expected a whole number from 0 to 65535, not 70000",
            ),
            (
                r#"{"rate":null}"#,
                "rate",
                "expected a whole number from 0 to 65535, not null",
            ),
            (
                r#"{"on":"yes"}"#,
                "on",
                r#"expected true or false, not the string "yes""#,
            ),
            (r#"{"inner":7}"#, "inner", "expected an object, not 7"),
            (
                r#"{"inner":{"id":true}}"#,
                "inner id",
                "expected a string, not true",
            ),
            (r#"{"inner":{"id":""}}"#, "inner labels", "is missing"),
            (
                r#"{"inner":{"id":"","labels":[]}}"#,
                "inner labels",
                "expected an object, not a list",
            ),
            (
                r#"{"on":true,"on":true}"#,
                "on",
                "stands there twice: send it once",
            ),
            (
                r#"{"nmaes":[]}"#,
                "nmaes",
                "is not known here: expected names, rate, on, inner",
            ),
            ("[]", "", "expected a JSON object, not a list"),
            ("\n[[\"a\"], 1]", "", "expected a JSON object, not a list"),
            (" null ", "", "expected a JSON object, not null"),
            ("-5", "", "expected a JSON object, not a number"),
        ] {
            let HttpError::Invalid(faults) = refused(body) else {
                panic!("{body}: not a 422")
            };
            let way: Vec<_> = std::iter::once("body")
                .chain(way.split_terminator(' '))
                .collect();
            assert_eq!(faults[0].loc, way, "{body}");
            assert_eq!(faults[0].msg, says, "{body}");
        }
    }

    #[test]
    fn any_one_json_value_is_json_and_nothing_else() {
        for text in ["{}", " [1, \"\u{e4}\"]\n", "null", "5", "\"x\""] {
            assert_eq!(check_json(text.as_bytes()), Ok(()), "{text}");
        }
        for (text, says) in [
            (&b"hello"[..], "expected a value (line 1, column 1)"),
            (b"{} {}", "more behind its JSON value"),
            (b"{\"a\":", "it ends where a value was expected"),
            (b"", "it ends where a value was expected"),
            (b"\"\xff\"", "not UTF-8"),
            (b"\xef\xbb\xbf{}", "expected a value"),
        ] {
            let HttpError::Unreadable(why) = check_json(text).unwrap_err() else {
                panic!("{text:?}: not a 400")
            };
            assert!(why.contains(says), "{text:?}: {why}");
        }
    }

    #[test]
    fn a_long_value_is_shown_by_its_beginning() {
        let body = format!(r#"{{"on":"{}"}}"#, "ä".repeat(5000));
        let HttpError::Invalid(faults) = refused(&body) else {
            panic!("not a 422")
        };
        assert!(faults[0].msg.chars().count() < 150, "{}", faults[0].msg);
    }

    #[test]
    fn what_is_not_json_is_told_with_line_and_column() {
        for (body, says) in [
            ("", "the body is empty: expected a JSON object"),
            (" \n", "the body is empty: expected a JSON object"),
            (
                "{names",
                "not JSON: expected a key, a string in double quotes (line 1, column 2)",
            ),
            ("hello", "not JSON: expected a value (line 1, column 1)"),
            ("{\n  \"on\": tru", "it ends where a value was expected"),
            (
                "{\"on\": true,\n \"rate\" 5}",
                "expected a colon behind a key (line 2, column 9)",
            ),
            (
                r#"{"on":true,}"#,
                "a comma has nothing behind it (line 1, column 12)",
            ),
            (
                r#"{"on":true"#,
                "it ends inside an object (line 1, column 10)",
            ),
            (r#"{"names":["a""#, "it ends inside a list"),
            (r#"{"names":["a"#, "it ends inside a string"),
            (r#"{"names":["a" "b"]}"#, "expected a comma or ] in a list"),
            (
                r#"{"on":true "rate":1}"#,
                "expected a comma or } in an object",
            ),
            (
                r#"{"names":["\x"]}"#,
                "a backslash before what cannot be escaped",
            ),
            (r#"{"names":["\ud800"]}"#, "half a pair of \\u escapes"),
            ("{\"names\":[\"a\nb\"]}", "a control character in it"),
            (
                r#"{"on":true} x"#,
                "the body has more behind its JSON value (line 1, column 13)",
            ),
            (
                "[1] x",
                "the body has more behind its JSON value (line 1, column 5)",
            ),
        ] {
            let HttpError::Unreadable(why) = refused(body) else {
                panic!("{body}: not a 400")
            };
            assert!(why.contains(says), "{body}: {why}");
        }
    }
}
