//! Room for a campaign: what a participation costs on each lane, how long so many take, what binds, and what to switch.
//!
//! Invariants: pure. What a participation costs is not written down here: the activation's own flow is walked, with the
//! answers that cost most (nobody has a profile yet, everybody has a phone and agrees; a double opt-in is confirmed only
//! when all is over), and its calls are counted as they are packed, in full requests. Deliberately absent: what a
//! participation brings itself (an event of its own is one object more), what others use of Braze's budget, latency.

use std::collections::BTreeMap;
use std::time::Duration;

use super::limits::{Report, Reports};
use crate::client::pack;
use crate::client::probe::{NOBODYS_EMAIL, NOBODYS_PHONE};
use crate::config::{Limit, Workspace};
use crate::engine::requests_per_second;
use crate::flow::job::{Job, Join, Start, State};
use crate::flow::{self, Step};
use crate::model::call::{Call, Reply, Subscription};
use crate::model::event::{Event, EventKind, Source};
use crate::model::lane::LaneKind;
use crate::model::rules::{Identity, OptIn, PhoneMismatch, RuleBook, Rules, SubscribeBy};
use crate::model::time::Timestamp;

/// More steps than this no life has.
const STEPS_MAX: usize = 100_000;
/// Disk for one event that waits, at its most, bytes: 100,000 waiting among ten million passing through took 305 MB
/// (README, "How it is tested").
const BYTES_PER_WAITING: u64 = 3_100;
/// So many events share a commit when they come side by side.
const EVENTS_PER_COMMIT: f64 = 40.0;
/// A lane that is busy for more than this part of the time has no room for failures.
const FULL: f64 = 0.8;

/// So many participations in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Campaign {
    pub expect: u64,
    pub within: Duration,
}

/// One lane, as an activation uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LaneUse {
    pub lane: LaneKind,
    /// Requests for one participation.
    pub requests_each: f64,
    /// Requests a second that are ours: by the lower of what is configured and what Braze reports, times `share`.
    pub requests_per_second: f64,
}

impl LaneUse {
    /// How long so many participations take here, seconds.
    pub fn seconds(&self, participations: u64) -> f64 {
        participations as f64 * self.requests_each / self.requests_per_second
    }
}

/// A setting that would make it quicker.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Switch {
    pub setting: String,
    /// How long it takes then, seconds; what only Braze can grant has none.
    pub seconds: Option<f64>,
}

/// One activation's room.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Room {
    pub activation: String,
    pub workspace: String,
    /// Those it uses, the tightest first.
    pub lanes: Vec<LaneUse>,
    /// Participations an hour, in the long run.
    pub per_hour: f64,
    pub fit: Option<Fit>,
}

impl Room {
    /// Whose it is, as findings say it.
    pub fn subject(&self) -> String {
        format!("activation {}", self.activation)
    }
}

/// How a campaign fits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    pub campaign: Campaign,
    /// How long it takes, by the lane that binds.
    pub seconds: f64,
    pub fits: bool,
    /// It fits, with little to spare.
    pub tight: bool,
    pub disk_bytes: u64,
    pub switches: Vec<Switch>,
}

/// What an activation can do in its workspace. `reported`: what Braze said of its lanes. `None`: it has no flow.
pub(super) fn room(
    rules: &Rules,
    workspace: &Workspace,
    reported: &Reports,
    campaign: Option<Campaign>,
) -> Option<Room> {
    rules.flow?;
    let horizon = campaign.map_or(Duration::from_hours(1), |campaign| campaign.within);
    let lanes = lanes(rules, workspace, reported, horizon);
    let tightest = lanes.first()?;
    let fit = campaign.map(|campaign| {
        let seconds = tightest.seconds(campaign.expect);
        let within = campaign.within.as_secs_f64();
        let fits = seconds <= within;
        let tight = fits && seconds > within * FULL;
        // Whoever has a phone waits two minutes, or for a confirmation; of the others only what was not delivered yet.
        let waiting = match (&rules.phone, fits) {
            (Some(_), _) => campaign.expect,
            (None, true) => campaign.expect.min(10_000),
            (None, false) => (campaign.expect as f64 * (1.0 - within / seconds)) as u64,
        };
        Fit {
            campaign,
            seconds,
            fits,
            tight,
            disk_bytes: waiting.saturating_mul(BYTES_PER_WAITING),
            switches: if fits && !tight {
                Vec::new()
            } else {
                switches(rules, workspace, reported, campaign, tightest)
            },
        }
    });
    Some(Room {
        activation: rules.scope.to_string(),
        workspace: rules.workspace.to_string(),
        per_hour: 3600.0 * tightest.requests_per_second / tightest.requests_each,
        lanes,
        fit,
    })
}

