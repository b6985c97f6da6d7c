//! One workspace: what has taken effect, what is still on its way, and the status sets that found nobody.
//!
//! Invariants: an accepted request takes effect as a whole, at its own moment, attributes before events before purchases.
//! Whether there is somebody to update is decided when the request arrives, by what has taken effect by then. People's
//! answers to prompts and writes take effect in the order of their moments.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::attributes::{self, GroupWish};
use super::identifier::Identifier;
use super::limits::{Bucket, Meter};
use super::opt_in::{Door, OptIns};
use super::options::{Options, Permission, Spread, WorkspaceOptions};
use super::profiles::{Membership, Profiles};
use super::sets::SetSeen;
use super::world::Random;
use super::write::{Write, keep_email_back};
use crate::model::time::Timestamp;

/// How long a status set that found nobody waits for a new profile.
const ORPHANS_LIVE: Duration = Duration::from_hours(30 * 24);

/// What happened in silence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent {
    /// Objects for a profile that did not exist (yet) and that could not create it.
    pub updates_dropped: u64,
    /// Values that were too long or of the wrong kind.
    pub values_dropped: u64,
    /// Status sets that found nobody and wait for a new profile.
    pub sets_orphaned: u64,
    /// Orphaned states that a new profile took over.
    pub orphans_inherited: u64,
    /// `use_double_opt_in_logic`, or an event that starts the brand's own double opt-in, for nobody with a phone.
    pub opt_ins_dropped: u64,
    /// The same for somebody who was not subscribed, prompted again or not.
    pub opt_ins_started: u64,
}

/// The writes of one request, and when it came.
struct Pending {
    asked_at: Timestamp,
    writes: Vec<Write>,
}

/// One API key's world.
pub struct Workspace {
    /// Its name.
    pub name: String,
    /// What the key may do.
    pub permissions: BTreeSet<Permission>,
    /// What has taken effect.
    pub profiles: Profiles,
    /// What nobody was told.
    pub silent: Silent,
    /// Who was asked to confirm.
    pub opt_ins: OptIns,
    /// Every status that was set, in order of arrival.
    pub sets: Vec<SetSeen>,
    meters: BTreeMap<Bucket, Meter>,
    groups: BTreeSet<String>,
    pending: BTreeMap<(Timestamp, u64), Pending>,
    sequence: u64,
    orphans: HashMap<(Identifier, String), (bool, Timestamp)>,
}

impl Workspace {
    /// As it is at the start.
    pub fn new(workspace: &WorkspaceOptions, options: &Options, now: Timestamp) -> Workspace {
        let mut profiles = Profiles::default();
        for known in &options.known {
            let named = known.get("workspace").and_then(Value::as_str);
            if named.is_none_or(|named| named == workspace.name) {
                profiles.add_known(known, now);
            }
        }
        let meters = options.limits.iter().map(|(bucket, windows)| {
            let other = options.others.get(bucket).copied();
            (*bucket, Meter::new(windows, other, now))
        });
        Workspace {
            name: workspace.name.clone(),
            permissions: workspace.permissions.clone(),
            profiles,
            silent: Silent::default(),
            opt_ins: OptIns::new(options.behaviour.clone()),
            sets: Vec::new(),
            meters: meters.collect(),
            groups: options.groups.clone(),
            pending: BTreeMap::new(),
            sequence: 0,
            orphans: HashMap::new(),
        }
    }

    /// What is used of a limit; `None`: there is none.
    pub fn meter(&mut self, bucket: Bucket) -> Option<&mut Meter> {
        self.meters.get_mut(&bucket)
    }

    /// Whether there is a subscription group of this id.
    pub fn is_group(&self, id: &str) -> bool {
        is_group(&self.groups, id)
    }

    /// How many requests' writes are still on their way, and when the last of them will have taken effect.
    pub fn pending(&self) -> (usize, Option<Timestamp>) {
        let last = self.pending.last_key_value();
        (self.pending.len(), last.map(|((due, _), _)| *due))
    }

