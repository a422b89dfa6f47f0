//! What was measured, as a table for people and as JSON for programs.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// What it came to.
    pub(crate) value: f64,
    /// Its unit; empty for ratios.
    pub(crate) unit: &'static str,
    /// No more than this is to be reached; `None` for what is only shown beside.
    pub(crate) to_reach: Option<f64>,
    /// What it was computed from.
    pub(crate) from: Value,
}

impl Figure {
    fn is_met(&self) -> Option<bool> {
        self.to_reach.map(|limit| self.value <= limit)
    }
}

/// All that was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

/// Says on standard error what is being done.
pub(crate) fn progress(what: &str) {
    eprintln!("bench: {what}");
}

/// The middle one of some values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

impl Report {
    pub(crate) fn add(&mut self, figure: Figure) {
        progress(&line(&figure));
        self.figures.push(figure);
    }

    pub(crate) fn write(&self, path: &Path, quick: bool) -> Result<()> {
        let figures: Vec<_> = self
            .figures
            .iter()
            .map(|figure| {
                let mut value = json!(figure);
                value["met"] = json!(figure.is_met());
                value
            })
            .collect();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let report = json!({ "quick": quick, "cores": cores, "figures": figures });
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))
    }

    #[expect(clippy::print_stdout, reason = "the table is what was asked for")]
    pub(crate) fn print(&self, quick: bool) {
        let width = self
            .figures
            .iter()
            .map(|one| one.what.chars().count())
            .max();
        let width = width.unwrap_or_default();
        println!("{:width$}  {:>12}  {:>12}", "", "figure", "to reach");
        for figure in &self.figures {
            let (value, limit, verdict) = cells(figure);
            println!(
                "{:width$}  {value:>12}  {limit:>12}  {verdict}",
                figure.what
            );
        }
        if quick {
            println!("A quick run: it shows that everything runs, not what can be reached.");
        }
    }
}

fn cells(figure: &Figure) -> (String, String, &'static str) {
    let number = |value: f64| match figure.unit {
        "" => format!("{value:.2}"),
        unit => format!("{value:.2} {unit}"),
    };
    let limit = figure
        .to_reach
        .map_or_else(String::new, |limit| format!("≤ {}", number(limit)));
    let verdict = match figure.is_met() {
        Some(true) => "met",
        Some(false) => "NOT MET",
        None => "",
    };
    (number(figure.value), limit, verdict)
}

fn line(figure: &Figure) -> String {
    let (value, limit, verdict) = cells(figure);
    format!("{}: {value} {limit} {verdict}", figure.what)
}
