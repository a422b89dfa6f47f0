/// Why a request may not go on. No variant carries any part of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    // 401: the caller must present another token.
    /// No `Authorization` header.
    #[error("no token was sent; send the header Authorization: Bearer pr_…")]
    NoToken,
    /// The header has another scheme than `Bearer`, or no scheme.
    #[error("the Authorization header must be the word Bearer, a space and the token")]
    NotBearer,
    /// What follows `Bearer` cannot be a token of ours, so that it need not be looked up.
    #[error("this is not a token of Postrider; one is pr_ and 43 letters, digits, - or _")]
    Malformed,
    /// The registry, on a fresh snapshot, has no such token. [`decide`](crate::decide) never says
    /// this; it is here so that all answers to a caller come from one place.
    #[error("this token is not known here; it may belong to another installation")]
    Unknown,
    /// The grant was revoked.
    #[error("this token was revoked; ask an operator for another")]
    Revoked,
    /// The grant's time is over.
    #[error("this token has expired; ask an operator for another")]
    Expired,

    // 403: the token is good, the operation is not for it.
    /// The operation is for operators, and the token is for one application.
    #[error("this needs an operator's token; the one sent is for a single application")]
    OperatorOnly,

    // 404: answered exactly as if what was asked for did not exist, text included; otherwise the
    // holder of one application's token could find out which others there are.
    /// The token is for another application.
    #[error("not found")]
    OtherApplication,
}
