//! The system's limits that a server needs raised.

/// Below this a warning is due: ten thousand endpoints that hang hold as many sockets.
const COMFORTABLE_FILES: u64 = 16_384;

/// Raises the soft limit of open files to the hard one: connections count as files.
pub(crate) fn raise_open_files() {
    let raised = rlimit::increase_nofile_limit(u64::MAX);
    match raised {
        Ok(files) if files >= COMFORTABLE_FILES => tracing::debug!(files, "open files allowed"),
        Ok(files) => tracing::warn!(
            files,
            "few open files are allowed: raise the limit (ulimit -n) to 16384 or more"
        ),
        Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
    }
}
