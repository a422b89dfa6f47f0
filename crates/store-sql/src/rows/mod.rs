//! What a row says, whichever the database.

mod config;
mod dead_letters;
mod history;

pub(crate) use config::{
    RemovedKind, application, disabled_label, endpoint, event_type, removal, scope_column, token,
};
pub(crate) use dead_letters::{history_key, replay, stored_dead_letter};
pub(crate) use history::{AttemptStatus, attempt, channels_column, event, status_column};
