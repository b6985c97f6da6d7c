//! `doctor` as a process, against a sandbox and against hosts made up here: what it finds, its exit codes, and that it
//! writes nothing anywhere and shows no secret.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use url::Url;

use crate::support::{Client, Relay, Sandbox, Setup, TOKEN};

const BINARY: &str = env!("CARGO_BIN_EXE_braze-relay");
const KEY: &str = "sandbox-braze-key";
const QUIKLY: &str = "sandbox-quikly-token";
const GROUP: &str = "6f4b0c3e-0000-4000-8000-000000000000";
const PERMISSIONS: [&str; 5] = [
    "users.track",
    "users.export.ids",
    "users.delete",
    "subscription.status.get",
    "subscription.status.set",
];

/// Two activations that need everything there is.
const ACTIVATIONS: &str = "\
[activations.spring-drop]\nworkspace = \"acme\"\nflow = \"email\"\ncredit = { event = \"joined\" }\n\
created_event = { name = \"quikly_joined\" }\n\
[activations.sms-drop]\nworkspace = \"acme\"\nflow = \"sms\"\n\
subscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\"\ncredit = { event = \"sms_joined\" }\n";

/// What it said.
struct Examined {
    code: Option<i32>,
    document: Value,
    text: String,
}

impl Examined {
    /// The status of a check, of whatever subject.
    fn status(&self, id: &str) -> Option<&str> {
        self.check(id)?["status"].as_str()
    }

    fn check(&self, id: &str) -> Option<&Value> {
        let checks = self.document["checks"].as_array()?;
        checks.iter().find(|it| it["id"] == id)
    }

    fn failed(&self) -> Vec<&str> {
        let checks = self.document["checks"].as_array().unwrap().iter();
        let failed = checks.filter(|it| it["status"] == "fail");
        failed.map(|it| it["id"].as_str().unwrap()).collect()
    }

    fn plan(&self, activation: &str) -> &Value {
        let plan = self.document["plan"].as_array().unwrap();
        plan.iter()
            .find(|it| it["activation"] == activation)
            .unwrap()
    }
}

/// Runs it for people and for programs: both end alike, and neither shows a secret.
async fn doctor(setup: &Setup, options: &[&str]) -> Examined {
    let run = async |json: &[&str]| -> Output {
        let mut command = Command::new(BINARY);
        command.args(["doctor", "--config"]).arg(setup.config());
        command.args(options).args(json).stdin(Stdio::null());
        command.kill_on_drop(true);
        command.output().await.unwrap()
    };
    let (told, document) = tokio::join!(run(&[]), run(&["--json"]));
    assert_eq!(told.status.code(), document.status.code());
    let all = [
        &told.stdout,
        &told.stderr,
        &document.stdout,
        &document.stderr,
    ];
    for said in all {
        let said = String::from_utf8_lossy(said);
        for secret in [KEY, QUIKLY, TOKEN, "wrong-key"] {
            assert!(!said.contains(secret), "{secret} is shown:\n{said}");
        }
    }
    Examined {
        code: told.status.code(),
        document: serde_json::from_slice(&document.stdout).unwrap_or(Value::Null),
        text: String::from_utf8(told.stdout).unwrap() + &String::from_utf8_lossy(&told.stderr),
    }
}

/// What the sandbox holds and has answered.
async fn nothing_was_written(sandbox: &Sandbox) {
    let client = Client::new();
    for held in ["profiles", "credits", "sets", "prompts"] {
        let lines = client.lines(&sandbox.question(held)).await;
        assert!(lines.is_empty(), "{held}: {lines:?}");
    }
    let requests = client.lines(&sandbox.question("requests")).await;
    assert!(!requests.is_empty(), "it asked nothing");
    let reads = ["/users/export/ids", "/subscription/status/get"];
    for request in requests {
        let path = request["path"].as_str().unwrap();
        let accepted = request["status"].as_u64().unwrap() < 400;
        assert!(!accepted || reads.contains(&path), "{request}");
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path());
    let read = |path: std::path::PathBuf| {
        (
            path.display().to_string(),
            std::fs::read(&path).unwrap_or_default(),
        )
    };
    entries.map(read).collect()
}

#[tokio::test]
async fn all_is_well_and_nothing_is_written_anywhere() {
    let sandbox = Sandbox::start(&["--limit", "users_track=3000/3s"]).await;
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    let seen = doctor(&setup, &[]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.text);
    assert_eq!(seen.failed(), Vec::<&str>::new());
    for permission in PERMISSIONS {
        assert_eq!(
            seen.status(&format!("permission.{permission}")),
            Some("ok"),
            "{}",
            seen.text
        );
    }
    for id in [
        "braze.key",
        "braze.dns",
        "braze.tcp",
        "braze.clock",
        "quikly.tcp",
        "group",
        "disk.commits",
    ] {
        assert_eq!(seen.status(id), Some("ok"), "{id}\n{}", seen.text);
    }
    assert_eq!(seen.status("quikly.token"), Some("unknown"));
    assert!(seen.text.contains("\nready: "), "{}", seen.text);
    nothing_was_written(&sandbox).await;
    assert!(!setup.store().exists(), "a store was made");
}

