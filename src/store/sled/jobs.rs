//! Jobs as operators ask for them, living and dead, a bounded slice at a time.
//!
//! Jobs stand in several places of the tree, in each of them in order of their ids: those are read side by side, the
//! lowest id first. Where a job goes meanwhile, its id goes with it: a page begins behind an id, not in a place.
//!
//! Deliberately absent: an index by activation or flow; who asks for those goes through everything, slice by slice. A
//! participant has one.

use ::sled::IVec;

use super::base::{Base, Draft, broken};
use super::keys::{self, Class, Participant};
use super::members::lanes_of;
use super::time::due_in;
use crate::flow::job::{Job, JobState};
use crate::model::Name;
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;
use crate::store::codec::{self, Known, PIECE_BYTES_MAX, Record, Turn};
use crate::store::{JobFilter, Page, StoreError, StoredJob, Timeline, hash};

/// How many jobs one query looks at, and how many bytes of them, or one more.
const LOOK_MAX: usize = 1024;
const LOOK_BYTES_MAX: usize = 1 << 20;

/// How many events of a participant one query looks at.
const EVENTS_MAX: usize = 16;

/// A job, and the first piece of its record.
type Met = Result<(JobId, IVec), StoreError>;

/// The jobs of one place, in order.
type Place<'a> = std::iter::Peekable<Box<dyn Iterator<Item = Met> + 'a>>;

