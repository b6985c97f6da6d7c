//! Accepting events: all of a call or none, duplicates found by the writer itself.

use super::base::{Base, Draft, Placing, Written, broken};
use super::counts::Standing;
use super::index::participant;
use super::keys::{self, Participant, Place};
use crate::flow::job::{Seed, Start};
use crate::model::event::Event;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::codec::{self, Known, KnownEvent, KnownKind, Record};
use crate::store::hash::Hasher;
use crate::store::{Appended, Group, StoreError};

/// A seed made ready on the caller's thread: hashed and encoded.
pub struct Prepared {
    place: Place,
    scope: [u8; 4],
    kind: KnownKind,
    begin: Begin,
    /// What begins instead, when the participant has taken part before.
    further: Option<Box<Start>>,
}

/// How a job begins, encoded.
pub struct Begin {
    group: Group,
    pieces: Written,
    run: Option<Run>,
    reason: Option<crate::flow::job::Reason>,
}

struct Run {
    lane: Lane,
    fresh: bool,
    due: Timestamp,
    /// Its state takes the participant's turn, and there is one.
    takes_turn: bool,
    follows: bool,
}

impl Prepared {
    /// Hashes and encodes a seed.
    pub fn new(seed: Seed, hasher: &Hasher) -> Result<Prepared, StoreError> {
        let Seed {
            event,
            start,
            further,
        } = seed;
        Ok(Prepared {
            place: hasher.event(&event),
            scope: hasher.scope(&event),
            kind: KnownKind::of(&event),
            begin: Begin::new(event, start, None, None, None)?,
            further: further.map(Box::new),
        })
    }
}

impl Begin {
    /// Encodes how the job of `event` begins.
    pub fn new(
        event: Event,
        start: Start,
        home: Option<Place>,
        once: Option<String>,
        replay: Option<u32>,
    ) -> Result<Begin, StoreError> {
        let (record, run, reason) = match start {
            Start::Run { lane, mut job } => {
                job.fresh &= replay.is_none();
                let run = Run {
                    lane: lane.clone(),
                    fresh: job.fresh,
                    due: job.due,
                    takes_turn: job.state.takes_turn(),
                    follows: job.state.follows(),
                };
                let record = Record {
                    workspace: Some(lane.workspace.to_string()),
                    flow: Some(job.state.flow()),
                    event,
                    job: Some(job),
                    burial: None,
                    home,
                    once,
                    replay,
                };
                (record, Some(run), None)
            }
            Start::Bury {
                workspace,
                flow,
                burial,
            } => {
                let reason = burial.reason;
                let workspace = workspace.map(|name| name.to_string());
                (
                    Record {
                        workspace,
                        flow,
                        event,
                        job: None,
                        burial: Some(burial),
                        home,
                        once,
                        replay,
                    },
                    None,
                    Some(reason),
                )
            }
        };
        Ok(Begin {
            group: super::base::group(&record),
            pieces: codec::encode_record(&record)?.into(),
            run,
            reason,
        })
    }

    /// Its lane, if it runs and takes its participant's turn.
    pub fn takes_turn_in(&self) -> Option<&Lane> {
        let run = self.run.as_ref().filter(|run| run.takes_turn);
        run.map(|run| &run.lane)
    }

    /// The same event beginning otherwise.
    fn instead(self, start: Start) -> Result<Begin, StoreError> {
        let Written { first, rest } = self.pieces;
        let mut bytes = first.to_vec();
        for piece in &rest {
            bytes.extend_from_slice(piece);
        }
        Begin::new(codec::decode_record(&bytes)?.event, start, None, None, None)
    }
}

impl Base {
    /// Drafts all of `items`, or none when the queue is full and any of them is new.
    pub fn append(
        &mut self,
        draft: &mut Draft,
        items: Vec<Prepared>,
        now: Timestamp,
    ) -> Result<Vec<Appended>, StoreError> {
        self.tell_time(now)?;
        if self.head.jobs() >= self.settings.max_jobs {
            for item in &items {
                if self.remembered(draft, item, now)?.duplicate.is_none() {
                    return Err(crowded(self.settings.max_jobs));
                }
            }
        }
        items
            .into_iter()
            .map(|item| self.append_one(draft, item, now))
            .collect()
    }

