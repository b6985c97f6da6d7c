//! Metrics, alerts, dashboard and runbook speak of the same things.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use braze_relay::engine::gate::HoldReason;
use braze_relay::engine::holds::ActivationHoldReason;
use serde_json::{Value, json};

use super::*;

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const ALERTS_TEST: &str = "deploy/prometheus/alerts_test.yml";
const DASHBOARD: &str = "deploy/grafana/braze-relay.json";
const RUNBOOK: &str = "deploy/runbook.md";

/// Labels that Prometheus adds.
const ADDED: [&str; 3] = ["instance", "job", "le"];

const ACTIVATIONS: &str = "[activations.spring-drop]\nworkspace = \"acme\"\nflow = \"sms\"\n\
     subscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\"\ncredit = { event = \"joined\" }\n";

/// `/metrics` of a relay through which somebody has passed.
async fn metrics() -> String {
    let scene = Scene::new(1000, ACTIVATIONS, &[]).await;
    let relay = scene.relay().await;
    let person = json!({ "id": "1", "q_scope": "spring-drop", "type": "participation", "email": "ada@example.com",
        "phone": "+16195550119", "sms_consent": true });
    scene.events(&relay, &[person]).await;
    scene.ended(&relay).await;
    assert_eq!(scene.done(&relay, "credit", "credited").await, 1);
    let text = scene.client.text(&relay.ops("/metrics")).await;
    relay.stop(&scene.setup).await;
    text
}

/// What a series is called and which values its labels have, by label.
type Known = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn known(metrics: &str) -> Known {
    let mut known = Known::new();
    for line in metrics.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            // What a text says of a histogram as a whole.
            let name = family.split(' ').next().unwrap();
            known.entry(name.to_owned()).or_default();
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, labels) = named(line).next().unwrap();
        let values = known.entry(name.to_owned()).or_default();
        for (label, _, value) in labels {
            values
                .entry(label.to_owned())
                .or_default()
                .insert(value.to_owned());
        }
    }
    known
}

type Matcher<'a> = (&'a str, &'a str, &'a str);

/// Every `relay_…` in a text, with the matchers that follow: label, operator, value.
fn named(text: &str) -> impl Iterator<Item = (&str, Vec<Matcher<'_>>)> {
    let starts = text.match_indices("relay_").map(|(start, _)| start);
    let starts = starts.filter(|start| {
        let before = text[..*start].chars().next_back();
        before.is_none_or(|char| !char.is_ascii_alphanumeric() && !"_-".contains(char))
    });
    starts.map(|start| {
        let rest = &text[start..];
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
        let (name, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let labels = labels.map_or("", |(labels, _)| labels);
        let matchers = labels.split("\",").filter_map(|matcher| {
            let (label, value) = matcher.split_once('"')?;
            let label = label.trim();
            let name = label.trim_end_matches(['=', '!', '~']);
            Some((name, &label[name.len()..], value.trim_end_matches('"')))
        });
        (name, matchers.collect())
    })
}

/// What a text says of metrics that are not there.
fn unknown(of: &str, text: &str, known: &Known) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, matchers) in named(text) {
        let Some(labels) = known.get(name) else {
            complaints.push(format!("{of}: there is no {name}"));
            continue;
        };
        for (label, operator, value) in matchers {
            if ADDED.contains(&label) || value.starts_with('$') {
                continue;
            }
            let Some(values) = labels.get(label) else {
                complaints.push(format!("{of}: {name} has no label {label}"));
                continue;
            };
            let meant = value.split(if operator.contains('~') { '|' } else { '\0' });
            for value in meant.filter(|value| !values.contains(*value)) {
                complaints.push(format!("{of}: no {name} has {label}=\"{value}\""));
            }
        }
    }
    complaints
}

