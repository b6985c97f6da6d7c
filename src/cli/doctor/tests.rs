//! The doctor's judgement, in tables: what was seen, and what is found.

use std::collections::BTreeMap;
use std::time::Duration;

use super::braze::{self, Answers};
use super::disk::{self, Disk};
use super::finding::{Findings, Status};
use super::host::{self, Host};
use super::limits::{self, Report, Reports};
use super::plan::{self, Campaign, Intake};
use crate::client::probe::{Observed, Question, Said};
use crate::config::{Config, Env, Limit};
use crate::model::budget::{Reset, Told, Word};
use crate::model::call::Answer;
use crate::model::lane::LaneKind;
use crate::model::time::Timestamp;

/// A whole minute, and no whole hour.
const NOW: Timestamp = Timestamp::from_millis(1_795_770_660_000);
const MS: Duration = Duration::from_millis(1);

fn said(status: u16) -> Answer {
    let text = "no".to_owned();
    Answer {
        status: Some(status),
        text,
    }
}

fn seen(said: Said) -> Observed {
    Observed {
        said,
        told: Told::Nothing,
        theirs: Some(NOW),
        ours: NOW,
        took: 10 * MS,
    }
}

fn group() -> Question {
    let group = "some-group".to_owned();
    Question::ReadStatus { group }
}

/// The answers to a write and to a look-up.
fn answers(write: Said, look_up: Said) -> Answers {
    vec![
        (Question::Track, seen(write)),
        (Question::LookUp, seen(look_up)),
    ]
}

#[test]
fn a_key_is_good_only_when_something_was_let_in() {
    let silent = || Said::Silent {
        connected: true,
        text: "timed out".into(),
    };
    for (write, look_up, status) in [
        (Said::Judged(said(400)), Said::Answered, Status::Ok),
        (Said::KeyRefused, Said::Answered, Status::Ok),
        (Said::KeyRefused, Said::KeyRefused, Status::Fail),
        (Said::KeyRefused, silent(), Status::Fail),
        (
            Said::Forbidden(said(403)),
            Said::Forbidden(said(403)),
            Status::Fail,
        ),
        (
            Said::NotThere(said(404)),
            Said::NotThere(said(404)),
            Status::Fail,
        ),
        (Said::Throttled, Said::Unclear(said(503)), Status::Unknown),
        (silent(), silent(), Status::Unknown),
    ] {
        let answers = answers(write, look_up);
        assert_eq!(braze::key(&answers).0, status, "{answers:?}");
    }
}

#[test]
fn a_permission_is_there_missing_or_unknown_and_a_401_is_never_a_yes() {
    for (write, status) in [
        (Said::Judged(said(400)), Status::Ok),
        (Said::Answered, Status::Unknown),
        (Said::KeyRefused, Status::Fail),
        (Said::Forbidden(said(403)), Status::Fail),
        (Said::NotThere(said(404)), Status::Fail),
        (Said::Throttled, Status::Unknown),
        (Said::Unclear(said(500)), Status::Unknown),
    ] {
        let answers = answers(write, Said::Answered);
        let verdict = braze::permission(&Question::Track, &answers, None);
        assert_eq!(verdict.0, status, "{answers:?}");
        let optional = braze::permission(&Question::Track, &answers, Some("forget")).0;
        assert_eq!(
            optional == Status::Warn,
            matches!(answers[0].1.said, Said::KeyRefused | Said::Forbidden(_))
        );
    }
    let none = answers(Said::KeyRefused, Said::KeyRefused);
    assert_eq!(
        braze::permission(&Question::Track, &none, None).0,
        Status::Unknown
    );
    assert_eq!(
        braze::permission(&Question::SetStatus, &none, None).0,
        Status::Unknown
    );
    let odd = answers(Said::Judged(said(400)), Said::Judged(said(400)));
    assert_eq!(
        braze::permission(&Question::LookUp, &odd, None).0,
        Status::Warn
    );
}

#[test]
fn a_group_is_known_only_where_its_own_question_was_answered() {
    for (answer, status) in [
        (Said::Answered, Status::Ok),
        (Said::UnknownGroup, Status::Fail),
        (Said::Judged(said(400)), Status::Fail),
        (Said::Forbidden(said(403)), Status::Unknown),
        (Said::Throttled, Status::Unknown),
    ] {
        let answers = vec![(group(), seen(answer))];
        assert_eq!(braze::group("some-group", &answers).0, status);
        assert_eq!(braze::group("another", &answers).0, Status::Unknown);
    }
}

