//! Whole stores as released versions left them: each is opened, and worked off.
//!
//! `tests/golden/store-vN` is a small store in format N, the folder as a clean stop left it, beside what it was to answer.
//! A format's folder is made once (`RELAY_WRITE_GOLDEN=1`, when it is missing), and stays as it is.

use super::*;

fn golden(format: u32) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/store-v{format}"))
}

async fn make(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path());
    fill(&store, 40).await;
    store.close().await.unwrap();
    for name in ["db", "conf", "mark"] {
        let from = if name == "mark" {
            "mark"
        } else {
            &format!("sled/{name}")
        };
        fs::copy(home.path().join(from), folder.join(name)).unwrap();
    }
    let store = open(home.path());
    fs::write(folder.join("answers.txt"), answers(&store).await).unwrap();
}

/// What the store answers, in words that stay.
async fn answers(store: &SledStore) -> String {
    let events = store.counts(second(2)).await.unwrap().events;
    let mut text = format!(
        "accepted {} done {} dead {} queued {}\n",
        events.accepted, events.done, events.dead, events.queued
    );
    let letters = store.dead_list(DeadFilter::default(), None, 1000);
    for letter in letters.await.unwrap().items {
        let (reason, event) = (letter.burial.reason, letter.event);
        text += &format!("{} {reason} {} {}\n", letter.id, event.email, event.key);
    }
    for name in ["users_export_ids", "users_track", "quikly"] {
        let lane = lane(&format!("acme/{name}"));
        for leased in store.lease(&lane, second(1000), 1000).await.unwrap() {
            let (id, job, event) = (leased.token.id, leased.job, leased.event);
            let bytes = event.attributes.map_or(0, |it| it.as_str().len());
            let (step, due) = (job.state.step(), job.due.to_rfc3339());
            text += &format!("{id} {name} {step} {due} {} {bytes}\n", event.email);
        }
    }
    text
}

#[tokio::test]
async fn a_store_of_every_released_format_opens_and_can_be_worked_off() {
    for format in 1..=1 {
        let folder = golden(format);
        if std::env::var_os("RELAY_WRITE_GOLDEN").is_some() && !folder.exists() {
            make(&folder).await;
        }
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("sled")).unwrap();
        for name in ["db", "conf", "mark"] {
            let to = if name == "mark" {
                "mark"
            } else {
                &format!("sled/{name}")
            };
            fs::copy(folder.join(name), home.path().join(to)).unwrap();
        }
        let store = open(home.path());
        let said = fs::read_to_string(folder.join("answers.txt")).unwrap();
        assert_eq!(answers(&store).await, said, "format {format}");
        store.close().await.unwrap();
        let store = open(home.path());
        let again = store
            .append(vec![seed(1, "join")], second(3))
            .await
            .unwrap();
        assert!(again[0].duplicate, "what was accepted is not remembered");
        damage::work_off(&store).await;
        let counts = store.counts(second(5000)).await.unwrap();
        assert_eq!(counts.events.queued, 0);
        assert_eq!(counts.events.accepted, 80);
    }
}
