//! Which dead letters a command is about.

use std::time::Duration;

use super::super::remote::{Caller, Failed};
use crate::flow::job::{Class, Flow, Reason};
use crate::model::time::Timestamp;
use crate::ops::wire::{LetterCounts, Status, Which};

/// Filters of every command that is about dead letters.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub(in crate::cli) struct Filters {
    /// Only of this workspace
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// Only of this activation
    #[arg(long, value_name = "Q_SCOPE")]
    activation: Option<String>,
    /// Only of this flow
    #[arg(long, value_name = "FLOW")]
    flow: Option<Flow>,
    /// Only with this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<Reason>,
    /// Only of this class of failure
    #[arg(long, value_name = "CLASS")]
    class: Option<Class>,
    /// Only those that died since: a moment (RFC 3339), or so long ago, such as 2h
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    since: Option<When>,
    /// Only those that died until: a moment (RFC 3339), or so long ago, such as 2h
    #[arg(long, value_name = "WHEN", value_parser = When::parse)]
    until: Option<When>,
    /// Only of this participant: an e-mail, or the hash that `dead list --json` and `dead show` tell
    #[arg(long, value_name = "EMAIL|HASH")]
    participant: Option<String>,
    /// Only with these words in the step, the reason, the class or the last answer
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
}

/// A moment, as people say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum When {
    /// Then.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl When {
    /// A moment (RFC 3339), or so long ago, such as `2h`.
    pub(in crate::cli) fn parse(text: &str) -> Result<When, String> {
        if let Ok(moment) = Timestamp::parse_rfc3339(text) {
            return Ok(When::At(moment));
        }
        humantime::parse_duration(text)
            .map(When::Ago)
            .map_err(|_| "a moment such as 2026-11-27T09:30:00Z, or so long ago, such as 2h".into())
    }

    /// As moments; how long ago is reckoned from the relay's own time.
    pub(in crate::cli) fn moments<const N: usize>(
        told: [Option<When>; N],
        caller: &Caller,
    ) -> Result<[Option<Timestamp>; N], Failed> {
        let is_ago = |when: &Option<When>| matches!(when, Some(When::Ago(_)));
        let now = if told.iter().any(is_ago) {
            caller.get::<Status>("api/v1/status")?.now
        } else {
            Timestamp::ZERO
        };
        Ok(told.map(|when| when.map(|when| when.moment(now))))
    }

    fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(moment) => moment,
            When::Ago(ago) => now - ago,
        }
    }
}

impl Filters {
    /// Whether they choose nothing.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        *self == Filters::default()
    }

    /// As the relay is asked; how long ago is reckoned from its own time.
    pub(in crate::cli) fn which(&self, caller: &Caller) -> Result<Which, Failed> {
        let [since, until] = When::moments([self.since, self.until], caller)?;
        Ok(Which {
            workspace: self.workspace.clone(),
            activation: self.activation.clone(),
            flow: self.flow,
            reason: self.reason,
            class: self.class,
            since,
            until,
            participant: self.participant.clone(),
            text: self.text.clone(),
            after: None,
            limit: None,
        })
    }
}

/// How many match in all, by reason.
pub(super) fn counts(caller: &Caller, which: &Which) -> Result<LetterCounts, Failed> {
    let mut which = Which {
        after: None,
        limit: None,
        ..which.clone()
    };
    let mut sum = LetterCounts::default();
    loop {
        let slice: LetterCounts = caller.find("api/v1/dead/counts", &which)?;
        sum.count += slice.count;
        for (reason, count) in slice.by_reason {
            *sum.by_reason.entry(reason).or_default() += count;
        }
        which.after = slice.next;
        if which.after.is_none() {
            return Ok(sum);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_as_such_or_as_so_long_ago() {
        let now = Timestamp::from_millis(1_795_770_600_000);
        for (text, moment) in [
            ("2026-11-27T09:10:00Z", now),
            ("2026-11-27T10:10:00+01:00", now),
            ("2h", now - Duration::from_hours(2)),
            ("1day 3s", now - Duration::from_secs(86_403)),
        ] {
            assert_eq!(When::parse(text).unwrap().moment(now), moment, "{text}");
        }
        for wrong in ["", "yesterday", "2", "2026-11-27"] {
            assert!(When::parse(wrong).is_err(), "{wrong}");
        }
    }
}
