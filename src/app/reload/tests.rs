//! What another configuration means, case by case.

#![expect(clippy::unwrap_used, reason = "tests may")]

use super::*;
use crate::config::Env;

const BASE: &str = r#"
[ops]
tokens = [{ value = "act", role = "operator" }]
[workspaces.acme.braze]
url = "http://localhost:1"
api_key = "key-a"
[workspaces.acme.quikly]
url = "http://localhost:2/hook"
token = "token-a"
[workspaces.beta.braze]
url = "http://localhost:3"
api_key = "key-b"
[activations.spring]
workspace = "acme"
flow = "sms"
subscription_group_id = "6f4b0c3e-0000-4000-8000-000000000000"
credit = { event = "joined" }
[activations.autumn]
workspace = "beta"
flow = "email"
[outgrow.quiz]
workspace = "acme"
email = "/email"
"#;

fn config(text: &str) -> Config {
    Config::from_toml(text, &Env::default()).unwrap().config
}

/// From the base to the base with `old` replaced.
fn plan(old: &str, new: &str) -> Plan {
    assert!(BASE.contains(old), "{old}");
    Plan::of(&config(BASE), &config(&BASE.replace(old, new)))
}

fn names<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|it| it.to_string()).collect();
    all.join(" ")
}

fn scopes(all: &BTreeSet<Activation>) -> String {
    names(all.iter().map(|(_, scope)| scope))
}

const AT_BRAZE: &str = "acme/users_track acme/users_export_ids acme/subscription_status_set acme/default \
                        acme/users_delete acme/held";

#[test]
fn what_changes_is_told_by_key_and_who_is_released_follows_from_it() {
    for (old, new, changed, needs_restart, renewed, corrected, regrouped) in [
        ("key-a", "key-a", "", "", "", "", ""),
        (
            "key-a",
            "key-c",
            "workspaces.acme.braze.api_key",
            "",
            AT_BRAZE,
            "quiz spring",
            "quiz spring",
        ),
        (
            "localhost:1",
            "localhost:9",
            "workspaces.acme.braze.url",
            "",
            AT_BRAZE,
            "quiz spring",
            "quiz spring",
        ),
        (
            "token-a",
            "token-c",
            "workspaces.acme.quikly.token",
            "",
            "acme/quikly",
            "quiz spring",
            "",
        ),
        (
            "8000-000000000000",
            "8000-000000000001",
            "activations.spring.subscription_group_id",
            "",
            "",
            "spring",
            "spring",
        ),
        (
            "\"joined\"",
            "\"left\"",
            "activations.spring.credit",
            "",
            "",
            "spring",
            "",
        ),
        (
            "\"/email\"",
            "\"/mail\"",
            "outgrow.quiz.email",
            "",
            "",
            "quiz",
            "",
        ),
        (
            "[ops]",
            "[log]\nlevel = \"debug\"\n[ops]",
            "log.level",
            "",
            "",
            "",
            "",
        ),
        (
            "[ops]",
            "[store]\npath = \"other\"\nmax_jobs = 7\n[serve]\nstop_within = \"1s\"\n[ops]\nlisten = \"127.0.0.1:7\"",
            "",
            "ops.listen serve.stop_within store.max_jobs store.path",
            "",
            "",
            "",
        ),
        ("\"act\"", "\"other\"", "ops.tokens", "", "", "", ""),
        (
            "[outgrow.quiz]\nworkspace = \"acme\"\nemail = \"/email\"",
            "[ingest]\nmax_batch = 7\n[activations.winter]\nworkspace = \"acme\"",
            "activations.winter ingest.max_batch outgrow.quiz",
            "",
            "",
            "winter",
            "winter",
        ),
    ] {
        let plan = plan(old, new);
        assert_eq!(names(&plan.changed), changed, "{new}");
        assert_eq!(names(&plan.needs_restart), needs_restart, "{new}");
        let told: BTreeSet<String> = plan.turnover.renewed.iter().map(Lane::to_string).collect();
        let expected: BTreeSet<String> = renewed.split_whitespace().map(str::to_owned).collect();
        assert_eq!(told, expected, "{new}");
        assert_eq!(scopes(&plan.turnover.corrected), corrected, "{new}");
        assert_eq!(scopes(&plan.turnover.regrouped), regrouped, "{new}");
    }
}