    /// Lets everything take effect whose moment has come, and hears everybody who has answered by then.
    pub fn settle(&mut self, now: Timestamp) {
        self.opt_ins.tick(now);
        loop {
            let write = self.pending.first_key_value().map(|((due, _), _)| *due);
            let answer = self.opt_ins.next_answer();
            let write = write.filter(|due| answer.is_none_or(|answer| *due <= answer));
            match (write, answer) {
                (Some(due), _) if due <= now => {
                    let Some(((moment, _), pending)) = self.pending.pop_first() else {
                        return;
                    };
                    for write in pending.writes {
                        self.take_effect(write, pending.asked_at, moment);
                    }
                }
                (None, Some(moment)) if moment <= now => self.hear_next(moment),
                _ => return,
            }
        }
    }

    /// Takes one request's writes, in order, to take effect together after `delay`. Whoever does not exist by now and is not
    /// created by this very request is not updated. `email_later` keeps the e-mail of a new profile back for longer.
    pub fn accept(
        &mut self,
        writes: Vec<Write>,
        now: Timestamp,
        delay: Duration,
        email_later: Option<Spread>,
        random: &mut Random,
    ) {
        let mut created = HashSet::new();
        let mut kept = Vec::with_capacity(writes.len());
        let mut later = Vec::new();
        for mut write in writes {
            let identifier = write.identifier();
            let exists = self.profiles.find(identifier).is_some() || created.contains(identifier);
            self.note_sets(&write, exists, now);
            let identifier = write.identifier();
            if !exists {
                if !write.creates() {
                    self.missed(write, now);
                    continue;
                }
                created.insert(identifier.clone());
                if let Some(spread) = email_later
                    && let Some(email) = keep_email_back(&mut write)
                {
                    later.push((spread.pick(random.next()), email));
                }
            }
            kept.push(write);
        }
        if !kept.is_empty() {
            self.queue(now + delay, now, kept);
        }
        for (more, write) in later {
            self.queue(now + delay + more, now, vec![write]);
        }
    }

    fn queue(&mut self, due: Timestamp, asked_at: Timestamp, writes: Vec<Write>) {
        self.sequence += 1;
        let pending = Pending { asked_at, writes };
        self.pending.insert((due, self.sequence), pending);
    }

    /// Everybody a status set for `identifier` is about.
    pub fn meant(&self, identifier: &Identifier) -> Vec<usize> {
        match identifier {
            Identifier::Email(email) => self.profiles.with_email(email).to_vec(),
            Identifier::Phone(phone) => self.profiles.with_phone(phone).to_vec(),
            Identifier::ExternalId(_) | Identifier::Alias { .. } | Identifier::BrazeId(_) => {
                self.profiles.find(identifier).into_iter().collect()
            }
        }
    }

    /// The latest word of all these profiles; `None`: none of them was ever in the group.
    pub fn status(&self, places: &[usize], group: &str) -> Option<bool> {
        let memberships = places
            .iter()
            .filter_map(|place| self.profiles.all()[*place].groups.get(group));
        let latest = memberships.max_by_key(|one| one.revision);
        latest.map(|one| one.subscribed)
    }

    fn missed(&mut self, write: Write, now: Timestamp) {
        match write {
            Write::Status {
                identifier, wish, ..
            } => match identifier {
                _ if wish.double_opt_in => self.silent.opt_ins_dropped += 1,
                Identifier::Email(_) | Identifier::Phone(_) => {
                    self.silent.sets_orphaned += 1;
                    self.orphans
                        .insert((identifier, wish.group), (wish.subscribed, now));
                }
                Identifier::ExternalId(_) | Identifier::Alias { .. } | Identifier::BrazeId(_) => {
                    self.silent.updates_dropped += 1;
                }
            },
            Write::Attributes { .. } | Write::Event { .. } | Write::Purchase { .. } => {
                self.silent.updates_dropped += 1;
            }
            Write::Deletion { .. } => {}
        }
    }

    fn reach(
        &mut self,
        identifier: &Identifier,
        create: bool,
        now: Timestamp,
    ) -> Option<(usize, bool)> {
        if create {
            self.profiles.find_or_create(identifier, now)
        } else {
            self.profiles.find(identifier).map(|place| (place, false))
        }
    }

