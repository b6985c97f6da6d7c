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
    let (counts, text) = asked(&store).await;
    fs::write(folder.join("answers.txt"), format!("{counts:#?}\n{text}")).unwrap();
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
        let (counts, text) = asked(&store).await;
        let answers = fs::read_to_string(folder.join("answers.txt")).unwrap();
        assert_eq!(format!("{counts:#?}\n{text}"), answers, "format {format}");
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
