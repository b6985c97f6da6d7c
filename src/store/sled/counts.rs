//! The store's own account: the commit number, the last id, and how many jobs and events are where.
//!
//! Kept in memory by the writer, written with every batch, so that what is read back after a crash is exact and no
//! scan is ever needed. Names stand in a table of their own that is written only when a name is new; the account holds
//! numbers of fixed width, so that a change rewrites one piece.

use std::collections::{BTreeMap, HashMap};

use bincode::{Decode, Encode};

use super::keys::LaneKey;
use crate::flow::job::{Flow, Outcome, Reason};
use crate::model::Name;
use crate::model::id::EventId;
use crate::model::lane::Lane;
use crate::model::time::Timestamp;
use crate::store::entry::Account;
use crate::store::{EventCounts, Group};

/// The number of a group in keys and rows.
pub type GroupId = u16;

/// Where an event is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A job of it lives.
    Queued,
    /// None lives and one is dead.
    Dead,
    /// All are done.
    Done,
    /// Removed by age or an operator.
    Discarded,
    /// Removed with the person.
    Forgotten,
}

/// Everything but names.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct Head {
    /// The number of the last batch; no number is left out.
    pub commit: u64,
    /// The last event's id.
    pub last_id: EventId,
    /// Nothing that is due later than this stands among what is due.
    pub promoted_to: Timestamp,
    done: u64,
    dead: u64,
    queued: u64,
    discarded: u64,
    forgotten: u64,
    /// Living jobs by lane and group: due, and due later.
    pub living: BTreeMap<([u8; 3], GroupId), Living>,
    /// Dead letters.
    pub buried: BTreeMap<(GroupId, Reason), u64>,
    /// Jobs done since the store was made.
    pub finished: BTreeMap<(GroupId, Outcome), u64>,
}

/// Living jobs of one group in one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Living {
    /// Due, in flight or not.
    pub due: u64,
    /// Due later.
    pub later: u64,
}

impl Head {
    /// Events by where they are.
    pub fn events(&self) -> EventCounts {
        let Head {
            done,
            dead,
            queued,
            discarded,
            forgotten,
            ..
        } = *self;
        EventCounts {
            accepted: done + dead + queued + discarded + forgotten,
            done,
            dead,
            queued,
            discarded,
            forgotten,
        }
    }

    /// What is told of it elsewhere.
    pub fn account(&self) -> Account {
        Account {
            commit: self.commit,
            last_id: self.last_id,
            promoted_to: self.promoted_to,
            done: self.done,
            dead: self.dead,
            queued: self.queued,
            discarded: self.discarded,
            forgotten: self.forgotten,
        }
    }

    /// Takes over what was told elsewhere; commits go on from whichever number is higher.
    pub fn take_over(&mut self, account: Account) {
        let Account {
            commit,
            last_id,
            promoted_to,
            done,
            dead,
            queued,
            discarded,
            forgotten,
        } = account;
        self.commit = self.commit.max(commit);
        self.last_id = last_id;
        self.promoted_to = promoted_to;
        self.done = done;
        self.dead = dead;
        self.queued = queued;
        self.discarded = discarded;
        self.forgotten = forgotten;
    }

    /// An event is now counted there.
    pub fn enter(&mut self, standing: Standing) {
        *self.standing(standing) += 1;
    }

    /// An event is no longer counted here but there.
    pub fn pass(&mut self, from: Standing, to: Standing) {
        let left = self.standing(from);
        *left = left.saturating_sub(1);
        self.enter(to);
    }

    fn standing(&mut self, standing: Standing) -> &mut u64 {
        match standing {
            Standing::Queued => &mut self.queued,
            Standing::Dead => &mut self.dead,
            Standing::Done => &mut self.done,
            Standing::Discarded => &mut self.discarded,
            Standing::Forgotten => &mut self.forgotten,
        }
    }

