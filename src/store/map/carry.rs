//! The plain-map store told as entries, and made of them.
//!
//! Deliberately absent: `finished` and `expiry`, which it does not need (it never sweeps); it tells them for stores that do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::super::codec::KnownKind;
use super::super::entry::{Account, Entry, EventOf, Hex, Kept, Key, Stand, TurnOf, Waits};
use super::super::hash::{Hasher, Place};
use super::super::{DeadLetter, EventCounts, Group, Learnt, Paper, Settings, StoreError};
use super::MapStore;
use super::maps::{Known, Living, Maps, person};
use super::turns::Participant;
use crate::model::Name;
use crate::model::budget::BudgetUse;
use crate::model::id::{EventId, JobId};
use crate::model::lane::Lane;
use crate::model::time::Timestamp;

impl Maps {
    /// Everything there is.
    pub(super) fn tell(&self) -> Vec<Entry> {
        let names = self.workspaces.iter().cloned();
        let mut told: Vec<Entry> = names.map(|name| Entry::Workspace { name }).collect();
        for (id, living) in &self.living {
            let record = (Some(&living.lane.workspace), &living.event);
            let kept = Kept {
                flow: Some(living.job.state.flow()),
                job: Some(living.job.clone()),
                replay: living.replay,
                ..self.kept(*id, record)
            };
            let kept = Box::new(kept);
            let (id, lane) = (*id, None);
            told.push(Entry::Job { id, lane, kept });
            self.tell_place(id, living, &mut told);
        }
        for letter in self.dead.values() {
            let kept = Kept {
                flow: letter.flow,
                job: letter.job.clone(),
                burial: Some(letter.burial.clone()),
                replay: letter.replay,
                ..self.kept(letter.id, (letter.workspace.as_ref(), &letter.event))
            };
            let (id, kept) = (letter.id, Box::new(kept));
            told.push(Entry::Letter { id, kept });
        }
        self.tell_memory(&mut told);
        self.tell_account(&mut told);
        told
    }

    fn kept(
        &self,
        id: JobId,
        (workspace, event): (Option<&Name>, &crate::model::event::Event),
    ) -> Kept {
        let accepted = self.events.get(&id.event).filter(|_| id.number > 0);
        Kept {
            workspace: workspace.map(ToString::to_string),
            flow: None,
            event: event.clone(),
            job: None,
            burial: None,
            home: accepted.map(|known| Hex(known.place)),
            once: self.once_of.get(&id).cloned(),
            replay: None,
        }
    }

    /// When and where a living job is due, or behind whom.
    fn tell_place(&self, id: JobId, living: &Living, told: &mut Vec<Entry>) {
        let (lane, group, due) = (living.lane.clone(), living.group(), living.job.due);
        let fresh = living.job.fresh;
        let of = living.takes_turn_of().map(|(workspace, person)| TurnOf {
            workspace: workspace.clone(),
            participant: Hex(*person),
        });
        let is_behind = self.turns.is_behind(id, living.takes_turn_of());
        if !is_behind {
            told.push(Entry::Due {
                stand: Stand {
                    id,
                    lane: lane.clone(),
                    ready: false,
                    fresh,
                },
                due,
                group: group.clone(),
            });
        }
        if let Some(of) = of {
            let waits = Waits {
                lane,
                group,
                fresh,
                follows: living.job.state.follows(),
            };
            told.push(Entry::Turn {
                of,
                id,
                behind: is_behind.then_some(waits),
                due: is_behind.then_some(due),
            });
        }
    }

    fn tell_memory(&self, told: &mut Vec<Entry>) {
        for (place, id) in &self.keys {
            let Some(known) = self.events.get(id) else {
                continue;
            };
            let (first, last) = (id.job(0), id.job(u8::MAX));
            let alive = self.living.range(first..=last).count() as u8;
            let dead = self.dead.range(first..=last).count() as u8;
            let plain = known.numbers.len() == 1;
            told.push(Entry::Event {
                place: Hex(*place),
                id: *id,
                scope: Hex(known.scope),
                of: EventOf::from(known.kind),
                turn: None,
                alive,
                dead,
                discarded: known.discarded,
                numbers: known.numbers.iter().copied().filter(|_| !plain).collect(),
            });
            if alive + dead == 0 {
                told.push(Entry::Finished {
                    at: id.accepted_at(),
                    id: *id,
                    place: Hex(*place),
                    once: None,
                });
            }
        }
        for (place, (at, job)) in &self.once {
            let (place, job, at) = (Hex(*place), *job, *at);
            told.push(Entry::Once { place, job, at });
            if !self.living.contains_key(&job) && !self.dead.contains_key(&job) {
                told.push(Entry::Expiry {
                    until: at + self.settings.credit_dedupe,
                    place,
                    owner: job,
                });
            }
        }
        let addresses = self.addresses.iter();
        told.extend(addresses.map(|(place, learnt)| Entry::Address {
            place: Hex(*place),
            learnt: learnt.clone(),
        }));
        let papers = self.papers.values();
        told.extend(papers.map(|paper| Entry::Paper {
            name: paper.name().to_owned(),
            text: paper.text().to_owned(),
        }));
        let replays = self.replays.iter();
        told.extend(replays.map(|(number, counts)| Entry::Replay {
            number: *number,
            counts: *counts,
        }));
        let budgets = self.budgets.iter();
        told.extend(budgets.map(|(lane, used)| Entry::Budget {
            lane: lane.clone(),
            used: used.clone(),
        }));
    }