fn report(limit: u32, reset: Reset) -> Report {
    let word = Word {
        limit,
        remaining: limit - 1,
        reset,
    };
    Report { word, at: NOW }
}

fn limit(requests: u32, seconds: u64) -> Limit {
    Limit {
        requests,
        window: Duration::from_secs(seconds),
    }
}

#[test]
fn configured_limits_are_held_against_reported_ones_after_share() {
    let at = |seconds| Reset::At(NOW + Duration::from_secs(seconds));
    let within = |seconds| Reset::In(Duration::from_secs(seconds));
    for (configured, share, told, status, hint) in [
        (
            vec![limit(3000, 3)],
            1.0,
            report(3000, at(3)),
            Status::Ok,
            "3000/3s",
        ),
        (
            vec![limit(3000, 3)],
            1.0,
            report(2999, at(3)),
            Status::Warn,
            "2999/3s",
        ),
        (
            vec![limit(6000, 3)],
            0.5,
            report(3000, within(2)),
            Status::Ok,
            "share 0.5",
        ),
        (
            vec![limit(6000, 3)],
            0.6,
            report(3000, within(2)),
            Status::Warn,
            "share 0.6",
        ),
        // A minute, and no second: it ends on one, and is far away.
        (
            vec![limit(40, 1)],
            1.0,
            report(250, at(60)),
            Status::Warn,
            "250/min",
        ),
        (
            vec![limit(40, 1)],
            1.0,
            report(250, within(40)),
            Status::Warn,
            "250/min",
        ),
        (
            vec![limit(250_000, 3600)],
            0.1,
            report(250_000, within(1800)),
            Status::Ok,
            "10 %",
        ),
        (
            vec![limit(100, 1), limit(3000, 60)],
            1.0,
            report(2000, within(30)),
            Status::Warn,
            "2000/min",
        ),
        (
            vec![limit(40, 1)],
            1.0,
            report(7, within(9000)),
            Status::Unknown,
            "7 requests",
        ),
    ] {
        let verdict = limits::compare(LaneKind::UsersTrack, &configured, share, &told);
        assert_eq!(
            verdict.0, status,
            "{configured:?} {share} {told:?}: {verdict:?}"
        );
        assert!(verdict.1.contains(hint), "{verdict:?}");
        assert_eq!(verdict.2.is_some(), status == Status::Warn);
    }
}

#[test]
fn limits_are_written_as_the_configuration_writes_them() {
    let all = [
        limit(3000, 3),
        limit(40, 1),
        limit(5000, 60),
        limit(9, 7200),
    ];
    let all = all.map(|it| limits::written(&it));
    assert_eq!(all, ["3000/3s", "40/s", "5000/min", "9/2h"]);
}

#[test]
fn clocks_are_compared_by_what_date_can_tell() {
    let host = Host {
        name: "braze.example:443".into(),
        https: true,
        dns: Ok((1, MS)),
        tcp: Some(Ok(MS)),
    };
    let second = Duration::from_secs(1);
    for (theirs, took, status) in [
        (Some(NOW), MS, Status::Ok),
        // Whole seconds: theirs may be up to one behind what they mean.
        (Some(NOW - 3 * second), MS, Status::Ok),
        (Some(NOW - 4 * second), MS, Status::Warn),
        (Some(NOW + 3 * second), MS, Status::Warn),
        // It was asked so long ago that both may be right.
        (Some(NOW - 6 * second), 4 * second, Status::Ok),
        (Some(NOW - 31 * second), MS, Status::Warn),
        (Some(NOW - 33 * second), MS, Status::Fail),
        (Some(NOW + 31 * second), MS, Status::Fail),
        (None, MS, Status::Unknown),
    ] {
        let observed = Observed {
            theirs,
            took,
            ..seen(Said::Answered)
        };
        let mut findings = Findings::default();
        host::judge(&mut findings, "braze", &host, &[&observed]);
        let clock = findings.all.iter().find(|it| it.id == "braze.clock");
        assert_eq!(clock.unwrap().status, status, "{theirs:?} {took:?}");
    }
}