/// Every lane that a participation passes, the tightest first.
fn lanes(
    rules: &Rules,
    workspace: &Workspace,
    reported: &Reports,
    horizon: Duration,
) -> Vec<LaneUse> {
    let tracked = workspace.braze.track_objects_max;
    let mut lanes: Vec<LaneUse> = objects(rules, horizon)
        .into_iter()
        .filter_map(|(lane, objects)| {
            Some(LaneUse {
                lane,
                requests_each: objects as f64 / pack::objects_max(lane, tracked) as f64,
                requests_per_second: rate(lane, workspace, reported.get(&lane))?,
            })
        })
        .collect();
    lanes.sort_by(|one, other| other.seconds(1).total_cmp(&one.seconds(1)));
    lanes
}

/// Requests a second of a lane that are ours.
fn rate(lane: LaneKind, workspace: &Workspace, reported: Option<&Report>) -> Option<f64> {
    let (limits, share) = match lane {
        LaneKind::Quikly => (&workspace.quikly.as_ref()?.limit, 1.0),
        _ => (workspace.braze.limits.get(&lane)?, workspace.braze.share),
    };
    let told = reported.and_then(|report| report.as_limit(limits));
    let all: Vec<Limit> = limits.iter().copied().chain(told).collect();
    requests_per_second(&all, share)
}

/// How many objects one participation puts into each lane within `horizon`: its flow is walked from the start to the end.
pub(super) fn objects(rules: &Rules, horizon: Duration) -> BTreeMap<LaneKind, usize> {
    let book = RuleBook::new([rules.clone()]);
    let start = Timestamp::ZERO + Duration::from_hours(24);
    let mut costs = BTreeMap::new();
    let event = participation(rules, start);
    let mut alive = match flow::start(&event, &book, start) {
        (Start::Run { job, .. }, _) => vec![(job, event)],
        (Start::Bury { .. }, _) => Vec::new(),
    };
    let mut steps = 0;
    while let Some((job, event)) = alive.pop() {
        steps += 1;
        let Some(call) = flow::ask(&job, &event, rules).filter(|_| steps < STEPS_MAX) else {
            continue;
        };
        if !flow::is_empty(&call) && call != Call::Recall {
            *costs.entry(call.lane()).or_insert(0) += pack::room(&call);
        }
        let reply = dearest(&call, &job, rules, start + horizon);
        match flow::hear(&job, &event, &reply, job.due, rules) {
            Step::Next(state) | Step::Resume(state) => {
                let due = job.due;
                alive.push((job.at(state, due), event));
            }
            Step::Wait { state, until } => alive.push((job.at(state, until), event)),
            Step::Done { spawn, .. } => {
                alive.extend(spawn.into_iter().map(|child| (child.job, child.event)));
            }
            Step::Dead { .. } | Step::Again(_) | Step::Unfitting => {}
        }
    }
    costs
}

/// The answer to `call` after which most is to be done.
fn dearest(call: &Call, job: &Job, rules: &Rules, over: Timestamp) -> Reply {
    let waits_for_people = rules.phone.as_ref().is_some_and(|it| it.opt_in.is_some());
    match call {
        Call::LookUp { .. } => Reply::Profiles(Vec::new()),
        Call::Recall => Reply::Remembered(None),
        Call::Track(_) => Reply::Tracked,
        Call::ReadStatus { .. } => {
            let first = matches!(
                job.state,
                State::Sms(Join::Check) | State::DoubleOptIn(Join::Check)
            );
            let last = matches!(&job.state, State::DoubleOptIn(Join::Confirm { until, .. })
                if job.due >= *until);
            let confirmed = !first && (!waits_for_people || last || job.due >= over);
            Reply::Status(if confirmed {
                Subscription::Subscribed
            } else {
                Subscription::Unsubscribed
            })
        }
        Call::SetStatus(_) => Reply::StatusSet,
        Call::Credit(_) => Reply::Credited,
        Call::Delete(_) => Reply::Deleted,
    }
}

