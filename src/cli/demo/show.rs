//! What a person sees: a bar on a terminal, a line now and then elsewhere, and the table of all scenarios.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ask::Standing;
use crate::cli::text::{Column, table};
use crate::clock::Stopwatch;

/// How often the relay is asked.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(200);

/// Where progress goes.
#[derive(Debug)]
pub(super) struct Screen {
    bar: Option<ProgressBar>,
    since: Stopwatch,
    every: Duration,
    lines: u32,
}

impl Screen {
    /// On standard output; `events` is how many there will be. Without a terminal, a line `every` so often.
    pub(super) fn new(events: u64, every: Duration) -> Screen {
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
            every,
            lines: 0,
        }
    }

    /// The present numbers.
    pub(super) fn show(&mut self, standing: &Standing) {
        let text = numbers(standing);
        if let Some(bar) = &self.bar {
            bar.set_position(standing.done + standing.dead);
            bar.set_message(text);
        } else if self.since.elapsed() >= self.every * self.lines {
            let past = self.since.elapsed().as_secs_f64() / self.every.as_secs_f64();
            self.lines = past as u32 + 1;
            say(&format!("{:>4} s  {text}", self.since.elapsed().as_secs()));
        }
    }

    /// Something that happened, above the bar.
    pub(super) fn tell(&self, text: &str) {
        let text = format!("        {text}");
        match &self.bar {
            Some(bar) => bar.suspend(|| say(&text)),
            None => say(&text),
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
        "accepted {:>5}   done {:>5}   told Quikly {:>5}   waiting {:>5}   dead {:>3}",
        standing.accepted,
        standing.done,
        standing.told_quikly(),
        standing.queued,
        standing.dead
    )
}

/// How wide a line of text gets, in characters.
const WIDTH: usize = 96;

/// `text` in lines of words, each begun by so many blanks.
pub(super) fn wrapped(text: &str, blanks: usize) -> String {
    let margin = " ".repeat(blanks);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{margin}{word}")),
        }
    }
    lines.join("\n")
}

/// A scenario that was played, in numbers.
#[derive(Clone, Debug)]
pub(super) struct Total {
    /// Its name.
    pub name: &'static str,
    /// Events that were accepted.
    pub accepted: u64,
    /// Profiles in the sandbox.
    pub profiles: u64,
    /// Told to Quikly, in the sandbox.
    pub told: u64,
    /// Dead letters.
    pub dead: u64,
    /// Whether the relay was killed.
    pub killed: bool,
    /// How long it took.
    pub seconds: f64,
    /// What is not as it must be.
    pub differences: usize,
}

/// All scenarios, a line each, and what that comes to.
pub(super) fn totals(all: &[Total]) -> String {
    let columns = [
        Column::Left("scenario"),
        Column::Right("accepted"),
        Column::Right("profiles"),
        Column::Right("told Quikly"),
        Column::Right("dead letters"),
        Column::Right("killed"),
        Column::Right("seconds"),
        Column::Left("  sandbox"),
    ];
    let row = |one: &Total| {
        let verdict = match one.differences {
            0 => "  agrees".to_owned(),
            count => format!("  {count} DIFFERENCE(S)"),
        };
        [
            one.name.to_owned(),
            one.accepted.to_string(),
            one.profiles.to_string(),
            one.told.to_string(),
            one.dead.to_string(),
            if one.killed { "yes" } else { "no" }.to_owned(),
            format!("{:.1}", one.seconds),
            verdict,
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let good = all.iter().filter(|one| one.differences == 0).count();
    let seconds: f64 = all.iter().map(|one| one.seconds).sum();
    format!(
        "\n{}\n{good} of {} scenarios: the sandbox holds exactly what must be there. {seconds:.0} s",
        table(columns, &rows),
        all.len()
    )
}

/// One line on standard output. That nobody reads any more is no reason to stop before cleaning up.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_between_words_and_keeps_its_margin() {
        let text = "größe 42, ".repeat(30);
        let shown = wrapped(&text, 8);
        assert!(shown.lines().count() > 2);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(shown.lines().all(|line| line.starts_with("        ")));
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(&shown), words(&text));
    }

    #[test]
    fn the_table_of_all_says_which_one_differs() {
        let total = |name, differences| Total {
            name,
            accepted: 1,
            profiles: 2,
            told: 3,
            dead: 4,
            killed: true,
            seconds: 5.04,
            differences,
        };
        let shown = totals(&[total("email", 0), total("sms", 7)]);
        assert!(shown.contains("7 DIFFERENCE(S)"), "{shown}");
        assert!(shown.contains("1 of 2 scenarios"), "{shown}");
    }
}