    /// Jobs living or dead: what fills the queue.
    pub fn jobs(&self) -> u64 {
        let living: u64 = self.living.values().map(|row| row.due + row.later).sum();
        living + self.buried.values().sum::<u64>()
    }

    /// Adds to, or takes from, the living jobs of a lane and group.
    pub fn live(&mut self, lane: LaneKey, group: GroupId, due: i64, later: i64) {
        let row = self.living.entry((lane.0, group)).or_default();
        row.due = row.due.saturating_add_signed(due);
        row.later = row.later.saturating_add_signed(later);
    }

    /// Whether any job lives in this lane.
    pub fn has_work(&self, lane: LaneKey) -> bool {
        let mut rows = self
            .living
            .range((lane.0, GroupId::MIN)..=(lane.0, GroupId::MAX));
        rows.any(|(_, row)| row.due + row.later > 0)
    }

    /// Adds to, or takes from, the dead letters of a group.
    pub fn bury(&mut self, group: GroupId, reason: Reason, by: i64) {
        let row = self.buried.entry((group, reason)).or_default();
        *row = row.saturating_add_signed(by);
    }

    /// One more job is done.
    pub fn finish(&mut self, group: GroupId, outcome: Outcome) {
        *self.finished.entry((group, outcome)).or_default() += 1;
    }
}

/// Names and the numbers they have in keys and rows. Numbers are never given away twice.
#[derive(Clone, Debug, Default)]
pub struct Names {
    workspaces: Vec<Name>,
    groups: Vec<Group>,
    workspace_numbers: HashMap<Name, u16>,
    group_numbers: HashMap<Group, GroupId>,
    /// A name was added since the table was last written.
    pub changed: bool,
}

/// As [`Names`] are stored.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct StoredNames {
    workspaces: Vec<String>,
    groups: Vec<(String, String, Option<Flow>)>,
}

impl Names {
    /// Read back.
    pub fn from_stored(stored: StoredNames) -> Names {
        let mut names = Names::default();
        for workspace in stored.workspaces {
            names.workspace(&workspace.into());
        }
        for (workspace, activation, flow) in stored.groups {
            names.group(&Group {
                workspace: workspace.into(),
                activation: activation.into(),
                flow,
            });
        }
        names.changed = false;
        names
    }

    /// To be written.
    pub fn to_stored(&self) -> StoredNames {
        StoredNames {
            workspaces: self.workspaces.iter().map(ToString::to_string).collect(),
            groups: self
                .groups
                .iter()
                .map(|group| {
                    (
                        group.workspace.to_string(),
                        group.activation.to_string(),
                        group.flow,
                    )
                })
                .collect(),
        }
    }

    /// The number of a workspace; a new one gets the next.
    pub fn workspace(&mut self, name: &Name) -> u16 {
        if let Some(number) = self.workspace_numbers.get(name) {
            return *number;
        }
        let number = self.workspaces.len() as u16;
        self.workspaces.push(name.clone());
        self.workspace_numbers.insert(name.clone(), number);
        self.changed = true;
        number
    }

    /// All workspaces, in the order of their numbers.
    pub fn all_workspaces(&self) -> &[Name] {
        &self.workspaces
    }

    /// All groups, in the order of their numbers.
    pub fn all_groups(&self) -> &[Group] {
        &self.groups
    }

    /// The lane's key; a new workspace gets a number.
    pub fn lane(&mut self, lane: &Lane) -> LaneKey {
        LaneKey::new(self.workspace(&lane.workspace), lane.kind)
    }

    /// The lane's key, if its workspace has a number.
    pub fn known_lane(&self, lane: &Lane) -> Option<LaneKey> {
        self.workspace_numbers
            .get(&lane.workspace)
            .map(|number| LaneKey::new(*number, lane.kind))
    }

    /// The number of a workspace, if it has one.
    pub fn known_workspace(&self, name: &str) -> Option<u16> {
        self.workspace_numbers.get(name).copied()
    }