    fn tell_account(&self, told: &mut Vec<Entry>) {
        let mut living: BTreeMap<(&Lane, Group), u64> = BTreeMap::new();
        for job in self.living.values() {
            *living.entry((&job.lane, job.group())).or_default() += 1;
        }
        told.extend(
            living
                .into_iter()
                .map(|((lane, group), later)| Entry::Living {
                    lane: lane.clone(),
                    group,
                    due: 0,
                    later,
                }),
        );
        let counts = self.counts(Timestamp::ZERO);
        let buried = counts.dead.into_iter();
        told.extend(buried.map(|((group, reason), count)| Entry::Buried {
            group,
            reason,
            count,
        }));
        let done = counts.done.into_iter();
        told.extend(done.map(|((group, outcome), count)| Entry::Done {
            group,
            outcome,
            count,
        }));
        let EventCounts {
            accepted: _,
            done,
            dead,
            queued,
            discarded,
            forgotten,
        } = counts.events;
        told.push(Entry::Account(Account {
            commit: self.commit,
            last_id: self.last_id,
            promoted_to: Timestamp::ZERO,
            done,
            dead,
            queued,
            discarded,
            forgotten,
        }));
    }
}

impl MapStore {
    /// A store of what `entries` tells of one with this secret.
    pub fn import(
        settings: Settings,
        secret: [u8; 32],
        entries: impl IntoIterator<Item = Result<Entry, StoreError>>,
    ) -> Result<MapStore, StoreError> {
        let mut heard = Heard::default();
        let mut maps = Maps::new(settings);
        maps.hasher = Hasher::new(secret);
        for entry in entries {
            heard.take(&mut maps, entry?);
        }
        heard.settle(&mut maps)?;
        Ok(MapStore(Arc::new(Mutex::new(maps))))
    }
}

/// What was told, the last word for each key.
#[derive(Default)]
struct Heard {
    jobs: BTreeMap<JobId, (Option<Lane>, Kept)>,
    letters: BTreeMap<JobId, Kept>,
    dues: BTreeMap<JobId, (Lane, Timestamp)>,
    turns: BTreeMap<(TurnOf, JobId), (Option<Waits>, Option<Timestamp>)>,
    events: BTreeMap<Place, (EventId, Known)>,
    once: BTreeMap<Place, (Timestamp, JobId)>,
    addresses: BTreeMap<Place, Learnt>,
    budgets: BTreeMap<Lane, BudgetUse>,
    account: Option<Account>,
}

impl Heard {
    fn take(&mut self, maps: &mut Maps, entry: Entry) {
        match entry {
            Entry::Workspace { name } => {
                maps.number(&name);
            }
            Entry::Job { id, lane, kept } => {
                self.jobs.insert(id, (lane, *kept));
            }
            Entry::Letter { id, kept } => {
                self.letters.insert(id, *kept);
            }
            Entry::Due { stand, due, .. } => {
                self.dues.insert(stand.id, (stand.lane, due));
            }
            Entry::Turn {
                of,
                id,
                behind,
                due,
            } => {
                self.turns.insert((of, id), (behind, due));
            }
            Entry::Event {
                place,
                id,
                scope,
                of,
                discarded,
                numbers,
                ..
            } => {
                let (kind, at) = (KnownKind::from(of), (scope.0, place.0));
                let mut known = Known::new(kind, at, id.accepted_at(), &maps.settings);
                known.discarded = discarded;
                known.numbers.extend(numbers);
                self.events.insert(place.0, (id, known));
            }
            Entry::Once { place, job, at } => {
                self.once.insert(place.0, (at, job));
            }
            Entry::Address { place, learnt } => {
                self.addresses.insert(place.0, learnt);
            }
            Entry::Budget { lane, used } => {
                self.budgets.insert(lane, used);
            }
            Entry::Paper { name, text } => {
                // A name or a text that is too long was none elsewhere either.
                let paper = Paper::new(name, text).ok();
                maps.papers
                    .extend(paper.map(|it| (it.name().to_owned(), it)));
            }
            Entry::Replay { number, counts } => {
                maps.replays.insert(number, counts);
            }
            Entry::Account(account) => self.account = Some(account),
            Entry::Done {
                group,
                outcome,
                count,
            } => {
                maps.done.insert((group, outcome), count);
            }
            Entry::Gone { key } => self.gone(maps, &key),
            Entry::Group { .. }
            | Entry::Finished { .. }
            | Entry::Expiry { .. }
            | Entry::Living { .. }
            | Entry::Buried { .. }
            | Entry::Other { .. } => {}
        }
    }

