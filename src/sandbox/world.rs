//! Everything the sandbox holds, and how a request to Braze or Quikly is decided.
//!
//! Invariants: no waiting and no I/O; `now` is an argument; the same requests at the same moments get the same answers.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::limits::{self, Bucket, HeaderVariant, Standing};
use super::options::{Options, Spread};
use super::profiles::Object;
use super::quikly::Quikly;
use super::record::{Record, Seen};
use super::script::{Effects, Matter, Play};
use super::wire::{Answer, Asked, Body, Endpoint};
use super::workspace::Workspace;
use super::{delete, export, subscription, track};
use crate::model::time::Timestamp;

/// Most bytes of a body (api_limits).
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Chances, fixed by a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From this seed.
    pub const fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Everything.
pub struct World {
    /// In the order of the options.
    pub workspaces: Vec<Workspace>,
    /// Shared by all workspaces.
    pub quikly: Quikly,
    /// Being played.
    pub play: Play,
    /// What was asked.
    pub record: Record,
    random: Random,
    by_key: HashMap<String, usize>,
    headers: HeaderVariant,
    appear: Spread,
}

/// What a Braze endpoint may use besides its workspace.
pub struct Means<'a> {
    /// The moment.
    pub now: Timestamp,
    /// What the script has in store.
    pub effects: &'a Effects,
    /// How long a write takes, unless the script says otherwise.
    pub appear: Spread,
    /// Chances.
    pub random: &'a mut Random,
}

impl World {
    /// As it is at the start.
    pub fn new(options: &Options, now: Timestamp) -> World {
        let workspaces = options.workspaces.iter();
        let by_key = workspaces
            .clone()
            .enumerate()
            .map(|(place, one)| (one.api_key.clone(), place));
        World {
            by_key: by_key.collect(),
            workspaces: workspaces
                .map(|one| Workspace::new(one, options, now))
                .collect(),
            quikly: Quikly::new(options),
            play: Play::new(options.script.clone(), now),
            record: Record::new(options.requests_kept),
            random: Random::new(options.seed),
            headers: options.headers,
            appear: options.appear,
        }
    }

    /// Lets everything take effect whose moment has come, everywhere.
    pub fn settle(&mut self, now: Timestamp) {
        for workspace in &mut self.workspaces {
            workspace.settle(now);
        }
    }

    /// The name of the workspace whose key this is.
    pub fn workspace_of(&self, key: Option<&str>) -> Option<&str> {
        let place = *self.by_key.get(key?)?;
        Some(&self.workspaces[place].name)
    }

    /// What the script has in store, and how long to wait before anything else.
    pub fn begin(&mut self, asked: &Asked<'_>, now: Timestamp) -> (Effects, std::time::Duration) {
        let key = if asked.endpoint == Endpoint::Quikly {
            None
        } else {
            asked.key
        };
        let place = key.and_then(|key| self.by_key.get(key));
        let matter = Matter {
            lane: Some(asked.endpoint.lane()),
            path: asked.endpoint.path(),
            workspace: place.map(|place| self.workspaces[*place].name.as_str()),
        };
        let effects = self.play.effects(matter, now);
        let delay = effects
            .delays
            .iter()
            .map(|spread| spread.pick(self.random.next()))
            .sum();
        (effects, delay)
    }

    /// A random choice out of `spread`.
    pub fn pick(&mut self, spread: Spread) -> std::time::Duration {
        spread.pick(self.random.next())
    }