#[tokio::test]
async fn a_wrong_key_fails_and_no_permission_is_taken_for_granted() {
    let sandbox = Sandbox::start(&["--workspace", "acme=another-key"]).await;
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    let seen = doctor(&setup, &[]).await;
    assert_eq!(seen.code, Some(1), "{}", seen.text);
    assert_eq!(seen.failed(), ["braze.key"]);
    for permission in PERMISSIONS {
        assert_eq!(
            seen.status(&format!("permission.{permission}")),
            Some("unknown")
        );
    }
    assert_eq!(seen.status("group"), Some("unknown"));
}

#[tokio::test]
async fn each_permission_that_is_missing_is_named() {
    for missing in PERMISSIONS {
        let held = PERMISSIONS.into_iter().filter(|it| *it != missing);
        let held: Vec<_> = held.collect();
        let workspace = format!("acme={KEY}:{}", held.join(","));
        let sandbox = Sandbox::start(&["--workspace", &workspace]).await;
        let seen = doctor(&Setup::new(&sandbox, ACTIVATIONS), &[]).await;
        let id = format!("permission.{missing}");
        assert_eq!(seen.status("braze.key"), Some("ok"), "{}", seen.text);
        // Only `forget` deletes, and only where that is asked for.
        let (code, status) = match missing {
            "users.delete" => (0, "warn"),
            _ => (1, "fail"),
        };
        assert_eq!(
            (seen.code, seen.status(&id)),
            (Some(code), Some(status)),
            "{}",
            seen.text
        );
        for held in held {
            let id = format!("permission.{held}");
            assert_eq!(seen.status(&id), Some("ok"), "{missing}\n{}", seen.text);
        }
        nothing_was_written(&sandbox).await;
    }
}

#[tokio::test]
async fn only_what_the_flows_need_is_asked_for() {
    let workspace = format!("acme={KEY}:users.track,users.export.ids");
    let sandbox = Sandbox::start(&["--workspace", &workspace]).await;
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    let seen = doctor(&setup, &["--activation", "spring-drop"]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.text);
    assert_eq!(seen.status("permission.subscription.status.get"), None);
    assert_eq!(doctor(&setup, &[]).await.code, Some(1));
}

#[tokio::test]
async fn a_group_that_braze_does_not_know_fails() {
    let other = "6f4b0c3e-0000-4000-8000-00000000ffff";
    let sandbox = Sandbox::start(&["--group", other]).await;
    let seen = doctor(&Setup::new(&sandbox, ACTIVATIONS), &[]).await;
    assert_eq!(seen.code, Some(1), "{}", seen.text);
    assert_eq!(seen.failed(), ["group"]);
    assert!(
        seen.check("group").unwrap()["detail"]
            .as_str()
            .unwrap()
            .contains(GROUP)
    );
    assert_eq!(
        seen.status("permission.subscription.status.get"),
        Some("ok")
    );
}

#[tokio::test]
async fn a_limit_configured_above_what_braze_reports_is_told_and_the_plan_goes_by_the_report() {
    let sandbox = Sandbox::start(&[
        "--limit",
        "users_track=1000/3s",
        "--limit",
        "users_export_ids=40/s",
    ])
    .await;
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    let seen = doctor(&setup, &[]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.text);
    assert_eq!(
        seen.status("limit.users_track"),
        Some("warn"),
        "{}",
        seen.text
    );
    assert_eq!(
        seen.status("limit.users_export_ids"),
        Some("warn"),
        "{}",
        seen.text
    );
    assert_eq!(seen.status("limit.users_delete"), Some("unknown"));
    assert_eq!(seen.plan("spring-drop")["per_hour"], 144_000.0);
    nothing_was_written(&sandbox).await;
}

#[tokio::test]
async fn a_campaign_fits_or_it_is_said_what_binds_and_what_to_switch() {
    let sandbox = Sandbox::start(&["--limit", "users_export_ids=40/s"]).await;
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    let options = ["--activation", "spring-drop", "--within", "1h", "--expect"];
    let fits = doctor(&setup, &[&options[..], &["100000"]].concat()).await;
    assert_eq!(fits.code, Some(0), "{}", fits.text);
    assert_eq!(fits.plan("spring-drop")["fit"]["fits"], true);
    let not = doctor(&setup, &[&options[..], &["200000"]].concat()).await;
    assert_eq!(not.code, Some(1), "{}", not.text);
    assert_eq!(not.failed(), ["room"]);
    let plan = not.plan("spring-drop");
    assert_eq!(plan["binds"], "users_export_ids");
    assert_eq!(plan["fit"]["seconds"], 5000.0);
    let switches = plan["fit"]["switch"].as_array().unwrap();
    assert!(
        switches[0]["setting"]
            .as_str()
            .unwrap()
            .starts_with("identity = \"email\"")
    );
    assert!(switches[0]["seconds"].as_f64().unwrap() < 3600.0);
    assert!(not.text.contains("\nNOT READY: "), "{}", not.text);
}

