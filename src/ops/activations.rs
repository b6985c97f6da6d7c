//! `GET /api/v1/activations/{workspace}/{activation}`: how far the people of one activation are.
//!
//! Invariants: from the store's account and nothing else. Every participation is at exactly one step, so that the steps
//! add up to all that joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Ops;
use super::problem::Problem;
use super::status;
use super::wire::{Activation, DeadReason, DoneOutcome, Step, StepKind};
use crate::engine::ActivationView;
use crate::engine::eta::etas;
use crate::flow::job::{Flow, Outcome, Reason};
use crate::model::Name;
use crate::model::lane::LaneKind;
use crate::model::rules::{ParticipationFlow, Rules};
use crate::store::{Counts, Group, Operate, Store};

/// How far the people of one activation, or Outgrow content, are.
#[utoipa::path(
    get,
    path = "/api/v1/activations/{workspace}/{activation}",
    operation_id = "activation",
    tag = "now",
    params(
        ("workspace" = String, Path, description = "Whose workspace it writes to."),
        ("activation" = String, Path, description = "Its `q_scope`, or the content's name."),
    ),
    responses((status = 200, description = "It.", body = Activation)),
)]
pub(super) async fn show<S: Store + Operate>(
    State(ops): State<Arc<Ops<S>>>,
    Path((workspace, name)): Path<(String, String)>,
) -> Result<Json<Activation>, Problem> {
    let (workspace, name): (Name, Name) = (workspace.into(), name.into());
    let counts = ops.counts().await?;
    let book = ops.rules.borrow().clone();
    let rules = book.activation(&name).or_else(|| book.content(&name));
    let rules = rules.filter(|rules| rules.workspace == workspace);
    let mine = |group: &Group| group.workspace == workspace && group.activation == name;
    if rules.is_none()
        && !counts
            .jobs
            .keys()
            .chain(counts.done.keys().map(|(group, _)| group))
            .any(mine)
    {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no activation or content of this name is configured for this workspace, and nothing is left of one",
        ));
    }
    let (views, held) = (ops.desk.lanes(), ops.desk.held_activations());
    let etas = etas(&counts.due, &views, &held, &book, ops.clock.now());
    let eta = etas.activations.get(&(workspace.clone(), name.clone()));
    let account = account(&counts, mine);
    let of_mine = |view: &&ActivationView| view.workspace == workspace && view.activation == name;
    Ok(Json(Activation {
        flow: rules
            .and_then(|rules| started(rules))
            .map(|flow| flow.as_str().to_owned()),
        due: eta.map_or(0, |row| row.due),
        eta_seconds: eta.map_or(Some(0.0), |row| row.eta.seconds()),
        held: held
            .iter()
            .find(of_mine)
            .map(|view| status::held(view, &ops.office.holds)),
        workspace: workspace.to_string(),
        activation: name.to_string(),
        ..account
    }))
}

/// What a participation starts.
fn started(rules: &Rules) -> Option<Flow> {
    if rules.mapping.is_some() {
        return Some(Flow::Outgrow);
    }
    rules.flow.map(|flow| match flow {
        ParticipationFlow::Email => Flow::Email,
        ParticipationFlow::Sms => Flow::Sms,
        ParticipationFlow::DoubleOptIn => Flow::DoubleOptIn,
    })
}

/// What the counts say of the groups that are meant.
fn account(counts: &Counts, mine: impl Fn(&Group) -> bool) -> Activation {
    let mut steps = BTreeMap::<(StepKind, Stage), u64>::new();
    let mut told = Activation::default();
    for (places, is_due) in [(&counts.due, true), (&counts.later, false)] {
        for ((lane, group), count) in places.iter().filter(|((_, group), _)| mine(group)) {
            match group.flow {
                Some(Flow::Credit) => told.credits.waiting += count,
                Some(Flow::Progress) => told.updates_living += count,
                Some(Flow::Webhook) => told.webhooks.waiting += count,
                Some(Flow::Erase) => {}
                Some(Flow::Email | Flow::Sms | Flow::DoubleOptIn | Flow::Outgrow) | None => {
                    let stage = Stage::Living(place(lane.kind, is_due));
                    *steps.entry((StepKind::Living, stage)).or_default() += count;
                }
            }
        }
    }
    let mut done = BTreeMap::<Outcome, u64>::new();
    for ((group, outcome), count) in counts.done.iter().filter(|((group, _), _)| mine(group)) {
        match group.flow {
            Some(Flow::Credit) => told.credits.credited += count,
            Some(Flow::Webhook) => told.webhooks.passed_on += count,
            Some(Flow::Progress | Flow::Erase) => {}
            Some(Flow::Email | Flow::Sms | Flow::DoubleOptIn | Flow::Outgrow) | None => {
                *done.entry(*outcome).or_default() += count;
                let at = (StepKind::Done, Stage::Done(*outcome));
                *steps.entry(at).or_default() += count;
            }
        }
    }
    let mut dead = BTreeMap::<Reason, u64>::new();
    for ((group, reason), count) in counts.dead.iter().filter(|((group, _), _)| mine(group)) {
        *dead.entry(*reason).or_default() += count;
        match group.flow {
            Some(Flow::Credit) => told.credits.dead += count,
            Some(Flow::Webhook) => told.webhooks.dead += count,
            Some(Flow::Progress | Flow::Erase) => {}
            Some(Flow::Email | Flow::Sms | Flow::DoubleOptIn | Flow::Outgrow) | None => {
                *steps.entry((StepKind::Dead, Stage::Dead)).or_default() += count;
            }
        }
    }
    told.joined = steps.values().sum();
    told.steps = steps
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(step)
        .collect();
    told.done = done
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(outcome, count)| DoneOutcome { outcome, count })
        .collect();
    told.dead = dead
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| DeadReason { reason, count })
        .collect();
    told
}