    /// Does what was asked and answers.
    pub fn answer(
        &mut self,
        asked: &Asked<'_>,
        body: Body,
        effects: &Effects,
        now: Timestamp,
    ) -> Answer {
        if asked.endpoint == Endpoint::Quikly {
            return self.quikly.answer(asked, body, now);
        }
        if !asked.agent_is_partner {
            self.record.user_agent_violations += 1;
        }
        let place = asked.key.and_then(|key| self.by_key.get(key)).copied();
        let (Some(place), false) = (place, effects.revoked) else {
            return unauthorized(asked.key);
        };
        let workspace = &mut self.workspaces[place];
        workspace.settle(now);
        let bucket = asked.endpoint.bucket();
        while let Some((at, taken)) = workspace.meter(bucket).and_then(|meter| meter.other(now)) {
            self.record.add(Seen {
                at,
                workspace: Some(workspace.name.clone()),
                path: asked.endpoint.path(),
                status: if taken { 201 } else { 429 },
                objects: 1,
                answer_dropped: false,
                other: true,
            });
        }
        if !workspace.permissions.contains(&asked.endpoint.permission()) {
            return Answer::message(403, "Access Denied");
        }
        let standing = match take(workspace, buckets(asked, &body), now) {
            Ok(standing) => standing,
            Err(full) => {
                self.record.throttled += 1;
                let mut answer = Answer::message(429, "Rate limit exceeded");
                answer.headers = limits::headers(self.headers, full, true, now);
                return answer;
            }
        };
        let mut means = Means {
            now,
            effects,
            appear: self.appear,
            random: &mut self.random,
        };
        let mut answer = match object(asked, body) {
            Err(answer) => answer,
            Ok(object) => match asked.endpoint {
                Endpoint::Track => track::track(workspace, object, &mut means),
                Endpoint::ExportIds => export::export(workspace, &object, now),
                Endpoint::Delete => delete::delete(workspace, &object, &mut means),
                Endpoint::StatusGet => subscription::get(workspace, asked.query, &mut means),
                Endpoint::StatusSet => subscription::set(workspace, &object, &mut means),
                Endpoint::StatusSetV2 => subscription::set_v2(workspace, &object, &mut means),
                Endpoint::Quikly => Answer::message(404, "Not Found"),
            },
        };
        if let Some(standing) = standing {
            answer.headers = limits::headers(self.headers, standing, false, now);
        }
        answer
    }
}

fn unauthorized(key: Option<&str>) -> Answer {
    let mut answer = Answer::message(
        401,
        &format!("Invalid API key: {}", key.unwrap_or_default()),
    );
    answer.headers = [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ]
    .map(|name| (name, String::new()))
    .to_vec();
    answer
}

fn buckets(asked: &Asked<'_>, body: &Body) -> Vec<Bucket> {
    let mut buckets = vec![asked.endpoint.bucket()];
    if let (Endpoint::ExportIds, Body::Json(value)) = (asked.endpoint, body)
        && export::is_heavy(value)
    {
        buckets.push(Bucket::UsersExportIdsHeavy);
    }
    buckets
}

/// Takes one request out of each bucket; the tightest one is told.
fn take(
    workspace: &mut Workspace,
    buckets: Vec<Bucket>,
    now: Timestamp,
) -> Result<Option<Standing>, Standing> {
    let mut tightest: Option<Standing> = None;
    for bucket in buckets {
        let Some(meter) = workspace.meter(bucket) else {
            continue;
        };
        if let Some(standing) = meter.take(now)?
            && tightest.is_none_or(|other| standing.remaining < other.remaining)
        {
            tightest = Some(standing);
        }
    }
    Ok(tightest)
}

/// The body as a JSON object, or why not; a GET has none.
fn object(asked: &Asked<'_>, body: Body) -> Result<Object, Answer> {
    if asked.endpoint == Endpoint::StatusGet {
        return Ok(Object::new());
    }
    if !asked.type_is_json {
        return Err(Answer::message(415, "Unsupported Media Type"));
    }
    match body {
        Body::TooLong => Err(Answer::message(413, "Request Entity Too Large")),
        Body::Json(Value::Object(object)) => Ok(object),
        Body::Json(_) | Body::Malformed => Err(Answer::new(
            400,
            json!({"error": "Error while parsing request body. Please check your syntax."}),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_all_chances() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
