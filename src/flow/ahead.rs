//! Which way the due work of a flow still goes, when all goes well: for reckoning how long it takes.
//!
//! Invariants: pure. Only what follows at once is told: work that will wait for a date (a delay, a read of a status) is
//! due only then. What is told need not happen, and nothing is decided by it.

use super::job::Flow;
use crate::model::lane::LaneKind;
use crate::model::rules::Rules;

/// The lanes that a due call of `flow` at `lane` has to pass, this one first.
pub fn ahead(flow: Flow, lane: LaneKind, rules: &Rules) -> Vec<LaneKind> {
    let credit = match flow {
        Flow::Email if rules.credit.is_some() => &[LaneKind::Quikly][..],
        // Of the others, what earns a credit waits for a date first, or earns none.
        Flow::Email
        | Flow::Sms
        | Flow::DoubleOptIn
        | Flow::Progress
        | Flow::Webhook
        | Flow::Outgrow
        | Flow::Credit
        | Flow::Erase => &[],
    };
    let then = match lane {
        LaneKind::UsersExportIds => [&[LaneKind::UsersTrack], credit].concat(),
        LaneKind::UsersTrack => credit.to_vec(),
        // What reads a status is, most of the time, a poll that will wait again; what it begins shows a moment later.
        LaneKind::Default
        | LaneKind::SubscriptionStatusSet
        | LaneKind::UsersDelete
        | LaneKind::Quikly
        | LaneKind::Held => Vec::new(),
    };
    [&[lane], then.as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rules::{CreditRule, OnUnknown};

    #[test]
    fn work_goes_from_the_look_up_to_the_profile_and_what_is_credited_to_quikly() {
        use LaneKind::{Default, Quikly, UsersExportIds, UsersTrack};
        let plain = Rules::plain("spring", "acme");
        let credited = Rules {
            credit: Some(CreditRule {
                event: "joined".into(),
                on_unknown: OnUnknown::Resend,
            }),
            ..plain.clone()
        };
        let rows: [(Flow, LaneKind, &Rules, &[LaneKind]); 8] = [
            (
                Flow::Email,
                UsersExportIds,
                &credited,
                &[UsersExportIds, UsersTrack, Quikly],
            ),
            (
                Flow::Email,
                UsersExportIds,
                &plain,
                &[UsersExportIds, UsersTrack],
            ),
            (Flow::Email, UsersTrack, &credited, &[UsersTrack, Quikly]),
            (
                Flow::Progress,
                UsersExportIds,
                &credited,
                &[UsersExportIds, UsersTrack],
            ),
            (Flow::Progress, UsersTrack, &credited, &[UsersTrack]),
            (Flow::Sms, Default, &credited, &[Default]),
            (Flow::Sms, UsersTrack, &credited, &[UsersTrack]),
            (Flow::Credit, Quikly, &credited, &[Quikly]),
        ];
        for (flow, lane, rules, expected) in rows {
            assert_eq!(ahead(flow, lane, rules), expected, "{flow} at {lane}");
        }
    }
}
