//! SMS acquisition and SMS double opt-in: from a phone to a subscription that was read back, and only then a credit.
//!
//! Invariants: nobody without phone and consent is subscribed, asked to opt in or credited. Nobody is credited before
//! the status was read as Subscribed. A plain subscription is set at most once when its acceptance is known, not before
//! Braze has had `delay` to know the profile and its phone, and never again once somebody has said STOP: whenever it may
//! have happened already, the status is read before it is tried again. A found profile keeps its phone unless the
//! activation says otherwise. Every wait has an end.

use std::time::Duration;

use serde_json::Value;

use super::identity::{self, Found, Person};
use super::job::{Before, Class, Join, Missing, Outcome, Profile, Reason, State};
use super::{Step, credit, email};
use crate::model::call::{
    Address, Call, Reply, SetStatus, Subscribe, Subscription, Track, TrackEvent,
};
use crate::model::event::Event;
use crate::model::rules::{
    ConfirmEvery, Identity, OnUnknown, OptIn, PhoneMismatch, PhoneRules, Rules, SubscribeBy,
};
use crate::model::time::Timestamp;

/// A wait before the status is read again is this part of how long it has been waited for: at first often, later seldom.
const PART_OF_WAIT: u32 = 4;

/// Reads fall due on a grid of at most this part of the wait, so that people who wait share requests.
const PART_OF_GRID: u32 = 8;

/// So long a profile that we remember is looked for when Braze does not show it; then it is taken for deleted.
pub(super) const LOOK_FOR: Duration = Duration::from_mins(15);

/// Moments are cut to whole milliseconds: a wait that begins at one may have begun so much later, and must not end early.
const ROUNDED_OFF: Duration = Duration::from_millis(1);

/// Which of the two flows: they differ in how they begin and end, not on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sms,
    DoubleOptIn,
}

impl Kind {
    fn state(self, join: Join) -> State {
        match self {
            Kind::Sms => State::Sms(join),
            Kind::DoubleOptIn => State::DoubleOptIn(join),
        }
    }
}

/// Where a participation begins.
pub(super) fn start(event: &Event, rules: &Rules) -> Join {
    let only = |missing| Join::Only(missing, email::start(event, rules));
    match &event.phone {
        None => only(Missing::Phone),
        Some(_) if !event.sms_consent => only(Missing::Consent),
        Some(_) => Join::Check,
    }
}

pub(super) fn ask(join: &Join, event: &Event, rules: &Rules) -> Option<Call> {
    if let Join::Only(_, profile) = join {
        return Some(email::ask(profile, event, rules));
    }
    let phone = rules.phone.as_ref()?;
    Some(match join {
        Join::Only(..) => return None,
        Join::Check | Join::Recheck { .. } | Join::RecheckProfile { .. } | Join::Confirm { .. } => {
            Call::ReadStatus {
                group: phone.group.clone(),
                phone: event.phone.clone().unwrap_or_default(),
            }
        }
        Join::LookUp { .. } => email::look_up(event, true),
        Join::Create { .. } => Call::Track(joining(email::create(event, rules), event, phone)),
        Join::Update {
            address,
            phone: write,
            ..
        } => {
            let mut track = email::update(address, event, rules);
            if *write && let Some(number) = &event.phone {
                track
                    .attributes
                    .insert("phone".into(), Value::String(number.clone()));
            }
            Call::Track(joining(track, event, phone))
        }
        Join::Set { .. } => Call::SetStatus(SetStatus {
            group: phone.group.clone(),
            phone: event.phone.clone().unwrap_or_default(),
            // Never a plain set where the activation wants a double opt-in, however it was configured when this began.
            double_opt_in: phone.opt_in.is_some(),
            on_unknown: match &phone.opt_in {
                Some(OptIn::Logic(on_unknown)) => *on_unknown,
                Some(OptIn::Event(_)) | None => OnUnknown::Resend,
            },
        }),
    })
}

/// Adds to what is written what begins the subscription, where that goes with it.
fn joining(mut track: Track, event: &Event, phone: &PhoneRules) -> Track {
    if let Some(OptIn::Event(opt_in)) = &phone.opt_in {
        email::travels_with(&mut track, opt_in.on_unknown);
        track.events.push(TrackEvent {
            name: opt_in.name.clone(),
            time: event.at,
            properties: None,
        });
    } else if phone.subscribe == SubscribeBy::Inline {
        if let Some(OptIn::Logic(on_unknown)) = phone.opt_in {
            email::travels_with(&mut track, on_unknown);
        }
        track.subscribe = Some(Subscribe {
            group: phone.group.clone(),
            double_opt_in: phone.opt_in.is_some(),
        });
    }
    track
}

