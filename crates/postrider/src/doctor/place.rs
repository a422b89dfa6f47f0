//! The data directory and the disk that it lies on.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::Finding;
use crate::config::{Config, LogKind};
use crate::{data_dir, out};

const PART: &str = "data directory";

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let dir = &config.data;
    let mut findings = vec![directory(dir)];
    if let Err(error) = data_dir::read_token(dir) {
        findings.push(Finding::wrong(
            PART,
            out::causes(&error),
            "see to that file: the first start leaves the operator's token in it",
        ));
    }
    if config.log.kind == LogKind::Embedded
        && let Some(there) = existing(dir)
        && let Ok(disk) = statvfs(there)
    {
        findings.push(room(
            dir,
            disk.f_bavail * disk.f_frsize,
            config.log.reserve.0,
        ));
    }
    findings
}

fn directory(dir: &Path) -> Finding {
    match fs::metadata(dir) {
        Ok(meta) if !meta.is_dir() => Finding::wrong(
            PART,
            format!("{} is no directory", dir.display()),
            "name another one by --data, or move the file away",
        ),
        Ok(meta) => whose(dir, &meta),
        Err(_) => match existing(dir) {
            Some(there) if there.is_dir() && access(there, Access::WRITE_OK).is_ok() => {
                Finding::ok(
                    PART,
                    format!(
                        "{} is not there yet: the first start makes it",
                        dir.display()
                    ),
                )
            }
            there => Finding::wrong(
                PART,
                format!("{} is not there and cannot be made", dir.display()),
                format!(
                    "let the user that runs the server write to {}, or name another directory by --data",
                    there.unwrap_or(dir).display()
                ),
            ),
        },
    }
}

fn whose(dir: &Path, meta: &Metadata) -> Finding {
    if access(dir, Access::WRITE_OK | Access::READ_OK | Access::EXEC_OK).is_err() {
        return Finding::wrong(
            PART,
            format!("{} cannot be written by this user", dir.display()),
            format!(
                "it belongs to user {}: run as that one, or chown it",
                meta.uid()
            ),
        );
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Finding::warning(
            PART,
            format!("{} is open to other users of this machine", dir.display()),
            format!("chmod 700 {}: it holds secrets and payloads", dir.display()),
        );
    }
    Finding::ok(
        PART,
        format!("{} is there, for its owner only", dir.display()),
    )
}

/// The directory itself, or the nearest one above it that is there.
fn existing(dir: &Path) -> Option<&Path> {
    let here = Path::new(".");
    dir.ancestors()
        .map(|above| {
            if above.as_os_str().is_empty() {
                here
            } else {
                above
            }
        })
        .find(|above| above.exists())
}

fn room(dir: &Path, free: u64, reserve: u64) -> Finding {
    let mib = |bytes: u64| bytes >> 20;
    let seen = format!(
        "{} MiB are free on the disk of {}; log.reserve keeps {} MiB of it",
        mib(free),
        dir.display(),
        mib(reserve)
    );
    if free < reserve {
        return Finding::wrong(
            "disk",
            format!("{seen}: new events are refused"),
            "make room, or use a larger disk: what is inside goes on being delivered",
        );
    }
    if free < reserve.saturating_mul(4) {
        return Finding::warning("disk", seen, "make room before new events are refused");
    }
    Finding::ok("disk", seen)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_disk_is_judged_by_the_reserve() {
        let judged = |free: u64| room(Path::new("d"), free << 20, 128 << 20).verdict;
        assert_eq!(judged(100), Verdict::Wrong);
        assert_eq!(judged(300), Verdict::Warning);
        assert_eq!(judged(1024), Verdict::Ok);
    }

    #[test]
    fn a_directory_that_others_may_read_is_told_and_a_file_in_its_place_is_wrong() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let absent = directory(&dir);
        assert_eq!(absent.verdict, Verdict::Ok);
        assert!(absent.seen.contains("the first start makes it"));
        data_dir::make(&dir).unwrap();
        assert_eq!(directory(&dir).verdict, Verdict::Ok);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(directory(&dir).verdict, Verdict::Warning);
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(directory(&file).verdict, Verdict::Wrong);
        assert_eq!(directory(&file.join("below")).verdict, Verdict::Wrong);
    }
}
