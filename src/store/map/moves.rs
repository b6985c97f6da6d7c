//! Moves in the plain-map store: commits, children, turns that pass, dead letters that live again.

use std::collections::BTreeSet;

use super::super::hash::Place;
use super::super::{Committed, DeadLetter, Learnt, Note, Papers, Token, is_memorable};
use super::maps::{Living, Maps};
use super::turns::Participant;
use crate::flow::job::{Burial, Child, Commit, Fate, Start};
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;

impl Maps {
    /// Gives a living job its place among the turns, if its state takes one. `moving`: the job whose commit this is.
    pub(super) fn enter(&mut self, id: JobId, moving: Option<JobId>) {
        let living = &self.living;
        let Some(participant) = living.get(&id).and_then(Living::takes_turn_of).cloned() else {
            return;
        };
        self.turns.enter(&participant, id, |holder| {
            let lent = living
                .get(&holder)
                .is_some_and(|living| living.lease.is_some());
            lent || moving == Some(holder)
        });
    }

    /// Those behind this holder that are lent along with it.
    pub(super) fn chain(&self, holder: JobId, now: Timestamp, at_most: usize) -> Vec<JobId> {
        let Some(first) = self.living.get(&holder) else {
            return Vec::new();
        };
        let Some(participant) = first.takes_turn_of().filter(|_| first.job.state.follows()) else {
            return Vec::new();
        };
        let goes_along = |living: &Living| {
            living.job.state.follows()
                && living.lane == first.lane
                && living.job.due <= now
                && living.lease.is_none()
        };
        let behind = self.turns.behind(participant).into_iter();
        behind
            .take_while(|id| self.living.get(id).is_some_and(goes_along))
            .take(at_most)
            .collect()
    }

    pub(super) fn carry_out(&mut self, token: Token, commit: Commit, now: Timestamp) -> Committed {
        if self.lent(token).is_none() {
            return Committed::LostLease;
        }
        let id = token.id;
        let Some(before) = self.living.remove(&id) else {
            return Committed::LostLease;
        };
        let turn = before.takes_turn_of().cloned();
        if let Some(address) = commit.learnt.filter(is_memorable) {
            let learnt = Learnt { address, at: now };
            let place = self.address_of(&before.participant);
            let known = self.addresses.get(&place);
            if known.is_none_or(|known| learnt.renews(known, self.settings.known_for)) {
                self.addresses.insert(place, learnt);
            }
        }
        let replay = before.replay;
        match commit.fate {
            Fate::Keep { lane, job } => self.live(id, lane, before.event, job, replay),
            Fate::Finish(outcome) => {
                *self.done.entry((before.group(), outcome)).or_default() += 1;
                if let Some(counts) = self.replayed(replay) {
                    counts.delivered += 1;
                }
            }
            Fate::Bury { job, burial } => {
                let letter = DeadLetter {
                    id,
                    workspace: Some(before.lane.workspace),
                    flow: Some(job.state.flow()),
                    event: before.event,
                    job: Some(job),
                    burial,
                    replay,
                };
                self.dead.insert(id, letter);
                if let Some(counts) = self.replayed(replay) {
                    counts.died += 1;
                }
            }
        }
        let mut born = BTreeSet::new();
        for child in commit.spawn {
            let number = child.number;
            if self.spawn(id.event, child, replay, now) {
                born.insert(id.event.job(number));
            }
        }
        let kept = self.living.get(&id).and_then(Living::takes_turn_of);
        let stays = kept == turn.as_ref();
        let mut entering = born.clone();
        entering.extend((!stays).then_some(id));
        for entrant in entering {
            self.enter(entrant, Some(id));
        }
        if let Some(turn) = turn.filter(|_| !stays) {
            if let Some(burial) = commit.bury_successors {
                self.bury_behind(&turn, id, &born, &burial);
            }
            if let Some(next) = self.turns.leave(&turn, id)
                && let Some(living) = self.living.get_mut(&next)
            {
                living.job.due = living.job.due.max(now + commit.gap);
                let lane = living.lane.clone();
                self.wake(&lane).notify_one();
            }
        }
        Committed::Stored {
            children: born.len() as u8,
        }
    }

    /// Buries those behind this holder that follow, up to the first that does not, but its children just born.
    fn bury_behind(
        &mut self,
        turn: &Participant,
        holder: JobId,
        born: &BTreeSet<JobId>,
        burial: &Burial,
    ) {
        if !self.turns.holds(turn, holder) {
            return;
        }
        for id in self.turns.behind(turn) {
            if born.contains(&id) {
                continue;
            }
            let follows = |living: &Living| living.job.state.follows();
            if !self.living.get(&id).is_some_and(follows) {
                break;
            }
            self.turns.leave(turn, id);
            if let Some(living) = self.living.remove(&id) {
                let letter = DeadLetter {
                    id,
                    workspace: Some(living.lane.workspace),
                    flow: Some(living.job.state.flow()),
                    event: living.event,
                    job: Some(living.job),
                    burial: burial.clone(),
                    replay: living.replay,
                };
                self.dead.insert(id, letter);
                if let Some(counts) = self.replayed(living.replay) {
                    counts.died += 1;
                }
            }
        }
    }

    /// Whether the child is new.
    fn spawn(
        &mut self,
        parent: EventId,
        child: Child,
        replay: Option<u32>,
        now: Timestamp,
    ) -> bool {
        let id = parent.job(child.number);
        let Some(known) = self.events.get(&parent) else {
            return false;
        };
        if known.numbers.contains(&child.number) {
            return false;
        }
        if let Some(once) = child.once {
            let place = self.hasher.once(&child.event, &once);
            if self.is_spawned(&place, now) {
                return false;
            }
            self.once.insert(place, (now, id));
            self.once_of.insert(id, once);
        }
        if let Some(known) = self.events.get_mut(&parent) {
            known.numbers.insert(child.number);
        }
        self.live(id, child.lane, child.event, child.job, replay);
        if let Some(counts) = self.replayed(replay) {
            counts.spawned += 1;
        }
        true
    }

    fn is_spawned(&self, once: &Place, now: Timestamp) -> bool {
        self.once.get(once).is_some_and(|(at, id)| {
            now < *at + self.settings.credit_dedupe
                || self.living.contains_key(id)
                || self.dead.contains_key(id)
        })
    }

    /// Puts on paper what is to be noted of a change to these letters.
    pub(super) fn note(&mut self, ids: impl Iterator<Item = JobId>, note: Note) {
        let mut seen = BTreeSet::new();
        let are_letters: Vec<bool> = ids
            .map(|id| self.dead.contains_key(&id) && seen.insert(id))
            .collect();
        self.put_papers(note(&are_letters));
    }

    pub(super) fn put_papers(&mut self, papers: Papers) {
        for name in papers.remove {
            self.papers.remove(&name);
        }
        let put = papers.put.into_iter();
        self.papers
            .extend(put.map(|paper| (paper.name().to_owned(), paper)));
    }

    pub(super) fn revive(&mut self, id: JobId, start: Start, replay: Option<u32>) -> bool {
        let Some(letter) = self.dead.remove(&id) else {
            return false;
        };
        match start {
            Start::Run { lane, job } => {
                self.live(id, lane, letter.event, job, replay);
                self.enter(id, None);
                if let Some(counts) = self.replayed(replay) {
                    counts.revived += 1;
                }
            }
            Start::Bury {
                workspace,
                flow,
                burial,
            } => {
                self.dead.insert(
                    id,
                    DeadLetter {
                        workspace,
                        flow,
                        burial,
                        ..letter
                    },
                );
            }
        }
        true
    }
}