#[test]
fn what_waits_for_a_restart_is_told_of_again_and_nothing_of_it_is_applied() {
    let running = config(BASE);
    let new = config(&format!(
        "[store]\nmax_jobs = 7\n[log]\nlevel = \"warn\"\n{BASE}"
    ));
    let first = Plan::of(&running, &new);
    assert_eq!(first.config.store.max_jobs, running.store.max_jobs);
    assert_eq!(names(&first.changed), "log.level");
    let second = Plan::of(&first.config, &new);
    assert_eq!(names(&second.changed), "");
    assert_eq!(names(&second.needs_restart), "store.max_jobs");
}

#[test]
fn an_ops_listener_that_others_reach_keeps_its_tokens() {
    let exposed = BASE.replace("[ops]", "[ops]\nlisten = \"0.0.0.0:9090\"");
    let open = BASE.replace("tokens = [{ value = \"act\", role = \"operator\" }]", "");
    let plan = Plan::of(&config(&exposed), &config(&open));
    assert_eq!(plan.config.ops.tokens.len(), 1);
    assert_eq!(names(&plan.needs_restart), "ops.listen ops.tokens");
    let plan = Plan::of(&config(BASE), &config(&open));
    assert!(plan.config.ops.tokens.is_empty());
}

#[test]
fn a_workspace_that_comes_goes_or_changes_is_connected_anew_and_no_other() {
    let gone = "[workspaces.beta.braze]\nurl = \"http://localhost:3\"\napi_key = \"key-b\"";
    let without = BASE
        .replace(gone, "")
        .replace("workspace = \"beta\"", "workspace = \"acme\"");
    let plan = Plan::of(&config(BASE), &config(&without));
    assert_eq!(
        names(&plan.changed),
        "activations.autumn.workspace workspaces.beta"
    );
    assert_eq!(names(&plan.reconnected), "");
    let lanes = plan.turnover.renewed.iter();
    assert!(lanes.clone().all(|lane| &*lane.workspace == "beta"));
    assert_eq!(lanes.count(), LaneKind::ALL.len());
    let back = Plan::of(&plan.config, &config(BASE));
    assert_eq!(names(&back.reconnected), "beta");
    assert!(back.turnover.renewed.is_empty());
    let plan = self::plan("key-b", "key-c");
    assert_eq!(names(&plan.reconnected), "beta");
}

#[test]
fn no_secret_is_in_what_is_told() {
    let plan = plan("key-a", "key-c");
    let told = format!("{:?}{:?}", plan.changed, plan.needs_restart);
    for secret in ["key-a", "key-c", "token-a", "act\""] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn whose_jobs_are_alive_and_lose_their_settings_is_counted_by_activation() {
    let group = |workspace: &str, activation: &str, flow| Group {
        workspace: workspace.into(),
        activation: activation.into(),
        flow: Some(flow),
    };
    let alive = |waiting, ready, in_flight| States {
        waiting,
        ready,
        in_flight,
        dead: 100,
    };
    let jobs = BTreeMap::from([
        (group("acme", "spring", Flow::Sms), alive(1, 2, 3)),
        (group("acme", "spring", Flow::Credit), alive(0, 4, 0)),
        (group("beta", "autumn", Flow::Email), alive(0, 0, 0)),
        (group("beta", "none", Flow::Erase), alive(5, 0, 0)),
        (group("acme", "quiz", Flow::Outgrow), alive(0, 0, 6)),
        (group("acme", "never", Flow::Email), alive(9, 0, 0)),
    ]);
    let all = [
        (
            "[activations.spring]",
            "[activations.summer]",
            "acme/spring 10",
        ),
        ("flow = \"sms\"", "flow = \"email\"", "acme/spring 6"),
        (
            "flow = \"sms\"",
            "flow = \"double_opt_in\"\nopt_in = { event = \"asked\" }",
            "",
        ),
        ("[activations.autumn]", "[activations.summer]", ""),
        ("[outgrow.quiz]", "[outgrow.test]", "acme/quiz 6"),
        ("flow = \"email\"", "", ""),
        ("workspace = \"beta\"", "workspace = \"acme\"", ""),
    ];
    let told = |after: &Config| {
        let orphans = orphans(&config(BASE).rules, &after.rules, &jobs);
        names(
            orphans
                .iter()
                .map(|it| format!("{}/{} {}", it.workspace, it.activation, it.jobs)),
        )
    };
    for (old, new, expected) in all {
        assert_eq!(told(&plan(old, new).config), expected, "{new}");
    }
    let renamed = BASE.replace("[workspaces.beta", "[workspaces.gamma");
    let renamed = renamed.replace("workspace = \"beta\"", "workspace = \"gamma\"");
    assert_eq!(told(&config(&renamed)), "beta/none 5");
}
