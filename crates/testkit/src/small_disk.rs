//! A small disk, to be filled.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A file system of its own, unmounted when dropped. What a test fills is this, never the machine's disk.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// Of this size, for instance `24m`.
    ///
    /// # Errors
    /// What `mount` says where this process may not mount one.
    pub fn mount(size: &str) -> Result<Self, String> {
        let dir = TempDir::with_prefix("postrider-disk-").map_err(|error| error.to_string())?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(dir)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Likewise; where this process may not mount, `body`, a test that is ignored otherwise and mounts it itself, is run as a
    /// process in a user namespace, where it is root. None if it was, and passed.
    ///
    /// # Errors
    /// If neither can be, or `body` failed.
    pub fn mount_or_run(size: &str, body: &str) -> Result<Option<Self>, String> {
        let refused = match Self::mount(size) {
            Ok(disk) => return Ok(Some(disk)),
            Err(refused) => refused,
        };
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let ran = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--"])
            .arg(program)
            .args(["--ignored", "--exact", body])
            .output();
        let said = match ran {
            Ok(output) if output.status.success() => return Ok(None),
            Ok(Output { stdout, stderr, .. }) => {
                String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
            }
            Err(error) => error.to_string(),
        };
        Err(format!(
            "this test fills a small file system, which it mounts: it needs root, or a system that lets users make \
             namespaces (sysctl kernel.unprivileged_userns_clone=1 and, on Ubuntu, kernel.apparmor_restrict_unprivileged_userns=0). \
             mount said: {refused}unshare said: {said}"
        ))
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whoever still has a file open on it keeps it until then.
        Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status()
            .ok();
    }
}
