//! How it is shown: aligned lines, progress in place on a terminal and in steps elsewhere.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;

use crate::out;
use crate::shown::wrapped;

/// Characters in a line: what a terminal shows unless somebody widens it.
const COLUMNS: usize = 80;
/// Where the text begins behind a name.
const NAMED: usize = 11;
const BAR: usize = 30;
/// The server's last lines, where something failed.
const TAIL: usize = 15;

/// Standard output, and whether every promise was kept so far.
pub(super) struct Screen {
    terminal: bool,
    /// The quarter that was shown last, where nothing can be shown in place.
    quarter: usize,
    kept: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            quarter: 0,
            kept: true,
        }
    }

    pub(super) fn title(&mut self, text: &str) -> std::io::Result<()> {
        self.heading(text)?;
        out::line("")
    }

    /// A name and what is to be known of it.
    pub(super) fn fact(&self, name: &str, text: impl Display) -> std::io::Result<()> {
        block("  ", &format!("{name:<10} {text}"))
    }

    /// The heading of a scene.
    pub(super) fn scene(&mut self, number: usize, text: impl Display) -> std::io::Result<()> {
        self.quarter = 0;
        out::line("")?;
        self.heading(&format!("{number}. {text}"))
    }

    /// What happened.
    pub(super) fn say(&self, text: impl Display) -> std::io::Result<()> {
        block("   ", &text.to_string())
    }

    /// Something that was promised, and whether it was kept.
    pub(super) fn promise(&mut self, kept: bool, text: impl Display) -> std::io::Result<()> {
        self.kept &= kept;
        let (mark, colour) = if kept { ("✓", "32") } else { ("✗", "31") };
        let mark = self.coloured(mark, colour);
        for (index, line) in wrapped(&text.to_string(), COLUMNS - 5).iter().enumerate() {
            let mark = if index == 0 { mark.as_str() } else { " " };
            out::line(format_args!("   {mark} {line}"))?;
        }
        Ok(())
    }

    /// How far something is.
    pub(super) fn progress(&mut self, what: &str, done: usize, of: usize) -> std::io::Result<()> {
        let full = BAR * done.min(of) / of.max(1);
        if self.terminal {
            let bar = format!("{}{}", "█".repeat(full), "·".repeat(BAR - full));
            return out::write(format_args!("\r   {bar} {what} {}", grouped(done)));
        }
        let quarter = 4 * done / of.max(1);
        if quarter > self.quarter {
            self.quarter = quarter;
            return out::line(format_args!(
                "   {what} {} of {}",
                grouped(done),
                grouped(of)
            ));
        }
        Ok(())
    }

    /// Clears the line that progress was shown in.
    pub(super) fn progress_done(&self) -> std::io::Result<()> {
        if self.terminal {
            out::write("\r\x1b[2K")?;
        }
        Ok(())
    }

    /// True if every promise was kept.
    pub(super) fn all_kept(&self) -> bool {
        self.kept
    }

    /// What the server said last.
    pub(super) fn log_tail(&self, log: &str) -> std::io::Result<()> {
        self.progress_done()?;
        out::line("\nThe server's log ends:")?;
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        lines[from..]
            .iter()
            .try_for_each(|line| out::line(format_args!("   {line}")))
    }

    /// The last words, and what to do next.
    pub(super) fn end(&self, kept: bool, took: Duration) -> std::io::Result<()> {
        let took = took.as_secs_f64();
        let verdict = if kept {
            format!(
                "Everything was as promised. It took {took:.1} s; the server is stopped and its directory removed."
            )
        } else {
            format!("Not everything was as promised: see ✗ above. It took {took:.1} s.")
        };
        out::line("")?;
        self.heading(&verdict)?;
        if !kept {
            return Ok(());
        }
        out::write(next(&this_program()?))
    }

    fn heading(&self, text: &str) -> std::io::Result<()> {
        let lines = wrapped(text, COLUMNS);
        lines.iter().try_for_each(|line| out::line(self.bold(line)))
    }

    fn bold(&self, text: &str) -> String {
        self.coloured(text, "1")
    }

    fn coloured(&self, text: &str, code: &str) -> String {
        if self.terminal {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Lines with a margin. What does not fit into one goes on below the text that stands behind a name.
fn block(margin: &str, text: &str) -> std::io::Result<()> {
    if margin.len() + text.chars().count() <= COLUMNS {
        return out::line(format_args!("{margin}{text}"));
    }
    let lines = wrapped(text, COLUMNS - margin.len() - NAMED);
    for (index, line) in lines.iter().enumerate() {
        let indent = if index == 0 { 0 } else { NAMED };
        out::line(format_args!("{margin}{:indent$}{line}", ""))?;
    }
    Ok(())
}

/// This program as it is called from here: by a path from the current directory, if it lies below.
fn this_program() -> std::io::Result<String> {
    let program = std::env::current_exe()?;
    let here = std::env::current_dir()?;
    Ok(match program.strip_prefix(here) {
        Ok(below) => format!("./{}", below.display()),
        Err(_) => program.display().to_string(),
    })
}

fn next(program: &str) -> String {
    NEXT.replace("POSTRIDER ", &format!("{program} "))
}

/// The first session of the README, in lines that fit: a test compares the two.
const NEXT: &str = r#"
Next, your own, in two terminals:
   export POSTRIDER__EGRESS__ALLOW=127.0.0.0/8 \
     POSTRIDER__EGRESS__REQUIRE_HTTPS=false
   export POSTRIDER__DELIVERY__SCHEDULE=0s,2s,5s
   POSTRIDER serve --data ./data \
     --listen 127.0.0.1:8071
   POSTRIDER listen --listen 127.0.0.1:8072
and in a third:
   api() { curl -sS -H "Authorization: Bearer $(cat data/operator.token)" \
     -H 'Content-Type: application/json' "$@"; echo; }
   api http://127.0.0.1:8071/api/v1/app -d '{"name": "Acme", "uid": "acme"}'
   api http://127.0.0.1:8071/api/v1/app/acme/endpoint \
     -d '{"url": "http://127.0.0.1:8072/hook"}'
   api http://127.0.0.1:8071/api/v1/app/acme/msg \
     -d '{"eventType": "order.created", "payload": {"order": 17}}'
"#;

/// 12345 as 12,345.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let written = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(written, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn what_to_do_next_fits_a_terminal() {
        let text = next("./target/quick/postrider");
        let long: Vec<_> = text
            .lines()
            .filter(|line| line.chars().count() > COLUMNS)
            .collect();
        assert!(long.is_empty(), "{long:?}");
    }

    #[test]
    fn what_to_do_next_is_what_the_readme_says() {
        let readme = include_str!("../../../../README.md");
        let joined = next("./target/quick/postrider").replace("\\\n     ", "");
        let commands: Vec<_> = joined
            .lines()
            .filter_map(|line| line.strip_prefix("   "))
            .collect();
        assert_eq!(commands.len(), 8);
        for command in commands {
            assert!(readme.contains(command), "the README has no: {command}");
        }
    }
}
