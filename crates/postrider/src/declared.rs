//! Every metric that a process can have, as it was declared: what docs/metrics.md shows.

use std::collections::BTreeMap;
use std::fmt::Write;

use postrider_metrics::{Declaration, Error, Kind, Registry};

use crate::observe::LagMetrics;
use crate::parts::PartMetrics;
use crate::process::ProcessMetrics;
use crate::reload::ReloadMetrics;

/// A chapter, and what declares its metrics.
type Chapter = (&'static str, fn(&Registry) -> Result<(), Error>);

macro_rules! chapters {
    ($( $title:literal: $($metrics:path),+; )+) => {
        const CHAPTERS: &[Chapter] = &[$(
            ($title, |registry| { $( <$metrics>::register(registry)?; )+ Ok(()) }),
        )+];
    };
}

chapters! {
    "Ingest": postrider_ingest::IngestMetrics;
    "Fan-out": postrider_fanout::FanoutMetrics;
    "Delivery worker": postrider_delivery::DeliveryMetrics;
    "Pump": postrider_pump::PumpMetrics;
    "Dead letters and replays": postrider_deadletter::DeadLetterMetrics;
    "Recorder": postrider_recorder::RecorderMetrics;
    "API": postrider_api::ApiMetrics;
    "Registry: the configuration that is delivered by": postrider_registry::RegistryMetrics;
    "Registry: what a start without the store would go on with, where registry.snapshot is set": postrider_registry::KeeperMetrics;
    "Log: how far its readers are": LagMetrics;
    "Log, embedded": postrider_log_embedded::LogMetrics;
    "Log on Kafka": postrider_log_kafka::LogMetrics;
    "Store": postrider_store_sql::StoreMetrics;
    "Traces": postrider_trace::TraceMetrics;
    "Process": PartMetrics, ProcessMetrics, ReloadMetrics;
}

/// The chapters of the reference, as Markdown.
///
/// # Errors
/// If a declaration is wrong, which no process would start with.
pub(crate) fn markdown() -> anyhow::Result<String> {
    let mut text = String::new();
    for (title, declare) in CHAPTERS {
        let registry = Registry::new();
        declare(&registry)?;
        let rendered = registry.render();
        writeln!(text, "\n## {title}\n")?;
        writeln!(text, "| Metric | Kind | Unit | Labels | Meaning |")?;
        writeln!(text, "|---|---|---|---|---|")?;
        for metric in registry.declarations() {
            let Declaration {
                name,
                kind,
                unit,
                help,
                ..
            } = metric;
            let labels = labels(&metric, &rendered);
            writeln!(text, "| `{name}` | {kind} | {unit} | {labels} | {help} |")?;
        }
    }
    Ok(text)
}

/// Its labels, with all values of those that are enumerated: each has a series from the start.
fn labels(metric: &Declaration, rendered: &str) -> String {
    let suffix = if metric.kind == Kind::Histogram {
        "_count{"
    } else {
        "{"
    };
    let beginning = format!("{}{suffix}", metric.name);
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in rendered.lines() {
        let series = line
            .strip_prefix(&beginning)
            .and_then(|line| line.split_once('}'));
        let pairs = series.map_or("", |(pairs, _)| pairs).split(',');
        for (label, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            let known = values.entry(label).or_default();
            let value = value.trim_matches('"');
            if !known.contains(&value) {
                known.push(value);
            }
        }
    }
    let told = metric.labels.iter().map(|label| {
        let values = values
            .get(label)
            .map(|values| format!(": {}", values.join(", ")));
        format!("`{label}`{}", values.unwrap_or_default())
    });
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_metric_as_it_is_declared() {
        let page = include_str!("../../../docs/metrics.md");
        assert!(
            page.ends_with(&markdown().unwrap()),
            "write the chapters in docs/metrics.md anew: postrider metrics"
        );
    }

    #[test]
    fn no_two_chapters_declare_the_same_metric_but_for_one_process() {
        // A process has one of the two logs.
        let registry = Registry::new();
        for (title, declare) in CHAPTERS
            .iter()
            .filter(|(title, _)| *title != "Log on Kafka")
        {
            assert!(declare(&registry).is_ok(), "{title}");
        }
    }
}
