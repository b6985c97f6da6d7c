//! One workspace: what has taken effect, what is still on its way, and the status sets that found nobody.
//!
//! Invariants: an accepted request takes effect as a whole, at its own moment, attributes before events before purchases.
//! Whether there is somebody to update is decided when the request arrives, by what has taken effect by then.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::attributes::{self, GroupWish};
use super::identifier::Identifier;
use super::limits::{Bucket, Meter};
use super::options::{Options, Permission, Spread, WorkspaceOptions};
use super::profiles::{Membership, Object, Profiles};
use super::world::Random;
use crate::model::time::Timestamp;

/// How long a status set that found nobody waits for a new profile.
const ORPHANS_LIVE: Duration = Duration::from_hours(30 * 24);

/// One accepted thing on its way.
#[derive(Clone, Debug)]
pub enum Write {
    /// An attributes object.
    Attributes {
        /// Whose.
        identifier: Identifier,
        /// Whether it may create the profile.
        create: bool,
        /// As it came.
        object: Object,
    },
    /// An event object.
    Event {
        /// Whose.
        identifier: Identifier,
        /// Whether it may create the profile.
        create: bool,
        /// `name`
        name: String,
        /// `time`
        time: Timestamp,
    },
    /// A purchase object.
    Purchase {
        /// Whose.
        identifier: Identifier,
        /// Whether it may create the profile.
        create: bool,
    },
    /// A status set for everybody who has this e-mail or phone, or for one profile.
    Status {
        /// Who.
        identifier: Identifier,
        /// What.
        wish: GroupWish,
    },
}

impl Write {
    fn identifier(&self) -> &Identifier {
        match self {
            Write::Attributes { identifier, .. }
            | Write::Event { identifier, .. }
            | Write::Purchase { identifier, .. }
            | Write::Status { identifier, .. } => identifier,
        }
    }

    fn creates(&self) -> bool {
        match self {
            Write::Attributes { create, .. }
            | Write::Event { create, .. }
            | Write::Purchase { create, .. } => *create,
            Write::Status { .. } => false,
        }
    }
}

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
    /// `use_double_opt_in_logic` for nobody.
    pub opt_ins_dropped: u64,
    /// `use_double_opt_in_logic` that asked somebody.
    pub opt_ins_started: u64,
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
    meters: BTreeMap<Bucket, Meter>,
    groups: BTreeSet<String>,
    pending: BTreeMap<(Timestamp, u64), Vec<Write>>,
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
        let meters = options
            .limits
            .iter()
            .map(|(bucket, windows)| (*bucket, Meter::new(windows)));
        Workspace {
            name: workspace.name.clone(),
            permissions: workspace.permissions.clone(),
            profiles,
            silent: Silent::default(),
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
        if self.groups.is_empty() {
            uuid::Uuid::parse_str(id).is_ok()
        } else {
            self.groups.contains(id)
        }
    }

    /// How many requests' writes are still on their way, and when the last of them will have taken effect.
    pub fn pending(&self) -> (usize, Option<Timestamp>) {
        let last = self.pending.last_key_value();
        (self.pending.len(), last.map(|((due, _), _)| *due))
    }

    /// Lets everything take effect whose moment has come.
    pub fn settle(&mut self, now: Timestamp) {
        while let Some(first) = self.pending.first_entry() {
            if first.key().0 > now {
                return;
            }
            let ((moment, _), writes) = first.remove_entry();
            for write in writes {
                self.take_effect(write, moment);
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
            self.queue(now + delay, kept);
        }
        for (more, write) in later {
            self.queue(now + delay + more, vec![write]);
        }
    }

    fn queue(&mut self, due: Timestamp, writes: Vec<Write>) {
        self.sequence += 1;
        self.pending.insert((due, self.sequence), writes);
    }

    fn missed(&mut self, write: Write, now: Timestamp) {
        match write {
            Write::Status { identifier, wish } => match identifier {
                Identifier::Email(_) | Identifier::Phone(_) if wish.double_opt_in => {
                    self.silent.opt_ins_dropped += 1;
                }
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

    fn take_effect(&mut self, write: Write, now: Timestamp) {
        let reached = self.reach(write.identifier(), write.creates(), now);
        let Some((place, created)) = reached else {
            self.missed(write, now);
            return;
        };
        match write {
            Write::Attributes { object, .. } => {
                self.silent.values_dropped += attributes::apply(&mut self.profiles, place, &object);
                if created {
                    self.inherit(place, now);
                }
                for wish in attributes::group_wishes(&object) {
                    let email = self.profiles.all()[place].email.clone();
                    let sharing = email
                        .map_or_else(Vec::new, |email| self.profiles.with_email(&email).to_vec());
                    self.join(place, &wish);
                    for other in sharing.into_iter().filter(|other| *other != place) {
                        self.join(other, &wish);
                    }
                }
            }
            Write::Event { name, time, .. } => self.profiles.update(place).happened(&name, time),
            Write::Purchase { .. } => self.profiles.update(place).purchases += 1,
            Write::Status { identifier, wish } => {
                let everybody = match &identifier {
                    Identifier::Email(email) => self.profiles.with_email(email).to_vec(),
                    Identifier::Phone(phone) => self.profiles.with_phone(phone).to_vec(),
                    Identifier::ExternalId(_)
                    | Identifier::Alias { .. }
                    | Identifier::BrazeId(_) => vec![place],
                };
                for one in everybody {
                    self.join(one, &wish);
                }
            }
        }
        // An e-mail-only or phone-only profile that an event made inherits as well.
        if created {
            self.inherit(place, now);
        }
    }

    fn join(&mut self, place: usize, wish: &GroupWish) {
        let confirmed = |is: &Membership| is.subscribed;
        let profile = self.profiles.update(place);
        let is = profile.groups.get(&wish.group);
        if wish.double_opt_in && is.is_some_and(confirmed) {
            return;
        }
        let revision = profile.revision;
        let membership = Membership {
            subscribed: wish.subscribed && !wish.double_opt_in,
            opting_in: wish.double_opt_in,
            revision,
        };
        profile.groups.insert(wish.group.clone(), membership);
        self.silent.opt_ins_started += u64::from(wish.double_opt_in);
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
        let mine: Vec<_> = self
            .orphans
            .extract_if(|(whose, _), _| {
                Some(whose) == email.as_ref() || Some(whose) == phone.as_ref()
            })
            .collect();
        for ((_, group), (subscribed, _)) in mine {
            self.silent.orphans_inherited += 1;
            let wish = GroupWish {
                group,
                subscribed,
                double_opt_in: false,
            };
            self.join(place, &wish);
        }
    }
}

/// Takes the e-mail out of the creation of a profile that is not named by it; a write that brings it.
fn keep_email_back(write: &mut Write) -> Option<Write> {
    let Write::Attributes {
        identifier, object, ..
    } = write
    else {
        return None;
    };
    if matches!(identifier, Identifier::Email(_)) {
        return None;
    }
    let email = object.shift_remove("email")?;
    Some(Write::Attributes {
        identifier: identifier.clone(),
        create: false,
        object: Object::from_iter([("email".to_owned(), email)]),
    })
}