impl Base {
    /// Jobs that match, behind `after`.
    pub fn job_list(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<StoredJob>, StoreError> {
        if let Some(participant) = &filter.participant {
            return self.jobs_of_participant(participant, filter, after, limit, now);
        }
        let mut page = Page {
            items: Vec::new(),
            next: None,
        };
        let mut places = self.places(filter, &beginning(filter, after));
        let (mut looked, mut bytes) = (0, 0);
        while let Some(met) = lowest(&mut places) {
            let (id, first) = met?;
            if filter
                .until
                .is_some_and(|until| id.event.accepted_at() > until)
            {
                break;
            }
            if looked >= LOOK_MAX || bytes > LOOK_BYTES_MAX || page.items.len() >= limit {
                return Ok(page);
            }
            page.next = Some(id);
            looked += 1;
            bytes += first.len() + usize::from(codec::pieces_behind(&first)) * PIECE_BYTES_MAX;
            let record = self.read(id, &first)?;
            page.items.extend(self.matching(filter, id, record, now)?);
        }
        page.next = None;
        Ok(page)
    }

    /// One job that lives or is dead.
    pub fn job_get(&self, id: JobId, now: Timestamp) -> Result<Option<StoredJob>, StoreError> {
        let jobs = self.jobs_of(id.event)?;
        let found = jobs.into_iter().find(|job| job.id == id);
        found.map(|job| self.seen(id, job.record, now)).transpose()
    }

    /// By what is remembered of the participant: it names their events, and so their jobs.
    fn jobs_of_participant(
        &self,
        participant: &str,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page<StoredJob>, StoreError> {
        let known = self
            .index
            .of_participant(&self.db, &hash::person(participant))?;
        let events = known.into_values().filter_map(|known| match known {
            Known::Event(event) => Some(event.id),
            Known::Once { .. } | Known::Address(_) => None,
        });
        let wanted = |event: &EventId| {
            filter.is_in_time(*event) && after.is_none_or(|after| *event >= after.event)
        };
        let mut events: Vec<EventId> = events.filter(wanted).collect();
        events.sort_unstable();
        let mut page = Page {
            items: Vec::new(),
            next: None,
        };
        for (looked, event) in events.into_iter().enumerate() {
            if looked >= EVENTS_MAX {
                return Ok(page);
            }
            let mut jobs = self.jobs_of(event)?;
            jobs.sort_unstable_by_key(|job| job.id);
            for job in jobs {
                if after.is_some_and(|after| job.id <= after) {
                    continue;
                }
                if page.items.len() >= limit {
                    return Ok(page);
                }
                page.next = Some(job.id);
                let matching = self.matching(filter, job.id, job.record, now)?;
                page.items.extend(matching);
            }
            // The next page begins with the next event, also where this one has no jobs any more.
            page.next = Some(event.job(u8::MAX));
        }
        page.next = None;
        Ok(page)
    }

    /// What is remembered of a participant.
    pub fn timeline(
        &mut self,
        participant: &str,
        limit: usize,
        now: Timestamp,
    ) -> Result<Timeline, StoreError> {
        self.tell_time(now)?;
        let home = hash::person(participant);
        let known = self.index.of_participant(&self.db, &home)?;
        let events = known.into_values().filter_map(|known| match known {
            Known::Event(event) => Some(event.id),
            Known::Once { .. } | Known::Address(_) => None,
        });
        let mut events: Vec<EventId> = events.collect();
        events.sort_unstable_by(|one, other| other.cmp(one));
        let more = events.len() > limit;
        events.truncate(limit);
        let mut addresses = Vec::new();
        for (number, name) in (0..).zip(self.names.all_workspaces()) {
            if let Some((_, learnt)) = self.address_in(number, &home)?
                && learnt.holds(self.now, self.settings.known_for)
            {
                addresses.push((name.clone(), learnt.address));
            }
        }
        Ok(Timeline {
            events,
            more,
            addresses,
        })
    }

    /// Every place that may hold what is asked for, from `beginning` on.
    fn places(&self, filter: &JobFilter, beginning: &[u8]) -> Vec<Place<'_>> {
        let mut places: Vec<Box<dyn Iterator<Item = Met> + '_>> = Vec::new();
        if filter.wants_dead() {
            places.push(Box::new(self.single(keys::DEAD_PREFIX.to_vec(), beginning)));
        }
        if filter.wants_living() {
            places.push(Box::new(
                self.single(keys::MOVED_PREFIX.to_vec(), beginning),
            ));
            let lanes = self.names.lane_keys().filter(|lane| {
                let wanted = filter.workspace.as_deref();
                let is = |wanted| self.names.known_workspace(wanted) == Some(lane.workspace());
                wanted.is_none_or(is) && self.head.has_work(*lane)
            });
            for lane in lanes {
                places.push(Box::new(self.single(keys::unmoved_prefix(lane), beginning)));
                places.push(Box::new(self.packed(keys::pack_prefix(lane), beginning)));
            }
        }
        places.into_iter().map(Iterator::peekable).collect()
    }

    /// A place with a key for each job, which ends with its id.
    fn single(&self, prefix: Vec<u8>, beginning: &[u8]) -> impl Iterator<Item = Met> + use<'_> {
        let from = [&prefix, beginning].concat();
        self.db.range(from..).map_while(move |entry| match entry {
            Ok((key, _)) if !key.starts_with(&prefix) => None,
            Ok((key, first)) => Some(Ok((keys::id_at_end(&key).unwrap_or_default(), first))),
            Err(error) => Some(Err(broken(&error))),
        })
    }

