//! Starts that must not succeed: the exit code says what kind of trouble, the log says what to do.

use std::path::Path;

use super::ACTIVATIONS;
use crate::support::{Client, Item, Post, Receipt, Relay, Setup};

/// Nobody listens there: these tests deliver nothing.
const NOWHERE: &str = "http://127.0.0.1:9";

fn setup(more: &str) -> Setup {
    Setup::with_urls(NOWHERE, NOWHERE, more)
}

fn posts(from: u64, count: u64) -> Post {
    let items = (from..from + count).map(|number| Item::new(number, "resend", number));
    Post(items.collect())
}

async fn accept(relay: &Relay, post: &Post) -> Receipt {
    let answer = Client::new().post(relay.events(), post.body()).await;
    Receipt::of(post, &answer.unwrap())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_second_relay_on_one_store_is_refused_and_disturbs_nothing() {
    let setup = setup(ACTIVATIONS);
    let first = Relay::start(&setup).await;
    accept(&first, &posts(0, 3)).await;
    let (code, said) = setup.refused().await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("another process has it open"), "{said}");
    assert!(
        said.contains(setup.store().to_str().unwrap()),
        "which store: {said}"
    );
    assert_eq!(accept(&first, &posts(0, 4)).await.duplicates, 3);
    first.stop(&setup).await;
}

#[tokio::test]
async fn a_store_without_its_tail_is_refused_until_someone_says_that_it_may_be_missing() {
    let setup = setup(ACTIVATIONS);
    let (sled, old) = (setup.store().join("sled"), setup.file("old"));
    let relay = Relay::start(&setup).await;
    accept(&relay, &posts(0, 5)).await;
    relay.stop(&setup).await;
    copy(&sled, &old);
    let relay = Relay::start(&setup).await;
    for number in 5..20 {
        accept(&relay, &posts(number, 1)).await;
    }
    relay.stop(&setup).await;
    std::fs::remove_dir_all(&sled).unwrap();
    copy(&old, &sled);

    for _ in 0..2 {
        let (code, said) = setup.refused().await;
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("the database ends at commit "), "{said}");
        assert!(said.contains("was durable"), "{said}");
        assert!(said.contains("Restore a backup"), "what to do: {said}");
    }

    // The documented way on.
    std::fs::rename(setup.store().join("mark"), setup.file("mark")).unwrap();
    let relay = Relay::start(&setup).await;
    assert_eq!(accept(&relay, &posts(0, 20)).await.duplicates, 5);
    relay.stop(&setup).await;
}

#[tokio::test]
async fn a_store_that_is_gone_below_its_mark_is_refused() {
    let setup = setup(ACTIVATIONS);
    let relay = Relay::start(&setup).await;
    accept(&relay, &posts(0, 5)).await;
    relay.stop(&setup).await;
    std::fs::remove_dir_all(setup.store().join("sled")).unwrap();
    let (code, said) = setup.refused().await;
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the database ends at commit 0"), "{said}");
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_every_mistake_at_once() {
    let setup = setup("[retry]\nfirst = \"soon\"\n[activations.x]\nworkspce = \"acme\"\n");
    let (code, said) = setup.refused().await;
    assert_eq!(code, Some(2), "{said}");
    for word in ["retry.first", "workspce", "workspace"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("sandbox-braze-key"), "{said}");
    std::fs::remove_file(setup.config()).unwrap();
    assert_eq!(setup.refused().await.0, Some(2));
    assert!(!setup.store().exists(), "nothing was touched");
}

#[tokio::test]
async fn what_this_version_cannot_do_is_refused_with_its_line() {
    let secrets = "[ingest.sources.braze]\nsigning_secrets = [{ value = \"s\" }]\n";
    let more = format!("{ACTIVATIONS}{secrets}");
    let setup = setup(&more);
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let place = text
        .lines()
        .position(|line| line.starts_with("signing_secrets"));
    let line = format!("line {}", place.unwrap() + 1);
    let (code, said) = setup.refused().await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&line), "{line}: {said}");
    assert!(
        said.contains("ingest.sources.braze.signing_secrets"),
        "{said}"
    );
    assert!(!setup.store().exists(), "nothing was touched");
}
