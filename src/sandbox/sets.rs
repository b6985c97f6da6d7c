//! Every status that was set, with what existed at that moment, so that a test can prove that nobody was set too early.
//!
//! Invariants: recorded when the request arrives and judged by what has taken effect by then; never changed afterwards.

use serde_json::{Value, json};

use super::attributes::{self, GroupWish};
use super::email;
use super::identifier::Identifier;
use super::profiles::Profile;
use super::workspace::Workspace;
use super::write::Write;
use crate::model::time::Timestamp;

/// Which request it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `POST /subscription/status/set`
    V1,
    /// `POST /v2/subscription/status/set`
    V2,
    /// `subscription_groups` in `POST /users/track`
    Track,
}

impl Via {
    /// As the question routes call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Via::V1 => "v1",
            Via::V2 => "v2",
            Via::Track => "track",
        }
    }
}

/// What became of it. Braze answers success to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody existed, or is created by the same object.
    Taken,
    /// Nobody had this e-mail or phone: waits up to 30 days for a new profile.
    Orphaned,
    /// A double opt-in for nobody: nothing happens, ever.
    OptInDropped,
    /// An external id, braze id or alias that does not exist.
    UpdateDropped,
    /// v1 takes a phone that is not E.164 and does not apply it.
    NotE164,
}

impl Outcome {
    /// As the question routes call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Taken => "taken",
            Outcome::Orphaned => "orphaned",
            Outcome::OptInDropped => "opt_in_dropped",
            Outcome::UpdateDropped => "update_dropped",
            Outcome::NotE164 => "not_e164",
        }
    }
}

/// A profile that was meant, as it was then.
#[derive(Clone, Debug)]
struct Meant {
    place: usize,
    created_at: Timestamp,
    created_asked_at: Timestamp,
    phone_asked_at: Option<Timestamp>,
    created_by_api: bool,
}

/// One set.
#[derive(Clone, Debug)]
pub struct SetSeen {
    /// When the request came.
    pub at: Timestamp,
    /// In which.
    pub via: Via,
    /// Who was named.
    pub who: Identifier,
    /// The phone that was named, or that the profile named has.
    pub phone: Option<String>,
    /// What.
    pub wish: GroupWish,
    /// What became of it.
    pub outcome: Outcome,
    /// Subscribed or not before; `None`: unknown.
    pub before: Option<bool>,
    /// When this phone had said STOP to this group, if it had.
    pub stopped_at: Option<Timestamp>,
    meant: Vec<Meant>,
}

impl SetSeen {
    /// A set that meant these profiles, of all.
    pub fn new(
        (at, via): (Timestamp, Via),
        (who, phone): (&Identifier, Option<String>),
        wish: &GroupWish,
        outcome: Outcome,
        (places, all): (&[usize], &[Profile]),
    ) -> SetSeen {
        let meant = places.iter().map(|place| {
            let profile = &all[*place];
            Meant {
                place: *place,
                created_at: profile.created_at,
                created_asked_at: profile.created_asked_at,
                phone_asked_at: profile.phone_asked_at,
                created_by_api: profile.created_by_api,
            }
        });
        SetSeen {
            at,
            via,
            who: who.clone(),
            phone,
            wish: wish.clone(),
            outcome,
            before: None,
            stopped_at: None,
            meant: meant.collect(),
        }
    }

    /// As the question routes show it.
    pub fn shown(&self, place: usize, workspace: &str) -> Value {
        let profile = |one: &Meant| {
            json!({
                "id": one.place, "created_at": one.created_at, "created_asked_at": one.created_asked_at,
                "phone_asked_at": one.phone_asked_at, "created_by_api": one.created_by_api,
            })
        };
        json!({
            "id": place, "at": self.at, "workspace": workspace, "via": self.via.as_str(),
            "subscription_group_id": self.wish.group,
            "subscription_state": if self.wish.subscribed { "subscribed" } else { "unsubscribed" },
            "use_double_opt_in_logic": self.wish.double_opt_in,
            "who": who(&self.who), "phone": self.phone, "outcome": self.outcome.as_str(),
            "status_before": status(self.before), "stopped_at": self.stopped_at,
            "profiles": self.meant.iter().map(profile).collect::<Vec<_>>(),
        })
    }
}

impl Workspace {
    /// Remembers what a write sets; `exists`: whether somebody is there to be set.
    pub fn note_sets(&mut self, write: &Write, exists: bool, now: Timestamp) {
        match write {
            Write::Attributes {
                identifier,
                create,
                object,
            } => {
                let written = object.get("phone").and_then(Value::as_str);
                for wish in attributes::group_wishes(object) {
                    let outcome = if exists || *create {
                        Outcome::Taken
                    } else {
                        Outcome::UpdateDropped
                    };
                    let place = self.profiles.find(identifier);
                    let places = place.as_slice();
                    let phone = written
                        .map(email::kept_phone)
                        .or_else(|| self.phone_of(identifier, places));
                    self.note_set(
                        (now, Via::Track),
                        (identifier, phone),
                        &wish,
                        outcome,
                        places,
                    );
                }
            }
            Write::Status {
                identifier,
                wish,
                via,
            } => {
                let places = self.meant(identifier);
                let phone = self.phone_of(identifier, &places);
                let outcome = match identifier {
                    _ if wish.double_opt_in && (!exists || phone.is_none()) => {
                        Outcome::OptInDropped
                    }
                    _ if exists => Outcome::Taken,
                    Identifier::Email(_) | Identifier::Phone(_) => Outcome::Orphaned,
                    Identifier::ExternalId(_)
                    | Identifier::Alias { .. }
                    | Identifier::BrazeId(_) => Outcome::UpdateDropped,
                };
                self.note_set((now, *via), (identifier, phone), wish, outcome, &places);
            }
            Write::Event { .. } | Write::Purchase { .. } | Write::Deletion { .. } => {}
        }
    }