/// Whether the subscription begins with what is written to the profile; else by a request of its own behind it.
fn begins_with_profile(phone: &PhoneRules) -> bool {
    matches!(phone.opt_in, Some(OptIn::Event(_))) || phone.subscribe == SubscribeBy::Inline
}

pub(super) fn hear(
    kind: Kind,
    join: &Join,
    failing_since: Option<Timestamp>,
    event: &Event,
    reply: &Reply,
    now: Timestamp,
    rules: &Rules,
) -> Step {
    if let Join::Only(missing, profile) = join {
        return only(kind, *missing, profile, event, reply, rules);
    }
    let Some(phone) = &rules.phone else {
        return Step::Dead {
            reason: Reason::NoFlow,
            class: Class::Configuration,
            text: "the activation has no subscription group any more",
        };
    };
    let to = |join| Step::Next(kind.state(join));
    let credited = |outcome| Step::Done {
        outcome,
        spawn: credit::earned(event, now, rules).into_iter().collect(),
    };
    match (join, reply) {
        (Join::Check, Reply::Status(Subscription::Subscribed)) => {
            credited(Outcome::AlreadySubscribed)
        }
        (Join::Check, Reply::Status(status)) => {
            let status = *status;
            to(identify(
                Before {
                    status,
                    maybe: false,
                },
                event,
                rules,
            ))
        }
        (Join::LookUp { before }, Reply::Profiles(profiles)) => {
            match identity::recognise(profiles, &event.email) {
                Found::Nobody => to(Join::Create { before: *before }),
                Found::NotWhole => Step::Again(email::NOT_WHOLE),
                Found::At(person) => found(kind, *before, person, event, rules, phone),
            }
        }
        (Join::LookUp { .. }, Reply::Remembered(Some(_)))
            if failing_since.is_none_or(|since| now < since + LOOK_FOR) =>
        {
            Step::Again("the profile made before does not show yet")
        }
        (Join::Create { before }, Reply::Remembered(Some(_))) => {
            to(identify(*before, event, rules))
        }
        (Join::LookUp { before }, Reply::Remembered(_)) => to(Join::Create { before: *before }),
        (Join::Create { before }, Reply::Tracked) => written(kind, *before, true, now, phone),
        (
            Join::Update {
                before, phone: new, ..
            },
            Reply::Tracked,
        ) => written(kind, *before, *new, now, phone),
        (Join::Set { .. }, Reply::StatusSet) => confirm(kind, now, phone),
        (
            Join::Recheck { .. } | Join::RecheckProfile { .. } | Join::Confirm { .. },
            Reply::Status(Subscription::Subscribed),
        ) => credited(Outcome::Subscribed),
        (Join::Recheck { before } | Join::RecheckProfile { before }, Reply::Status(status)) => {
            let plain = phone.opt_in.is_none();
            let off = *status == Subscription::Unsubscribed;
            let changed = before.status != Subscription::Unsubscribed;
            if off && changed && plain {
                // It was not so before: somebody said STOP.
                Step::end(Outcome::OptedOut)
            } else if off && (changed || (plain && before.maybe)) {
                // Unsubscribed is where a double opt-in waits: it has begun. And a plain subscription that was so before
                // and may have been set since: either our request was lost, or it was answered with STOP. Nobody can
                // tell; it is not repeated, and only waited for.
                confirm(kind, now, phone)
            } else if begins_with_profile(phone) {
                Step::Resume(kind.state(identify(*before, event, rules)))
            } else {
                Step::Resume(kind.state(Join::Set { before: *before }))
            }
        }
        (Join::Confirm { until, .. }, Reply::Status(_)) if now >= *until => match kind {
            Kind::Sms => Step::Dead {
                reason: Reason::NotSubscribed,
                class: Class::Rejected,
                text: "the status was not read back as Subscribed in time",
            },
            Kind::DoubleOptIn => Step::end(Outcome::NotConfirmed),
        },
        (Join::Confirm { since, until }, Reply::Status(_)) => Step::Wait {
            state: kind.state(join.clone()),
            until: next_read(*since, now, &phone.confirm).min(*until),
        },
        (
            _,
            Reply::Profiles(_)
            | Reply::Remembered(_)
            | Reply::Tracked
            | Reply::Status(_)
            | Reply::StatusSet
            | Reply::Credited
            | Reply::Deleted,
        ) => Step::Unfitting,
    }
}

/// The profile alone: as by e-mail, without a credit.
fn only(
    kind: Kind,
    missing: Missing,
    profile: &Profile,
    event: &Event,
    reply: &Reply,
    rules: &Rules,
) -> Step {
    let outcome = match missing {
        Missing::Phone => Outcome::NoPhone,
        Missing::Consent => Outcome::NoConsent,
    };
    let enough = email::nothing_to_write(event, rules);
    match email::walk(profile, event, reply, enough) {
        email::Walk::To(profile) => Step::Next(kind.state(Join::Only(missing, profile))),
        email::Walk::Again => Step::Again(email::NOT_WHOLE),
        email::Walk::End(_) => Step::end(outcome),
        email::Walk::Unfitting => Step::Unfitting,
    }
}

