//! What an fsync costs here: the floor under every accepted event.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

/// About what the log writes for one event.
const BLOCK: [u8; 4096] = [b'x'; 4096];

/// Measures `count` of them in `directory`, a few milliseconds apart as a steady load has them.
pub(crate) fn probe(directory: &Path, count: u64) -> Result<Vec<u64>> {
    let path = directory.join("fsync-probe");
    let mut file = File::create(&path)?;
    let mut took_us = Vec::new();
    for _ in 0..count {
        sleep(Duration::from_millis(5));
        file.write_all(&BLOCK)?;
        let began = Instant::now();
        file.sync_data()?;
        took_us.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(&path)?;
    Ok(took_us)
}