    /// Remembers one set of these profiles.
    pub fn note_set(
        &mut self,
        when: (Timestamp, Via),
        (who, phone): (&Identifier, Option<String>),
        wish: &GroupWish,
        outcome: Outcome,
        places: &[usize],
    ) {
        let stopped_at = phone
            .as_ref()
            .and_then(|phone| self.opt_ins.stopped_at(phone, &wish.group));
        let all = self.profiles.all();
        let mut set = SetSeen::new(when, (who, phone), wish, outcome, (places, all));
        set.before = self.status(places, &wish.group);
        set.stopped_at = stopped_at;
        self.sets.push(set);
    }

    fn phone_of(&self, identifier: &Identifier, places: &[usize]) -> Option<String> {
        match identifier {
            Identifier::Phone(phone) => Some(phone.clone()),
            Identifier::ExternalId(_)
            | Identifier::Alias { .. }
            | Identifier::BrazeId(_)
            | Identifier::Email(_) => {
                let mut phones = places
                    .iter()
                    .map(|place| &self.profiles.all()[*place].phone);
                phones.find_map(Clone::clone)
            }
        }
    }
}

/// Braze's word for a state.
pub const fn status(subscribed: Option<bool>) -> &'static str {
    match subscribed {
        Some(true) => "Subscribed",
        Some(false) => "Unsubscribed",
        None => "Unknown",
    }
}

fn who(identifier: &Identifier) -> Value {
    match identifier {
        Identifier::ExternalId(id) => json!({ "external_id": id }),
        Identifier::BrazeId(id) => json!({ "braze_id": id }),
        Identifier::Alias { name, label } => {
            json!({"user_alias": {"alias_name": name, "alias_label": label}})
        }
        Identifier::Email(email) => json!({ "email": email }),
        Identifier::Phone(phone) => json!({ "phone": phone }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sandbox::tests::{APPEAR, DAY, GROUP, PHONE, Scene, opt_in, subscribe};

    fn outcomes(scene: &Scene) -> Vec<&'static str> {
        let sets = scene.workspace.sets.iter();
        sets.map(|set| set.outcome.as_str()).collect()
    }

    fn shown(scene: &Scene, place: usize) -> Value {
        scene.workspace.sets[place].shown(place, "w")
    }

    #[test]
    fn a_set_before_the_profile_appeared_is_told_from_one_after() {
        let mut scene = Scene::new(&[]);
        scene.now = scene.now + DAY;
        let asked = scene.now;
        scene.track(&json!({"external_id": "1", "phone": PHONE}));
        scene.now = scene.now + APPEAR / 2;
        scene.set(&subscribe(&json!({})));
        scene.now = scene.now + APPEAR / 2;
        scene.set(&subscribe(&json!({})));
        assert_eq!(outcomes(&scene), ["orphaned", "taken"]);
        assert_eq!(shown(&scene, 0)["profiles"], json!([]));
        assert_eq!(shown(&scene, 0)["at"], json!(asked + APPEAR / 2));
        assert_eq!(
            shown(&scene, 1)["profiles"],
            json!([{"id": 0, "created_at": asked + APPEAR, "created_asked_at": asked,
                "phone_asked_at": asked, "created_by_api": true}])
        );
        assert_eq!(shown(&scene, 0)["status_before"], json!("Unknown"));
        assert_eq!(
            shown(&scene, 1)["status_before"],
            json!("Subscribed"),
            "inherited"
        );
    }

    #[test]
    fn a_phone_written_later_has_its_own_moment_and_one_written_again_keeps_it() {
        let mut scene = Scene::new(&[json!({"external_id": "1"})]);
        scene.now = scene.now + DAY;
        let asked = scene.now;
        for _ in 0..2 {
            scene.track(&json!({"external_id": "1", "phone": PHONE}));
            scene.now = scene.now + APPEAR;
        }
        scene.set(&subscribe(&json!({})));
        assert_eq!(
            shown(&scene, 0)["profiles"][0]["phone_asked_at"],
            json!(asked)
        );
    }

    #[test]
    fn what_becomes_of_a_set_that_meets_nobody_depends_on_how_it_names_them() {
        let mut scene = Scene::new(&[]);
        scene.set(&opt_in());
        scene.set(&subscribe(&json!({"phone": null, "external_id": "1"})));
        scene.set(&subscribe(&json!({"phone": "5550100000"})));
        scene.set(&subscribe(&json!({"phone": null, "email": "a@b.co"})));
        assert_eq!(
            outcomes(&scene),
            ["opt_in_dropped", "update_dropped", "not_e164", "orphaned"]
        );
        assert_eq!(shown(&scene, 3)["who"], json!({"email": "a@b.co"}));
    }

    #[test]
    fn groups_inside_track_are_sets_too() {
        let mut scene = Scene::new(&[]);
        let groups =
            json!([{"subscription_group_id": GROUP, "subscription_state": "unsubscribed"}]);
        let alias = json!({"alias_name": "a@b.co", "alias_label": "email"});
        scene.track(&json!({"user_alias": alias, "subscription_groups": groups}));
        scene.track(&json!({"external_id": "1", "phone": PHONE, "subscription_groups": groups}));
        assert_eq!(outcomes(&scene), ["update_dropped", "taken"]);
        let told = shown(&scene, 1);
        assert_eq!(
            (&told["via"], &told["phone"]),
            (&json!("track"), &json!(PHONE))
        );
        assert_eq!(told["subscription_state"], json!("unsubscribed"));
        assert_eq!(scene.status(Duration::from_secs(1)), "unsubscribed");
    }
}
