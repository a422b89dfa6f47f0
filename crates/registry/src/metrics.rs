//! What the registry counts.

postrider_metrics::metrics! {
    /// What the registry counts.
    pub struct RegistryMetrics {
        /// Seconds since the last refresh that succeeded began.
        age: FloatGauge("postrider_registry_age_seconds", "seconds", "Age of the configuration that is delivered by."),
        /// The version of the newest change that is in the snapshot.
        version: Gauge("postrider_registry_version", "version", "Version of the newest change of configuration that is known."),
        /// Endpoints in the snapshot.
        endpoints: Gauge("postrider_registry_endpoints", "endpoints", "Endpoints that are known, disabled ones included."),
        /// Refreshes that failed.
        failures: Counter("postrider_registry_refresh_failures_total", "refreshes", "Refreshes that the store did not answer."),
    }
}

postrider_metrics::metrics! {
    /// What is counted where the snapshot is kept in a file.
    pub struct KeeperMetrics {
        /// Seconds since the refresh began that showed what is in the file.
        age: FloatGauge("postrider_registry_snapshot_age_seconds", "seconds", "Age of the configuration in the file of registry.snapshot: what a start would go on with if the store were away now. 0 while nothing was read from it or written into it."),
        /// Writes that failed.
        failures: Counter("postrider_registry_snapshot_failures_total", "writes", "Times that the file of registry.snapshot could not be written."),
    }
}
