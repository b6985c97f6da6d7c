//! What Braze's answers say of a workspace: key, permissions, groups.
//!
//! Invariants: pure. A 401 or 403 is never good news. What was not answered is never taken for a yes.

use super::finding::{Verdict, fail, ok, unknown, warn};
use crate::client::probe::{Observed, Question, Said};

/// What was asked of one workspace's Braze, and what came back.
pub(super) type Answers = Vec<(Question, Observed)>;

/// What the answers of one workspace say of its key.
pub(super) fn key(answers: &Answers) -> Verdict {
    let any = |is: fn(&Said) -> bool| answers.iter().any(|(_, seen)| is(&seen.said));
    if any(lets_in) {
        return ok("Braze takes it");
    }
    if any(|said| matches!(said, Said::KeyRefused)) {
        return fail(
            "Braze refuses the key (401)",
            "look at api_key: copied whole, without quotes, of this very workspace and instance, not revoked",
        );
    }
    if any(|said| matches!(said, Said::Forbidden(_))) {
        return fail(
            "everything asked for is refused (403)",
            "the key has none of the permissions below, its list of allowed IP addresses lacks this machine, or the \
             account is inactive: permissions cannot be added to a key, make a new one",
        );
    }
    let not_there = answers.iter().find_map(|(_, seen)| match &seen.said {
        Said::NotThere(answer) => Some(answer),
        _ => None,
    });
    match not_there {
        Some(answer) => fail(
            format!("this is no REST endpoint of Braze's: {}", told(answer)),
            "look at url: Braze's dashboard shows it under Settings > APIs and Identifiers",
        ),
        None => unknown("Braze was not asked, or did not say"),
    }
}

/// Whether whoever answers so has taken the key.
fn lets_in(said: &Said) -> bool {
    match said {
        Said::Answered | Said::Judged(_) | Said::UnknownGroup => true,
        Said::KeyRefused
        | Said::Forbidden(_)
        | Said::NotThere(_)
        | Said::Throttled
        | Said::Unclear(_)
        | Said::Silent { .. } => false,
    }
}

/// Whether the key may do what `question` asks for. `optional`: what would be impossible without, where the flows do not
/// need it.
pub(super) fn permission(
    question: &Question,
    answers: &Answers,
    optional: Option<&str>,
) -> Verdict {
    let name = question.permission();
    let same = answers.iter().filter(|(it, _)| it.permission() == name);
    let best = same
        .map(|(_, seen)| &seen.said)
        .min_by_key(|said| !lets_in(said));
    let Some(said) = best else {
        return unknown("not asked");
    };
    let missing = |status: u16| {
        let detail = format!("the key may not ({status})");
        match optional {
            Some(without) => warn(detail, format!("without it: no {without}")),
            None => fail(
                detail,
                format!("make a new key with {name}: permissions cannot be added to one"),
            ),
        }
    };
    let reads = matches!(question, Question::LookUp | Question::ReadStatus { .. });
    match said {
        Said::Answered if reads => ok("asked about nobody, and answered"),
        Said::Answered => unknown("an empty request was taken, where it should have been refused"),
        Said::UnknownGroup => ok("asked about nobody, and answered"),
        Said::Judged(answer) if reads => warn(
            format!("the key may, but the question is refused: {}", told(answer)),
            "the relay asks in the same way: its calls would die as rejected",
        ),
        Said::Judged(_) => ok("an empty request was judged, not forbidden; nothing is written"),
        Said::KeyRefused if answers.iter().any(|(_, seen)| lets_in(&seen.said)) => missing(401),
        Said::KeyRefused => unknown("the key itself is refused"),
        Said::Forbidden(_) => missing(403),
        Said::NotThere(answer) => fail(
            format!("the endpoint is not there: {}", told(answer)),
            "look at url: no path behind the host that Braze does not show",
        ),
        Said::Throttled => unknown("too fast (429): somebody else uses the budget up; ask again"),
        Said::Unclear(answer) => unknown(format!("no clear answer: {}", told(answer))),
        Said::Silent { text, .. } => unknown(text.clone()),
    }
}

/// Whether Braze knows an activation's subscription group.
pub(super) fn group(group: &str, answers: &Answers) -> Verdict {
    let about =
        |question: &Question| matches!(question, Question::ReadStatus { group: it } if it == group);
    let Some((_, seen)) = answers.iter().find(|(question, _)| about(question)) else {
        return unknown("not asked");
    };
    match &seen.said {
        Said::Answered => ok(format!(
            "Braze knows {group} (that it is for SMS cannot be asked)"
        )),
        Said::UnknownGroup => fail(
            format!("Braze does not know {group}"),
            "look at subscription_group_id: Braze's dashboard shows it under Audience > Subscriptions; it is a \
             workspace's own",
        ),
        Said::Judged(answer) => fail(
            format!("a phone cannot be asked about in {group}: {}", told(answer)),
            "is it a group for SMS?",
        ),
        Said::KeyRefused | Said::Forbidden(_) => unknown("the key may not read statuses"),
        Said::NotThere(answer) | Said::Unclear(answer) => unknown(told(answer)),
        Said::Throttled => unknown("too fast (429): ask again"),
        Said::Silent { text, .. } => unknown(text.clone()),
    }
}

fn told(answer: &crate::model::call::Answer) -> String {
    match answer.status {
        Some(status) => format!("{status} {}", answer.text),
        None => answer.text.clone(),
    }
}