    /// The lane of a key.
    pub fn lane_of(&self, key: LaneKey) -> Option<Lane> {
        let workspace = self.workspaces.get(usize::from(key.workspace()))?;
        Some(Lane::new(workspace, key.kind()?))
    }

    /// All lanes' keys that can hold work.
    pub fn lane_keys(&self) -> impl Iterator<Item = LaneKey> + '_ {
        (0..self.workspaces.len() as u16).flat_map(|number| {
            crate::model::lane::LaneKind::ALL
                .into_iter()
                .map(move |kind| LaneKey::new(number, kind))
        })
    }

    /// The group's number; a new group gets one.
    pub fn group(&mut self, group: &Group) -> GroupId {
        if let Some(number) = self.group_numbers.get(group) {
            return *number;
        }
        let number = self.groups.len() as GroupId;
        self.groups.push(group.clone());
        self.group_numbers.insert(group.clone(), number);
        self.changed = true;
        number
    }

    /// The group with this number.
    pub fn group_of(&self, number: GroupId) -> Option<&Group> {
        self.groups.get(usize::from(number))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::model::lane::LaneKind;
    use crate::store::codec::{CodecError, VERSION, decode_table, encode_table};

    fn head() -> Head {
        let mut head = Head {
            commit: 1_000_001,
            last_id: EventId([0x5a; 16]),
            promoted_to: Timestamp::from_millis(1_795_770_600_123),
            forgotten: 7,
            ..Head::default()
        };
        head.enter(Standing::Queued);
        head.enter(Standing::Done);
        head.enter(Standing::Done);
        head.pass(Standing::Done, Standing::Discarded);
        head.enter(Standing::Dead);
        head.live(LaneKey::new(1, LaneKind::UsersTrack), 2, 300, 4);
        head.bury(2, Reason::GaveUp, 5);
        head.finish(0, Outcome::Credited);
        head
    }

    fn names() -> Names {
        let mut names = Names::default();
        names.lane(&Lane::new(&"acme".into(), LaneKind::Quikly));
        for flow in [None, Some(Flow::Email)] {
            names.group(&Group {
                workspace: "acme".into(),
                activation: "näme".into(),
                flow,
            });
        }
        names
    }

    /// What the file says; it is written anew when that is asked for (see tests/it/golden.rs).
    fn golden(name: &str, today: &[u8]) -> Vec<u8> {
        let folder = format!("tests/golden/v{VERSION}");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
        if std::env::var_os("RELAY_WRITE_GOLDEN").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), today).unwrap();
        }
        fs::read(folder.join(name)).unwrap()
    }

    #[test]
    fn golden_tables_are_what_is_written_today() {
        let today = encode_table(&head()).unwrap();
        let bytes = golden("head.bin", &today);
        let read: Head = decode_table(&bytes).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", head()));
        assert!(
            today == bytes,
            "the account changed: it needs a new version number"
        );

        let today = encode_table(&names().to_stored()).unwrap();
        let bytes = golden("names.bin", &today);
        let read = Names::from_stored(decode_table(&bytes).unwrap());
        assert_eq!(
            format!("{:?}", read.to_stored()),
            format!("{:?}", names().to_stored())
        );
        assert!(
            today == bytes,
            "the names changed: they need a new version number"
        );
    }

    #[test]
    fn golden_tables_that_are_newer_or_cut_short_are_refused() {
        for mut bytes in [
            encode_table(&head()).unwrap(),
            encode_table(&names().to_stored()).unwrap(),
        ] {
            for length in 0..bytes.len() {
                assert!(decode_table::<Head>(&bytes[..length]).is_err(), "{length}");
                assert!(
                    decode_table::<StoredNames>(&bytes[..length]).is_err(),
                    "{length}"
                );
            }
            bytes[0] = VERSION + 1;
            let error = decode_table::<Head>(&bytes).unwrap_err();
            assert_eq!(error, CodecError::Newer(VERSION + 1));
        }
    }
}
