//! `braze-relay completions`: what a shell needs to complete commands and flags.

use std::io::Write;

use clap_complete::Shell;

/// Print a script that lets a shell complete commands and flags
///
/// bash: braze-relay completions bash > /etc/bash_completion.d/braze-relay
///
/// zsh: braze-relay completions zsh > ~/.zfunc/_braze-relay
///
/// fish: braze-relay completions fish > ~/.config/fish/completions/braze-relay.fish
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command; returns the exit code.
pub fn run(args: &Args) -> u8 {
    // Whoever closed our output does not want the rest.
    u8::from(std::io::stdout().write_all(&script(args.shell)).is_err())
}

/// The script for this shell.
fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), super::NAME, &mut script);
    script
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::process::{Command, Stdio};

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_has_a_script_that_names_the_commands() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            for word in ["jobs", "replay", "participant"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    #[test]
    fn bash_takes_its_script() {
        let mut bash = Command::new("bash")
            .arg("-n")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = bash.stdin.take().unwrap();
        stdin.write_all(&script(Shell::Bash)).unwrap();
        drop(stdin);
        assert!(bash.wait().unwrap().success());
    }
}
