//! The suite, with each of the two group protocols.

mod as_by_default {
    use crate::support::OnBroker;

    postrider_log::conformance_suite!(OnBroker::new(|_| {}));
}

mod classic {
    use crate::support::{OnBroker, classic};

    postrider_log::conformance_suite!(OnBroker::new(classic));
}
