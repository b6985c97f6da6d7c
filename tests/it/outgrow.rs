//! `outgrow test` and `outgrow map` as commands, against a relay and a sandbox in processes of their own.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Relay, Sandbox, Setup};

const CONTENT: &str = "[ingest.sources.outgrow]\ntokens = [{ value = \"outgrow\" }]\n\
     [outgrow.quiz]\nworkspace = \"acme\"\nid = \"/lead/id\"\nemail = \"/lead/email\"\n\
     [outgrow.quiz.attributes]\nquiz_score = { from = \"/score\", type = \"number\" }\n\
     quiz_styles = { from = \"/styles\", type = \"array\", coerce = true }\n\
     quiz_zip = { from = \"/zip\", type = \"string\", required = false }";

/// Exit code and standard output.
fn outgrow(words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_braze-relay"));
    let output = command.arg("outgrow").args(words).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), said)
}

fn document(words: &[&str]) -> (i32, Value) {
    let (code, said) = outgrow(&[words, &["--json"]].concat());
    (code, serde_json::from_str(&said).unwrap())
}

fn written(setup: &Setup, name: &str, lead: &Value) -> String {
    let file = setup.file(name);
    std::fs::write(&file, lead.to_string()).unwrap();
    path(&file)
}

fn path(file: &Path) -> String {
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_test_shows_what_is_written_and_what_is_dropped_and_asks_nobody() {
    let setup = Setup::with_urls("http://127.0.0.1:9", "http://127.0.0.1:9", CONTENT);
    let config = path(&setup.config());
    let test = ["test", "--config", &config, "--content", "quiz"];
    let lead =
        json!({"lead": {"email": "Ada@B.example"}, "score": "87", "styles": "trail", "zip": 12345});
    let file = written(&setup, "lead.json", &lead);
    let (code, shown) = document(&[&test[..], &["--lead", &file]].concat());
    assert_eq!(code, 1);
    assert_eq!(shown["attributes"], json!({"quiz_styles": ["trail"]}));
    assert_eq!(
        shown["profile"],
        json!({"by": "email", "value": "ada@b.example"})
    );
    let bad: Vec<_> = shown["bad"].as_array().unwrap().iter().collect();
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert_eq!(
        bad[0],
        &json!({"attribute": "quiz_score", "from": "/score", "found": "a text", "wanted": "a number"})
    );
    assert_eq!(shown["sent"], Value::Null);
    // Without a file, one that fits is made up.
    let (code, shown) = document(&test);
    assert_eq!((code, &shown["made_up"]), (0, &json!(true)), "{shown}");
    assert_eq!(shown["bad"], json!([]));
    let unknown = ["test", "--config", &config, "--content", "no"];
    assert_eq!(document(&unknown).0, 2);
    assert_eq!(document(&["test", "--content", "quiz"]).0, 2);
    std::fs::write(setup.file("lead.json"), "[]").unwrap();
    assert_eq!(document(&[&test[..], &["--lead", &file]].concat()).0, 2);
    let sending = [&test[..], &["--send", "--ingest", "http://127.0.0.1:9"]].concat();
    assert_eq!(document(&sending).0, 3);
}

#[test]
fn a_mapping_is_proposed_from_a_sample() {
    let setup = Setup::with_urls("http://127.0.0.1:9", "http://127.0.0.1:9", CONTENT);
    let lead = json!({"lead": {"id": 7, "email": "ada@b.example"}, "result": {"score": 87}});
    let file = written(&setup, "lead.json", &lead);
    let (code, shown) = outgrow(&["map", &file, "--content", "shoe-quiz"]);
    assert_eq!(code, 0, "{shown}");
    for line in [
        "[outgrow.shoe-quiz]",
        "id = \"/lead/id\"",
        "email = \"/lead/email\"",
        "outgrow_score = { from = \"/result/score\", type = \"number\", required = false }",
    ] {
        assert!(shown.lines().any(|it| it == line), "{line}\n{shown}");
    }
    let (code, shown) = document(&["map", &file]);
    assert_eq!((code, &shown["email"]), (0, &json!("/lead/email")));
    assert_eq!(outgrow(&["map", "no-such-file"]).0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_lead_takes_the_real_way_and_is_read_back_where_the_key_may_export() {
    for (options, back) in [
        (&[][..], "same"),
        (
            &["--workspace", "sandbox=sandbox-braze-key:users.track"][..],
            "not_read",
        ),
    ] {
        let sandbox = Sandbox::start(options).await;
        let setup = Setup::new(&sandbox, CONTENT);
        let relay = Relay::start(&setup).await;
        let config = path(&setup.config());
        let (ingest, ops) = (relay.events().join("/").unwrap(), relay.ops("/"));
        let test = [
            "test",
            "--config",
            &config,
            "--content",
            "quiz",
            "--send",
            "--ingest",
            ingest.as_str(),
            "--ops",
            ops.as_str(),
        ];
        let (code, shown) = document(&test);
        assert_eq!(shown["sent"]["end"], "done", "{shown}");
        assert_eq!(shown["sent"]["read_back"], back, "{shown}");
        assert_eq!(code, 0, "{shown}");
        let nobody = written(&setup, "nobody.json", &json!({"score": 1}));
        let (code, shown) = document(&[&test[..], &["--lead", &nobody]].concat());
        assert_eq!(
            (code, &shown["sent"]["end"]),
            (1, &json!("dead")),
            "{shown}"
        );
        assert!(
            shown["sent"]["why"]
                .as_str()
                .unwrap()
                .starts_with("bad_answer: email")
        );
        relay.stop(&setup).await;
    }
}