fn alerts() -> Vec<String> {
    let text = text(ALERTS);
    let names = between(&text, "- alert: ", "\n").map(str::to_owned);
    let names: Vec<String> = names.collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

fn dashboard() -> Value {
    serde_json::from_str(&text(DASHBOARD)).unwrap()
}

/// Every text of a document.
fn texts(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => writeln!(out, "{text}").unwrap(),
        Value::Array(all) => all.iter().for_each(|one| texts(one, out)),
        Value::Object(all) => all.values().for_each(|one| texts(one, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[tokio::test]
async fn promtool_finds_nothing_to_say_of_the_metrics_and_each_has_a_help_text() {
    let metrics = metrics().await;
    let helped: BTreeSet<&str> = between(&metrics, "# HELP ", " ").collect();
    let typed: BTreeSet<&str> = between(&metrics, "# TYPE ", " ").collect();
    assert_eq!(helped, typed);
    assert!(metrics.contains("relay_credits_total{outcome=\"credited\",workspace=\"acme\"} 1\n"));
    assert!(metrics.contains("relay_request_seconds_count{lane=\"users_track\""));
    if !require("promtool") {
        return;
    }
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
}

#[tokio::test]
async fn alerts_dashboard_and_runbook_name_only_metrics_and_labels_that_are_there() {
    let known = known(&metrics().await);
    let mut shown = String::new();
    texts(&dashboard(), &mut shown);
    let mut complaints = unknown(DASHBOARD, &shown, &known);
    for file in [ALERTS, ALERTS_TEST, RUNBOOK, "deploy/README.md"] {
        complaints.extend(unknown(file, &text(file), &known));
    }
    let labels: BTreeSet<&str> = known
        .values()
        .flat_map(|labels| labels.keys().map(String::as_str))
        .chain(ADDED)
        .collect();
    for (file, text) in [(DASHBOARD, shown), (ALERTS, text(ALERTS))] {
        for grouping in ["by (", "on ("] {
            for label in between(&text, grouping, ")").flat_map(|all| all.split(", ")) {
                if !labels.contains(label) {
                    complaints.push(format!("{file}: no metric has the label {label}"));
                }
            }
        }
        let count = named(&text).count();
        assert!(count > 15, "{file}: {count}");
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn a_metric_label_or_value_that_is_not_there_is_noticed() {
    let known =
        known("# TYPE relay_a counter\nrelay_a{x=\"1\",y=\"p\"} 0\nrelay_a{x=\"2\",y=\"q\"} 1\n");
    for (text, complaints) in [
        ("relay_a{x=\"1\",y=~\"p|q\",instance=\"i\"}", 0),
        ("rate(relay_a{x=~\"$x\"}[1m]) / relay_a", 0),
        ("braze-relay_a prelay_a", 0),
        ("relay_b", 1),
        ("relay_a{z=\"1\"}", 1),
        ("relay_a{x=\"3\",y!=\"r\"}", 2),
        ("relay_a{y=~\"p|r\"}", 1),
    ] {
        assert_eq!(unknown("", text, &known).len(), complaints, "{text}");
    }
}

#[test]
fn promtool_takes_the_alerts_their_tests_and_the_configuration() {
    if !require("promtool") {
        return;
    }
    content(
        Command::new("promtool")
            .args(["check", "rules", "--lint-fatal"])
            .arg(path(ALERTS)),
    );
    content(
        Command::new("promtool")
            .args(["test", "rules"])
            .arg(path(ALERTS_TEST)),
    );
    // As it is mounted: the token lies beside it.
    let (folder, file) = written("prometheus.yml", &text("deploy/prometheus/prometheus.yml"));
    std::fs::copy(path(ALERTS), folder.path().join("alerts.yml")).unwrap();
    std::fs::write(folder.path().join("ops_viewer_token"), "token").unwrap();
    content(Command::new("promtool").args(["check", "config"]).arg(file));
}

#[test]
fn each_alert_is_seen_to_fire_and_seen_to_be_silent() {
    let text = text(ALERTS_TEST);
    for alert in alerts() {
        let expression = format!("ALERTS{{alertname=\"{alert}\",");
        let (mut fires, mut silent) = (0, 0);
        for case in text
            .split("- expr: ")
            .filter(|case| case.contains(&expression))
        {
            if case.contains("exp_samples: []") {
                silent += 1;
            } else {
                fires += 1;
            }
        }
        assert!(fires > 0 && silent > 0, "{alert}: {fires} {silent}");
    }
}

#[test]
fn each_alert_has_its_page_in_the_runbook_and_each_link_leads_somewhere() {
    let (alerts, runbook, rules) = (alerts(), text(RUNBOOK), text(ALERTS));
    let sections = runbook.split("\n## ").skip(1);
    let sections: BTreeMap<&str, &str> = sections
        .filter_map(|section| section.split_once('\n'))
        .collect();
    for alert in &alerts {
        let section = sections.get(alert.as_str());
        let section = section.unwrap_or_else(|| panic!("{alert} has no section"));
        for part in ["\n* **Cause.** ", "\n* **Look.** ", "\n* **Act.** "] {
            assert_eq!(section.matches(part).count(), 1, "{alert}: {part}");
        }
        let link = format!("runbook: runbook.md#{}\n", alert.to_lowercase());
        let name = format!("{alert}\n");
        let rule = rules
            .split("- alert: ")
            .find(|rule| rule.starts_with(&name));
        let rule = rule.unwrap();
        assert!(rule.contains(&link), "{alert}: {link}");
        assert!(rule.contains("severity: page") || rule.contains("severity: warn"));
    }
    for section in sections.keys().filter(|name| name.starts_with("Relay")) {
        assert!(
            alerts.iter().any(|alert| alert == section),
            "no alert {section}"
        );
    }
    for file in [RUNBOOK, "deploy/README.md"] {
        broken_links(file);
    }
}

/// Fails for a link whose file or heading is not there.
fn broken_links(of: &str) {
    let text_of = text(of);
    for link in between(&text_of, "](", ")").filter(|link| !link.contains("://")) {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let file = match file {
            "" => path(of),
            file => path(of).parent().unwrap().join(file),
        };
        assert!(file.exists(), "{of}: {link}");
        if !anchor.is_empty() {
            let target = std::fs::read_to_string(&file).unwrap();
            let anchors: Vec<String> = target
                .lines()
                .filter_map(|line| line.strip_prefix('#'))
                .map(|heading| heading.trim_start_matches('#').trim().to_lowercase())
                .map(|heading| {
                    heading
                        .replace(' ', "-")
                        .replace(['`', ',', ':', '.', '(', ')', '?'], "")
                })
                .collect();
            assert!(
                anchors.iter().any(|it| it == anchor),
                "{of}: {link} among {anchors:?}"
            );
        }
    }
}

/// A reason to hold something that nobody is told of would be found by nobody.
#[test]
fn each_reason_of_a_hold_raises_an_alert_and_is_explained() {
    let (rules, runbook) = (text(ALERTS), text(RUNBOOK));
    let lanes = HoldReason::ALL.map(HoldReason::as_str);
    for reason in lanes {
        let found = named(&rules).any(|(name, matchers)| {
            name == "relay_lane_held"
                && matchers
                    .iter()
                    .any(|(_, _, value)| value.split('|').any(|it| it == reason))
        });
        assert!(found, "no alert for a lane held as {reason}");
    }
    let explained = ActivationHoldReason::ALL.map(ActivationHoldReason::as_str);
    for reason in ["denied", "unconfigured"].into_iter().chain(explained) {
        let told = runbook.contains(&format!("`{reason}`")) || reason == "manual";
        assert!(told, "the runbook does not explain {reason}");
    }
}

#[test]
fn each_panel_has_a_title_a_unit_and_the_datasource_that_is_chosen() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let source = variables.iter().find(|it| it["name"] == "datasource");
    assert_eq!(source.unwrap()["type"], "datasource");
    let chosen = json!({ "type": "prometheus", "uid": "${datasource}" });
    for variable in variables.iter().filter(|it| it["type"] == "query") {
        assert_eq!(variable["datasource"], chosen);
    }
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap_or_default();
        assert!(!title.is_empty(), "{panel}");
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title}: id twice"
        );
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}: no unit"
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}: asks nothing");
        for asks in std::iter::once(panel).chain(targets) {
            assert_eq!(asks["datasource"], chosen, "{title}");
        }
    }
    assert!(ids.len() > 20);
}
