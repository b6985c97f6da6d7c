//! Backups of a relay that runs.

use std::time::Duration;

use super::*;
use crate::support::{Client, Item, Post, Receipt, Relay};

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
    assert!(!setup.file("none").exists() && !setup.file("none.part").exists());
}
