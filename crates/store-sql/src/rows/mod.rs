//! What a row says, whichever the database.

mod claims;
mod config;
mod dead_letters;
mod history;

pub(crate) use claims::claim_of_another;
pub(crate) use config::{
    RemovedKind, application, disabled_label, endpoint, event_type, removal, scope_column, token,
};
pub(crate) use dead_letters::{
    DEAD_LETTERS, IS_REPLAYABLE, history_key, replay, replay_columns, stored_dead_letter,
};
pub(crate) use history::{
    AttemptStatus, attempt, channel_mark, channels_column, event, fanned_out,
    names_event_or_endpoint, newest_by_endpoint, status_column, tried,
};

use postrider_store::StoreError;

/// The things in `rows`.
pub(crate) fn read_all<R, T>(
    rows: &[R],
    read: impl Fn(&R) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows.iter().map(read).collect()
}
