//! What became of a request as a whole, by its answers.
//!
//! Invariants: pure.

use crate::client::Answers;
use crate::model::call::{Answer, Failure, Happened, Reply};
use crate::telemetry::RequestOutcome;

/// Whether a gateway may have denied this for what it carries. What says that the key is refused, or that there is
/// nothing at the URL, is about the lane.
pub(super) fn may_be_about_the_request(answer: &Answer) -> bool {
    answer
        .status
        .is_some_and(|status| matches!(status, 403 | 406 | 413 | 414 | 431 | 451))
}

/// What was denied is refused for good; of several, it is found out which.
pub(super) fn blame(answers: &mut Answers) {
    let among = answers.len();
    for answer in answers {
        if let Err(Failure::Denied(said)) = answer {
            let said = std::mem::take(said);
            *answer = Err(match among {
                1 => Failure::Rejected(said),
                _ => Failure::Apart {
                    among,
                    happened: Happened::Nothing,
                    answer: said,
                },
            });
        }
    }
}

/// What became of a request, by its answers.
pub(super) fn outcome_of(answers: &[Result<Reply, Failure>]) -> RequestOutcome {
    let mut classes = answers.iter().map(|answer| match answer {
        Ok(_) => RequestOutcome::Ok,
        Err(Failure::Transient(_)) => RequestOutcome::Transient,
        Err(Failure::Unknown(_)) => RequestOutcome::Unknown,
        Err(Failure::Throttled { .. }) => RequestOutcome::Throttled,
        Err(Failure::Rejected(_) | Failure::Apart { .. } | Failure::WrongGroup(_)) => {
            RequestOutcome::Rejected
        }
        Err(Failure::Denied(_)) => RequestOutcome::Denied,
    });
    let first = classes.next().unwrap_or(RequestOutcome::Unknown);
    if classes.all(|class| class == first) {
        first
    } else {
        RequestOutcome::Partial
    }
}

pub(super) fn unanswered() -> Answer {
    Answer {
        status: None,
        text: "no answer for this call".to_owned(),
    }
}
