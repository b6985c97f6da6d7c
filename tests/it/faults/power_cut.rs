//! Power cuts: what was not synced is really gone.

use super::image::Image;
use super::{Rig, rounds};
use crate::support::Relay;

/// Over both file systems.
const CUTS: usize = 200;

async fn cut_again_and_again(filesystem: &str) {
    let Some(image) = Image::new(filesystem, 320) else {
        return;
    };
    // The disk is small, and a mark of how full it may be is not what is looked at.
    let mut rig = Rig::new("").await;
    rig.configured("[store]\n", "reserve_bytes = 1048576\n");
    rig.setup = rig.setup.with_store_at(&image.folder("relay-data"));
    let cuts = rounds(CUTS).max(24) / 2 + 1;
    for cut in 1..=cuts {
        let relay = Relay::start(&rig.setup).await;
        let counts = rig.all_there(&relay).await;
        let enough = rig.promised() + 300 + rig.dice.below(700);
        let mut loaders = rig.campaign.under_load(&relay, &mut rig.dice, enough).await;
        image.cut();
        relay.kill().await;
        while let Some(ended) = loaders.join_next().await {
            ended.unwrap();
        }
        image.restored().await;
        eprintln!(
            "power cut: {filesystem}, cut {cut} of {cuts}: before it {counts:?} (accepted, done, dead, queued); {} are promised",
            rig.promised()
        );
    }
    let relay = Relay::start(&rig.setup).await;
    let counts = rig.ended(&relay).await;
    eprintln!(
        "power cut: {filesystem}: {cuts} cuts, {} promised, lost 0; accepted, done, dead, queued: {counts:?}",
        rig.promised()
    );
    relay.stop(&rig.setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_got_a_202_outlives_every_power_cut_on_ext4() {
    cut_again_and_again("ext4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_got_a_202_outlives_every_power_cut_on_xfs() {
    cut_again_and_again("xfs").await;
}
