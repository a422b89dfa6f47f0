//! What the brokers let our user do.

use postrider_log_kafka::{Access, Options, check_access};

use super::Finding;
use super::kafka::away;

const ADVICE: &str = "docs/cluster.md says what each role needs (kafka-acls.sh --add)";

/// Whether it may do this.
pub(super) async fn examine(options: &Options, access: &Access) -> Vec<Finding> {
    match check_access(options, access).await {
        Err(error) => vec![away(&error)],
        Ok(faults) if faults.is_empty() => {
            let seen = "the brokers let our user read and write what these roles have to";
            vec![Finding::ok("permissions", seen)]
        }
        Ok(faults) => {
            let wrong = |fault| Finding::wrong("permissions", fault, ADVICE);
            faults.into_iter().map(wrong).collect()
        }
    }
}

/// Settings that our user may not read are no fault of these, and told once.
pub(super) fn sorted(
    faults: Vec<String>,
    part: &'static str,
    wrong: impl Fn(String) -> Finding,
) -> Vec<Finding> {
    let is_hidden = |fault: &String| fault.contains("not told to our user");
    let (hidden, faults): (Vec<_>, Vec<_>) = faults.into_iter().partition(is_hidden);
    let mut findings: Vec<_> = faults.into_iter().map(wrong).collect();
    if let Some(first) = hidden.first() {
        findings.push(Finding::warning(
            part,
            format!("{} cannot be compared: {first}", hidden.len()),
            "ask as a user who may (DescribeConfigs on the topics and on the cluster)",
        ));
    }
    findings
}
