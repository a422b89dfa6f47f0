//! What the system says of a process, and what may be asked of it.

use std::collections::{BTreeSet, HashSet};
use std::fs;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// Ticks of `/proc/PID/stat` in a second: `USER_HZ`, which Linux fixes at 100 for all programs.
const TICKS: f64 = 100.0;

/// CPU that process `pid` has used since it began, user and system, in seconds.
///
/// # Errors
/// If there is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let ticks: f64 = stat(pid)?.iter().skip(11).take(2).sum();
    Ok(ticks / TICKS)
}

/// CPU that process `pid`, its children and those of them that have ended have used, user and system, in seconds.
///
/// # Errors
/// If there is no such process.
pub fn cpu_seconds_of_family(pid: u32) -> Result<f64> {
    let mut ticks: f64 = stat(pid)?.iter().skip(11).take(4).sum();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that ends meanwhile is counted by its parent from then on.
        let Ok(fields) = stat(child) else { continue };
        if fields.get(1) == Some(&f64::from(pid)) {
            ticks += fields.iter().skip(11).take(4).sum::<f64>();
        }
    }
    Ok(ticks / TICKS)
}

/// The fields of `/proc/PID/stat` behind the command's name, which stands in brackets and may hold blanks. The first is
/// a letter and counts as 0.
fn stat(pid: u32) -> Result<Vec<f64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let behind_name = stat.rsplit_once(')').context("a strange /proc/PID/stat")?.1;
    let fields = behind_name.split_whitespace();
    Ok(fields
        .map(|field| field.parse().unwrap_or_default())
        .collect())
}

/// Memory that process `pid` holds, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn rss_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most memory that process `pid` ever held, in bytes.
///
/// # Errors
/// If there is no such process.
pub fn peak_rss_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .with_context(|| format!("no {field} in /proc/{pid}/status"))?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}

/// The local ports of the TCP connections (IPv4) that process `pid` has at this moment.
///
/// # Errors
/// If there is no such process.
pub fn ports_of(pid: u32) -> Result<BTreeSet<u16>> {
    let mut sockets = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that is closed meanwhile is none.
        let Ok(target) = fs::read_link(entry?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[");
        sockets.extend(inode.and_then(|rest| rest.trim_end_matches(']').parse::<u64>().ok()));
    }
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let port = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let inode = fields.get(9)?.parse().ok()?;
        let (_, port) = fields.get(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        sockets.contains(&inode).then_some(port)
    };
    Ok(table.lines().skip(1).filter_map(port).collect())
}

/// Stops process `pid` where it stands.
///
/// # Errors
/// If there is no such process.
pub fn pause(pid: u32) -> Result<()> {
    signal(pid, Signal::STOP)
}

/// Lets a paused process go on.
///
/// # Errors
/// If there is no such process.
pub fn proceed(pid: u32) -> Result<()> {
    signal(pid, Signal::CONT)
}

pub(crate) fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.context("no process id")?, signal).context("sending a signal")
}

/// Raises this process's limit on open files as far as the system lets it; its children have it too.
///
/// # Errors
/// If the system refuses.
pub fn allow_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .context("raising the limit on open files")
}
