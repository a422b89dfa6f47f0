//! The first token: made at the first start, kept in the data directory, its hash in the store.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;
use postrider_access::Token;
use postrider_model::Clock;
use postrider_store::{StoreError, TokenRecord, TokenScope, Tokens, all_tokens};

use crate::data_dir;

/// What it is called.
const FIRST: &str = "made at the first start";

/// Sees to it that an operator can come in. The file is written before the store, so that a crash between leaves a token
/// that the next start makes valid. If there is no file although the store has a token for operators, somebody took it
/// away on purpose, and it stays away.
pub(crate) async fn ensure(
    dir: &Path,
    tokens: &dyn Tokens,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let (token, new) = match data_dir::read_token(dir)? {
        Some(token) => (token, false),
        None if has_operator(tokens).await? => return Ok(()),
        None => {
            let token = Token::generate();
            data_dir::write_token(dir, &token)?;
            (token, true)
        }
    };
    let hash = *token.hash().as_bytes();
    let record = TokenRecord::new(hash, TokenScope::Operator, FIRST.to_owned(), clock.now());
    match tokens.insert_token(&record).await {
        // There already: perhaps revoked since, and then it stays so.
        Ok(_) | Err(StoreError::Conflict(_)) => {}
        Err(error) => return Err(error).context("cannot store the operator's token"),
    }
    if new {
        show_once(&token, dir);
    }
    Ok(())
}

async fn has_operator(tokens: &dyn Tokens) -> anyhow::Result<bool> {
    let all = all_tokens(tokens).await.context("cannot read the tokens")?;
    Ok(all.iter().any(|token| token.scope == TokenScope::Operator))
}

/// To a person it is shown; into collected logs it does not belong, so those learn only where it lies.
#[expect(clippy::print_stderr, reason = "a token must not pass through logging")]
fn show_once(token: &Token, dir: &Path) {
    let file = data_dir::token_file(dir);
    if std::io::stderr().is_terminal() {
        eprintln!(
            "operator token (shown only now; kept in {}): {}",
            file.display(),
            token.expose()
        );
    } else {
        tracing::info!(file = %file.display(), "the operator's token was made");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use postrider_model::SystemClock;
    use postrider_store::testing::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn the_first_start_makes_a_token_and_the_next_ones_keep_it() {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        let token = data_dir::read_token(dir.path()).unwrap().unwrap();
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        let kept = all_tokens(&store).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].hash, *token.hash().as_bytes());
    }

    #[tokio::test]
    async fn a_token_that_a_crash_left_without_its_hash_becomes_valid_at_the_next_start() {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        data_dir::write_token(dir.path(), &Token::generate()).unwrap();
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        assert_eq!(all_tokens(&store).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_token_that_was_taken_away_or_revoked_stays_so() {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        let mut record = all_tokens(&store).await.unwrap().remove(0);
        record.revoked_at = Some(SystemClock.now());
        store.replace_token(&record).await.unwrap();
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        assert!(all_tokens(&store).await.unwrap()[0].revoked_at.is_some());

        fs::remove_file(data_dir::token_file(dir.path())).unwrap();
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        assert!(data_dir::read_token(dir.path()).unwrap().is_none());
        assert_eq!(all_tokens(&store).await.unwrap().len(), 1);
    }
}