    fn append_one(
        &mut self,
        draft: &mut Draft,
        item: Prepared,
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        let before = self.remembered(draft, &item, now)?;
        if let Some(id) = before.duplicate {
            return Ok(Appended {
                id,
                duplicate: true,
            });
        }
        let random = self.random();
        let id = EventId::next(self.head.last_id, now, random);
        self.head.last_id = id;
        let begin = match item.further {
            Some(start) if before.participation => item.begin.instead(*start)?,
            _ => item.begin,
        };
        if let (Some(reason), Some(metrics)) = (begin.reason, &self.metrics) {
            metrics.dead(&begin.group.workspace, begin.group.flow, reason);
        }
        let mut behind = None;
        let mut turn = None;
        if let Some(lane) = begin.takes_turn_in() {
            let lane = self.names.lane(lane);
            let participant = keys::participant(lane, &item.place);
            turn = Some(lane.workspace());
            let earlier = before.in_turn(lane.workspace());
            if self.join(draft, participant, id.job(0), before.known, earlier)? {
                behind = Some(participant);
            }
        }
        let (alive, dead) = if begin.run.is_some() { (1, 0) } else { (0, 1) };
        let known = KnownEvent {
            turn,
            alive,
            dead,
            ..KnownEvent::new(id, item.scope, item.kind)
        };
        draft.remember(item.place, Known::Event(known));
        self.head.enter(if alive == 1 {
            Standing::Queued
        } else {
            Standing::Dead
        });
        self.begin(draft, id.job(0), begin, behind, now, true)?;
        Ok(Appended {
            id,
            duplicate: false,
        })
    }

    /// Puts a beginning job in its place, living (perhaps `behind` a turn) or dead.
    pub fn begin(
        &mut self,
        draft: &mut Draft,
        id: JobId,
        begin: Begin,
        behind: Option<Participant>,
        now: Timestamp,
        first: bool,
    ) -> Result<(), StoreError> {
        let Begin {
            group,
            pieces,
            run,
            reason,
        } = begin;
        let group = self.names.group(&group);
        if let Some(run) = run {
            let Run {
                lane,
                fresh,
                due,
                follows,
                ..
            } = run;
            let lane = self.names.lane(&lane);
            self.place(
                draft,
                Placing {
                    id,
                    lane,
                    group,
                    pieces,
                    fresh,
                    due,
                    first,
                    behind,
                    follows,
                },
                now,
            )
        } else {
            draft.record(keys::dead(id), id, pieces);
            if let Some(reason) = reason {
                self.head.bury(group, reason, 1);
            }
            Ok(())
        }
    }

    /// What of this participant is remembered: this very event, and an earlier participation in the same scope.
    fn remembered(
        &self,
        draft: &Draft,
        item: &Prepared,
        now: Timestamp,
    ) -> Result<Before, StoreError> {
        let mut before = Before::default();
        let (low, high) = participant(&item.place);
        for (place, known) in draft.known.range(low..=high) {
            if let Some(known) = known {
                before.look(place, known, item);
            }
        }
        for (place, known) in self.index.of_participant(&self.db, &item.place)? {
            if draft.known.contains_key(&place) || self.expired(&known, now)? {
                continue;
            }
            before.look(&place, &known, item);
        }
        Ok(before)
    }

    /// Whether an event's key is past its time and no job of it lives or is dead.
    fn expired(&self, known: &Known, now: Timestamp) -> Result<bool, StoreError> {
        let Known::Event(event) = known else {
            return Ok(false);
        };
        let derived = event.kind == KnownKind::Derived;
        if event.id.accepted_at() + self.settings.key_dedupe(derived) > now {
            return Ok(false);
        }
        Ok(!self.has_jobs(&event.id.0)? && !self.is_packed(event.id)?)
    }

    /// Whether any job lives, with a key of its own, or is dead, whose id begins with these bytes (of an event, or of one job).
    pub fn has_jobs(&self, id: &[u8]) -> Result<bool, StoreError> {
        let mut prefixes = vec![[b"w", id].concat(), [b"x", id].concat()];
        prefixes.extend(
            self.names
                .lane_keys()
                .map(|lane| [keys::unmoved_prefix(lane).as_slice(), id].concat()),
        );
        for prefix in prefixes {
            if let Some(entry) = self.db.scan_prefix(prefix).next() {
                entry.map_err(|error| broken(&error))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Bits that tell the ids of two relays apart (SplitMix64, begun from the store's secret and its last id).
    fn random(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.dice ^ self.dice >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// The queue is full.
pub fn crowded(max_jobs: u64) -> StoreError {
    StoreError::Full(format!("the queue holds store.max_jobs = {max_jobs} jobs"))
}

/// What was known of a participant before an event.
#[derive(Default)]
struct Before {
    duplicate: Option<EventId>,
    participation: bool,
    /// Anything is remembered at all.
    known: bool,
    /// Events whose first job took the turn, with the number of the workspace in which.
    in_turn: Vec<(u16, EventId)>,
}

impl Before {
    fn look(&mut self, place: &Place, known: &Known, item: &Prepared) {
        self.known = true;
        if let Known::Event(event) = known {
            self.in_turn.extend(event.turn.map(|turn| (turn, event.id)));
            if *place == item.place {
                self.duplicate = Some(event.id);
            }
            self.participation |=
                event.kind == KnownKind::Participation && event.scope == item.scope;
        }
    }

    fn in_turn(&self, workspace: u16) -> Option<EventId> {
        let there = self.in_turn.iter().filter(|(turn, _)| *turn == workspace);
        there.map(|(_, id)| *id).max()
    }
}
