//! The question routes, `/_sandbox/…`: what Braze and Quikly hold, so that a test can prove it.
//!
//! | route | answer |
//! |---|---|
//! | `GET /profiles` | NDJSON; `email`, `alias`, `external_id`, `workspace`, `after`, `limit` |
//! | `GET /credits` | NDJSON; `email`, `q_scope`, `event`, `key`, `after`, `limit` |
//! | `GET /requests` | NDJSON, the latest ones; `after`, `limit` |
//! | `GET /summary` | one JSON object of numbers |
//! | `GET`, `POST`, `DELETE /script` | the script; a new one replaces the old and its times count from now |
//! | `DELETE /` | everything as it was at the start |
//!
//! Invariants: `profiles`, `credits` and `summary` first wait until every write accepted by then has taken effect, at most
//! five seconds of real time; `wait=false` does not. Without `limit` everything is answered; with it the header
//! `x-sandbox-next` says where to go on (as `after`), if there is more. Large answers are made in slices, so that requests to
//! Braze and Quikly have their turn in between.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Sandbox;
use super::profiles::Profile;
use super::script::{Play, Script};
use super::world::World;

/// How long a question waits for writes on their way, in real time.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How many profiles or credits are looked at under one hold of the lock.
const SLICE: usize = 1000;
const SCRIPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The query, decoded; a `+` stays one, for the sake of addresses and phones typed by hand.
struct Query(BTreeMap<String, String>);

impl Query {
    fn read(query: &str) -> Query {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Query(
            pairs
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.text(name)?.parse().ok()
    }

    /// Whether `value` is what was asked for under `name`, if anything was.
    fn fits(&self, name: &str, value: Option<&str>) -> bool {
        self.text(name)
            .is_none_or(|wanted| value.is_some_and(|value| value.eq_ignore_ascii_case(wanted)))
    }
}

/// Answers one question. `question` is the path behind `/_sandbox`.
pub async fn answer(
    sandbox: &Sandbox,
    method: &Method,
    question: &str,
    query: &str,
    body: Body,
) -> Response {
    let query = Query::read(query);
    if matches!(question, "/profiles" | "/credits" | "/summary")
        && query.text("wait") != Some("false")
    {
        wait(sandbox).await;
    }
    match (method.as_str(), question) {
        ("GET", "/profiles") => lines(sandbox, query, profile_lines).await,
        ("GET", "/credits") => lines(sandbox, query, credit_lines).await,
        ("GET", "/requests") => lines(sandbox, query, request_lines).await,
        ("GET", "/summary") => {
            let mut world = sandbox.world();
            world.settle(sandbox.clock.now());
            json(StatusCode::OK, &summary(&world))
        }
        ("GET", "/script") => json(StatusCode::OK, &json!(sandbox.world().play.script())),
        ("POST", "/script") => match script(body).await {
            Ok(script) => {
                let rules = script.rules.len();
                sandbox.world().play = Play::new(script, sandbox.clock.now());
                json(StatusCode::OK, &json!({ "rules": rules }))
            }
            Err(why) => json(StatusCode::BAD_REQUEST, &json!({ "message": why })),
        },
        ("DELETE", "/script") => {
            sandbox.world().play = Play::new(Script::default(), sandbox.clock.now());
            json(StatusCode::OK, &json!({"rules": 0}))
        }
        ("DELETE", "" | "/") => {
            *sandbox.world() = World::new(&sandbox.options, sandbox.clock.now());
            json(StatusCode::OK, &json!({"message": "as at the start"}))
        }
        _ => json(
            StatusCode::NOT_FOUND,
            &json!({"message": "no such question"}),
        ),
    }
}

async fn script(body: Body) -> Result<Script, String> {
    let bytes = to_bytes(body, SCRIPT_BYTES_MAX)
        .await
        .map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(&bytes).map_err(|error| error.to_string())?;
    Script::parse(text).map_err(|error| error.to_string())
}

/// Waits until what was accepted by now has taken effect.
async fn wait(sandbox: &Sandbox) {
    let last = {
        let world = sandbox.world();
        world
            .workspaces
            .iter()
            .filter_map(|workspace| workspace.pending().1)
            .max()
    };
    if let Some(last) = last {
        // Too long a wait is answered with what there is; the summary says how much is on its way.
        drop(tokio::time::timeout(WAIT_MAX, sandbox.clock.sleep_until(last)).await);
    }
}

fn json(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

/// Makes the lines from place `after` on, at most so many, and says where to go on, if there is more.
type Maker = fn(&World, &Query, after: usize, at_most: usize) -> (Vec<u8>, usize, Option<usize>);

async fn lines(sandbox: &Sandbox, query: Query, make: Maker) -> Response {
    sandbox.world().settle(sandbox.clock.now());
    let mut all = Vec::new();
    let mut rest = query.number("limit").unwrap_or(usize::MAX);
    let mut next = Some(query.number("after").unwrap_or(0));
    while let (Some(place), 1..) = (next, rest) {
        let (some, made, then) = make(&sandbox.world(), &query, place, rest);
        all.extend(some);
        rest = rest.saturating_sub(made);
        next = then;
        // Others have their turn between slices.
        tokio::task::yield_now().await;
    }
    let mut response = Response::new(Body::from(all));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    if let Some(next) = next {
        headers.insert("x-sandbox-next", HeaderValue::from(next));
    }
    response
}

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
) -> (Vec<u8>, usize, Option<usize>) {
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

/// Places count through the workspaces, in order. An e-mail that is asked for is looked up rather than searched.
fn profile_lines(
    world: &World,
    query: &Query,
    after: usize,
    at_most: usize,
) -> (Vec<u8>, usize, Option<usize>) {
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
                    push(&mut lines, &shown(&workspace.name, *place, profile));
                    made += 1;
                }
            }
        }
        return (lines, made, None);
    }
    let length = world
        .workspaces
        .iter()
        .map(|one| one.profiles.all().len())
        .sum();
    slice(length, after, at_most, |place| {
        let mut local = place;
        for workspace in &world.workspaces {
            let all = workspace.profiles.all();
            if let Some(profile) = all.get(local) {
                let fits =
                    query.fits("workspace", Some(&workspace.name)) && profile_fits(profile, query);
                return fits.then(|| shown(&workspace.name, local, profile));
            }
            local -= all.len();
        }
        None
    })
}

