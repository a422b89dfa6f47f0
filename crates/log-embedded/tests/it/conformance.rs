//! The suite: once as the log is opened by default, once so narrow that every reader falls behind the tail and the WAL
//! begins anew again and again.

mod as_by_default {
    use crate::support::InDirectory;

    postrider_log::conformance_suite!(InDirectory::new(|_| {}));
}

mod narrow {
    use crate::support::InDirectory;

    postrider_log::conformance_suite!(InDirectory::new(|options| {
        options.tail_bytes = 4 << 10;
        options.queue_bytes = 16 << 10;
        options.wal_bytes = 1 << 20;
        options.record_bytes = 1 << 20;
    }));
}
