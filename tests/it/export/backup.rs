//! Backups of a relay that runs.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use super::*;
use crate::support::{Client, Item, Post, Receipt, Relay, until};

#[tokio::test]
async fn a_backup_while_serving_holds_what_was_accepted_before_it() {
    let (here, there) = (
        Setup::with_urls(
            "http://127.0.0.1:1",
            "http://127.0.0.1:1",
            "[activations.drop]\nworkspace = \"acme\"\nflow = \"email\"\n",
        ),
        nowhere(),
    );
    let relay = Relay::start(&here).await;
    // The address is not that of the configuration, which says port 0.
    let ops = relay.ops("").to_string();
    let client = Client::new();
    let post = async |numbers: std::ops::Range<u64>| {
        let items = numbers.map(|number| Item::new(number, "drop", number));
        let post = Post(items.collect());
        let answer = client.post(relay.events(), post.body()).await.unwrap();
        Receipt::of(&post, &answer)
    };
    let mut promised = Vec::new();
    for batch in 0..20 {
        promised.extend(post(batch * 200..batch * 200 + 200).await.ids);
    }
    let file = here.file("backup.ndjson");
    let mut export = Command::new(env!("CARGO_BIN_EXE_braze-relay"))
        .arg("export")
        .arg(&file)
        .args(["--ops", &ops])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut later = 4000;
    let status = loop {
        post(later..later + 20).await;
        later += 20;
        if let Some(status) = export.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(0));
    // A disk that is full is no relay that cannot be reached.
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let ran = Command::new(env!("CARGO_BIN_EXE_braze-relay"))
        .args(["export", "-", "--ops", &ops])
        .stdout(full.unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    let expected = "cannot write standard output: No space left on device";
    assert!(said.contains(expected), "{said}");
    relay.stop(&here).await;
    run(&there, &["import", file.to_str().unwrap()]).ok();
    let store = open(&there.store());
    let counts = store.counts(second(0)).await.unwrap();
    assert!(counts.events.accepted >= 4000, "{:?}", counts.events);
    assert!(counts.events.accepted <= later);
    let look_ups = lane("acme/users_export_ids");
    let late = second(0) + Duration::from_hours(24 * 365);
    let leased = store.lease(&look_ups, late, 100_000).await.unwrap();
    let there: std::collections::BTreeSet<String> = leased
        .iter()
        .map(|leased| leased.token.id.event.to_string())
        .collect();
    let lost = promised.iter().filter(|id| !there.contains(*id)).count();
    assert_eq!(lost, 0, "of {} accepted before the backup", promised.len());
    assert_eq!(there.len() as u64, counts.events.queued);
}

#[tokio::test]
async fn nobody_there_is_no_backup() {
    let setup = nowhere();
    let mut command = Command::new(env!("CARGO_BIN_EXE_braze-relay"));
    command.args(["export", "--ops", "http://127.0.0.1:1"]);
    let ran = command.arg(setup.file("none")).output().unwrap();
    assert_eq!(ran.status.code(), Some(3));
    let left: Vec<_> = fs::read_dir(setup.file("")).unwrap().collect();
    let left = left.iter().map(|it| it.as_ref().unwrap().file_name());
    let left: Vec<_> = left
        .filter(|it| it.to_string_lossy().starts_with("none"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A relay that begins to tell, and breaks off once it is told to.
fn half_a_relay() -> (
    String,
    std::sync::mpsc::Sender<()>,
    std::thread::JoinHandle<()>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (end, ended) = std::sync::mpsc::channel();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked).unwrap();
        let begun = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{}\n\r\n";
        stream.write_all(begun.as_bytes()).unwrap();
        let _ = ended.recv();
    });
    (url, end, serving)
}

#[tokio::test]
async fn what_breaks_off_says_so_and_leaves_what_another_one_wrote_under_the_name() {
    let setup = nowhere();
    let store = open(&setup.store());
    store.close().await.unwrap();
    let (file, folder) = (setup.file("same.ndjson"), setup.file(""));
    let (url, end, serving) = half_a_relay();
    let slow = Command::new(env!("CARGO_BIN_EXE_braze-relay"))
        .arg("export")
        .arg(&file)
        .args(["--ops", &url])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let parts = || {
        let files = fs::read_dir(&folder).unwrap();
        let names = files.map(|it| it.unwrap().file_name().into_string().unwrap());
        let middle = |name: String| {
            let rest = name.strip_prefix("same.ndjson.")?;
            rest.strip_suffix(".part").map(str::to_owned)
        };
        names.filter_map(middle).count()
    };
    until("it has begun", Duration::from_secs(20), async || {
        (parts() == 1).then_some(())
    })
    .await;
    run(&setup, &["export", file.to_str().unwrap()]).ok();
    let whole = fs::read(&file).unwrap();
    drop(end);
    serving.join().unwrap();
    let ran = slow.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("broke off") && said.contains("log"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), whole);
    assert_eq!(parts(), 0);
}
