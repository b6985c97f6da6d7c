//! Hands over to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(braze_relay::cli::run())
}
