//! How an endpoint's secrets are kept. The one place where they are sealed and opened: at present they are kept as they
//! are, in a file that only its owner may read.

use postrider_model::{EndpointSecret, SecretText, Timestamp};
use postrider_store::StoreError;
use serde::{Deserialize, Serialize};

use crate::columns::json;
use crate::error::unreadable;

#[derive(Serialize, Deserialize)]
struct Kept {
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<i64>,
}

/// The secrets as a column.
pub(crate) fn encode(secrets: &[EndpointSecret]) -> Result<String, StoreError> {
    let kept = secrets.iter().map(|secret| Kept {
        secret: secret.secret.expose().to_owned(),
        expires_at_ms: secret.expires_at.map(Timestamp::as_millis),
    });
    json(&kept.collect::<Vec<_>>())
}

/// The secrets in a column. The error does not show it.
pub(crate) fn decode(column: &str) -> Result<Vec<EndpointSecret>, StoreError> {
    let kept: Vec<Kept> = serde_json::from_str(column)
        .map_err(|_| unreadable("secrets", "not what this program writes"))?;
    let secrets = kept.into_iter().map(|kept| EndpointSecret {
        secret: SecretText::new(kept.secret),
        expires_at: kept.expires_at_ms.map(Timestamp::from_millis),
    });
    Ok(secrets.collect())
}
