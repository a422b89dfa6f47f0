//! The suite, as the log is opened by default, and with the classic group protocol.

mod as_by_default {
    use crate::support::OnBroker;

    postrider_log::conformance_suite!(OnBroker::new(|_| {}));
}
