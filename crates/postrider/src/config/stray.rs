//! Variables of the environment that look like ours and are none.

/// What the names of our variables begin with, and what the names of those begin with that somebody meant to be ours.
const OURS: &str = "POSTRIDER__";
const ALIKE: &str = "POSTRIDER";
/// Those that commands which speak to a running server take their token from.
const OF_COMMANDS: [&str; 2] = ["POSTRIDER_TOKEN", "POSTRIDER_TOKEN_FILE"];
/// Those of this project's tests and benchmarks.
const TESTS: [&str; 2] = ["POSTRIDER_TEST_", "POSTRIDER_BENCH_"];
/// What the values of the variables begin with that Kubernetes makes for a service's ports.
const PORT_URLS: [&str; 3] = ["tcp://", "udp://", "sctp://"];

/// The names of those in `variables`, sorted.
pub(super) fn among(variables: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let mut names: Vec<_> = variables
        .into_iter()
        .filter(|(name, value)| is_stray(&name.to_uppercase(), value))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    names
}

/// The variables of this process whose names are text.
#[expect(
    clippy::disallowed_methods,
    reason = "this module reads the environment for all others"
)]
pub(super) fn of_process() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}

/// The names of all variables of this process that are ours or look so: what is set for this one, and not for a child.
pub(crate) fn names_like_ours() -> Vec<String> {
    of_process()
        .map(|(name, _)| name)
        .filter(|name| name.to_uppercase().starts_with(ALIKE))
        .collect()
}

fn is_stray(name: &str, value: &str) -> bool {
    name.starts_with(ALIKE)
        && !name.starts_with(OURS)
        && !OF_COMMANDS.contains(&name)
        && !TESTS.iter().any(|tests| name.starts_with(tests))
        && !is_of_kubernetes(name, value)
}

/// In a namespace with a service named postrider, or postrider-and-more, each pod gets variables of its addresses
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let of_service = name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_");
    let of_port = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        digits.is_some_and(|end| {
            end > 0
                && ["_TCP", "_UDP", "_SCTP"]
                    .iter()
                    .any(|kind| rest[end..].starts_with(kind))
        })
    });
    let of_link = name.ends_with("_PORT") && PORT_URLS.iter().any(|url| value.starts_with(url));
    of_service || of_port || of_link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_ours_is_a_stray_and_what_others_set_is_not() {
        let variables = [
            ("POSTRIDER_DATA", "/data"),
            ("postrider_listen", "127.0.0.1:1"),
            ("POSTRIDER", "x"),
            ("POSTRIDERDATA", "x"),
            ("POSTRIDER_PORT", "8071"),
            ("POSTRIDER_TESTING", "1"),
            ("POSTRIDER__DATA", "/data"),
            ("POSTRIDER__NO__SUCH", "a key's own error"),
            ("POSTRIDER_TEST_KAFKA", "127.0.0.1:9092"),
            ("POSTRIDER_BENCH_SECONDS", "5"),
            ("POSTRIDER_TOKEN", "pr_x"),
            ("POSTRIDER_TOKEN_FILE", "/data/operator.token"),
            ("POSTRIDER_TOKENS", "x"),
            ("POSTRIDER_SERVICE_HOST", "10.0.0.1"),
            ("POSTRIDER_API_SERVICE_PORT", "8071"),
            ("POSTRIDER_API_SERVICE_PORT_HTTP", "8071"),
            ("POSTRIDER_API_PORT", "tcp://10.0.0.1:8071"),
            ("POSTRIDER_API_PORT_8071_TCP", "tcp://10.0.0.1:8071"),
            ("POSTRIDER_API_PORT_8071_TCP_ADDR", "10.0.0.1"),
            ("HOME", "/root"),
        ];
        let given = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            among(given),
            [
                "POSTRIDER",
                "POSTRIDERDATA",
                "POSTRIDER_DATA",
                "POSTRIDER_PORT",
                "POSTRIDER_TESTING",
                "POSTRIDER_TOKENS",
                "postrider_listen",
            ]
        );
    }
}
