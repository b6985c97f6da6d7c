//! Seen from outside, with strace: no 202 leaves before an fdatasync of the database file that covers its event.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use braze_relay::client::http::RawAnswer;
use tokio::task::JoinSet;

use super::ACTIVATIONS;
use crate::support::{Client, Item, Post, Receipt, Relay, Setup, require, until};

/// Nobody listens there: no job moves, so that a record is not written again for another reason.
const NOWHERE: &str = "http://127.0.0.1:9";
const ONE_AFTER_ANOTHER: u64 = 60;
const CONNECTIONS: u64 = 8;
const EACH: u64 = 15;

const CALLS: &str =
    "trace=fdatasync,fsync,pwrite64,pwritev,write,writev,sendto,sendmsg,openat,sync_file_range";

/// One system call, with the places in the trace where it began and ended.
struct Syscall {
    began: usize,
    ended: usize,
    text: String,
}

impl Syscall {
    fn is(&self, name: &str) -> bool {
        self.text
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('('))
    }

    /// Whether its descriptor is this file.
    fn on(&self, file: &str) -> bool {
        let end = self.text.find([',', ')']).unwrap_or(self.text.len());
        self.text[..end].ends_with(&format!("<{file}>"))
    }

    fn to_a_socket(&self) -> bool {
        let end = self.text.find(',').unwrap_or(self.text.len());
        self.text[..end].contains("<socket:") || self.text[..end].contains("<TCP")
    }

    fn succeeded(&self) -> bool {
        let result = self.text.rsplit_once(" = ");
        result.is_some_and(|(_, result)| result.trim() == "0")
    }
}

/// Reads what `strace -f -y` wrote: calls that another thread interrupted are put together again.
fn calls(trace: &str) -> Vec<Syscall> {
    let mut unfinished: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (place, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (place, first));
        } else if let Some((_, second)) = rest
            .strip_prefix("<... ")
            .and_then(|resumed| resumed.split_once(" resumed>"))
        {
            let (began, first) = unfinished.remove(thread).unwrap_or((place, ""));
            calls.push(Syscall {
                began,
                ended: place,
                text: format!("{}{second}", first.trim_end()),
            });
        } else {
            calls.push(Syscall {
                began: place,
                ended: place,
                text: rest.to_owned(),
            });
        }
    }
    calls
}

/// Whether the 202 that names `id` left after an fdatasync that began once the event `key` had been written.
fn covered(calls: &[Syscall], database: &str, key: &str, id: &str) -> Result<(), String> {
    let answer = calls
        .iter()
        .find(|call| call.to_a_socket() && call.text.contains(id))
        .ok_or_else(|| format!("no answer names {id}"))?;
    if !answer.text.contains("HTTP/1.1 202 ") {
        return Err(format!("the answer about {id} is no 202"));
    }
    let mut writes = calls.iter().filter(|call| {
        call.is("pwrite64")
            && call.on(database)
            && call.ended < answer.began
            && call.text.contains(key)
    });
    // Later ones may be the database's own: it moves pages about in the background.
    let written = writes.next();
    let written = written.ok_or_else(|| format!("{key} was answered and not written before"))?;
    let synced = calls.iter().any(|call| {
        call.is("fdatasync")
            && call.on(database)
            && call.succeeded()
            && call.began > written.ended
            && call.ended < answer.began
    });
    if synced {
        return Ok(());
    }
    Err(format!(
        "{key} was written ({}) and answered ({}) without an fdatasync of the database in between",
        written.ended, answer.began
    ))
}

fn receipts(post: &Post, answer: &RawAnswer) -> (String, String) {
    let receipt = Receipt::of(post, answer);
    (post.0[0].id.clone(), receipt.ids[0].clone())
}

