//! Metrics and status tell what the store holds.

use std::collections::BTreeMap;

use braze_relay::flow::job::Flow;
use braze_relay::model::event::Source;
use braze_relay::telemetry::{Intake, RequestOutcome};

use super::*;

/// Series by name with labels, each line checked against the exposition format (0.0.4).
fn series(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mut kinds = BTreeMap::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(
                rest.split_once(' ')
                    .is_some_and(|(name, help)| is_name(name) && !help.is_empty()),
                "{line}"
            );
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(
                kinds.insert(name.to_owned(), kind).is_none(),
                "told twice: {line}"
            );
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let bare = name.split('{').next().unwrap();
        assert!(is_name(bare), "{line}");
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| {
                bare.strip_suffix(end)
                    .filter(|family| kinds.contains_key(*family))
            })
            .unwrap_or(bare);
        assert!(kinds.contains_key(family), "no type was told before {line}");
        if let Some(labels) = name
            .strip_prefix(bare)
            .and_then(|rest| rest.strip_prefix('{'))
        {
            let labels = labels.strip_suffix('}').unwrap();
            for label in labels.split("\",") {
                let (name, value) = label.split_once("=\"").unwrap();
                assert!(is_name(name), "{line}");
                let value = value.strip_suffix('"').unwrap_or(value);
                assert!(!value.contains(['"', '\n', '\\']), "{line}");
            }
        }
        let value = value
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(
            found.insert(name.to_owned(), value).is_none(),
            "told twice: {line}"
        );
    }
    found
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
}

async fn scrape(world: &World) -> BTreeMap<String, f64> {
    let said = world.get("/metrics").await;
    assert_eq!(said.status, 200);
    assert_eq!(said.kind, "text/plain; version=0.0.4; charset=utf-8");
    series(&said.text)
}

#[tokio::test]
async fn every_series_of_what_is_configured_is_there_at_0_before_anything_happens() {
    let world = World::open().await;
    let told = scrape(&world).await;
    for name in [
        r#"relay_events_total{result="accepted",source="quikly"}"#,
        r#"relay_events_total{result="unavailable",source="braze"}"#,
        r#"relay_jobs{flow="email",state="waiting",workspace="acme"}"#,
        r#"relay_jobs{flow="progress",state="ready",workspace="acme"}"#,
        r#"relay_jobs{flow="credit",state="in_flight",workspace="acme"}"#,
        r#"relay_jobs{flow="none",state="dead",workspace="none"}"#,
        r#"relay_activation_jobs{activation="spring-drop",state="dead",workspace="acme"}"#,
        r#"relay_activation_jobs{activation="none",state="dead",workspace="none"}"#,
        r#"relay_queue_depth{lane="users_track",workspace="acme"}"#,
        r#"relay_queue_oldest_seconds{lane="quikly",workspace="acme"}"#,
        r#"relay_lane_eta_seconds{lane="users_track",workspace="acme"}"#,
        r#"relay_lane_eta_seconds{lane="quikly",workspace="acme"}"#,
        r#"relay_activation_eta_seconds{activation="spring-drop",workspace="acme"}"#,
        r#"relay_lane_held{lane="users_track",reason="manual",workspace="acme"}"#,
        r#"relay_activation_held{activation="spring-drop",reason="invalid_group",workspace="acme"}"#,
        r#"relay_lane_held{lane="quikly",reason="manual",workspace="acme"}"#,
        r#"relay_requests_total{lane="users_export_ids",outcome="throttled",workspace="acme"}"#,
        r#"relay_request_seconds_count{lane="quikly",workspace="acme"}"#,
        r#"relay_calls_per_request_bucket{lane="users_track",workspace="acme",le="75"}"#,
        r#"relay_dead_total{flow="email",reason="rejected",workspace="acme"}"#,
        r#"relay_dead_total{flow="none",reason="no_flow",workspace="acme"}"#,
        r#"relay_dead_total{flow="none",reason="unknown_activation",workspace="none"}"#,
        r#"relay_done_total{flow="email",outcome="created",workspace="acme"}"#,
        r#"relay_done_total{flow="progress",outcome="updated",workspace="acme"}"#,
        r#"relay_credits_total{outcome="credited",workspace="acme"}"#,
        r#"relay_credits_total{outcome="gave_up",workspace="acme"}"#,
        r#"relay_event_done_seconds_count{flow="credit"}"#,
        "relay_due_lag_seconds_count",
        "relay_commit_seconds_count",
        "relay_store_bytes",
        "relay_store_live_bytes",
        "relay_store_free_bytes",
    ] {
        assert_eq!(told.get(name), Some(&0.0), "{name} among {told:#?}");
    }
    let used = r#"relay_lane_budget_used_ratio{lane="users_track",workspace="acme"}"#;
    assert_eq!(told.get(used), Some(&0.25));
    let held = r#"relay_lane_held{lane="quikly",reason="denied",workspace="acme"}"#;
    assert_eq!(told.get(held), Some(&1.0));
    let held =
        r#"relay_activation_held{activation="spring-drop",reason="burials",workspace="acme"}"#;
    assert_eq!(told.get(held), Some(&1.0));
}

