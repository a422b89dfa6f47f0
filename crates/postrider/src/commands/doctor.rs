//! `postrider doctor`

use std::process::ExitCode;

use super::{Sources, serve};
use crate::doctor::{Finding, Verdict, examine};
use crate::roles::Role;
use crate::{config, out};

/// Looks at everything that the configuration names and says what is wrong, and what to do. Changes nothing. Exit code 1
/// if something is wrong, 2 if the configuration is; a warning is neither.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    sources: Sources,
    /// Print each finding as one line of JSON
    #[arg(long)]
    json: bool,
    /// How many connections to PostgreSQL all processes together open, at most; without it, this configuration's alone are
    /// compared with what its server takes
    #[arg(long, value_name = "N")]
    connections: Option<u32>,
    /// The roles that are to be played by log.kafka.username, separated by commas: then it is asked whether the brokers let it
    #[arg(long, value_enum, value_delimiter = ',')]
    roles: Option<Vec<Role>>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = config::load(&args.sources.flags())?;
    let findings =
        serve::runtime()?.block_on(examine(&config, args.connections, args.roles.as_deref()))?;
    for finding in &findings {
        if args.json {
            out::line(serde_json::to_string(finding)?)?;
        } else {
            out::write(lines(finding))?;
        }
    }
    let worst = findings.iter().map(|finding| finding.verdict).max();
    Ok(match worst {
        Some(Verdict::Wrong) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn lines(finding: &Finding) -> String {
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Wrong => "WRONG",
    };
    let mut text = format!("{verdict:<8} {:<18} {}\n", finding.part, finding.seen);
    if let Some(advice) = &finding.advice {
        text.push_str(&format!("{:<27} {advice}\n", ""));
    }
    text
}
