//! What a person sees meanwhile: a bar on a terminal, a line a second elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ask::Standing;
use crate::clock::Stopwatch;

/// How often the relay is asked.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Where progress goes.
#[derive(Debug)]
pub(super) struct Screen {
    bar: Option<ProgressBar>,
    since: Stopwatch,
    lines: u32,
}

impl Screen {
    /// On standard output; `events` is how many there will be.
    pub(super) fn new(events: u64) -> Screen {
        let bar = std::io::stdout().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(events), ProgressDrawTarget::stdout());
            let style = ProgressStyle::with_template(
                "  {bar:48.green} {pos}/{len} events at their end  {elapsed}\n  {msg}",
            );
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Screen {
            bar,
            since: Stopwatch::start(),
            lines: 0,
        }
    }

    /// The present numbers.
    pub(super) fn show(&mut self, standing: &Standing) {
        let text = numbers(standing);
        if let Some(bar) = &self.bar {
            bar.set_position(standing.done + standing.dead);
            bar.set_message(text);
        } else if self.since.elapsed() >= LINE_EVERY * self.lines {
            self.lines = self.since.elapsed().as_secs() as u32 + 1;
            say(&format!("{:>4} s  {text}", self.since.elapsed().as_secs()));
        }
    }

    /// Something that happened, above the bar.
    pub(super) fn tell(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// No more progress: the last numbers, and the bar goes.
    pub(super) fn close(&mut self, standing: &Standing) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        say(&format!(
            "{:>4} s  {}",
            self.since.elapsed().as_secs(),
            numbers(standing)
        ));
    }
}

fn numbers(standing: &Standing) -> String {
    format!(
        "accepted {:>5}   delivered {:>5}   credited {:>5}   waiting {:>5}   dead {:>3}",
        standing.accepted,
        standing.delivered(),
        standing.credited,
        standing.queued,
        standing.dead
    )
}

/// One line on standard output. That nobody reads any more is no reason to stop before cleaning up.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
