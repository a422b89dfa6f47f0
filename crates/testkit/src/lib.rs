//! What tests, checks and the benchmark share; nothing of it is in the `postrider` binary.
//!
//! **In → out.** Tests come here for what stands around Postrider: a [`Receiver`] that behaves as badly as
//! a customer's can, a [`Server`] process to start and to kill, an [`Api`] to speak to it, a [`Load`] to put
//! on it, and a [`LossChecker`] that says what became of every event. `make bench` is built of the same
//! parts, `make layers` checks the crates' dependencies ([`layers`]).
//!
//! **Invariants.** It looks at Postrider from outside, over HTTP and as a process: it depends on
//! no service, port or adapter, and starts engines rather than linking them. All times are the machine's
//! monotonic clock ([`now_us`]), so that what one process sent can be compared with what another received.
//!
//! **Authority and crashes.** It keeps nothing: what a test starts ends with the test.
//!
//! **Failing.** Loudly, with what was expected and what came.

mod api;
mod clients;
mod clock;
mod eventually;
mod kafka;
pub mod layers;
mod load;
mod login_only;
mod loss;
mod postgres;
mod process;
mod prometheus;
mod proxy;
mod quantiles;
mod receiver;
mod secured;
mod seed;
mod server;
mod signature;
mod small_disk;

pub use api::{Answer, Api};
pub use clients::{CLOUDEVENTS, NODE, SVIX_1, SVIX_2, YAML, client_library};
pub use clock::now_us;
pub use eventually::eventually;
pub use kafka::{Broker, BrokerCluster, Jit, bare_round_trip, kafka};
pub use load::{Accepted, Load, Pace, Report, Target};
pub use login_only::{FirstQuery, LoginOnly};
pub use loss::{Kill, LossChecker, Verdict, WRITING_DOWN};
pub use postgres::{Postgres, shared_postgres, sql};
pub use process::{
    allow_many_files, cpu_seconds, cpu_seconds_of_family, pause, peak_rss_bytes, ports_of, proceed,
    rss_bytes,
};
pub use prometheus::{Prometheus, prometheus_program};
pub use proxy::GroupProxy;
pub use quantiles::Quantiles;
pub use receiver::{Arrival, Behaviour, Received, Receiver, Recording, Refusing, Stats};
pub use secured::{ClientCertificate, LimitingBroker, SecuredBroker};
pub use seed::{Seed, setting};
pub use server::{Launch, Server};
pub use signature::{Checked, sign, verify};
pub use small_disk::SmallDisk;
