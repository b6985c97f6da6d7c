//! The lists of the question routes, a slice at a time.
//!
//! Invariants: a maker holds the lock for a bounded time: it looks at no more than [`SLICE`] places. Places count through the
//! workspaces, in order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Query;
use crate::sandbox::profiles::Profile;
use crate::sandbox::sets::status;
use crate::sandbox::workspace::Workspace;
use crate::sandbox::world::World;

/// How many places are looked at under one hold of the lock.
const SLICE: usize = 1000;

/// Lines, how many they are, and where to go on, if there is more.
pub type Slice = (Vec<u8>, usize, Option<usize>);

/// Makes the lines from place `after` on, at most so many.
pub type Maker = fn(&World, &Query, after: usize, at_most: usize) -> Slice;

fn push(lines: &mut Vec<u8>, value: &Value) {
    lines.extend_from_slice(value.to_string().as_bytes());
    lines.push(b'\n');
}

/// One slice of a list. `line` is asked for each place and answers nothing where the query does not fit.
fn slice(
    length: usize,
    after: usize,
    at_most: usize,
    line: impl Fn(usize) -> Option<Value>,
) -> Slice {
    let (mut lines, mut made) = (Vec::new(), 0);
    let mut place = after;
    while place < length && place - after < SLICE && made < at_most {
        if let Some(value) = line(place) {
            push(&mut lines, &value);
            made += 1;
        }
        place += 1;
    }
    (lines, made, (place < length).then_some(place))
}

/// An e-mail that is asked for is looked up rather than searched.
pub fn profile_lines(world: &World, query: &Query, after: usize, at_most: usize) -> Slice {
    if let Some(email) = query.text("email") {
        let email = email.to_lowercase();
        let mut lines = Vec::new();
        let mut made = 0;
        for workspace in world
            .workspaces
            .iter()
            .filter(|one| query.fits("workspace", Some(&one.name)))
        {
            for place in workspace.profiles.with_email(&email) {
                let profile = &workspace.profiles.all()[*place];
                if profile_fits(profile, query) {
                    push(&mut lines, &shown(workspace, *place, profile));
                    made += 1;
                }
            }
        }
        return (lines, made, None);
    }
    let all = |workspace: &Workspace| workspace.profiles.all().len();
    through(world, after, at_most, all, |workspace, place| {
        let profile = &workspace.profiles.all()[place];
        let fits = query.fits("workspace", Some(&workspace.name)) && profile_fits(profile, query);
        fits.then(|| shown(workspace, place, profile))
    })
}

/// One slice of what the workspaces have, one after another: `length` of it each.
fn through(
    world: &World,
    after: usize,
    at_most: usize,
    length: impl Fn(&Workspace) -> usize,
    line: impl Fn(&Workspace, usize) -> Option<Value>,
) -> Slice {
    let total = world.workspaces.iter().map(&length).sum();
    slice(total, after, at_most, |place| {
        let mut local = place;
        for workspace in &world.workspaces {
            let mine = length(workspace);
            if local < mine {
                return line(workspace, local);
            }
            local -= mine;
        }
        None
    })
}

fn profile_fits(profile: &Profile, query: &Query) -> bool {
    let alias = query.text("alias");
    !profile.deleted
        && query.fits("external_id", profile.external_id.as_deref())
        && alias.is_none_or(|alias| profile.aliases.iter().any(|(_, name)| name == alias))
}

fn shown(workspace: &Workspace, place: usize, profile: &Profile) -> Value {
    let events: Vec<_> = profile
        .events
        .iter()
        .map(|(name, tally)| {
            json!({"name": name, "count": tally.count, "first": tally.first, "last": tally.last, "times": tally.times})
        })
        .collect();
    let groups = profile.groups.iter();
    let groups: BTreeMap<_, _> = groups
        .map(|(group, is)| (group, status(Some(is.subscribed))))
        .collect();
    let mut opting_in = BTreeMap::new();
    if let Some(phone) = &profile.phone {
        for group in workspace.opt_ins.groups_waiting(phone) {
            if let Some(waiting) = workspace.opt_ins.waiting(phone, &group) {
                let times =
                    json!({"prompted_at": waiting.prompted_at, "expires_at": waiting.expires_at});
                opting_in.insert(group, times);
            }
        }
    }
    json!({
        "id": place, "workspace": workspace.name, "braze_id": profile.braze_id, "external_id": profile.external_id,
        "user_aliases": profile.user_aliases(), "email": profile.email, "phone": profile.phone,
        "fields": profile.fields, "custom_attributes": profile.custom, "custom_events": events,
        "purchases": profile.purchases, "subscription_groups": groups, "opting_in": opting_in,
        "created_at": profile.created_at, "created_asked_at": profile.created_asked_at,
        "phone_asked_at": profile.phone_asked_at, "created_by_api": profile.created_by_api,
    })
}

/// In order of arrival.
pub fn credit_lines(world: &World, query: &Query, after: usize, at_most: usize) -> Slice {
    let credits = &world.quikly.credits;
    slice(credits.len(), after, at_most, |place| {
        let credit = &credits[place];
        let fits = query.fits("email", Some(&credit.email))
            && query.fits("q_scope", Some(&credit.scope))
            && query.fits("event", Some(&credit.event))
            && query.fits("key", credit.key.as_deref());
        fits.then(|| credit.shown(place))
    })
}

/// The remembered ones.
pub fn request_lines(world: &World, _: &Query, after: usize, at_most: usize) -> Slice {
    let (mut lines, mut made, mut next) = (Vec::new(), 0, None);
    for (number, line) in world.record.latest(after as u64) {
        if made == at_most.min(SLICE) {
            next = Some(number as usize);
            break;
        }
        push(&mut lines, &line);
        made += 1;
    }
    (lines, made, next)
}

/// Every prompt that was sent.
pub fn prompt_lines(world: &World, query: &Query, after: usize, at_most: usize) -> Slice {
    let all = |workspace: &Workspace| workspace.opt_ins.prompts.len();
    through(world, after, at_most, all, |workspace, place| {
        let prompt = &workspace.opt_ins.prompts[place];
        let fits = query.fits("workspace", Some(&workspace.name))
            && query.fits("phone", Some(&prompt.phone))
            && query.fits("subscription_group_id", Some(&prompt.group))
            && query.fits("by", Some(prompt.by()));
        fits.then(|| prompt.shown(place, &workspace.name))
    })
}

/// Every status that was set.
pub fn set_lines(world: &World, query: &Query, after: usize, at_most: usize) -> Slice {
    let all = |workspace: &Workspace| workspace.sets.len();
    through(world, after, at_most, all, |workspace, place| {
        let set = &workspace.sets[place];
        let fits = query.fits("workspace", Some(&workspace.name))
            && query.fits("phone", set.phone.as_deref())
            && query.fits("subscription_group_id", Some(&set.wish.group))
            && query.fits("via", Some(set.via.as_str()))
            && query.fits("outcome", Some(set.outcome.as_str()));
        fits.then(|| set.shown(place, &workspace.name))
    })
}
