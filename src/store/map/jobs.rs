//! Jobs as operators ask for them, in the plain-map store.

use super::super::{DeadLetter, JobFilter, Page, StoredJob};
use super::maps::{Living, Maps};
use crate::flow::job::JobState;
use crate::model::id::JobId;
use crate::model::time::Timestamp;

impl Maps {
    pub(super) fn job_list(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: usize,
        now: Timestamp,
    ) -> Page<StoredJob> {
        let living = self.living.iter();
        let living = living.map(|(id, living)| self.alive(*id, living, now));
        let mut jobs: Vec<StoredJob> = living.chain(self.dead.values().map(dead)).collect();
        jobs.sort_unstable_by_key(|job| job.id);
        let mut items: Vec<StoredJob> = jobs
            .into_iter()
            .filter(|job| after.is_none_or(|after| job.id > after))
            .filter(|job| self.matches(filter, job))
            .take(limit.saturating_add(1))
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|job| job.id);
        Page { items, next }
    }

    pub(super) fn job_get(&self, id: JobId, now: Timestamp) -> Option<StoredJob> {
        let living = self.living.get(&id);
        living
            .map(|living| self.alive(id, living, now))
            .or_else(|| self.dead.get(&id).map(dead))
    }

    fn matches(&self, filter: &JobFilter, job: &StoredJob) -> bool {
        let of = (job.workspace.as_deref(), job.flow);
        let burial = job.burial.as_ref();
        filter.is_in_time(job.id.event)
            && filter.admits(of, &job.event, burial, |it| self.hasher.shown(it))
            && filter.is_state(job.state)
    }

    fn alive(&self, id: JobId, living: &Living, now: Timestamp) -> StoredJob {
        let is_lent = living.lease.is_some();
        let is_behind = !is_lent && self.turns.is_behind(id, living.takes_turn_of());
        let due = living.job.due;
        StoredJob {
            id,
            workspace: Some(living.lane.workspace.clone()),
            flow: Some(living.job.state.flow()),
            event: living.event.clone(),
            job: Some(living.job.clone()),
            state: match () {
                () if is_lent => JobState::InFlight,
                () if !is_behind && due <= now => JobState::Ready,
                () => JobState::Waiting,
            },
            is_behind,
            due: Some(due),
            burial: None,
            replay: living.replay,
        }
    }
}

fn dead(letter: &DeadLetter) -> StoredJob {
    let letter = letter.clone();
    StoredJob {
        id: letter.id,
        workspace: letter.workspace,
        flow: letter.flow,
        event: letter.event,
        job: letter.job,
        state: JobState::Dead,
        is_behind: false,
        due: None,
        burial: Some(letter.burial),
        replay: letter.replay,
    }
}