fn identify(before: Before, event: &Event, rules: &Rules) -> Join {
    match rules.identity {
        Identity::Export => Join::LookUp { before },
        Identity::Email => Join::Update {
            before,
            address: Address::Email(event.email.clone()),
            phone: true,
        },
    }
}

fn found(
    kind: Kind,
    before: Before,
    person: Person,
    event: &Event,
    rules: &Rules,
    phone: &PhoneRules,
) -> Step {
    let has = person.phone.as_deref().map(digits);
    let ours = event.phone.as_deref().map(digits);
    let lacks = has.is_none();
    let another = !lacks && has != ours;
    if another && phone.mismatch == PhoneMismatch::Dead {
        return Step::Dead {
            reason: Reason::PhoneMismatch,
            class: Class::Rejected,
            text: "the profile found has another phone; phone_mismatch = \"replace\" would overwrite it",
        };
    }
    let write = lacks || another;
    let nothing = !write && !begins_with_profile(phone) && email::nothing_to_write(event, rules);
    Step::Next(kind.state(if nothing {
        Join::Set { before }
    } else {
        Join::Update {
            before,
            address: person.address,
            phone: write,
        }
    }))
}

/// A phone as Braze compares it: `+` and digits.
fn digits(phone: &str) -> String {
    phone.chars().filter(char::is_ascii_digit).collect()
}

/// The profile is written. `new`: Braze may not know it, or its phone, yet.
fn written(kind: Kind, before: Before, new: bool, now: Timestamp, phone: &PhoneRules) -> Step {
    if begins_with_profile(phone) {
        return confirm(kind, now, phone);
    }
    let state = kind.state(Join::Set { before });
    if new {
        Step::Wait {
            state,
            until: now + phone.delay + ROUNDED_OFF,
        }
    } else {
        Step::Next(state)
    }
}

fn confirm(kind: Kind, now: Timestamp, phone: &PhoneRules) -> Step {
    let until = now + phone.confirm.within;
    Step::Wait {
        state: kind.state(Join::Confirm { since: now, until }),
        until: next_read(now, now, &phone.confirm).min(until),
    }
}

/// When the status is read next: after a quarter of the time that it was waited for, never sooner than `first` and never
/// later than `max`; on a grid, so that many who wait are asked about together.
///
/// The meshes are those of the first wait, doubled and doubled again: a grid that followed each wait to the millisecond
/// would be everybody's own, and every request nearly empty. These are shared, and each holds all wider ones.
fn next_read(since: Timestamp, now: Timestamp, every: &ConfirmEvery) -> Timestamp {
    let wait = (now.since(since) / PART_OF_WAIT).clamp(every.first, every.max);
    let part =
        |wait: Duration| u64::try_from((wait / PART_OF_GRID).as_millis()).unwrap_or(u64::MAX);
    let finest = part(every.first).max(1);
    let mesh = finest << (part(wait) / finest).max(1).ilog2();
    let at = (now + wait).as_millis();
    Timestamp::from_millis(at.div_ceil(mesh).saturating_mul(mesh))
}

/// Where a job goes on whose subscription was not answered as it should be. `maybe`: it may have happened.
pub(super) fn once_more(join: &Join, maybe: bool) -> Join {
    let seen = |before: &Before| Before {
        maybe: before.maybe || maybe,
        ..*before
    };
    match join {
        Join::Set { before } => Join::Recheck {
            before: seen(before),
        },
        Join::Create { before } | Join::Update { before, .. } => Join::RecheckProfile {
            before: seen(before),
        },
        other => other.clone(),
    }
}

/// Where a dead letter goes on: a wait that is over begins anew, a subscription is not set unseen.
pub(super) fn replayed(
    kind: Kind,
    join: &Join,
    event: &Event,
    now: Timestamp,
    rules: &Rules,
) -> Join {
    match (join, &rules.phone) {
        (Join::Confirm { .. }, Some(phone)) => Join::Confirm {
            since: now,
            until: now + phone.confirm.within,
        },
        (Join::Set { .. }, _) if kind == Kind::Sms => once_more(join, false),
        (Join::Create { .. } | Join::Update { .. }, Some(phone))
            if kind == Kind::Sms && begins_with_profile(phone) =>
        {
            once_more(join, false)
        }
        // Somebody may have made the profile since.
        (Join::Create { before }, _) => identify(*before, event, rules),
        (Join::Only(missing, Profile::Create), _) => {
            Join::Only(*missing, email::start(event, rules))
        }
        _ => join.clone(),
    }
}

#[cfg(test)]
mod tests;
