//! A disk that fills up.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::Rig;
use super::image::Image;
use crate::support::{Item, Post, Relay, until};

const WITHIN: Duration = Duration::from_mins(2);
const MEBIBYTE: u64 = 1 << 20;

fn free(image: &Path) -> u64 {
    let stat = rustix::fs::statvfs(image).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Takes room until so much is left.
fn fill(image: &Image, left: u64) {
    let filler = image.folder("filler");
    let file = File::options()
        .create(true)
        .append(true)
        .open(filler)
        .unwrap();
    let none = rustix::fs::FallocateFlags::empty();
    // The file system needs some of it for itself: what it does not give is asked for again, and less.
    let mut piece = free(&image.folder("")).saturating_sub(left);
    while piece > 0 {
        let from = file.metadata().unwrap().len();
        let more = free(&image.folder("")).saturating_sub(left).min(piece);
        if more == 0 || rustix::fs::fallocate(&file, none, from, more).is_err() {
            piece /= 2;
        }
    }
}

fn post(number: u64) -> Post {
    Post(vec![Item::new(number, "resend", number)])
}

/// With what little room there is the queue is drained; once there is more, new events are taken.
async fn drained_and_taken_again(rig: &Rig, relay: &Relay, image: &Image) {
    until("the queue is drained", WITHIN, async || {
        let status = rig.client.document(&relay.ops("/api/v1/status")).await;
        (status["events"]["queued"] == json!(0)).then_some(())
    })
    .await;
    std::fs::remove_file(image.folder("filler")).unwrap();
    until("new events are taken again", WITHIN, async || {
        let body = post(20_000_000).body();
        let answer = rig.client.post(relay.events(), body).await.unwrap();
        (answer.status == 202).then_some(())
    })
    .await;
}

async fn rig(image: &Image, reserve: u64) -> Rig {
    let mut rig = Rig::new("").await;
    let text = std::fs::read_to_string(rig.setup.config()).unwrap();
    let settings = format!("[store]\nreserve_bytes = {reserve}\n");
    let text = text
        .replace("[store]\n", &settings)
        .replace("ballast_bytes = 1048576", "ballast_bytes = 8388608");
    rig.setup.write(&text);
    rig.setup = rig.setup.with_store_at(&image.folder("relay-data"));
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_watermark_new_events_are_turned_away_and_the_queue_is_drained() {
    let Some(image) = Image::new("ext4", 256) else {
        return;
    };
    let mut rig = rig(&image, 64 * MEBIBYTE).await;
    // Nothing gets through for now.
    let held =
        json!({"rules": [{"lane": "users_track", "next": 1_000_000, "action": {"status": 500}}]});
    let script = rig.sandbox.question("script");
    let told = rig
        .client
        .post(&script, held.to_string().into())
        .await
        .unwrap();
    assert_eq!(told.status, 200, "{}", String::from_utf8_lossy(&told.body));
    let relay = Relay::start(&rig.setup).await;
    let loaders = rig.campaign.under_load(&relay, &mut rig.dice, 1000).await;
    drop(loaders);
    rig.campaign.open_posted(&rig.client, &relay).await;
    fill(&image, 32 * MEBIBYTE);
    let refused = until("new events are turned away", WITHIN, async || {
        let number = 10_000_000 + rig.dice.below(1_000_000);
        let answer = rig
            .client
            .post(relay.events(), post(number).body())
            .await
            .unwrap();
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(refused.header("retry-after").is_some());
    let none = json!({ "rules": [] }).to_string();
    rig.client.post(&script, none.into()).await.unwrap();
    drained_and_taken_again(&rig, &relay, &image).await;
    relay.stop(&rig.setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_room_ends_it_and_the_next_start_drains_by_way_of_the_ballast() {
    let Some(image) = Image::new("ext4", 256) else {
        return;
    };
    let mut rig = rig(&image, 1).await;
    let relay = Relay::start(&rig.setup).await;
    let enough = 2000;
    let mut loaders = rig.campaign.under_load(&relay, &mut rig.dice, enough).await;
    let before = rig.setup.log().len();
    fill(&image, 0);
    while let Some(ended) = loaders.join_next().await {
        ended.unwrap();
    }
    let status = relay.exit().await;
    let log = rig.setup.log()[before..].to_owned();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("the store has failed") && !log.contains("panicked at"),
        "{log}"
    );
    // The disk is as full as before but for the ballast.
    let relay = Relay::start(&rig.setup).await;
    assert!(rig.setup.log().contains("the ballast was given up"));
    drained_and_taken_again(&rig, &relay, &image).await;
    let kept = rig.campaign.kept(&rig.client, &relay).await;
    assert_eq!(kept, Some(true));
    relay.stop(&rig.setup).await;
    eprintln!("full disk: {} promised, lost 0", rig.promised());
}