/// Something to tell Quikly.
fn hooked(email: &str) -> Seed {
    let event = Event {
        source: Source::Braze,
        kind: EventKind::Webhook,
        ..event("spring-drop", email)
    };
    let book = RuleBook::new([spring()]);
    let (start, further) = flow::start(&event, &book, today());
    Seed {
        event,
        start,
        further,
    }
}

/// Three running, of which one is in flight; two dead without a workspace; one dead with its job; one done.
async fn filled() -> World {
    let world = World::open().await;
    world.rejected("dead@example.com").await;
    world.append(vec![running("done@example.com")]).await;
    let leased = world.lend_all(&look_ups()).await.remove(0);
    world.settle(&leased, Fate::Finish(Outcome::Found)).await;
    world
        .append(vec![
            posted("unheard-of", "lost@example.com"),
            posted("unheard-of", "also@example.com"),
            running("one@example.com"),
            running("two@example.com"),
            running("three@example.com"),
        ])
        .await;
    world
        .store
        .lease(&look_ups(), today() + DAY, 1)
        .await
        .unwrap();
    world
}

#[tokio::test]
async fn gauges_are_the_counts_of_this_moment_and_nothing_stale_remains() {
    let world = filled().await;
    let told = scrape(&world).await;
    for (name, value) in [
        (
            r#"relay_lane_eta_seconds{lane="users_export_ids",workspace="acme"}"#,
            1.5,
        ),
        (
            r#"relay_activation_eta_seconds{activation="spring-drop",workspace="acme"}"#,
            f64::INFINITY,
        ),
        (
            r#"relay_jobs{flow="email",state="ready",workspace="acme"}"#,
            2.0,
        ),
        (
            r#"relay_jobs{flow="email",state="in_flight",workspace="acme"}"#,
            1.0,
        ),
        (
            r#"relay_jobs{flow="email",state="dead",workspace="acme"}"#,
            1.0,
        ),
        (
            r#"relay_jobs{flow="none",state="dead",workspace="none"}"#,
            2.0,
        ),
        (
            r#"relay_activation_jobs{activation="spring-drop",state="ready",workspace="acme"}"#,
            2.0,
        ),
        (
            r#"relay_activation_jobs{activation="none",state="dead",workspace="none"}"#,
            2.0,
        ),
        (
            r#"relay_queue_depth{lane="users_export_ids",workspace="acme"}"#,
            3.0,
        ),
        (
            r#"relay_queue_depth{lane="users_track",workspace="acme"}"#,
            0.0,
        ),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name} among {told:#?}");
    }
    let oldest = told[r#"relay_queue_oldest_seconds{lane="users_export_ids",workspace="acme"}"#];
    assert!((86_400.0..86_500.0).contains(&oldest), "{oldest}");
    let unknown = told.keys().any(|name| name.contains("unheard-of"));
    assert!(!unknown, "a name that only clients know became a label");

    // An activation that is configured no more and has no work is told no more.
    world.rules.send_replace(Arc::default());
    for leased in world.lend_all(&look_ups()).await {
        world.settle(&leased, Fate::Finish(Outcome::Found)).await;
    }
    let told = scrape(&world).await;
    let ready = r#"relay_jobs{flow="email",state="ready",workspace="acme"}"#;
    assert_eq!(told.get(ready), Some(&0.0));
    assert!(
        !told
            .keys()
            .any(|name| name.contains(r#"flow="progress",state"#))
    );
}

/// The exposition format has its own word for what has no end, and none of Rust's.
#[tokio::test]
async fn what_stands_before_a_held_lane_has_no_end() {
    let world = World::open().await;
    world.append(vec![hooked("ada@example.com")]).await;
    let said = world.get("/metrics").await.text;
    let line = r#"relay_lane_eta_seconds{lane="quikly",workspace="acme"} +Inf"#;
    assert!(said.lines().any(|told| told == line), "{said}");
    let status = world.get("/api/v1/status").await.json();
    let lanes = status["lanes"].as_array().unwrap();
    let quikly = lanes.iter().find(|it| it["lane"] == "acme/quikly").unwrap();
    assert_eq!(
        (&quikly["depth"], &quikly["eta_seconds"]),
        (&1.into(), &Value::Null)
    );
}

#[tokio::test]
async fn what_is_counted_as_it_happens_is_told() {
    let world = World::open().await;
    let lane = look_ups();
    world.metrics.intake(Source::Quikly, Intake::Accepted, 5);
    world
        .metrics
        .request(&lane, RequestOutcome::Throttled, 0.2, 1);
    world
        .metrics
        .done("acme", Flow::Credit, Outcome::Credited, 3.0);
    let told = scrape(&world).await;
    for (name, value) in [
        (
            r#"relay_events_total{result="accepted",source="quikly"}"#,
            5.0,
        ),
        (
            r#"relay_requests_total{lane="users_export_ids",outcome="throttled",workspace="acme"}"#,
            1.0,
        ),
        (
            r#"relay_credits_total{outcome="credited",workspace="acme"}"#,
            1.0,
        ),
    ] {
        assert_eq!(told.get(name), Some(&value), "{name}");
    }
}

#[tokio::test]
async fn status_tells_the_sum_of_events_jobs_lanes_and_the_store() {
    let world = filled().await;
    let status = world.get("/api/v1/status").await.json();
    assert_eq!(status["version"], "1.2.3");
    let events = &status["events"];
    let wanted = [
        ("accepted", 7),
        ("done", 1),
        ("dead", 3),
        ("queued", 3),
        ("discarded", 0),
        ("forgotten", 0),
    ];
    for (name, count) in wanted {
        assert_eq!(events[name], count, "{name} in {events}");
    }
    assert_eq!(events["adds_up"], true);
    assert_eq!(
        status["jobs"][0],
        serde_json::json!({
            "workspace": "acme", "activation": "spring-drop", "flow": "email",
            "waiting": 0, "ready": 2, "in_flight": 1, "dead": 1,
        })
    );
    assert_eq!(status["jobs"][1]["flow"], "none");
    assert_eq!(status["dead"][1]["reason"], "unknown_activation");
    assert_eq!(status["dead"][1]["count"], 2);
    assert_eq!(status["done"][0]["outcome"], "found");
    let held = &status["held_activations"][0];
    assert_eq!(held["activation"], "spring-drop");
    assert_eq!(
        (&held["reason"], &held["died_of"]),
        (&"burials".into(), &"rejected".into())
    );
    let lanes = status["lanes"].as_array().unwrap();
    let lane = |name| lanes.iter().find(|lane| lane["lane"] == name).unwrap();
    assert_eq!(lane("acme/users_export_ids")["depth"], 3);
    assert_eq!(lane("acme/users_export_ids")["requests_per_second"], 40.0);
    assert_eq!(lane("acme/users_export_ids")["budget_used_ratio"], 0.25);
    assert!(
        lane("acme/users_export_ids")["oldest_seconds"]
            .as_f64()
            .unwrap()
            >= 86_400.0
    );
    assert_eq!(lane("acme/users_export_ids")["eta_seconds"], 1.5);
    assert_eq!(lane("acme/users_track")["eta_seconds"], 0.0);
    assert_eq!(
        status["activations"],
        serde_json::json!([{
            "workspace": "acme", "activation": "spring-drop", "due": 3, "eta_seconds": null,
        }]),
        "it is held"
    );
    assert_eq!(lane("acme/quikly")["held"]["reason"], "denied");
    assert_eq!(status["store"]["refusing"], Value::Null);
}
