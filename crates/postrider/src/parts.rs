//! What `/metrics` says of the process's parts, and of the disk that its data lies on, whenever it is asked.

use std::path::{Path, PathBuf};

use postrider_metrics::{Label, Registry};

use crate::condition::Part;

postrider_metrics::label! {
    /// A part, as `/health/ready` names it.
    pub(crate) enum ByPart("part") { Log = "log", Space = "space", Store = "store", Process = "process" }
}

postrider_metrics::metrics! {
    /// How the parts are.
    pub(crate) struct PartMetrics {
        ready: GaugeVec<ByPart>("postrider_part_ready", "parts", "1 if the part is ready or the process does without it, 0 if not: what /health/ready says. space: whether the embedded log takes new events; process: 0 while it starts or stops."),
        disk_size: Gauge("postrider_data_disk_size_bytes", "bytes", "Size of the file system of the data directory; 0 if the log is not embedded."),
        disk_free: Gauge("postrider_data_disk_free_bytes", "bytes", "What is free of it for this process; 0 if the log is not embedded."),
    }
}

/// Reads them when it is asked.
#[derive(Clone)]
pub(crate) struct Parts {
    metrics: PartMetrics,
    /// Where the embedded log is, if it is.
    data: Option<PathBuf>,
}

impl Parts {
    /// Declares them. `data` is where the embedded log is, if it is embedded.
    pub(crate) fn start(
        registry: &Registry,
        data: Option<PathBuf>,
    ) -> Result<Self, postrider_metrics::Error> {
        let metrics = PartMetrics::register(registry)?;
        Ok(Self { metrics, data })
    }

    /// Takes down how `parts` are, and the disk.
    pub(crate) fn sample(&self, parts: &[Part]) {
        for part in [ByPart::Log, ByPart::Space, ByPart::Store, ByPart::Process] {
            let name = ByPart::VALUES[part.index()];
            let fault = parts.iter().any(|one| one.name == name && !one.ready);
            self.metrics.ready.of(part).set(i64::from(!fault));
        }
        if let Some((size, free)) = self.data.as_deref().and_then(disk) {
            self.metrics.disk_size.set(size);
            self.metrics.disk_free.set(free);
        }
    }
}

/// Size, and what is free, in bytes. None while the system does not say.
fn disk(at: &Path) -> Option<(i64, i64)> {
    let found = rustix::fs::statvfs(at).ok()?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(found.f_frsize)).ok();
    Some((bytes(found.f_blocks)?, bytes(found.f_bavail)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_not_ready_is_told_and_one_that_is_not_there_is_no_fault() {
        let registry = Registry::new();
        let parts = Parts::start(&registry, Some(std::env::temp_dir())).unwrap();
        let part = |name, ready| Part {
            name,
            ready,
            why: None,
        };
        parts.sample(&[part("log", false), part("process", true)]);
        let ready = |part| parts.metrics.ready.of(part).get();
        assert_eq!((ready(ByPart::Log), ready(ByPart::Process)), (0, 1));
        assert_eq!(ready(ByPart::Store), 1, "it needs none");
        assert!(parts.metrics.disk_free.get() > 0);
        assert!(parts.metrics.disk_size.get() >= parts.metrics.disk_free.get());
    }
}
