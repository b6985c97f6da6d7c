//! What was stored once can be read for ever: files as released versions wrote them, decoded, and written again.
//!
//! `tests/golden/vN/*.bin` is what format N looks like, one file for each kind of thing that is stored. Today's format
//! must write exactly those bytes: a changed type without a new version number fails here. The store's own tables
//! (`head.bin`, `names.bin`) are held the same way beside their private types, in `src/store/sled/counts.rs`.
//!
//! `RELAY_WRITE_GOLDEN=1 cargo test golden` (without `--test it`: the library writes the tables) writes the files of today's
//! format anew. That is right only before its first
//! release; afterwards a change needs the next version number, and the old files stay as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Once;

use braze_relay::flow::job::{
    Attempt, Burial, Class, Erase, Flow, Job, Join, Outcome, Profile, Reason, State,
};
use braze_relay::model::call::{Address, Answer, Company};
use braze_relay::model::event::{CustomEvent, Event, EventKind, Source};
use braze_relay::model::id::{EventId, JobId};
use braze_relay::model::json::ObjectText;
use braze_relay::model::time::Timestamp;
use braze_relay::store::Learnt;
use braze_relay::store::codec::{
    self, Behind, CodecError, Done, Known, KnownEvent, KnownKind, Record, Turn, VERSION,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

/// One thing of each kind that is stored.
#[derive(Clone, Debug, PartialEq)]
enum Stored {
    Record(Box<Record>),
    Known(Known),
    Done(Done),
    Owner(JobId),
    Turn(Turn),
    Pack(Vec<(EventId, Vec<u8>)>),
}

impl Stored {
    /// As it is written today, pieces put together.
    fn encode(&self) -> Vec<u8> {
        match self {
            Stored::Record(record) => {
                let pieces = codec::encode_record(record).unwrap();
                assert_eq!(
                    pieces.rest.len(),
                    usize::from(codec::pieces_behind(&pieces.first))
                );
                pieces.rest.iter().fold(pieces.first, |mut bytes, piece| {
                    bytes.extend(piece);
                    bytes
                })
            }
            Stored::Known(known) => codec::encode_known(known).unwrap(),
            Stored::Done(done) => codec::encode_done(done).unwrap(),
            Stored::Owner(owner) => codec::encode_owner(*owner).unwrap(),
            Stored::Turn(turn) => codec::encode_turn(turn).unwrap(),
            Stored::Pack(records) => {
                codec::encode_pack(records.iter().map(|(id, record)| (*id, &record[..])))
            }
        }
    }

    /// Reads bytes as the kind of thing that `self` is.
    fn decode(&self, bytes: &[u8]) -> Result<Stored, CodecError> {
        Ok(match self {
            Stored::Record(_) => Stored::Record(Box::new(codec::decode_record(bytes)?)),
            Stored::Known(_) => Stored::Known(codec::decode_known(bytes)?),
            Stored::Done(_) => Stored::Done(codec::decode_done(bytes)?),
            Stored::Owner(_) => Stored::Owner(codec::decode_owner(bytes)?),
            Stored::Turn(_) => Stored::Turn(codec::decode_turn(bytes)?),
            Stored::Pack(_) => {
                let records = codec::decode_pack(bytes)?.into_iter();
                Stored::Pack(records.map(|(id, record)| (id, record.to_vec())).collect())
            }
        })
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_795_770_600_123);

fn at(seconds: u64) -> Timestamp {
    NOW + std::time::Duration::from_secs(seconds)
}

fn id(last: u8) -> EventId {
    let mut bytes = [0x5a; 16];
    bytes[15] = last;
    EventId(bytes)
}

fn object(value: &serde_json::Value) -> ObjectText {
    ObjectText::new(value.as_object().unwrap())
}

fn event() -> Event {
    Event {
        source: Source::Quikly,
        kind: EventKind::Participation,
        key: "evt-1".into(),
        scope: "spring-drop".into(),
        email: "ada+x@example.com".into(),
        email_given: Some(" Ada+X@Example.com".into()),
        trace: None,
        external_id: None,
        phone: Some("+15555550100".into()),
        sms_consent: true,
        at: NOW,
        accepted_at: at(1),
        attributes: Some(object(&json!({"level": 3, "näme": ["a", null, 1.5]}))),
        event: Some(CustomEvent {
            name: "joined".into(),
            properties: Some(object(&json!({"tier": "gold"}))),
        }),
    }
}

fn bare_event() -> Event {
    Event {
        kind: EventKind::Progress,
        email_given: None,
        external_id: None,
        phone: None,
        sms_consent: false,
        ..event().slim()
    }
}

fn answer(status: Option<u16>, text: &str) -> Answer {
    Answer {
        status,
        text: text.into(),
    }
}

/// A job that has failed.
fn tried(state: State) -> Job {
    Job {
        fresh: false,
        attempts: 2,
        failing_since: Some(at(2)),
        begun: true,
        company: Company::Alone,
        failures: 300,
        history: vec![
            Attempt {
                at: at(2),
                step: "look_up".into(),
                answer: answer(None, "connection refused"),
            },
            Attempt {
                at: at(3),
                step: "update".into(),
                answer: answer(Some(503), ""),
            },
        ],
        ..Job::new(state, at(60))
    }
}

/// A job that travels in such company.
fn among(company: Company) -> Job {
    Job {
        company,
        ..Job::new(State::Email(Profile::Create), at(3))
    }
}

fn record(event: Event, job: Option<Job>) -> Record {
    Record {
        workspace: Some("acme".into()),
        flow: job.as_ref().map(|job| job.state.flow()),
        event,
        job,
        burial: None,
        home: None,
        once: None,
        replay: None,
    }
}

fn burial(reason: Reason, class: Class) -> Burial {
    Burial {
        reason,
        class,
        answer: answer(Some(400), "attribute 0: refused"),
        at: at(9),
    }
}

/// A participation on its way, an update that failed before, a credit; a dead letter, one that never began, and a
/// record that is longer than a piece.
fn records() -> Vec<(&'static str, Record)> {
    let mut long = event();
    long.attributes = Some(object(&json!({"essay": "long ".repeat(2000)})));
    let look_up = State::Email(Profile::LookUp);
    let update = State::Progress(Profile::Update(Address::BrazeId("b-1".into())));
    let credit = State::Credit {
        event: "joined".into(),
    };
    let create = State::Email(Profile::Create);
    vec![
        (
            "record-living",
            record(event(), Some(Job::new(look_up.clone(), at(1)))),
        ),
        ("record-failing", record(bare_event(), Some(tried(update)))),
        (
            "record-child",
            Record {
                home: Some([7; 21]),
                once: Some("credit/joined".into()),
                ..record(bare_event(), Some(Job::new(credit, at(4))))
            },
        ),
        (
            "record-dead",
            Record {
                burial: Some(burial(Reason::Rejected, Class::Rejected)),
                ..record(event(), Some(tried(create)))
            },
        ),
        (
            "record-never-begun",
            Record {
                workspace: None,
                burial: Some(burial(Reason::UnknownActivation, Class::Configuration)),
                ..record(event(), None)
            },
        ),
        (
            "record-halved",
            record(event(), Some(among(Company::AtMost(38)))),
        ),
        (
            "record-without-events",
            record(event(), Some(among(Company::WithoutEvents(19)))),
        ),
        ("record-long", record(long, Some(Job::new(look_up, at(1))))),
    ]
}

/// Every kind, under its file's name.
fn all() -> Vec<(&'static str, Stored)> {
    let records = records().into_iter();
    let mut all: Vec<_> = records
        .map(|(name, record)| (name, Stored::Record(Box::new(record))))
        .collect();
    let known = KnownEvent {
        id: id(1),
        scope: [0xde, 0xad, 0xbe, 0xef],
        kind: KnownKind::Participation,
        turn: None,
        alive: 1,
        dead: 2,
        discarded: true,
        numbers: vec![0, 2, 255],
    };
    let once = Known::Once {
        job: id(2).job(1),
        at: at(5),
    };
    let done = Done {
        key: [9; 21],
        once: Some(([3; 21], id(3).job(1), at(6))),
    };
    let plain = |kind| Stored::Known(Known::Event(KnownEvent::new(id(1), [1; 4], kind)));
    let in_turn = |kind| {
        Stored::Known(Known::Event(KnownEvent {
            turn: Some(2),
            ..KnownEvent::new(id(1), [1; 4], kind)
        }))
    };
    let behind = Behind {
        lane: [0, 1, 2],
        group: 3,
        due: at(7),
        fresh: true,
        follows: true,
    };
    let address = Known::Address(Learnt {
        address: Address::ExternalId("crm-7".into()),
        at: at(9),
    });
    all.extend([
        (
            "known-event-in-turn",
            Stored::Known(Known::Event(KnownEvent {
                turn: Some(300),
                ..known.clone()
            })),
        ),
        ("known-event", Stored::Known(Known::Event(known))),
        ("known-participation", plain(KnownKind::Participation)),
        ("known-progress", plain(KnownKind::Other)),
        (
            "known-participation-in-turn",
            in_turn(KnownKind::Participation),
        ),
        ("known-progress-in-turn", in_turn(KnownKind::Other)),
        ("known-once", Stored::Known(once)),
        ("known-address", Stored::Known(address)),
        ("turn-holds", Stored::Turn(Turn::Holds { due: Some(at(8)) })),
        ("turn-behind", Stored::Turn(Turn::Behind(behind))),
        ("done", Stored::Done(done)),
        ("owner", Stored::Owner(id(4).job(200))),
        (
            "pack",
            Stored::Pack(vec![
                (id(5), vec![VERSION, 0, 7]),
                (id(6), vec![VERSION, 0]),
            ]),
        ),
    ]);
    all
}

fn folder(version: u8) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{version}"))
}

static WRITTEN: Once = Once::new();

/// Writes the files of today's format anew, if that is asked for.
fn write() {
    if std::env::var_os("RELAY_WRITE_GOLDEN").is_none() {
        return;
    }
    fs::create_dir_all(folder(VERSION)).unwrap();
    for (name, stored) in all() {
        let file = folder(VERSION).join(format!("{name}.bin"));
        fs::write(file, stored.encode()).unwrap();
    }
}

/// The file of one kind in one format; `None` where that format had no such kind.
fn golden(version: u8, name: &str) -> Option<Vec<u8>> {
    WRITTEN.call_once(write);
    fs::read(folder(version).join(format!("{name}.bin"))).ok()
}

#[test]
fn golden_files_of_every_version_are_read_as_what_they_were() {
    for version in 1..=VERSION {
        for (name, stored) in all() {
            if let Some(bytes) = golden(version, name) {
                assert_eq!(bytes[0], version, "{name}");
                assert_eq!(stored.decode(&bytes).as_ref(), Ok(&stored), "{name}");
            }
        }
    }
}

#[test]
fn golden_files_of_today_are_what_is_written_today() {
    for (name, stored) in all() {
        let today = stored.encode();
        let Some(bytes) = golden(VERSION, name) else {
            panic!("tests/golden/v{VERSION}/{name}.bin is missing");
        };
        assert_eq!(bytes[0], VERSION, "{name}");
        assert_eq!(stored.decode(&bytes).as_ref(), Ok(&stored), "{name}");
        assert!(
            today == bytes,
            "{name} is no longer written as in tests/golden/v{VERSION}: what is stored has changed, so it needs a new \
             version number, and the old one must still be read"
        );
    }
}

#[test]
fn every_golden_file_is_held_against_something() {
    let tables = [
        "budget",
        "budget_with_stop",
        "head",
        "names",
        "paper",
        "replay",
    ];
    WRITTEN.call_once(write);
    let known: BTreeSet<_> = all()
        .iter()
        .map(|(name, _)| *name)
        .chain(tables)
        .map(|name| format!("{name}.bin"))
        .collect();
    let found: BTreeSet<_> = fs::read_dir(folder(VERSION))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, known);
}

