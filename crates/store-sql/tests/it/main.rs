//! The store in SQL passes the suite that every store passes, and opens or says why not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod left_out;
mod opening;
mod postgres;
mod sqlite;

use postrider_metrics::Registry;
use postrider_store_sql::StoreMetrics;

fn metrics() -> StoreMetrics {
    StoreMetrics::register(&Registry::new()).unwrap()
}