    /// A place with packs of jobs, each under the id of the first event in it.
    fn packed(&self, prefix: Vec<u8>, beginning: &[u8]) -> impl Iterator<Item = Met> + use<'_> {
        let beginning = beginning.to_vec();
        let upto = [&prefix, &beginning[..]].concat();
        // The pack before may reach beyond where it begins.
        let before = self.db.range(prefix.clone()..upto.clone()).next_back();
        let packs = before.into_iter().chain(self.db.range(upto..));
        let packs = packs.map_while(move |entry| match entry {
            Ok((key, _)) if !key.starts_with(&prefix) => None,
            Ok((_, pack)) => Some(taken_apart(&pack, &beginning)),
            Err(error) => Some(vec![Err(broken(&error))]),
        });
        packs.flatten()
    }

    /// The job of a record, if it is asked for.
    fn matching(
        &self,
        filter: &JobFilter,
        id: JobId,
        record: Record,
        now: Timestamp,
    ) -> Result<Option<StoredJob>, StoreError> {
        let of = (record.workspace.as_deref(), record.flow);
        let burial = record.burial.as_ref();
        if !filter.admits(of, &record.event, burial, |it| self.hasher.shown(it)) {
            return Ok(None);
        }
        let job = self.seen(id, record, now)?;
        Ok(filter.is_state(job.state).then_some(job))
    }

    /// Since or from when the holder of a turn is due that got it at `waited`: from then, until it has moved again.
    fn due_in_turn(
        &self,
        participant: &Participant,
        id: JobId,
        job: &Job,
        waited: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let ready = Class::of(job.fresh, Timestamp::ZERO, Timestamp::ZERO);
        let later = Class::of(job.fresh, Timestamp::from_millis(1), Timestamp::ZERO);
        for lane in lanes_of(participant).filter(|lane| self.head.has_work(*lane)) {
            for class in [ready, later] {
                let key = keys::due(lane, class, job.due, id);
                if let Some(value) = self.db.get(key).map_err(|error| broken(&error))? {
                    return Ok(due_in(&value));
                }
            }
        }
        Ok(waited)
    }

    fn seen(&self, id: JobId, record: Record, now: Timestamp) -> Result<StoredJob, StoreError> {
        let mut turn = None;
        if let Some(participant) = self.turn_at(&record, &self.home(&record)) {
            turn = self.member(&Draft::default(), &participant, id)?;
            if let (Some(Turn::Holds { due: Some(waited) }), Some(job)) = (&mut turn, &record.job) {
                *waited = self.due_in_turn(&participant, id, job, *waited)?;
            }
        }
        let lent = self
            .leases
            .get(&id)
            .and_then(|lease| lease.record.job.as_ref());
        let own = record.job.as_ref().map_or(now, |job| job.due);
        let (state, due) = match (&record.burial, lent, &turn) {
            (Some(_), ..) => (JobState::Dead, None),
            (None, Some(job), _) => (JobState::InFlight, Some(job.due)),
            (None, None, Some(Turn::Behind(behind))) => (JobState::Waiting, Some(behind.due)),
            (None, None, Some(Turn::Holds { due: Some(due) })) => (waits(*due, now), Some(*due)),
            (None, None, Some(Turn::Holds { due: None }) | None) => (waits(own, now), Some(own)),
        };
        let Record {
            workspace,
            flow,
            event,
            mut job,
            burial,
            replay,
            ..
        } = record;
        if let (Some(job), Some(due)) = (&mut job, due) {
            job.due = due;
        }
        Ok(StoredJob {
            id,
            workspace: workspace.map(Name::from),
            flow,
            event,
            job,
            state,
            is_behind: state == JobState::Waiting && matches!(turn, Some(Turn::Behind(_))),
            due,
            burial,
            replay,
        })
    }
}

fn waits(due: Timestamp, now: Timestamp) -> JobState {
    if due <= now {
        JobState::Ready
    } else {
        JobState::Waiting
    }
}

/// The jobs of a pack from `beginning` on.
fn taken_apart(pack: &[u8], beginning: &[u8]) -> Vec<Met> {
    let records = match codec::decode_pack(pack) {
        Ok(records) => records,
        Err(error) => return vec![Err(error.into())],
    };
    let records = records
        .into_iter()
        .map(|(event, record)| (event.job(0), record));
    records
        .filter(|(id, _)| keys::id_bytes(*id).as_slice() >= beginning)
        .map(|(id, record)| Ok((id, IVec::from(record))))
        .collect()
}

/// The end of the first key that is asked for, as ids stand in keys.
fn beginning(filter: &JobFilter, after: Option<JobId>) -> Vec<u8> {
    let since = filter.since.map_or(EventId::default(), EventId::first_at);
    let since = keys::id_bytes(since.job(0)).to_vec();
    match after {
        // Directly behind it.
        Some(after) => since.max([&keys::id_bytes(after)[..], &[0]].concat()),
        None => since,
    }
}

/// Takes the lowest id of all places.
fn lowest(places: &mut [Place<'_>]) -> Option<Met> {
    let mut first: Option<(JobId, usize)> = None;
    for (number, place) in places.iter_mut().enumerate() {
        match place.peek() {
            None => {}
            Some(Err(_)) => return place.next(),
            Some(Ok((id, _))) if first.is_some_and(|(lowest, _)| lowest <= *id) => {}
            Some(Ok((id, _))) => first = Some((*id, number)),
        }
    }
    places.get_mut(first?.1)?.next()
}