fn participation(rules: &Rules, at: Timestamp) -> Event {
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: String::new(),
        scope: rules.scope.to_string(),
        email: NOBODYS_EMAIL.into(),
        email_given: None,
        external_id: None,
        trace: None,
        phone: Some(NOBODYS_PHONE.into()),
        sms_consent: true,
        at,
        accepted_at: at,
        attributes: None,
        event: None,
    }
}

/// What would make it quicker, where `tightest` binds: settings first, then what only Braze can grant.
fn switches(
    rules: &Rules,
    workspace: &Workspace,
    reported: &Reports,
    campaign: Campaign,
    tightest: &LaneUse,
) -> Vec<Switch> {
    let takes = |rules: &Rules, workspace: &Workspace| {
        let lanes = lanes(rules, workspace, reported, campaign.within);
        lanes.first().map(|lane| lane.seconds(campaign.expect))
    };
    let mut switches: Vec<Switch> = Vec::new();
    // Only what is quicker than all that is offered already.
    let mut best = tightest.seconds(campaign.expect);
    let mut offer = |setting: String, rules: &Rules, workspace: &Workspace| {
        let seconds = takes(rules, workspace).filter(|then| *then < best * 0.99);
        best = seconds.unwrap_or(best);
        switches.extend(seconds.map(|seconds| Switch {
            setting,
            seconds: Some(seconds),
        }));
    };
    if workspace.braze.share < 1.0 {
        let mut whole = workspace.clone();
        whole.braze.share = 1.0;
        offer("share = 1.0".into(), rules, &whole);
    }
    let mut other = rules.clone();
    let mut email = String::from("identity = \"email\"");
    if rules.identity == Identity::Export {
        other.identity = Identity::Email;
        if rules.created_event.is_some() || !rules.created_attributes.is_empty() {
            other.created_event = None;
            other.created_attributes.clear();
            email += " without created_event and created_attributes";
        }
        if let Some(phone) = &mut other.phone
            && phone.mismatch == PhoneMismatch::Dead
        {
            phone.mismatch = PhoneMismatch::Replace;
            email += " with phone_mismatch = \"replace\"";
        }
        offer(email.clone(), &other, workspace);
    }
    if let Some(phone) = &mut other.phone
        && phone.subscribe == SubscribeBy::Delayed
        && !matches!(phone.opt_in, Some(OptIn::Event(_)))
    {
        let mut inline = rules.clone();
        if let Some(of_inline) = &mut inline.phone {
            of_inline.subscribe = SubscribeBy::Inline;
        }
        phone.subscribe = SubscribeBy::Inline;
        offer("subscribe = \"inline\"".into(), &inline, workspace);
        if rules.identity == Identity::Export {
            offer(
                format!("{email} and subscribe = \"inline\""),
                &other,
                workspace,
            );
        }
    }
    let wanted = campaign.expect as f64 * tightest.requests_each / campaign.within.as_secs_f64();
    let (whom, share) = match tightest.lane {
        LaneKind::Quikly => ("Quikly", 1.0),
        _ => ("Braze", workspace.braze.share),
    };
    switches.push(Switch {
        setting: format!(
            "ask {whom} for {:.0} requests a second on {}, and raise its limit",
            (wanted / share / FULL).ceil(),
            tightest.lane
        ),
        seconds: None,
    });
    switches
}

/// Whether the disk takes in so many events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Intake {
    /// Even if each came alone.
    Easily,
    /// When they come side by side, as they do over several connections or in batches.
    Together,
    /// It does not.
    TooSlow,
}

/// Whether a disk of so many durable commits a second takes the campaign in, if it comes evenly.
pub(super) fn intake(campaign: Campaign, commits_per_second: f64) -> Intake {
    let events = campaign.expect as f64 / campaign.within.as_secs_f64();
    if events <= commits_per_second {
        Intake::Easily
    } else if events <= commits_per_second * EVENTS_PER_COMMIT {
        Intake::Together
    } else {
        Intake::TooSlow
    }
}
