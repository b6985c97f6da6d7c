//! `braze-relay man`: the manual pages.

use std::io;
use std::path::{Path, PathBuf};

/// Write the manual pages, one for each command
///
/// To read one: man -l DIR/braze-relay-dead-replay.1
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder they go to; it is made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs the command; returns the exit code.
pub fn run(args: &Args) -> u8 {
    match pages(&args.folder) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("braze-relay: {}: {error}", args.folder.display());
            1
        }
    }
}

fn pages(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(super::command(), folder)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    /// The names of a command and all below it.
    fn names(command: &clap::Command, before: &str, all: &mut Vec<String>) {
        let name = format!("{before}{}", command.get_name());
        for sub in command.get_subcommands() {
            names(sub, &format!("{name}-"), all);
        }
        all.push(name);
    }

    #[test]
    fn every_command_has_a_page_that_says_what_it_is_for() {
        let folder = tempfile::tempdir().unwrap();
        pages(&folder.path().join("new")).unwrap();
        let mut all = Vec::new();
        names(&crate::cli::command(), "", &mut all);
        assert!(all.contains(&"braze-relay-jobs-show".to_owned()), "{all:?}");
        for name in &all {
            let page = folder.path().join("new").join(format!("{name}.1"));
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            assert!(text.contains(".SH DESCRIPTION"), "no page for {name}");
        }
        let written = std::fs::read_dir(folder.path().join("new"))
            .unwrap()
            .count();
        assert_eq!(written, all.len());
    }
}
