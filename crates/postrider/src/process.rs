//! What is measured of the process as a whole, and who it is.

use postrider_metrics::{Gauge, Registry};

use crate::lines;
use crate::roles::Roles;

/// What Linux counts a process's time in, whatever the kernel's own tick (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: i64 = 4096;

postrider_metrics::metrics! {
    /// The process, as /proc tells when it is asked. The names are those of other programs, behind our prefix.
    pub(crate) struct ProcessMetrics {
        resident: Gauge("postrider_process_resident_memory_bytes", "bytes", "Memory that the process holds."),
        open_files: Gauge("postrider_process_open_fds", "descriptors", "Descriptors that are open: files and connections."),
        max_files: Gauge("postrider_process_max_fds", "descriptors", "Descriptors that may be open."),
        threads: Gauge("postrider_process_threads", "threads", "Threads of the process."),
        cpu: FloatCounter("postrider_process_cpu_seconds_total", "seconds", "Processor time used since the start, user and system."),
        started: FloatGauge("postrider_process_start_time_seconds", "seconds", "When the process was started, since 1970."),
        unlogged: FloatCounter("postrider_process_log_lines_dropped_total", "lines", "Lines of log dropped because standard error was not read as fast as they came."),
        role: GaugeFamily<1>("postrider_role", "processes", "1 for each role that the process plays: ingest, fanout, worker, pump, deadletter, recorder, api.", ["role"]),
        info: GaugeFamily<2>("postrider_info", "processes", "1: which roles the process plays, all of them in one label, and which version it is.", ["roles", "version"]),
    }
}

impl ProcessMetrics {
    /// Declares them, and says when this process began and which roles it plays.
    pub(crate) fn start(
        registry: &Registry,
        roles: &Roles,
    ) -> Result<Self, postrider_metrics::Error> {
        let metrics = Self::register(registry)?;
        let now_ms = jiff::Timestamp::now().as_millisecond();
        #[expect(clippy::cast_precision_loss, reason = "exact for 250,000 years")]
        metrics.started.set(now_ms as f64 / 1000.0);
        for role in roles.each() {
            metrics.role.resolve([role])?.set(1);
        }
        let of: Gauge = metrics
            .info
            .resolve([&roles.in_short(), env!("CARGO_PKG_VERSION")])?;
        of.set(1);
        Ok(metrics)
    }

    /// Reads them anew. What /proc does not tell stays as it was.
    pub(crate) fn sample(&self) {
        if let Some(pages) = field("/proc/self/statm", 1) {
            self.resident.set(pages.saturating_mul(PAGE_BYTES));
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.open_files
                .set(i64::try_from(entries.count()).unwrap_or(i64::MAX));
        }
        if let Ok((soft, _)) = rlimit::Resource::NOFILE.get() {
            self.max_files.set(i64::try_from(soft).unwrap_or(i64::MAX));
        }
        #[expect(clippy::cast_precision_loss, reason = "lines stay far below 2^52")]
        self.unlogged.raise_to(lines::dropped() as f64);
        if let Some(threads) = after_name(17) {
            self.threads.set(threads);
        }
        if let (Some(user), Some(system)) = (after_name(11), after_name(12)) {
            #[expect(clippy::cast_precision_loss, reason = "ticks stay far below 2^52")]
            self.cpu.raise_to((user + system) as f64 / TICKS_PER_SECOND);
        }
    }
}

fn field(file: &str, index: usize) -> Option<i64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// A field of /proc/self/stat, counted from the one behind the program's name, which may hold anything.
fn after_name(index: usize) -> Option<i64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind) = text.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::Role;

    #[test]
    fn the_process_is_measured_by_what_proc_tells() {
        let registry = Registry::new();
        let metrics = ProcessMetrics::start(&registry, &Roles::all()).unwrap();
        metrics.sample();
        assert!(metrics.resident.get() > 1 << 20, "a megabyte at least");
        assert!(metrics.open_files.get() >= 3);
        assert!(metrics.max_files.get() > 3);
        assert!(metrics.threads.get() >= 1);
        assert!(metrics.started.get() > 1.7e9);
    }

    #[test]
    fn each_role_is_told_by_itself_and_all_of_them_in_one() {
        let registry = Registry::new();
        ProcessMetrics::start(&registry, &Roles::of(&[Role::Pump, Role::Fanout])).unwrap();
        let told = registry.render();
        for series in [
            "postrider_role{role=\"fanout\"} 1",
            "postrider_role{role=\"pump\"} 1",
            "postrider_info{roles=\"fanout pump\"",
        ] {
            assert!(told.contains(series), "{series} in {told}");
        }
        assert!(!told.contains("role=\"api\""));
        let registry = Registry::new();
        ProcessMetrics::start(&registry, &Roles::all()).unwrap();
        assert!(registry.render().contains("postrider_info{roles=\"all\""));
    }
}
