//! One request that is denied for what it carries, while everything else works.

use std::time::Duration;

use braze_relay::flow::job::Reason;
use braze_relay::store::{DeadFilter, Operate};

use super::on_paused_time;
use super::stage::{Stage, address};

#[test]
fn one_request_that_is_denied_for_what_it_carries_dies_alone_and_keeps_nobody() {
    for objects_max in [1, 75] {
        on_paused_time(async {
            let stage = Stage::new(objects_max).await;
            // The oldest of all: whoever takes the first that is there as a probe takes this one.
            stage.host.seen().forbidden = Some(address(0));
            stage.fresh(0..500).await;
            // Three times denied, each time with a minute's wait for the probe.
            stage.wait(Duration::from_secs(200)).await;
            let counts = stage.counts().await.events;
            assert_eq!((counts.done, counts.dead), (499, 1), "{objects_max}");
            let dead = stage.store.dead_list(DeadFilter::default(), None, 10);
            let dead = dead.await.unwrap().items;
            assert_eq!(dead[0].burial.reason, Reason::Rejected);
            assert_eq!(stage.held(), None);
            let sent = stage.host.seen().sent.len();
            let full = 500 / objects_max;
            assert!(sent <= full + 120, "{sent} requests");
        });
    }
}