    fn take_effect(&mut self, write: Write, asked_at: Timestamp, now: Timestamp) {
        let reached = self.reach(write.identifier(), write.creates(), now);
        let Some((place, created)) = reached else {
            self.missed(write, now);
            return;
        };
        if created {
            self.profiles.update(place).created_asked_at = asked_at;
        }
        let phone_before = self.profiles.all()[place].phone.clone();
        if let Write::Attributes { object, .. } = &write {
            self.silent.values_dropped += attributes::apply(&mut self.profiles, place, object);
        }
        // A phone that names a new profile is written by the very request, too.
        if created || self.profiles.all()[place].phone != phone_before {
            let profile = self.profiles.update(place);
            profile.phone_asked_at = profile.phone.is_some().then_some(asked_at);
        }
        if created {
            self.inherit(place, now);
        }
        match write {
            Write::Attributes { object, .. } => {
                for wish in attributes::group_wishes(&object) {
                    self.set_by_track(place, &wish, now);
                }
            }
            Write::Event { name, time, .. } => {
                self.profiles.update(place).happened(&name, time);
                let group = self.opt_ins.behaviour.opt_in_events.get(&name).cloned();
                if let Some(group) = group {
                    self.enter(&[place], &group, &Door::Event(name), now);
                }
            }
            Write::Purchase { .. } => self.profiles.update(place).purchases += 1,
            Write::Deletion { .. } => self.profiles.delete(place),
            Write::Status {
                identifier, wish, ..
            } => {
                let everybody = self.meant(&identifier);
                if wish.double_opt_in {
                    self.enter(&everybody, &wish.group, &Door::StatusSet, now);
                } else {
                    for one in everybody {
                        self.join(one, &wish.group, wish.subscribed);
                    }
                }
            }
        }
    }

    /// `subscription_groups` of one object; a state goes to everybody with the same e-mail, too.
    fn set_by_track(&mut self, place: usize, wish: &GroupWish, now: Timestamp) {
        if wish.double_opt_in {
            self.enter(&[place], &wish.group, &Door::UsersTrack, now);
            return;
        }
        let email = self.profiles.all()[place].email.as_deref();
        let sharing = email.map_or_else(Vec::new, |email| self.profiles.with_email(email).to_vec());
        self.join(place, &wish.group, wish.subscribed);
        for other in sharing.into_iter().filter(|other| *other != place) {
            self.join(other, &wish.group, wish.subscribed);
        }
    }

    /// Puts a profile into a group or out of it, which also ends a double opt-in that waits for its phone.
    fn join(&mut self, place: usize, group: &str, subscribed: bool) {
        self.put(place, group, subscribed);
        if let Some(phone) = &self.profiles.all()[place].phone {
            self.opt_ins.end(phone, group);
        }
    }

    /// Writes a state and nothing else.
    pub fn put(&mut self, place: usize, group: &str, subscribed: bool) {
        let profile = self.profiles.update(place);
        let revision = profile.revision;
        let membership = Membership {
            subscribed,
            revision,
        };
        profile.groups.insert(group.to_owned(), membership);
    }

    /// A new profile takes over what was set for its e-mail or phone before it existed; an older one never does.
    fn inherit(&mut self, place: usize, now: Timestamp) {
        if self.orphans.is_empty() {
            return;
        }
        self.orphans
            .retain(|_, (_, since)| now.since(*since) <= ORPHANS_LIVE);
        let profile = &self.profiles.all()[place];
        let email = profile.email.clone().map(Identifier::Email);
        let phone = profile.phone.clone().map(Identifier::Phone);
        let mut mine: Vec<_> = self
            .orphans
            .extract_if(|(whose, _), _| {
                Some(whose) == email.as_ref() || Some(whose) == phone.as_ref()
            })
            .collect();
        // The order of a map must not decide which of two is the later one.
        mine.sort_by_key(|(_, (subscribed, since))| (*since, *subscribed));
        for ((_, group), (subscribed, _)) in mine {
            self.silent.orphans_inherited += 1;
            self.put(place, &group, subscribed);
        }
    }
}

/// Whether there is a subscription group of this id; where none are listed, every UUID is one.
pub fn is_group(groups: &BTreeSet<String>, id: &str) -> bool {
    if groups.is_empty() {
        uuid::Uuid::parse_str(id).is_ok()
    } else {
        groups.contains(id)
    }
}
