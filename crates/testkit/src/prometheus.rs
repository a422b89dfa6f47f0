//! A real Prometheus: started, asked, and ended with its value.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::{eventually, ports_of, setting};

/// How long it may take to listen, and to answer.
const START: Duration = Duration::from_secs(60);

/// The programs `prometheus` and `promtool`.
///
/// # Errors
/// If they are not there; the message says how to get them.
pub fn prometheus_program(name: &str) -> Result<PathBuf> {
    let root = setting("POSTRIDER_TEST_PROMETHEUS", String::new());
    let program = PathBuf::from(&root).join("bin").join(name);
    if root.is_empty() || !program.is_file() {
        bail!(
            "no {name}: run `make prometheus`, and set POSTRIDER_TEST_PROMETHEUS to the folder it names (`make test` does both)"
        );
    }
    Ok(program)
}

/// A server that scrapes its targets every second, as job `postrider`. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    url: String,
    client: reqwest::Client,
    dir: TempDir,
}

impl Prometheus {
    /// One that scrapes `targets` and evaluates `rules`, the text of a file of rules, every second.
    ///
    /// # Errors
    /// If it cannot be started; the message says why, or how to get it.
    pub async fn start(targets: &[SocketAddr], rules: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("rules.yaml"), rules)?;
        let targets = targets.iter().map(|target| format!("\"{target}\""));
        let targets = targets.collect::<Vec<_>>().join(", ");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [rules.yaml]\n\
             scrape_configs: [{{job_name: postrider, static_configs: [{{targets: [{targets}]}}]}}]\n"
        );
        fs::write(dir.path().join("prometheus.yaml"), config)?;
        let said = fs::File::create(dir.path().join("log"))?;
        let child = Command::new(prometheus_program("prometheus")?)
            .arg("--config.file=prometheus.yaml")
            .args([
                "--storage.tsdb.path=data",
                "--web.listen-address=127.0.0.1:0",
            ])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()?;
        let mut started = Self {
            child,
            url: String::new(),
            client: reqwest::Client::builder().no_proxy().build()?,
            dir,
        };
        started.wait().await?;
        Ok(started)
    }

    async fn wait(&mut self) -> Result<()> {
        let pid = self.child.id();
        // Some of its ports may be the near ends of scrapes, which answer nobody.
        let ready = eventually("Prometheus is ready", START, async || {
            for port in ports_of(pid).ok()? {
                let url = format!("http://127.0.0.1:{port}");
                let answer = self.client.get(format!("{url}/-/ready")).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return Some(url);
                }
            }
            None
        });
        self.url = ready.await.with_context(|| self.log())?;
        Ok(())
    }

    /// The values of `query` now: series with their labels, and what they are.
    ///
    /// # Errors
    /// If it does not answer, or refuses the query.
    pub async fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let url = format!("{}/api/v1/query", self.url);
        let url = reqwest::Url::parse_with_params(&url, [("query", query)])?;
        let answer = self.client.get(url).send().await?;
        let answer: Value = answer.json().await?;
        let Some(result) = answer["data"]["result"].as_array() else {
            bail!("{query}: {answer}");
        };
        let values = result.iter().map(|series| {
            let text = series["value"][1].as_str().context("no value")?;
            Ok((series["metric"].clone(), text.parse()?))
        });
        values.collect()
    }

    /// The names of the alerts that fire now.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn firing(&self) -> Result<Vec<String>> {
        let firing = self.query("ALERTS{alertstate=\"firing\"}").await?;
        let name = |labels: &Value| labels["alertname"].as_str().unwrap_or_default().to_owned();
        Ok(firing.iter().map(|(labels, _)| name(labels)).collect())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
