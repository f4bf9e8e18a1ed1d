//! What the disk can do: one small append and one `fdatasync` after another.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Synced appends a second, and the median of one in milliseconds.
pub(crate) fn fdatasync(dir: &Path) -> Result<(f64, f64), String> {
    let failed = |error: std::io::Error| format!("cannot measure the disk in {}: {error}", dir.display());
    let mut file = File::create(dir.join("floor")).map_err(failed)?;
    // As large as the log's record of one small command.
    let record = [0x5a; 512];
    let mut samples = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let one = Instant::now();
        file.write_all(&record).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        samples.push(one.elapsed());
    }
    let rate = samples.len() as f64 / begun.elapsed().as_secs_f64();
    samples.sort_unstable();
    Ok((rate.round(), crate::percentile(&samples, 50)))
}
