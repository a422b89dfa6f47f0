//! Named places before and after each durable write, at which a test stops the process to kill it there.
//!
//! **In → out.** [`fail_point!`] and [`thread_fail_point!`] name a place. With the feature `armed` the environment may name
//! one of them, and which passage: the process says on standard error that it has come there, and goes no further.
//! Without the feature, which is every build but those of tests, both are nothing, their names included.
//!
//! **Invariants.** A name stands in one place. Only the passage that was asked for is stopped; what else the process does
//! goes on beside it.
//!
//! **Authority.** The environment, read once. Nothing is kept.
//!
//! **Failure.** What cannot be understood as a point and a passage stops nothing, so the test that waits for it fails.

#[cfg(feature = "armed")]
mod armed;

#[cfg(feature = "armed")]
pub use armed::{VARIABLE, reach, reach_on_thread, reached};

/// A place in an `async` function: stops what awaits there.
#[cfg(feature = "armed")]
#[macro_export]
macro_rules! fail_point {
    ($name:literal) => {
        $crate::reach($name).await
    };
}

/// A place in an `async` function: nothing in this build.
#[cfg(not(feature = "armed"))]
#[macro_export]
macro_rules! fail_point {
    ($name:literal) => {{}};
}

/// A place on a thread of its own: stops the thread.
#[cfg(feature = "armed")]
#[macro_export]
macro_rules! thread_fail_point {
    ($name:literal) => {
        $crate::reach_on_thread($name)
    };
}

/// A place on a thread of its own: nothing in this build.
#[cfg(not(feature = "armed"))]
#[macro_export]
macro_rules! thread_fail_point {
    ($name:literal) => {{}};
}
