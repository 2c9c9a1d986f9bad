//! What the disk gives to one thread that appends and syncs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends of a record's size, each followed by fdatasync, per second.
pub(crate) fn syncs_per_second(directory: &Path, length: Duration) -> anyhow::Result<f64> {
    let path = directory.join("probe");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let record = [b'v'; super::VALUE_BYTES + 60];
    let started = Instant::now();
    let mut count = 0u32;
    while started.elapsed() < length {
        file.write_all(&record)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / started.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}