async fn load(relay: &Relay) -> (Vec<(String, String)>, Vec<(String, String)>) {
    let client = Client::new();
    let mut alone = Vec::new();
    for number in 0..ONE_AFTER_ANOTHER {
        let post = Post(vec![Item::new(number, "resend", number)]);
        let answer = client.post(relay.events(), post.body()).await.unwrap();
        alone.push(receipts(&post, &answer));
    }
    let mut crowd = JoinSet::new();
    for connection in 1..=CONNECTIONS {
        let (client, events) = (client.clone(), relay.events().clone());
        crowd.spawn(async move {
            let mut told = Vec::new();
            for number in 0..EACH {
                let number = connection * 1000 + number;
                let post = Post(vec![Item::new(number, "resend", number)]);
                let answer = client.post(&events, post.body()).await.unwrap();
                told.push(receipts(&post, &answer));
            }
            told
        });
    }
    let crowd = crowd.join_all().await.into_iter().flatten().collect();
    (alone, crowd)
}

async fn whole(file: &Path, pid: u32) -> String {
    let (pid, end) = (pid.to_string(), "+++ exited with 0 +++");
    let ends = |line: &str| {
        let said = line.split_once(' ');
        said.is_some_and(|(thread, said)| thread == pid && said.trim() == end)
    };
    until("the trace is whole", Duration::from_secs(30), async || {
        let trace = std::fs::read(file).unwrap_or_default();
        let trace = String::from_utf8_lossy(&trace).into_owned();
        trace.lines().any(ends).then_some(trace)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_202_leaves_after_an_fdatasync_of_the_database_that_covers_its_event() {
    if !require("strace") {
        return;
    }
    let setup = Setup::with_urls(NOWHERE, NOWHERE, ACTIVATIONS);
    let file = setup.file("trace");
    // -D: the relay is our child, and strace watches from the side.
    let wrapper = [
        "strace",
        "-D",
        "-f",
        "-y",
        "-s",
        "1000000",
        "-e",
        CALLS,
        "-e",
        "signal=none",
        "-o",
        file.to_str().unwrap(),
    ];
    let relay = Relay::start_by(&setup, &wrapper).await;
    let pid = relay.pid();
    let (alone, crowd) = load(&relay).await;
    relay.stop(&setup).await;
    let trace = whole(&file, pid).await;
    let calls = calls(&trace);
    let database = setup.store().join("sled/db").canonicalize().unwrap();
    let database = database.to_str().unwrap();
    let syncs = calls
        .iter()
        .filter(|call| call.is("fdatasync") && call.on(database));
    eprintln!(
        "synced: {} answers, {} fdatasync of the database in {} calls",
        alone.len() + crowd.len(),
        syncs.count(),
        calls.len()
    );
    let groups = [alone, crowd];
    let missing: Vec<String> = groups
        .iter()
        .flatten()
        .filter_map(|(key, id)| covered(&calls, database, key, id).err())
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_trace_is_read_as_it_is_meant() {
    let trace = "1 pwrite64(9</s/db>, \"..event-1..\", 11, 0) = 11\n\
                 1 fdatasync(8</s/db> <unfinished ...>\n\
                 2 writev(7<socket:[5]>, [{iov_base=\"HTTP/1.1 202 Accepted id-0\", iov_len=9}], 1) = 9\n\
                 1 <... fdatasync resumed>) = 0\n\
                 2 writev(7<socket:[5]>, [{iov_base=\"HTTP/1.1 202 Accepted id-1\", iov_len=9}], 1) = 9\n";
    let ask = |trace: &str| covered(&calls(trace), "/s/db", "event-1", "id-1");
    assert_eq!(ask(trace), Ok(()));
    for (what, with) in [
        ("fdatasync(8</s/db>", "fdatasync(8</s/mark>"),
        ("resumed>) = 0", "resumed>) = -1 EIO (Input/output error)"),
        ("id-0", "id-1"),
        ("9</s/db>", "9</s/conf>"),
        ("HTTP/1.1 202", "HTTP/1.1 503"),
    ] {
        let spoilt = trace.replace(what, with);
        assert!(ask(&spoilt).is_err(), "{what}");
    }
}
