//! What the commands show of a relay: the binary itself, in front of the listener.

use std::process::{Output, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::*;
use crate::support::require;

const ADA: &str = "ada.lovelace@example.com";
const BINARY: &str = env!("CARGO_BIN_EXE_braze-relay");

/// Runs a command against this relay.
async fn run(world: &World, words: &str) -> Output {
    let mut command = Command::new(BINARY);
    command.args(words.split_whitespace());
    command
        .arg("--ops")
        .arg(format!("http://{}", world.address));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.unwrap()
}

async fn told(world: &World, words: &str) -> String {
    let ran = run(world, words).await;
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{words}: {said}");
    String::from_utf8(ran.stdout).unwrap()
}

#[tokio::test]
async fn top_draws_one_picture_and_tells_one_document() {
    let world = World::open().await;
    world.append(vec![running(ADA)]).await;
    let picture = told(&world, "top --once").await;
    for words in [
        "HELD 2: acme/quikly, spring-drop",
        "accepted 1 =  done 0 +",
        "acme/users_export_ids",
        "[###-------] 25%",
        "HELD denied",
        "HELD burials",
        "dead letters:  none",
    ] {
        assert!(picture.contains(words), "{words} is not in\n{picture}");
    }
    let document: Value = serde_json::from_str(&told(&world, "top --json").await).unwrap();
    assert_eq!(document["status"]["events"]["accepted"], 1);
    assert_eq!(document["moment"]["depth"], 1);
    let status = told(&world, "status").await;
    assert!(status.contains("rates: accepted "), "{status}");
    let document: Value = serde_json::from_str(&told(&world, "status --json").await).unwrap();
    assert_eq!(document["events"]["accepted"], 1);
    assert!(document["moment"]["accepted_per_second"].is_number());
}

#[tokio::test]
async fn jobs_are_listed_and_shown_by_the_commands() {
    let world = World::open().await;
    let dead = world.rejected(ADA).await;
    let lives = world.append(vec![running("bo@example.com")]).await[0];
    let list = told(&world, "jobs list --limit 1").await;
    assert!(list.contains("a***@example.com"), "{list}");
    assert!(list.contains(&format!("--cursor {dead}")), "{list}");
    let list = told(&world, &format!("jobs list --cursor {dead} --since 3days")).await;
    assert!(list.contains(&lives.to_string()), "{list}");
    assert!(list.contains("1 job: ready 1\n"), "{list}");
    let list = told(
        &world,
        "jobs list --json --participant ADA.Lovelace@example.com",
    )
    .await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"][0]["id"], dead.to_string());
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let shown = told(&world, &format!("jobs show {dead}")).await;
    assert!(shown.contains("rejected (class rejected)"), "{shown}");
    assert!(!shown.contains("ada.lovelace"), "{shown}");
    let gone = run(&world, &format!("jobs show {}.7 --json", lives.event)).await;
    assert_eq!(gone.status.code(), Some(1));
    let problem: Value = serde_json::from_slice(&gone.stdout).unwrap();
    assert!(problem["error"].as_str().unwrap().contains("404"));
}

/// `top` on a terminal of its own. Once there is something to see, `keys` are typed; `{}` in `then`, run by a shell, is its
/// process. What it wrote there.
async fn watched(world: &World, keys: &[u8], then: &str) -> String {
    let top = format!("exec {BINARY} top --ops http://{}", world.address);
    let line = format!("stty rows 24 cols 80; sh -c 'echo $$ > pid; {top}'; echo \"ended $?\"");
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("script")
        .args(["-qfec", &line, "/dev/null"])
        .current_dir(folder.path())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut typed = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let (mut shown, mut buffer, mut sent) = (String::new(), vec![0; 4096], false);
    while !shown.contains("ended") {
        let read = output.read(&mut buffer).await.unwrap();
        assert!(read > 0, "it ended without a word: {shown}");
        shown += &String::from_utf8_lossy(&buffer[..read]);
        if !sent && shown.contains("users_track") && shown.contains("quit") {
            sent = true;
            typed.write_all(keys).await.unwrap();
            let id = std::fs::read_to_string(folder.path().join("pid")).unwrap();
            let then = then.replace("{}", id.trim());
            let ran = Command::new("sh").args(["-c", &then]).status().await;
            assert!(ran.unwrap().success(), "{then}");
        }
    }
    shown
}

#[tokio::test]
async fn top_leaves_the_terminal_as_it_was_however_it_ends() {
    if !require("script") || !require("stty") {
        return;
    }
    let world = World::free().await;
    for (keys, then) in [
        (&b"q"[..], "true"),
        (&b"\x03"[..], "true"),
        (&b""[..], "kill -TERM {}"),
        (&b""[..], "kill -HUP {}"),
    ] {
        let shown = watched(&world, keys, then).await;
        let (begins, ends) = (shown.find("\u{1b}[?1049h"), shown.rfind("\u{1b}[?1049l"));
        assert!(begins.is_some() && begins < ends, "{then}: {shown:?}");
        assert!(shown.contains("ended 0"), "{then}: {shown:?}");
    }
    assert!(world.told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn top_without_a_terminal_says_what_to_do_instead() {
    let world = World::free().await;
    let ran = run(&world, "top").await;
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("--once"));
}

/// Every command that has a page and no page below it, as it is typed.
async fn every_command() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut man = Command::new(BINARY);
    let written = man.arg("man").arg(folder.path()).status().await.unwrap();
    assert!(written.success());
    let pages = std::fs::read_dir(folder.path()).unwrap();
    let pages: Vec<String> = pages
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .map(|page| page.trim_end_matches(".1").to_owned())
        .collect();
    let has_more = |page: &String| pages.iter().any(|it| it.starts_with(&format!("{page}-")));
    let last = pages.iter().filter(|page| !has_more(page));
    last.filter_map(|page| Some(page.strip_prefix("braze-relay-")?.replace('-', " ")))
        .collect()
}

#[tokio::test]
async fn whatever_goes_wrong_with_json_is_one_document_on_standard_output() {
    // Nobody listens there.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let id = "019b0000-0000-7000-8000-000000000000";
    let needed = [
        ("dead show", id),
        ("dead replay", "--all"),
        ("dead discard", "--all --because test"),
        ("jobs show", id),
        ("lane hold", "acme/quikly"),
        ("lane release", "acme/quikly"),
        ("replay show", "1"),
        ("replay pause", "1"),
        ("replay resume", "1"),
        ("replay cancel", "1"),
        ("forget show", id),
        ("outgrow test", "shoe-quiz"),
    ];
    let mut asked = 0;
    for command in every_command().await {
        // These ask no relay.
        let offline = [
            "serve",
            "check",
            "import",
            "compact",
            "outgrow map",
            "sandbox",
            "demo",
            "doctor",
            "completions",
            "man",
            "export",
        ];
        if offline.contains(&command.as_str()) {
            continue;
        }
        let more = needed.iter().find(|(known, _)| *known == command);
        let more = more.map_or("", |(_, more)| *more);
        let line = format!("{command} {more} --ops {nobody} --json");
        let mut child = Command::new(BINARY);
        child.args(line.split_whitespace()).stdin(Stdio::null());
        let ran = child.output().await.unwrap();
        let out = String::from_utf8_lossy(&ran.stdout);
        let document: Result<Value, _> = serde_json::from_str(&out);
        let error = document.unwrap_or_else(|_| panic!("{line}: {out:?}"));
        assert!(error["error"].is_string(), "{line}: {out}");
        assert!(matches!(ran.status.code(), Some(2 | 3)), "{line}: {ran:?}");
        asked += 1;
    }
    assert!(asked > 12, "only {asked} commands were asked");
    let mut wrong = Command::new(BINARY);
    let ran = wrong.args(["jobs", "list", "--state", "asleep", "--json"]);
    let ran = ran.output().await.unwrap();
    assert_eq!(ran.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert!(error["error"].as_str().unwrap().contains("asleep"));
}
