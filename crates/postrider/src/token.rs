//! The first token: made at the first start, kept in the data directory, its hash in the store.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;
use postrider_access::Token;
use postrider_model::{Clock, TokenId};
use postrider_store::{Order, Page, PageStart, StoreError, TokenRecord, TokenScope, Tokens};

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
    match tokens
        .insert_token(&record(&token, TokenScope::Operator, FIRST, clock))
        .await
    {
        // There already: perhaps revoked since, and then it stays so.
        Ok(_) | Err(StoreError::Conflict(_)) => {}
        Err(error) => return Err(error).context("cannot store the operator's token"),
    }
    if new {
        show_once(&token, dir);
    }
    Ok(())
}

/// A new token as the store keeps it.
pub(crate) fn record(
    token: &Token,
    scope: TokenScope,
    name: &str,
    clock: &dyn Clock,
) -> TokenRecord {
    TokenRecord {
        id: TokenId::new(),
        hash: *token.hash().as_bytes(),
        scope,
        name: name.to_owned(),
        expires_at: None,
        revoked_at: None,
        version: 0,
        created_at: clock.now(),
    }
}

async fn has_operator(tokens: &dyn Tokens) -> anyhow::Result<bool> {
    let all = all(tokens).await?;
    Ok(all.iter().any(|token| token.scope == TokenScope::Operator))
}

/// Every token, in the order in which they were made.
pub(crate) async fn all<T: Tokens + ?Sized>(tokens: &T) -> anyhow::Result<Vec<TokenRecord>> {
    const LIMIT: usize = 100;
    let mut page = Page {
        limit: LIMIT,
        start: PageStart::Beginning,
        order: Order::Ascending,
    };
    let mut all = Vec::new();
    loop {
        let some = tokens
            .tokens(&page)
            .await
            .context("cannot read the tokens")?;
        let is_whole = some.len() < LIMIT;
        all.extend(some);
        match all.last() {
            Some(last) if !is_whole => page.start = PageStart::After(last.id),
            _ => return Ok(all),
        }
    }
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
        let kept = all(&store).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].hash, *token.hash().as_bytes());
    }

    #[tokio::test]
    async fn a_token_that_a_crash_left_without_its_hash_becomes_valid_at_the_next_start() {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        data_dir::write_token(dir.path(), &Token::generate()).unwrap();
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        assert_eq!(all(&store).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_token_that_was_taken_away_or_revoked_stays_so() {
        let (dir, store) = (tempfile::tempdir().unwrap(), MemoryStore::new());
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        let mut record = all(&store).await.unwrap().remove(0);
        record.revoked_at = Some(SystemClock.now());
        store.replace_token(&record).await.unwrap();
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        assert!(all(&store).await.unwrap()[0].revoked_at.is_some());

        fs::remove_file(data_dir::token_file(dir.path())).unwrap();
        ensure(dir.path(), &store, &SystemClock).await.unwrap();
        assert!(data_dir::read_token(dir.path()).unwrap().is_none());
        assert_eq!(all(&store).await.unwrap().len(), 1);
    }
}
