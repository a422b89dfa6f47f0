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