#[test]
fn what_is_dead_on_the_way_is_named_by_how_far_it_got() {
    let whole = Host {
        name: "braze.example:443".into(),
        https: true,
        dns: Ok((2, MS)),
        tcp: Some(Ok(MS)),
    };
    let nameless = Host {
        dns: Err("no such name".into()),
        tcp: None,
        ..whole.clone()
    };
    let closed = Host {
        tcp: Some(Err("refused".into())),
        ..whole.clone()
    };
    let silent = |connected| {
        seen(Said::Silent {
            connected,
            text: "it".into(),
        })
    };
    for (host, answer, failed) in [
        (&nameless, None, vec!["braze.dns"]),
        (&closed, None, vec!["braze.tcp"]),
        (
            &whole,
            Some(silent(false)),
            vec!["braze.tls", "braze.answer"],
        ),
        (&whole, Some(silent(true)), vec!["braze.answer"]),
        (&whole, Some(seen(Said::KeyRefused)), vec![]),
    ] {
        let mut findings = Findings::default();
        host::judge(
            &mut findings,
            "braze",
            host,
            &answer.iter().collect::<Vec<_>>(),
        );
        let all = findings.all.iter().filter(|it| it.status == Status::Fail);
        assert_eq!(all.map(|it| it.id.as_str()).collect::<Vec<_>>(), failed);
    }
}

fn config(braze: &str, activation: &str) -> Config {
    let text = format!(
        "[workspaces.acme.braze]\nurl = \"https://rest.example.com\"\napi_key = \"k\"\n{braze}\n\
         [workspaces.acme.quikly]\nurl = \"https://quikly.example.com/webhook\"\ntoken = \"t\"\nlimit = [\"1000/s\"]\n\
         [activations.drop]\nworkspace = \"acme\"\n{activation}\n"
    );
    Config::from_toml(&text, &Env::default()).unwrap().config
}

fn room(config: &Config, reported: &Reports, expect: u64, within_s: u64) -> plan::Room {
    let campaign = Campaign {
        expect,
        within: Duration::from_secs(within_s),
    };
    let rules = config.rules.activation("drop").unwrap();
    plan::room(rules, &config.workspaces["acme"], reported, Some(campaign)).unwrap()
}

const EMAIL: &str = "flow = \"email\"";
const SMS: &str =
    "flow = \"sms\"\nsubscription_group_id = \"6f4b0c3e-0000-4000-8000-000000000000\"";

fn costs(config: &Config) -> BTreeMap<LaneKind, f64> {
    let room = room(config, &Reports::new(), 1, 3600);
    let each = room.lanes.iter().map(|it| (it.lane, it.requests_each));
    each.collect()
}

#[test]
fn what_a_participation_costs_follows_from_its_flow() {
    use LaneKind::{
        Default as Read, Quikly, SubscriptionStatusSet as Set, UsersExportIds as Look,
        UsersTrack as Track,
    };
    let costs = |activation: &str| {
        costs(&config("", activation))
            .into_iter()
            .collect::<Vec<_>>()
    };
    let email = |more: &str| costs(&format!("{EMAIL}\n{more}"));
    assert_eq!(email(""), [(Track, 1.0 / 75.0), (Look, 1.0)]);
    assert_eq!(
        email("credit = { event = \"j\" }\ncreated_event = { name = \"n\" }"),
        [(Track, 2.0 / 75.0), (Look, 1.0), (Quikly, 1.0)]
    );
    assert_eq!(
        email("identity = \"email\"\nmark_attributes = { a = true }"),
        [(Track, 1.0 / 75.0)]
    );
    assert_eq!(
        costs(SMS),
        [(Track, 1.0 / 75.0), (Look, 1.0), (Set, 0.02), (Read, 0.04)]
    );
    assert_eq!(
        costs(&format!("{SMS}\nsubscribe = \"inline\"")),
        [(Track, 1.0 / 75.0), (Look, 1.0), (Read, 0.04)]
    );
}

#[test]
fn a_campaign_is_held_against_the_lane_that_binds_after_share() {
    let none = Reports::new();
    let whole = room(&config("", EMAIL), &none, 100_000, 3600);
    assert_eq!(whole.lanes[0].lane, LaneKind::UsersExportIds);
    assert!((whole.per_hour - 144_000.0).abs() < 1.0);
    let fit = whole.fit.unwrap();
    assert_eq!((fit.fits, fit.tight), (true, false));
    assert!((fit.seconds - 2500.0).abs() < 0.1);

    let half = room(&config("share = 0.5", EMAIL), &none, 100_000, 3600);
    let fit = half.fit.unwrap();
    assert!(!fit.fits && (fit.seconds - 5000.0).abs() < 0.1);
    assert_eq!(fit.switches[0].setting, "share = 1.0");
    assert_eq!(fit.switches[0].seconds, Some(2500.0));

    let tight = room(&config("", EMAIL), &none, 130_000, 3600);
    assert!(tight.fit.unwrap().tight);

    let reported = Reports::from([(
        LaneKind::UsersExportIds,
        report(250, Reset::In(Duration::from_secs(40))),
    )]);
    let lower = room(&config("", EMAIL), &reported, 100_000, 3600);
    assert!((lower.per_hour - 15_000.0).abs() < 1.0);
    assert!(!lower.fit.unwrap().fits);
}

