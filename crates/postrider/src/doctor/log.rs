//! The embedded log: whether a start would open it, and whether all of it can be read.

use postrider_log_embedded::{Inspected, LogMetrics, OpenError, Options, inspect};
use postrider_metrics::Registry as Metrics;
use postrider_model::topics;

use super::{Finding, READ_FOR};
use crate::config::Config;
use crate::{data_dir, options, out};

const PART: &str = "log";

pub(super) async fn examine(config: &Config) -> anyhow::Result<Finding> {
    match data_dir::check_log(&config.data) {
        Err(refused) => return Ok(gone(out::causes(&refused))),
        Ok(true) => {
            return Ok(Finding::warning(
                PART,
                data_dir::NEW_LOG_BEGINS,
                "if that is not meant, put log.db back, with log.db-wal if there is one, before the next start",
            ));
        }
        Ok(false) => {}
    }
    let metrics = LogMetrics::register(&Metrics::new())?;
    let defaults = Options::new(&config.data, topics::all(), metrics);
    let options = options::log(config, defaults);
    let looked = tokio::task::spawn_blocking(move || inspect(options, READ_FOR)).await?;
    Ok(told(looked, config))
}

/// The server would not start, and says the same.
fn gone(refused: String) -> Finding {
    Finding::wrong(PART, refused, "until then no server starts here")
}

fn told(looked: Result<Inspected, OpenError>, config: &Config) -> Finding {
    let file = config.data.join("log.db");
    let file = file.display();
    match looked {
        Ok(Inspected::Missing | Inspected::Empty) => {
            Finding::ok(PART, format!("{file} is new: the first start makes it"))
        }
        Ok(Inspected::Sound { bytes, whole: true }) => Finding::ok(
            PART,
            format!("{file} can be read from end to end ({} MiB)", bytes >> 20),
        ),
        Ok(Inspected::Sound { bytes, .. }) => Finding::warning(
            PART,
            format!(
                "nothing is wrong in what was read of {file} within {} s; the rest of its {} MiB was not looked at",
                READ_FOR.as_secs(),
                bytes >> 20
            ),
            format!(
                "to read all of it, however long it takes: stop the server, whose log grows while somebody reads it for long, \
                 and then: sqlite3 {file} 'PRAGMA quick_check'"
            ),
        ),
        Err(error) => Finding::wrong(PART, error.to_string(), advice(&error)),
    }
}

fn advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::Corrupt { .. } => {
            "a server does not start with it, or stops as soon as it comes to what is damaged"
        }
        OpenError::Newer { .. } | OpenError::Foreign { .. } | OpenError::InUse { .. } => {
            "until then no server starts here"
        }
        OpenError::RecordLimit { .. } | OpenError::Options(_) => "change the configuration",
        OpenError::Io { .. } | OpenError::Database { .. } => {
            "see that the file and its folder belong to the user that runs the server"
        }
    }
}
