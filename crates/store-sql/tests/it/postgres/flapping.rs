//! A server that takes connections and then fails, as one that comes back or goes: it is away, and nothing is wrong with it.

use std::time::Duration;

use postrider_store_sql::{OpenError, PostgresOptions, PostgresStore, inspect};
use postrider_testkit::{FirstQuery, LoginOnly};

use super::databases::Database;
use crate::metrics;

/// Far above what it takes, far below what a network takes to give up.
const IN_TIME: Duration = Duration::from_secs(20);

fn impatient() -> PostgresOptions {
    PostgresOptions {
        acquire_timeout: Duration::from_secs(1),
        ..PostgresOptions::default()
    }
}

/// How opening and looking fail.
async fn failures(url: &str) -> [OpenError; 2] {
    let both = async {
        let opened = PostgresStore::open(url, impatient(), metrics()).await;
        let looked = inspect(url, impatient(), IN_TIME).await;
        [opened.err().unwrap(), looked.err().unwrap()]
    };
    tokio::time::timeout(IN_TIME, both).await.unwrap()
}

#[tokio::test]
async fn a_server_that_takes_a_connection_and_then_cuts_it_or_says_nothing_is_away() {
    for then in [FirstQuery::Cut, FirstQuery::Unanswered] {
        let server = LoginOnly::start(then).await.unwrap();
        for error in failures(server.url()).await {
            assert!(
                matches!(error, OpenError::Unreachable { .. }),
                "{then:?}: {error:?}"
            );
        }
        assert_eq!(server.logins(), 2, "{then:?}");
    }
}

#[tokio::test]
async fn a_server_that_stops_starts_is_full_or_follows_another_is_away_and_one_that_forbids_is_not()
{
    // By a pooler, stopping, starting, too many connections, no disk, a standby, a lock that another has.
    let passing = [
        "08P01", "08006", "57P01", "57P03", "53300", "53100", "25006", "55P03",
    ];
    for code in passing {
        let server = LoginOnly::start(FirstQuery::Refused(code)).await.unwrap();
        for error in failures(server.url()).await {
            assert!(
                matches!(error, OpenError::Unreachable { .. }),
                "{code}: {error:?}"
            );
            assert!(error.to_string().contains("as the test wants it"));
        }
    }
    for code in ["42501", "28000", "0A000"] {
        let server = LoginOnly::start(FirstQuery::Refused(code)).await.unwrap();
        for error in failures(server.url()).await {
            assert!(
                matches!(error, OpenError::Server { .. }),
                "{code}: {error:?}"
            );
        }
    }
}

/// What a standby is like, for whoever writes: the schema cannot be brought up to date by it, and need not be.
#[tokio::test]
async fn a_server_that_takes_no_writes_in_the_middle_of_a_step_is_away() {
    let database = Database::made("").await;
    let url = format!(
        "{}?options=-c%20default_transaction_read_only%3Don",
        database.url()
    );
    let opened = PostgresStore::open(&url, impatient(), metrics()).await;
    let error = opened.err().unwrap();
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
    let words = error.to_string();
    assert!(words.contains("schema") && words.contains("read-only transaction"));
}
