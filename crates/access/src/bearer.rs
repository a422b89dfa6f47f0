use crate::{Denied, Token};

/// Reads the value of an `Authorization` header, `None` if the request had none.
///
/// The scheme's case does not matter and one or more spaces follow it (RFC 9110, section 11.1).
///
/// # Errors
/// [`Denied::NoToken`], [`Denied::NotBearer`] or [`Denied::Malformed`]: all are answered 401.
pub fn parse_bearer(header: Option<&[u8]>) -> Result<Token, Denied> {
    let header = header.ok_or(Denied::NoToken)?;
    let text = std::str::from_utf8(header)
        .map_err(|_| Denied::NotBearer)?
        .trim_matches(' ');
    let (scheme, token) = text.split_once(' ').ok_or(Denied::NotBearer)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        token.trim_start_matches(' ').parse()
    } else {
        Err(Denied::NotBearer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn refusal(header: &str) -> Denied {
        parse_bearer(Some(header.as_bytes())).unwrap_err()
    }

    #[test]
    fn a_bearer_token_is_read_in_every_lawful_spelling() {
        let token = Token::generate();
        for (before, after) in [
            ("Bearer ", ""),
            ("bearer ", ""),
            ("BEARER   ", ""),
            (" Bearer ", " "),
        ] {
            let header = format!("{before}{}{after}", token.expose());
            assert_eq!(
                parse_bearer(Some(header.as_bytes())).unwrap().hash(),
                token.hash()
            );
        }
    }

    #[test]
    fn each_way_to_send_no_token_is_told_apart() {
        assert_eq!(parse_bearer(None).unwrap_err(), Denied::NoToken);
        for header in [
            "",
            "Bearer",
            "Bearer ",
            "Basic dXNlcjpwYXNz",
            "Bearer\tpr_x",
            "Bearer:pr_x x",
        ] {
            assert_eq!(refusal(header), Denied::NotBearer, "{header:?}");
        }
        assert_eq!(
            parse_bearer(Some(b"Bearer \xff")).unwrap_err(),
            Denied::NotBearer
        );
        for header in ["Bearer sk_live", "Bearer pr_short", "Bearer Bearer pr_x"] {
            assert_eq!(refusal(header), Denied::Malformed, "{header:?}");
        }
        let bare = Token::generate();
        assert_eq!(refusal(bare.expose()), Denied::NotBearer);
    }

    proptest! {
        #[test]
        fn no_header_makes_parsing_panic(header in any::<Vec<u8>>()) {
            let _ = parse_bearer(Some(&header));
        }

        #[test]
        fn errors_never_show_what_was_sent(sent in "[a-z0-9]{12}") {
            let error = refusal(&format!("Bearer pr_{sent}"));
            prop_assert!(!error.to_string().contains(&sent));
        }
    }
}
