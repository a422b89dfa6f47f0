//! `Idempotency-Key` on the API's own operations.

use axum::http::HeaderMap;
use postrider_http::{HttpError, KeyClaim, key_header};
use sha2::{Digest, Sha256};

use crate::Api;
use crate::reply::{Answer, Reply};

/// An operation that is carried out once for each key.
pub(crate) struct Operation<'a> {
    /// Its name, such as `endpoint.create`.
    pub(crate) name: &'static str,
    /// Whose it is: an application, or empty. Keys of one are nothing to another.
    pub(crate) scope: String,
    /// What else of path and query makes two requests the same.
    pub(crate) target: String,
    /// What was sent.
    pub(crate) body: &'a [u8],
}

impl Api {
    /// Runs `work` once for the key in `headers`, to its end even if the client goes away; without one, simply runs it.
    pub(crate) async fn once(
        &self,
        headers: &HeaderMap,
        operation: Operation<'_>,
        work: impl Future<Output = Answer> + Send + 'static,
    ) -> Answer {
        let Some(key) = key_header(headers)? else {
            return work.await;
        };
        let mut asked = Sha256::new();
        asked.update((operation.target.len() as u64).to_be_bytes());
        asked.update(operation.target.as_bytes());
        asked.update(operation.body);
        let claim = KeyClaim {
            key: format!("{}/{}/{key}", operation.name, operation.scope),
            fingerprint: asked.finalize().into(),
            taken: "this idempotency key was used for another request",
        };
        let run = |_since| async { Ok(work.await?.to_kept()) };
        let kept = self.idempotency.once(vec![claim], run).await?;
        Reply::from_kept(&kept).ok_or_else(|| {
            HttpError::Conflict("this idempotency key holds something that is no answer".to_owned())
        })
    }
}
