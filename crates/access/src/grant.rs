use crate::{Denied, TokenHash};

/// What a token was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything: all applications, and what lies above them.
    Operator,
    /// One application and what belongs to it, by the 16 bytes of the application's id.
    Application([u8; 16]),
}

/// What is known of a token: a row of the store, an entry of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenGrant {
    /// Stands for the token itself.
    pub hash: TokenHash,
    /// What it opens.
    pub scope: Scope,
    /// From this time on, in ms since the Unix epoch, it opens nothing. `None`: it never expires.
    pub expires_at_ms: Option<i64>,
    /// It was taken back, and opens nothing.
    pub revoked: bool,
}

/// What an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Work above applications: create one, list them, define event types, make tokens.
    Operate,
    /// Work inside this application, by the 16 bytes of its id.
    Application([u8; 16]),
}

/// Whether the holder of `grant` may do what needs `what`, at `now_ms` (ms since the Unix epoch).
///
/// A token that is no longer good says so before anything is said of what it was for.
///
/// # Errors
/// [`Denied::Revoked`], [`Denied::Expired`], [`Denied::OperatorOnly`] or
/// [`Denied::OtherApplication`], in this order of precedence.
pub fn decide(grant: &TokenGrant, what: Access, now_ms: i64) -> Result<(), Denied> {
    if grant.revoked {
        return Err(Denied::Revoked);
    }
    if grant
        .expires_at_ms
        .is_some_and(|expires_at_ms| now_ms >= expires_at_ms)
    {
        return Err(Denied::Expired);
    }
    match (grant.scope, what) {
        (Scope::Operator, Access::Operate | Access::Application(_)) => Ok(()),
        (Scope::Application(_), Access::Operate) => Err(Denied::OperatorOnly),
        (Scope::Application(own), Access::Application(asked)) if own == asked => Ok(()),
        (Scope::Application(_), Access::Application(_)) => Err(Denied::OtherApplication),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: [u8; 16] = [1; 16];
    const OTHER: [u8; 16] = [2; 16];

    fn grant(scope: Scope) -> TokenGrant {
        TokenGrant {
            hash: TokenHash::from_bytes([0; 32]),
            scope,
            expires_at_ms: None,
            revoked: false,
        }
    }

    fn scope() -> impl Strategy<Value = Scope> {
        prop_oneof![
            Just(Scope::Operator),
            any::<[u8; 16]>().prop_map(Scope::Application)
        ]
    }

    fn access() -> impl Strategy<Value = Access> {
        prop_oneof![
            Just(Access::Operate),
            any::<[u8; 16]>().prop_map(Access::Application)
        ]
    }

    #[test]
    fn every_scope_meets_every_need_with_its_answer() {
        for (scope, what, answer) in [
            (Scope::Operator, Access::Operate, Ok(())),
            (Scope::Operator, Access::Application(OWN), Ok(())),
            (
                Scope::Application(OWN),
                Access::Operate,
                Err(Denied::OperatorOnly),
            ),
            (Scope::Application(OWN), Access::Application(OWN), Ok(())),
            (
                Scope::Application(OWN),
                Access::Application(OTHER),
                Err(Denied::OtherApplication),
            ),
        ] {
            assert_eq!(decide(&grant(scope), what, 0), answer, "{scope:?} {what:?}");
        }
    }

    #[test]
    fn a_grant_ends_at_the_very_millisecond_of_its_expiry() {
        let grant = TokenGrant {
            expires_at_ms: Some(1000),
            ..grant(Scope::Operator)
        };
        assert_eq!(decide(&grant, Access::Operate, 999), Ok(()));
        assert_eq!(decide(&grant, Access::Operate, 1000), Err(Denied::Expired));
        assert_eq!(
            decide(&grant, Access::Operate, i64::MAX),
            Err(Denied::Expired)
        );
    }

    #[test]
    fn another_application_is_answered_like_a_missing_one() {
        assert_eq!(Denied::OtherApplication.to_string(), "not found");
    }

    proptest! {
        #[test]
        fn a_revoked_grant_opens_nothing(
            scope in scope(), what in access(), expires_at_ms in any::<Option<i64>>(), now_ms in any::<i64>()
        ) {
            let grant = TokenGrant { expires_at_ms, revoked: true, ..grant(scope) };
            prop_assert_eq!(decide(&grant, what, now_ms), Err(Denied::Revoked));
        }

        #[test]
        fn an_expired_grant_opens_nothing(
            scope in scope(), what in access(), expires_at_ms in any::<i64>(), late_ms in 0_i64..
        ) {
            let grant = TokenGrant { expires_at_ms: Some(expires_at_ms), ..grant(scope) };
            let now_ms = expires_at_ms.saturating_add(late_ms);
            prop_assert_eq!(decide(&grant, what, now_ms), Err(Denied::Expired));
        }

        #[test]
        fn a_grant_for_one_application_opens_exactly_that_one(
            own in any::<[u8; 16]>(), what in access(), now_ms in any::<i64>()
        ) {
            let allowed = decide(&grant(Scope::Application(own)), what, now_ms).is_ok();
            prop_assert_eq!(allowed, what == Access::Application(own));
        }

        #[test]
        fn time_only_ever_takes_access_away(
            scope in scope(), what in access(), expires_at_ms in any::<Option<i64>>(), now_ms in any::<i64>(), later_ms in 0_i64..
        ) {
            let grant = TokenGrant { expires_at_ms, ..grant(scope) };
            if decide(&grant, what, now_ms.saturating_add(later_ms)).is_ok() {
                prop_assert_eq!(decide(&grant, what, now_ms), Ok(()));
            }
        }
    }
}
