//! Rows of claims.

use bytes::Bytes;
use postrider_store::{Claim, StoreError};

use crate::columns::Columns;

/// What a claim is to somebody who does not have it.
pub(crate) fn claim_of_another(row: &impl Columns) -> Result<Claim, StoreError> {
    let fingerprint = row.bytes("fingerprint")?;
    Ok(match row.blob("answer")? {
        Some(answer) => Claim::Done {
            fingerprint,
            answer: Bytes::copy_from_slice(answer),
        },
        None => Claim::Held {
            fingerprint,
            until: row.some_time("until")?,
        },
    })
}