#[test]
fn what_to_switch_is_what_makes_it_quicker_and_says_what_comes_with_it() {
    let settings = |activation: &str, braze: &str| {
        let room = room(&config(braze, activation), &Reports::new(), 1_000_000, 3600);
        let switches = room.fit.unwrap().switches.into_iter();
        switches.map(|it| it.setting).collect::<Vec<_>>()
    };
    let plain = settings(EMAIL, "");
    assert_eq!(plain[0], "identity = \"email\"");
    assert!(plain[1].starts_with("ask Braze for 348 requests a second on users_export_ids"));
    let events = format!("{EMAIL}\ncreated_event = {{ name = \"n\" }}");
    assert!(settings(&events, "")[0].contains("without created_event"));
    assert!(settings(SMS, "")[0].contains("phone_mismatch = \"replace\""));
    let slow = "[workspaces.acme.braze.limits]\nsubscription_status_set = [\"1/s\"]";
    assert_eq!(settings(SMS, slow)[0], "subscribe = \"inline\"");
    let only_quikly = format!(
        "{EMAIL}\nidentity = \"email\"\nmark_attributes = {{ a = 1 }}\ncredit = {{ event = \"j\" }}"
    );
    let room = room(&config("", &only_quikly), &Reports::new(), 4_000_000, 3600);
    assert_eq!(room.lanes[0].lane, LaneKind::Quikly);
    assert!(
        room.fit.unwrap().switches[0]
            .setting
            .starts_with("ask Quikly")
    );
}

#[test]
fn polls_of_those_who_do_not_confirm_are_counted_as_long_as_the_campaign_lasts() {
    let opt_in = SMS.replace("sms", "double_opt_in") + "\nopt_in = { event = \"e\" }";
    let config = self::config("", &opt_in);
    let reads = |hours: u64| {
        let room = room(&config, &Reports::new(), 1, hours * 3600);
        let lane = room.lanes.iter().find(|it| it.lane == LaneKind::Default);
        lane.unwrap().requests_each
    };
    assert!(reads(1) > 0.2 && reads(1) < 0.6, "{}", reads(1));
    assert!(reads(24) > reads(1) + 0.3, "{}", reads(24));
    // Who confirms at the last moment is credited all the same.
    let short = opt_in + "\nconfirm_every = { within = \"10m\" }\ncredit = { event = \"c\" }";
    assert!(costs(&self::config("", &short)).contains_key(&LaneKind::Quikly));
}

#[test]
fn intake_and_disk_are_held_against_what_was_measured() {
    let campaign = Campaign {
        expect: 3_600_000,
        within: Duration::from_hours(1),
    };
    assert_eq!(plan::intake(campaign, 1000.0), Intake::Easily);
    assert_eq!(plan::intake(campaign, 999.0), Intake::Together);
    assert_eq!(plan::intake(campaign, 20.0), Intake::TooSlow);
    let disk = |commits_per_second, free_bytes| Disk {
        folder: "there".into(),
        is_store: true,
        commits_per_second,
        longest: MS,
        free_bytes,
    };
    for (measured, statuses) in [
        (Ok(disk(500.0, 1000)), vec![Status::Ok, Status::Ok]),
        (Ok(disk(50.0, 150)), vec![Status::Warn, Status::Warn]),
        (Ok(disk(500.0, 99)), vec![Status::Ok, Status::Fail]),
        (Err("read-only".to_owned()), vec![Status::Fail]),
    ] {
        let mut findings = Findings::default();
        disk::judge(&mut findings, &measured, "there".as_ref(), 100);
        let all: Vec<_> = findings.all.iter().map(|it| it.status).collect();
        assert_eq!(all, statuses);
    }
}

#[test]
fn the_disk_is_measured_without_leaving_anything_or_making_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("not/yet");
    let disk = disk::measure(&store).unwrap();
    assert!(disk.commits_per_second > 0.0 && disk.free_bytes > 0);
    assert!(!disk.is_store && disk.folder == folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
