//! The question routes, `/_sandbox/…`: what Braze and Quikly hold, so that a test can prove it.
//!
//! | route | answer |
//! |---|---|
//! | `GET /profiles` | NDJSON; `email`, `alias`, `external_id`, `workspace`, `after`, `limit` |
//! | `GET /credits` | NDJSON; `email`, `q_scope`, `event`, `key`, `after`, `limit` |
//! | `GET /prompts` | NDJSON, each prompt of a double opt-in; `phone`, `subscription_group_id`, `by`, `workspace`, `after`, `limit` |
//! | `GET /sets` | NDJSON, each status that was set and what existed then; `phone`, `subscription_group_id`, `via`, `outcome`, `workspace`, `after`, `limit` |
//! | `GET /people/{phone}` | what somebody does when prompted, and the groups they are in |
//! | `POST /people/{phone}/stop`, `/start`, `/confirm` | they text this now; `subscription_group_id`, `workspace`, for START `double_opt_in=true` |
//! | `GET`, `POST`, `DELETE /behaviour` | how people behave from now on; posted keys replace, the others stay |
//! | `GET /requests` | NDJSON, the latest ones, those of another consumer (`--other`) too; `after`, `limit` |
//! | `GET /summary` | one JSON object of numbers |
//! | `GET`, `POST`, `DELETE /script` | the script; a new one replaces the old and its times count from now |
//! | `DELETE /` | everything as it was at the start |
//!
//! Invariants: all but `requests`, `script` and `behaviour` first wait until every write accepted by then has taken effect, at
//! most five seconds of real time; `wait=false` does not. Nothing waits for people: they have answered by the sandbox's clock
//! or not. Without `limit` everything is answered; with it the header
//! `x-sandbox-next` says where to go on (as `after`), if there is more. Large answers are made in slices, so that requests to
//! Braze and Quikly have their turn in between.

mod lists;
mod people;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::Sandbox;
use super::script::{Play, Script};
use super::world::World;
use lists::Maker;

/// How long a question waits for writes on their way, in real time.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Most bytes of what is posted to a question route.
const POSTED_BYTES_MAX: usize = 16 * 1024 * 1024;

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
    let settled = matches!(
        question,
        "/profiles" | "/credits" | "/summary" | "/prompts" | "/sets"
    ) || question.starts_with("/people/");
    if settled && query.text("wait") != Some("false") {
        wait(sandbox).await;
    }
    if let Some(rest) = question.strip_prefix("/people/") {
        return people::answer(sandbox, method, rest, &query);
    }
    match (method.as_str(), question) {
        ("GET", "/profiles") => lines(sandbox, query, lists::profile_lines).await,
        ("GET", "/credits") => lines(sandbox, query, lists::credit_lines).await,
        ("GET", "/requests") => lines(sandbox, query, lists::request_lines).await,
        ("GET", "/prompts") => lines(sandbox, query, lists::prompt_lines).await,
        ("GET", "/sets") => lines(sandbox, query, lists::set_lines).await,
        ("GET" | "POST" | "DELETE", "/behaviour") => people::behaviour(sandbox, method, body).await,
        ("GET", "/summary") => {
            let mut world = sandbox.world();
            world.settle(sandbox.clock.now());
            respond(StatusCode::OK, &summary(&world))
        }
        ("GET", "/script") => respond(StatusCode::OK, &json!(sandbox.world().play.script())),
        ("POST", "/script") => match script(body).await {
            Ok(script) => {
                let rules = script.rules.len();
                sandbox.world().play = Play::new(script, sandbox.clock.now());
                respond(StatusCode::OK, &json!({ "rules": rules }))
            }
            Err(why) => respond(StatusCode::BAD_REQUEST, &json!({ "message": why })),
        },
        ("DELETE", "/script") => {
            sandbox.world().play = Play::new(Script::default(), sandbox.clock.now());
            respond(StatusCode::OK, &json!({"rules": 0}))
        }
        ("DELETE", "" | "/") => {
            *sandbox.world() = World::new(&sandbox.options, sandbox.clock.now());
            respond(StatusCode::OK, &json!({"message": "as at the start"}))
        }
        _ => respond(
            StatusCode::NOT_FOUND,
            &json!({"message": "no such question"}),
        ),
    }
}

async fn script(body: Body) -> Result<Script, String> {
    let text = posted(body).await?;
    Script::parse(&text).map_err(|error| error.to_string())
}

async fn posted(body: Body) -> Result<String, String> {
    let bytes = to_bytes(body, POSTED_BYTES_MAX)
        .await
        .map_err(|error| error.to_string())?;
    String::from_utf8(bytes.into()).map_err(|error| error.to_string())
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

fn respond(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

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

/// The numbers of everything.
fn summary(world: &World) -> Value {
    let mut custom_events: BTreeMap<&str, u64> = BTreeMap::new();
    let mut workspaces = serde_json::Map::new();
    let (mut total, mut created, mut duplicates, mut pending) = (0, 0, 0, 0);
    let (mut prompts, mut sets) = (0, 0);
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
        total += all.iter().filter(|profile| !profile.deleted).count();
        created += by_api;
        duplicates += shared;
        pending += workspace.pending().0;
        let (silent, tally) = (workspace.silent, workspace.opt_ins.tally);
        prompts += workspace.opt_ins.prompts.len();
        sets += workspace.sets.len();
        workspaces.insert(
            workspace.name.clone(),
            json!({
                "profiles": all.len(), "profiles_created_by_api": by_api, "profiles_duplicate_email": shared,
                "writes_pending": workspace.pending().0, "updates_dropped": silent.updates_dropped,
                "values_dropped": silent.values_dropped, "sets_orphaned": silent.sets_orphaned,
                "orphans_inherited": silent.orphans_inherited, "opt_ins_dropped": silent.opt_ins_dropped,
                "opt_ins_started": silent.opt_ins_started, "opt_ins_confirmed": tally.confirmed,
                "opt_ins_refused": tally.refused, "opt_ins_expired": tally.expired,
                "prompts": workspace.opt_ins.prompts.len(), "prompts_suppressed": tally.suppressed,
                "prompts_after_stop": tally.after_stop, "sets": workspace.sets.len(),
            }),
        );
    }
    let (requests, by_path) = world.record.totals();
    json!({
        "profiles": total, "profiles_created_by_api": created, "profiles_duplicate_email": duplicates,
        "writes_pending": pending, "custom_events": custom_events, "prompts": prompts, "sets": sets,
        "credits": world.quikly.credits.len(), "credits_distinct": world.quikly.distinct(),
        "credit_requests": world.quikly.requests, "credit_requests_repeated": world.quikly.repeated,
        "requests": requests, "requests_by_path": by_path, "throttled": world.record.throttled,
        "answers_dropped": world.record.answers_dropped, "track_objects": world.record.track_objects(),
        "user_agent_violations": world.record.user_agent_violations, "workspaces": workspaces,
    })
}