#[test]
fn golden_records_longer_than_a_piece_are_cut_and_say_so() {
    let bytes = golden(VERSION, "record-long").unwrap();
    assert_eq!(
        usize::from(codec::pieces_behind(&bytes)),
        (bytes.len() - 1) / codec::PIECE_BYTES_MAX
    );
    assert!(bytes.len() > 2 * codec::PIECE_BYTES_MAX);
}

#[test]
fn a_golden_file_of_a_newer_version_is_refused_with_a_way_on() {
    for (name, stored) in all() {
        let mut bytes = golden(VERSION, name).unwrap();
        // Records have a second version, for those of replays, and a third, for those of traces.
        let newer = match stored {
            Stored::Record(_) => 4,
            _ => VERSION + 1,
        };
        bytes[0] = newer;
        let error = stored.decode(&bytes).unwrap_err();
        assert_eq!(error, CodecError::Newer(newer), "{name}");
        assert_eq!(
            error.to_string(),
            format!(
                "stored in format {newer}, newer than what this version reads: use the version that wrote it"
            )
        );
        bytes[0] = 0;
        assert!(matches!(stored.decode(&bytes), Err(CodecError::Damaged(_))));
    }
}

#[test]
fn a_golden_file_cut_short_or_with_more_behind_it_is_damaged() {
    for (name, stored) in all() {
        let bytes = golden(VERSION, name).unwrap();
        let step = 1 + bytes.len() / 500;
        for length in (0..bytes.len()).step_by(step) {
            let cut = stored.decode(&bytes[..length]);
            assert!(
                matches!(cut, Err(CodecError::Damaged(_))),
                "{name}: {length}"
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(
            matches!(stored.decode(&longer), Err(CodecError::Damaged(_))),
            "{name}"
        );
    }
}

/// Damage is an error or another value, never a panic and never a huge allocation.
#[test]
fn a_damaged_golden_file_never_panics() {
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let mut runner = TestRunner::new(Config {
        cases: 3000,
        failure_persistence: None,
        ..Config::default()
    });
    let files: Vec<_> = all()
        .into_iter()
        .map(|(name, stored)| (golden(VERSION, name).unwrap(), stored))
        .collect();
    let strategy = (
        any::<prop::sample::Index>(),
        damage,
        any::<prop::sample::Index>(),
    );
    runner
        .run(&strategy, |(which, damage, cut)| {
            let (bytes, stored) = which.get(&files);
            let mut bytes = bytes.clone();
            for (place, bits) in damage {
                let place = place.index(bytes.len());
                bytes[place] ^= bits;
            }
            drop(stored.decode(&bytes));
            drop(stored.decode(&bytes[..cut.index(bytes.len())]));
            Ok(())
        })
        .unwrap();
}

/// The number under which a variant is stored.
macro_rules! number {
    ($value:expr) => {{
        let bytes = codec::encode_table($value).unwrap();
        u32::from_le_bytes(bytes[1..5].try_into().unwrap())
    }};
}

/// Each variant has its number here for ever. A new one goes behind the others, in its type and here; the `match` finds
/// that it is missing.
#[test]
fn golden_numbers_of_stored_variants_never_change() {
    for flow in Flow::ALL {
        let fixed = match flow {
            Flow::Email => 0,
            Flow::Sms => 1,
            Flow::DoubleOptIn => 2,
            Flow::Progress => 3,
            Flow::Webhook => 4,
            Flow::Outgrow => 5,
            Flow::Credit => 6,
            Flow::Erase => 7,
        };
        assert_eq!(number!(flow), fixed, "{flow}");
    }
    for reason in Reason::ALL {
        let fixed = match reason {
            Reason::UnknownActivation => 0,
            Reason::NoFlow => 1,
            Reason::NoProfile => 2,
            Reason::PhoneMismatch => 3,
            Reason::Rejected => 4,
            Reason::GaveUp => 5,
            Reason::NotSubscribed => 6,
            Reason::UnknownOutcome => 7,
            Reason::BadAnswer => 8,
        };
        assert_eq!(number!(reason), fixed, "{reason}");
    }
    for class in Class::ALL {
        let fixed = match class {
            Class::Transient => 0,
            Class::Throttled => 1,
            Class::Rejected => 2,
            Class::Denied => 3,
            Class::UnknownOutcome => 4,
            Class::Configuration => 5,
        };
        assert_eq!(number!(class), fixed, "{class}");
    }
    for outcome in Outcome::ALL {
        let fixed = match outcome {
            Outcome::Created => 0,
            Outcome::Found => 1,
            Outcome::Updated => 2,
            Outcome::Credited => 3,
            Outcome::AlreadySubscribed => 4,
            Outcome::Subscribed => 5,
            Outcome::NoPhone => 6,
            Outcome::NoConsent => 7,
            Outcome::OptedOut => 8,
            Outcome::NotConfirmed => 9,
            Outcome::PassedOn => 10,
            Outcome::UpdatedInPart => 11,
            Outcome::NothingToWrite => 12,
            Outcome::Erased => 13,
            Outcome::NothingToErase => 14,
        };
        assert_eq!(number!(outcome), fixed, "{outcome}");
    }
    for kind in [
        KnownKind::Other,
        KnownKind::Participation,
        KnownKind::Derived,
    ] {
        let fixed = match kind {
            KnownKind::Other => 0,
            KnownKind::Participation => 1,
            KnownKind::Derived => 2,
        };
        assert_eq!(number!(&kind), fixed, "{kind:?}");
    }
    for source in Source::ALL.into_iter().chain([Source::Operator]) {
        let fixed = match source {
            Source::Quikly => 0,
            Source::Outgrow => 1,
            Source::Braze => 2,
            Source::Operator => 3,
        };
        assert_eq!(number!(&source), fixed, "{source:?}");
    }
    for kind in [
        EventKind::Participation,
        EventKind::Progress,
        EventKind::Webhook,
        EventKind::Lead,
        EventKind::Erasure,
    ] {
        let fixed = match kind {
            EventKind::Participation => 0,
            EventKind::Progress => 1,
            EventKind::Webhook => 2,
            EventKind::Lead => 3,
            EventKind::Erasure => 4,
        };
        assert_eq!(number!(&kind), fixed, "{kind:?}");
    }
}

#[test]
fn golden_numbers_of_variants_that_hold_more_never_change() {
    let text = String::new;
    for address in [
        Address::ExternalId(text()),
        Address::BrazeId(text()),
        Address::Alias(text()),
        Address::Email(text()),
    ] {
        let fixed = match address {
            Address::ExternalId(_) => 0,
            Address::BrazeId(_) => 1,
            Address::Alias(_) => 2,
            Address::Email(_) => 3,
        };
        assert_eq!(number!(&address), fixed, "{address:?}");
    }
    for company in [
        Company::Any,
        Company::Alone,
        Company::AtMost(1),
        Company::WithoutEvents(1),
    ] {
        // The first two stand where once `false` and `true` stood.
        let fixed = match company {
            Company::Any => 0,
            Company::Alone => 1,
            Company::AtMost(_) => 2,
            Company::WithoutEvents(_) => 3,
        };
        assert_eq!(number!(&company), fixed, "{company:?}");
    }
    for profile in [
        Profile::LookUp,
        Profile::Create,
        Profile::Update(Address::Alias(text())),
        Profile::Recall,
    ] {
        let fixed = match profile {
            Profile::LookUp => 0,
            Profile::Create => 1,
            Profile::Update(_) => 2,
            Profile::Recall => 3,
        };
        assert_eq!(number!(&profile), fixed, "{profile:?}");
    }
    for state in [
        State::Email(Profile::LookUp),
        State::Progress(Profile::LookUp),
        State::Credit { event: text() },
        State::Sms(Join::Check),
        State::DoubleOptIn(Join::Check),
        State::Webhook,
        State::Outgrow,
        State::Erase(looking()),
    ] {
        let fixed = match state {
            State::Email(_) => 0,
            State::Progress(_) => 1,
            State::Credit { .. } => 2,
            State::Sms(_) => 3,
            State::DoubleOptIn(_) => 4,
            State::Webhook => 5,
            State::Outgrow => 6,
            State::Erase(_) => 7,
        };
        assert_eq!(number!(&state), fixed, "{state:?}");
    }
    let ids = Vec::new();
    for erase in [looking(), Erase::Delete { rounds: 0, ids }] {
        let fixed = match erase {
            Erase::LookUp { .. } => 0,
            Erase::Delete { .. } => 1,
        };
        assert_eq!(number!(&erase), fixed, "{erase:?}");
    }
}

fn looking() -> Erase {
    let (rounds, waited) = (0, false);
    Erase::LookUp { rounds, waited }
}

#[test]
fn what_is_remembered_of_an_ordinary_event_stays_small() {
    for name in ["known-participation-in-turn", "known-progress-in-turn"] {
        assert_eq!(golden(VERSION, name).unwrap().len(), 23, "{name}");
    }
}
