//! A file system in a file that lies in memory, which can lose its power.
//!
//! Invariants: what was not synced when it was cut is gone; whatever happens it is unmounted in the end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{require, until};

/// Longer than an unmounting may take.
const WITHIN: Duration = Duration::from_secs(30);

/// A mounted image.
pub struct Image {
    /// Memory, and in it the image.
    memory: PathBuf,
    mounted: PathBuf,
    _folder: tempfile::TempDir,
}

fn run(line: &[&str]) -> Output {
    Command::new(line[0]).args(&line[1..]).output().unwrap()
}

fn done(line: &[&str]) {
    let output = run(line);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line:?}: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Image {
    /// One of so many mebibytes with this file system; `None` where that cannot be had here.
    pub fn new(filesystem: &str, mebibytes: u32) -> Option<Image> {
        let make = format!("mkfs.{filesystem}");
        let tools = ["mount", "umount", "xfs_io", &make];
        if !tools.into_iter().all(require) || !require_root() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (memory, mounted) = (folder.path().join("memory"), folder.path().join("disk"));
        std::fs::create_dir(&memory).unwrap();
        std::fs::create_dir(&mounted).unwrap();
        let size = format!("size={}m", mebibytes + 8);
        done(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", text(&memory)]);
        let image = Image {
            memory,
            mounted,
            _folder: folder,
        };
        let file = std::fs::File::create(image.file()).unwrap();
        file.set_len(u64::from(mebibytes) << 20).unwrap();
        // Nothing is kept for root, who would not notice that it is full.
        let options: &[&str] = if filesystem == "ext4" {
            &["-m", "0"]
        } else {
            &[]
        };
        done(&[&[make.as_str(), "-q"], options, &[text(&image.file())]].concat());
        image.mount();
        Some(image)
    }

    fn file(&self) -> PathBuf {
        self.memory.join("image")
    }

    fn mount(&self) {
        done(&[
            "mount",
            "-o",
            "loop",
            text(&self.file()),
            text(&self.mounted),
        ]);
    }

    /// A folder on it.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.mounted.join(name)
    }

    /// The power is cut: what was not synced is lost, and nothing is written any more.
    pub fn cut(&self) {
        done(&["xfs_io", "-x", "-c", "shutdown", text(&self.mounted)]);
    }

    /// The power is back. Nobody may have a file open.
    pub async fn restored(&self) {
        let mounted = text(&self.mounted);
        until("the file system is free", WITHIN, async || {
            run(&["umount", mounted]).status.success().then_some(())
        })
        .await;
        self.mount();
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        run(&["umount", "-l", text(&self.mounted)]);
        run(&["umount", "-l", text(&self.memory)]);
    }
}

/// Whether this runs as root and may mount. If not, the test says so and is ignored, or fails under `RELAY_REQUIRE_ALL=1`.
fn require_root() -> bool {
    let loops = Path::new("/dev/loop-control").exists();
    let id = run(&["id", "-u"]).stdout;
    let may = loops && String::from_utf8_lossy(&id).trim() == "0";
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let must = std::env::var_os("RELAY_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(
        may || !must,
        "{test} needs root and loop devices, and RELAY_REQUIRE_ALL=1"
    );
    if !may {
        eprintln!("IGNORED: {test} needs root and loop devices");
    }
    may
}