/// A step, in the order in which they are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Living(Place),
    Done(Outcome),
    Dead,
}

/// Where a living participation is, as far as its lane and its date tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Check,
    LookUp,
    LookUpLater,
    Write,
    WriteLater,
    Delay,
    Subscribe,
    Confirm,
    Deliver,
    DeliverLater,
    Held,
}

fn place(lane: LaneKind, is_due: bool) -> Place {
    match (lane, is_due) {
        (LaneKind::UsersExportIds, true) => Place::LookUp,
        (LaneKind::UsersExportIds, false) => Place::LookUpLater,
        (LaneKind::UsersTrack, true) => Place::Write,
        (LaneKind::UsersTrack, false) => Place::WriteLater,
        (LaneKind::SubscriptionStatusSet, true) => Place::Subscribe,
        (LaneKind::SubscriptionStatusSet, false) => Place::Delay,
        (LaneKind::Default, true) => Place::Check,
        (LaneKind::Default, false) => Place::Confirm,
        (LaneKind::Quikly | LaneKind::UsersDelete, true) => Place::Deliver,
        (LaneKind::Quikly | LaneKind::UsersDelete, false) => Place::DeliverLater,
        (LaneKind::Held, _) => Place::Held,
    }
}

fn step(((kind, stage), count): ((StepKind, Stage), u64)) -> Step {
    let (step, label) = match stage {
        Stage::Living(place) => {
            let (step, label) = match place {
                Place::Check => ("check", "their status is read"),
                Place::LookUp => ("look_up", "being looked up"),
                Place::LookUpLater => (
                    "look_up_later",
                    "looked up later: behind a turn, or after a failure",
                ),
                Place::Write => ("write", "profile being created or marked"),
                Place::WriteLater => (
                    "write_later",
                    "written later: behind a turn, or after a failure",
                ),
                Place::Delay => (
                    "delay",
                    "waiting before the group is joined, or tried again later",
                ),
                Place::Subscribe => ("subscribe", "being subscribed"),
                Place::Confirm => ("confirm", "waiting for confirmation, or asked again later"),
                Place::Deliver => ("deliver", "being passed on"),
                Place::DeliverLater => ("deliver_later", "passed on later, after a failure"),
                Place::Held => ("held", "held with the activation"),
            };
            (step, label.to_owned())
        }
        Stage::Done(outcome) => (outcome.as_str(), outcome.as_str().replace('_', " ")),
        Stage::Dead => ("dead", "dead letters".to_owned()),
    };
    Step {
        step: step.to_owned(),
        label,
        count,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::lane::Lane;
    use crate::ops::wire::{Credits, Webhooks};

    fn group(flow: Flow) -> Group {
        Group {
            workspace: "acme".into(),
            activation: "spring".into(),
            flow: Some(flow),
        }
    }

    #[test]
    fn everybody_who_joined_is_at_one_step() {
        let lane = |kind| Lane::new(&Name::from("acme"), kind);
        let mut counts = Counts::default();
        for (kind, due, later) in [
            (LaneKind::UsersExportIds, 5, 1),
            (LaneKind::SubscriptionStatusSet, 2, 30),
            (LaneKind::Default, 3, 40),
            (LaneKind::Held, 7, 0),
        ] {
            counts.due.insert((lane(kind), group(Flow::Sms)), due);
            counts.later.insert((lane(kind), group(Flow::Sms)), later);
        }
        counts
            .due
            .insert((lane(LaneKind::Quikly), group(Flow::Credit)), 9);
        counts
            .later
            .insert((lane(LaneKind::UsersTrack), group(Flow::Progress)), 11);
        counts
            .due
            .insert((lane(LaneKind::Quikly), group(Flow::Webhook)), 21);
        counts
            .done
            .insert((group(Flow::Webhook), Outcome::PassedOn), 5000);
        counts
            .dead
            .insert((group(Flow::Webhook), Reason::GaveUp), 3);
        counts
            .done
            .insert((group(Flow::Sms), Outcome::Subscribed), 100);
        counts.done.insert((group(Flow::Sms), Outcome::NoPhone), 4);
        counts
            .done
            .insert((group(Flow::Credit), Outcome::Credited), 80);
        counts
            .dead
            .insert((group(Flow::Sms), Reason::NotSubscribed), 6);
        counts.dead.insert((group(Flow::Credit), Reason::GaveUp), 2);
        let mut others = group(Flow::Sms);
        others.activation = "autumn".into();
        counts.dead.insert((others, Reason::Rejected), 1000);

        let told = account(&counts, |group| &*group.activation == "spring");
        let steps: Vec<_> = told
            .steps
            .iter()
            .map(|it| (it.step.as_str(), it.count))
            .collect();
        assert_eq!(
            steps,
            [
                ("check", 3),
                ("look_up", 5),
                ("look_up_later", 1),
                ("delay", 30),
                ("subscribe", 2),
                ("confirm", 40),
                ("held", 7),
                ("subscribed", 100),
                ("no_phone", 4),
                ("dead", 6),
            ]
        );
        assert_eq!(told.joined, 198);
        assert_eq!(
            told.credits,
            Credits {
                waiting: 9,
                credited: 80,
                dead: 2
            }
        );
        assert_eq!(told.updates_living, 11);
        let webhooks = Webhooks {
            waiting: 21,
            passed_on: 5000,
            dead: 3,
        };
        assert_eq!(told.webhooks, webhooks);
        let dead: Vec<_> = told.dead.iter().map(|it| (it.reason, it.count)).collect();
        assert_eq!(dead, [(Reason::GaveUp, 5), (Reason::NotSubscribed, 6)]);
    }
}