    fn gone(&mut self, maps: &mut Maps, key: &Key) {
        match key {
            Key::Job { id, .. } => {
                self.jobs.remove(id);
            }
            Key::Letter { id } => {
                self.letters.remove(id);
            }
            Key::Due { stand, .. } => {
                self.dues.remove(&stand.id);
            }
            Key::Turn { of, id } => {
                self.turns.remove(&(of.clone(), *id));
            }
            Key::Known { place } => {
                self.events.remove(&place.0);
                self.once.remove(&place.0);
                self.addresses.remove(&place.0);
            }
            Key::Paper { name } => {
                maps.papers.remove(name);
            }
            Key::Replay { number } => {
                maps.replays.remove(number);
            }
            Key::Finished { .. } | Key::Expiry { .. } | Key::Other { .. } => {}
        }
    }

    fn settle(self, maps: &mut Maps) -> Result<(), StoreError> {
        let missing = |what: &str| StoreError::Refused(format!("the export lacks {what}"));
        let account = self.account.ok_or_else(|| missing("its account"))?;
        for (place, (id, known)) in self.events {
            maps.keys.insert(place, id);
            maps.events.insert(id, known);
        }
        maps.once = self.once;
        maps.addresses = self.addresses;
        maps.budgets_found.clone_from(&self.budgets);
        maps.budgets = self.budgets;
        let mut turns: BTreeMap<Participant, (Option<JobId>, BTreeSet<JobId>)> = BTreeMap::new();
        let mut waits: BTreeMap<JobId, (Lane, Timestamp)> = BTreeMap::new();
        for ((of, id), (behind, due)) in self.turns {
            let turn = turns.entry((of.workspace, of.participant.0)).or_default();
            match behind {
                None => turn.0 = Some(id),
                Some(behind) => {
                    waits.insert(id, (behind.lane, due.unwrap_or_default()));
                    turn.1.insert(id);
                }
            }
        }
        for (id, (unmoved, kept)) in self.jobs {
            let place = kept
                .home
                .map_or_else(|| maps.hasher.event(&kept.event), |home| home.0);
            let mut job = kept.job.ok_or_else(|| missing("the state of a job"))?;
            let stands = self.dues.get(&id).or_else(|| waits.get(&id)).cloned();
            let (lane, due) = unmoved
                .map(|lane| (lane, job.due))
                .or(stands)
                .ok_or_else(|| missing("when a job is due"))?;
            job.due = due;
            let participant = (lane.workspace.clone(), person(&place));
            if job.state.takes_turn() {
                let turn = turns.entry(participant).or_default();
                if !turn.1.contains(&id) {
                    turn.0 = Some(id);
                }
            }
            maps.once_of.extend(kept.once.map(|once| (id, once)));
            maps.has_job(id);
            maps.live(id, lane, kept.event, job, kept.replay);
        }
        for (of, (holder, behind)) in turns {
            let holder = holder.ok_or_else(|| missing("who has a turn"))?;
            maps.turns.restore(of, holder, behind);
        }
        for (id, kept) in self.letters {
            maps.once_of.extend(kept.once.map(|once| (id, once)));
            maps.has_job(id);
            let letter = DeadLetter {
                id,
                workspace: kept.workspace.map(Name::from),
                flow: kept.flow,
                event: kept.event,
                job: kept.job,
                burial: kept.burial.ok_or_else(|| missing("a burial"))?,
                replay: kept.replay,
            };
            maps.dead.insert(id, letter);
        }
        maps.settle_events(&account);
        Ok(())
    }
}

impl Maps {
    /// The event of this job had it.
    fn has_job(&mut self, id: JobId) {
        if let Some(known) = self.events.get_mut(&id.event) {
            known.numbers.insert(id.number);
        }
    }

    /// Events without a job were over elsewhere, and are counted there.
    fn settle_events(&mut self, account: &Account) {
        let events: Vec<EventId> = self.events.keys().copied().collect();
        for id in events {
            let over = !self.lives(id) && !self.is_dead(id);
            if let Some(known) = self.events.get_mut(&id) {
                known.over = over;
            }
        }
        self.before = EventCounts {
            accepted: account.done + account.discarded + account.forgotten,
            done: account.done,
            discarded: account.discarded,
            forgotten: account.forgotten,
            ..EventCounts::default()
        };
        self.commit = account.commit + 1;
        // No lease of the other store is one of this.
        self.last_lease = self.commit << 24;
        self.last_id = account.last_id;
    }
}
