//! The disk under the store: how many durable writes a second, and what is free.
//!
//! Invariants: nothing of a store is opened or touched, so that it works beside a relay that serves. The file written to
//! has no name, or loses it before anything is written: nothing stays, whatever ends this process. Where the store's
//! folder does not exist yet, the nearest one above it is measured, and none is made.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::finding::{Findings, fail, ok, warn};
use crate::cli::text;
use crate::clock::Stopwatch;

/// How long is measured.
const MEASURED_FOR: Duration = Duration::from_secs(1);
/// One write: about what a commit of a few events writes.
const WRITE_BYTES: usize = 4096;
/// The file grows to this and begins again: a store's data file is mostly written over, too.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Fewer durable commits a second than this are a disk, or a virtual one, that syncs slowly.
const SLOW: f64 = 100.0;

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Disk {
    /// Where.
    pub folder: PathBuf,
    /// Whether that is the store's own folder.
    pub is_store: bool,
    pub commits_per_second: f64,
    /// The longest of them.
    pub longest: Duration,
    pub free_bytes: u64,
}

/// Measures for about a second where `store` is, or would be. Blocks.
pub(super) fn measure(store: &Path) -> io::Result<Disk> {
    let folder = nearest(store);
    let free = rustix::fs::statvfs(&folder)?;
    let mut file = tempfile::tempfile_in(&folder)?;
    let piece = [0x5a; WRITE_BYTES];
    let (mut commits, mut written, mut longest) = (0_u32, 0, Duration::ZERO);
    let watch = Stopwatch::start();
    while commits == 0 || watch.elapsed() < MEASURED_FOR {
        if written >= FILE_BYTES_MAX {
            io::Seek::rewind(&mut file)?;
            written = 0;
        }
        let one = Stopwatch::start();
        file.write_all(&piece)?;
        file.sync_data()?;
        longest = longest.max(one.elapsed());
        written += WRITE_BYTES as u64;
        commits += 1;
    }
    Ok(Disk {
        is_store: folder == store,
        folder,
        commits_per_second: f64::from(commits) / watch.elapsed().as_secs_f64(),
        longest,
        free_bytes: free.f_bavail.saturating_mul(free.f_frsize),
    })
}

/// `path` if there is such a folder, else the nearest above it.
fn nearest(path: &Path) -> PathBuf {
    let mut above = path.ancestors().filter(|it| !it.as_os_str().is_empty());
    let found = above.find(|it| it.is_dir());
    found.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// What there is to say of the disk.
pub(super) fn judge(
    findings: &mut Findings,
    measured: &Result<Disk, String>,
    store: &Path,
    reserve_bytes: u64,
) {
    let disk = match measured {
        Ok(disk) => disk,
        Err(why) => {
            let detail = format!("{} cannot be written to: {why}", store.display());
            let remedy = "store.path must be a folder that the relay's account may write to";
            findings.add("disk.commits", fail(detail, remedy));
            return;
        }
    };
    let place = if disk.is_store {
        disk.folder.display().to_string()
    } else {
        format!(
            "{} ({} does not exist yet)",
            disk.folder.display(),
            store.display()
        )
    };
    let speed = format!(
        "{:.0} durable commits a second at {place}, the longest {} ms",
        disk.commits_per_second,
        disk.longest.as_millis()
    );
    findings.add(
        "disk.commits",
        if disk.commits_per_second < SLOW {
            warn(
                speed,
                "that is slow: a local SSD or NVMe does thousands; network disks do not",
            )
        } else {
            ok(speed)
        },
    );
    let free = text::bytes(disk.free_bytes);
    let reserve = text::bytes(reserve_bytes);
    findings.add(
        "disk.free",
        if disk.free_bytes < reserve_bytes {
            fail(
                format!("{free} free, and store.reserve_bytes is {reserve}: every event would be answered 503"),
                "make room, or lower store.reserve_bytes",
            )
        } else if disk.free_bytes < reserve_bytes.saturating_mul(2) {
            let remedy = "make room: below the reserve every event is answered 503";
            warn(format!("{free} free, reserve {reserve}"), remedy)
        } else {
            ok(format!("{free} free, reserve {reserve}"))
        },
    );
}