#[tokio::test]
async fn dead_hosts_are_told_from_live_ones_and_nobody_at_all_is_exit_code_3() {
    // A port that was free a moment ago, and on which nobody listens.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let dead = format!("http://127.0.0.1:{port}");
    let setup = Setup::with_urls(&dead, &format!("{dead}/webhook/braze"), ACTIVATIONS);
    let seen = doctor(&setup, &[]).await;
    assert_eq!(seen.code, Some(3), "{}", seen.text);
    assert_eq!(seen.failed(), ["braze.tcp", "quikly.tcp"]);
    assert_eq!(seen.status("braze.key"), Some("unknown"), "{}", seen.text);
    assert_eq!(seen.status("permission.users.track"), Some("unknown"));

    let sandbox = Sandbox::start(&[]).await;
    let alive = sandbox.braze.as_str().trim_end_matches('/');
    let setup = Setup::with_urls(alive, &format!("{dead}/webhook/braze"), ACTIVATIONS);
    let seen = doctor(&setup, &[]).await;
    assert_eq!(seen.code, Some(1), "{}", seen.text);
    assert_eq!(seen.failed(), ["quikly.tcp"]);
}

#[tokio::test]
async fn a_clock_that_is_wrong_fails_and_a_401_for_one_endpoint_is_a_missing_permission() {
    // Braze as it may be, too: a 401 where a permission is missing.
    let url = made_up(&[("/users/track", 401)], "Sun, 06 Nov 1994 08:49:37 GMT").await;
    let base = url.as_str().trim_end_matches('/');
    let setup = Setup::with_urls(base, &format!("{base}/webhook/braze"), ACTIVATIONS);
    let seen = doctor(&setup, &[]).await;
    assert_eq!(seen.code, Some(1), "{}", seen.text);
    assert_eq!(
        seen.status("permission.users.track"),
        Some("fail"),
        "{}",
        seen.text
    );
    assert_eq!(seen.status("braze.clock"), Some("fail"));
    assert_eq!(seen.status("permission.users.delete"), Some("ok"));
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", silent.local_addr().unwrap());
    let setup = Setup::with_urls(&base, &format!("{base}/webhook/braze"), ACTIVATIONS);
    let seen = tokio::time::timeout(Duration::from_mins(1), doctor(&setup, &[])).await;
    let seen = seen.expect("it waits for ever");
    assert_eq!(seen.code, Some(1), "{}", seen.text);
    assert_eq!(seen.failed(), ["braze.answer", "quikly.answer"]);
}

#[tokio::test]
async fn it_works_beside_a_relay_that_serves_and_leaves_the_store_alone() {
    let sandbox = Sandbox::start(&[]).await;
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    let relay = Relay::start(&setup).await;
    let names = |folder: &Path| files(folder).into_keys().collect::<Vec<_>>();
    let before = names(&setup.store());
    let seen = doctor(&setup, &["--expect", "1000"]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.text);
    assert_eq!(names(&setup.store()), before);
    relay.stop(&setup).await;
    let before = (files(&setup.store()), files(&setup.store().join("sled")));
    let seen = doctor(&setup, &[]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.text);
    assert_eq!(
        (files(&setup.store()), files(&setup.store().join("sled"))),
        before
    );
    nothing_was_written(&sandbox).await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_exit_code_2_and_says_what_there_is() {
    let sandbox = Sandbox::start(&[]).await;
    let setup = Setup::new(&sandbox, ACTIVATIONS);
    for (options, said) in [
        (["--activation", "summer"], "spring-drop"),
        (["--workspace", "other"], "acme"),
        (["--within", "1h"], "--expect"),
        (["--expect", "0"], "--expect"),
    ] {
        let seen = doctor(&setup, &options).await;
        assert_eq!(seen.code, Some(2), "{}", seen.text);
        assert!(seen.text.contains(said), "{}", seen.text);
    }
    setup.write("[workspaces.acme.braze]\nurl = 3\n");
    let seen = doctor(&setup, &[]).await;
    assert_eq!(seen.code, Some(2), "{}", seen.text);
    assert!(
        seen.text.contains("workspaces.acme.braze.url"),
        "{}",
        seen.text
    );
}

/// A host that answers 400 to everything but what is named, at this moment by its clock.
async fn made_up(answers: &'static [(&'static str, u16)], date: &'static str) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 16_384];
                let mut length = 0;
                // Every body here is short: it comes with its head.
                while !asked[..length].windows(4).any(|it| it == b"\r\n\r\n") {
                    match stream.read(&mut asked[length..]).await {
                        Ok(read) if read > 0 => length += read,
                        _ => return,
                    }
                }
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let path = asked.split(' ').nth(1).unwrap_or_default();
                let status = answers.iter().find(|(it, _)| path.starts_with(it));
                let status = status.map_or(400, |(_, status)| *status);
                let key = asked
                    .lines()
                    .find_map(|it| it.strip_prefix("authorization: Bearer "));
                let body = format!(
                    "{{\"message\":\"Invalid API key: {}\"}}",
                    key.unwrap_or_default()
                );
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ndate: {date}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    Url::parse(&url).unwrap()
}