fn profile_fits(profile: &Profile, query: &Query) -> bool {
    let alias = query.text("alias");
    query.fits("external_id", profile.external_id.as_deref())
        && alias.is_none_or(|alias| profile.aliases.iter().any(|(_, name)| name == alias))
}

fn shown(workspace: &str, place: usize, profile: &Profile) -> Value {
    let events: Vec<_> = profile
        .events
        .iter()
        .map(|(name, tally)| {
            json!({"name": name, "count": tally.count, "first": tally.first, "last": tally.last, "times": tally.times})
        })
        .collect();
    let groups: BTreeMap<_, _> = profile
        .groups
        .iter()
        .map(|(group, is)| {
            (
                group,
                if is.subscribed {
                    "Subscribed"
                } else {
                    "Unsubscribed"
                },
            )
        })
        .collect();
    json!({
        "id": place, "workspace": workspace, "braze_id": profile.braze_id, "external_id": profile.external_id,
        "user_aliases": profile.user_aliases(), "email": profile.email, "phone": profile.phone,
        "fields": profile.fields, "custom_attributes": profile.custom, "custom_events": events,
        "purchases": profile.purchases, "subscription_groups": groups, "created_at": profile.created_at,
        "created_by_api": profile.created_by_api,
    })
}

fn credit_lines(
    world: &World,
    query: &Query,
    after: usize,
    at_most: usize,
) -> (Vec<u8>, usize, Option<usize>) {
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

fn request_lines(
    world: &World,
    _: &Query,
    after: usize,
    at_most: usize,
) -> (Vec<u8>, usize, Option<usize>) {
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

/// The numbers of everything.
fn summary(world: &World) -> Value {
    let mut custom_events: BTreeMap<&str, u64> = BTreeMap::new();
    let mut workspaces = serde_json::Map::new();
    let (mut total, mut created, mut duplicates, mut pending) = (0, 0, 0, 0);
    for workspace in &world.workspaces {
        let all = workspace.profiles.all();
        let by_api = all.iter().filter(|profile| profile.created_by_api).count();
        let shared: usize = workspace
            .profiles
            .shared_emails()
            .map(|many| many - 1)
            .sum();
        for (name, tally) in all.iter().flat_map(|profile| &profile.events) {
            *custom_events.entry(name).or_default() += tally.count;
        }
        total += all.len();
        created += by_api;
        duplicates += shared;
        pending += workspace.pending().0;
        let silent = workspace.silent;
        workspaces.insert(
            workspace.name.clone(),
            json!({
                "profiles": all.len(), "profiles_created_by_api": by_api, "profiles_duplicate_email": shared,
                "writes_pending": workspace.pending().0, "updates_dropped": silent.updates_dropped,
                "values_dropped": silent.values_dropped, "sets_orphaned": silent.sets_orphaned,
                "orphans_inherited": silent.orphans_inherited, "opt_ins_dropped": silent.opt_ins_dropped,
                "opt_ins_started": silent.opt_ins_started,
            }),
        );
    }
    let (requests, by_path) = world.record.totals();
    json!({
        "profiles": total, "profiles_created_by_api": created, "profiles_duplicate_email": duplicates,
        "writes_pending": pending, "custom_events": custom_events,
        "credits": world.quikly.credits.len(), "credits_distinct": world.quikly.distinct(),
        "credit_requests": world.quikly.requests, "credit_requests_repeated": world.quikly.repeated,
        "requests": requests, "requests_by_path": by_path, "throttled": world.record.throttled,
        "answers_dropped": world.record.answers_dropped, "track_objects": world.record.track_objects(),
        "user_agent_violations": world.record.user_agent_violations, "workspaces": workspaces,
    })
}
