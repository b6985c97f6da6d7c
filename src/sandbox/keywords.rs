//! What people text back: the keyword that confirms, STOP and START; and how they came to be asked.
//!
//! Invariants: a keyword is about a phone, and takes effect at once, on every profile that has it by then. A double opt-in
//! by API leaves somebody Unsubscribed until it is confirmed; the brand's own, started by an event, changes no state before.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::opt_in::Door;
use super::people::Reaction;
use super::sets::status;
use super::workspace::Workspace;
use crate::model::time::Timestamp;

/// A keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyword {
    /// The one that confirms a double opt-in.
    Confirm,
    /// STOP.
    Stop,
    /// START, for a group without double opt-in.
    Start,
    /// START, for a group with double opt-in: prompts, whenever the last prompt was.
    StartOptIn,
}

impl Workspace {
    /// Double opt-in for these profiles: prompts each phone that is not subscribed.
    pub fn enter(&mut self, places: &[usize], group: &str, door: &Door, now: Timestamp) {
        let phones = places
            .iter()
            .map(|place| &self.profiles.all()[*place].phone);
        let phones: BTreeSet<String> = phones.flatten().cloned().collect();
        if phones.is_empty() {
            self.silent.opt_ins_dropped += 1;
        }
        for phone in phones {
            let everybody = self.profiles.with_phone(&phone).to_vec();
            if self.status(&everybody, group) == Some(true) {
                continue;
            }
            self.silent.opt_ins_started += 1;
            if door.is_api() {
                for one in &everybody {
                    self.put(*one, group, false);
                }
            }
            let language = self.language(&everybody);
            self.opt_ins
                .ask(&phone, group, door.clone(), &language, now);
        }
    }

    fn language(&self, places: &[usize]) -> String {
        let mut fields = places
            .iter()
            .map(|place| &self.profiles.all()[*place].fields);
        let language =
            fields.find_map(|fields| fields.get("language")?.as_str().map(str::to_owned));
        language.unwrap_or_else(|| "en".to_owned())
    }

    /// Somebody answers a prompt, or would have.
    pub fn hear_next(&mut self, now: Timestamp) {
        let Some(prompt) = self.opt_ins.take_answer() else {
            return;
        };
        let (phone, group) = (prompt.phone.as_str(), prompt.group.as_str());
        let keyword = match prompt.reaction {
            Reaction::Confirm(_) => Keyword::Confirm,
            Reaction::Refuse(_) => {
                self.opt_ins.tally.refused += 1;
                Keyword::Stop
            }
            Reaction::Ignore => return,
        };
        self.hear(keyword, phone, group, now);
    }

    /// A keyword, and what it makes of the status, if it does anything.
    pub fn hear(
        &mut self,
        keyword: Keyword,
        phone: &str,
        group: &str,
        now: Timestamp,
    ) -> Option<&'static str> {
        let everybody = self.profiles.with_phone(phone).to_vec();
        let subscribed = match keyword {
            Keyword::Confirm if self.opt_ins.confirm(phone, group, now) => true,
            Keyword::Confirm => return None,
            Keyword::Stop => {
                self.opt_ins.stop(phone, group, now);
                false
            }
            Keyword::Start => {
                self.opt_ins.end(phone, group);
                self.opt_ins.start(phone, group);
                true
            }
            Keyword::StartOptIn => {
                self.opt_ins.start(phone, group);
                self.enter(&everybody, group, &Door::Keyword, now);
                return Some(status(self.status(&everybody, group)));
            }
        };
        for place in everybody {
            self.put(place, group, subscribed);
        }
        Some(status(Some(subscribed)))
    }

    /// The groups this phone is in or waits for, in order.
    pub fn groups_of(&self, phone: &str) -> BTreeSet<String> {
        let places = self.profiles.with_phone(phone).iter();
        let groups = places.flat_map(|place| self.profiles.all()[*place].groups.keys());
        groups
            .cloned()
            .chain(self.opt_ins.groups_waiting(phone))
            .collect()
    }

    /// A phone in this workspace, as the question routes show it.
    pub fn person(&self, phone: &str) -> Value {
        let places = self.profiles.with_phone(phone);
        let groups = self.groups_of(phone).into_iter().map(|group| {
            let waiting = self.opt_ins.waiting(phone, &group);
            let prompts = self.opt_ins.prompts.iter();
            let mine = prompts.filter(|one| one.phone == phone && one.group == group);
            json!({
                "subscription_group_id": group, "status": status(self.status(places, &group)),
                "opting_in": waiting.is_some(), "prompts": mine.count(),
                "prompted_at": waiting.map(|one| one.prompted_at),
                "expires_at": waiting.map(|one| one.expires_at),
                "stopped_at": self.opt_ins.stopped_at(phone, &group),
            })
        });
        json!({"workspace": self.name, "profiles": places, "groups": groups.collect::<Vec<_>>()})
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sandbox::options::Spread;
    use crate::sandbox::people::Behaviour;
    use crate::sandbox::tests::{APPEAR, DAY, GROUP, PHONE, Scene, opt_in, subscribe};

    const HOUR: Duration = Duration::from_hours(1);
    const EVENT: &str = "quikly_double_opt_in";

    fn ada() -> [Value; 1] {
        [json!({"external_id": "1", "phone": PHONE, "language": "fr"})]
    }

    fn prompts(scene: &Scene) -> Vec<Timestamp> {
        let prompts = scene.workspace.opt_ins.prompts.iter();
        prompts.map(|prompt| prompt.at).collect()
    }

    /// An event starts the brand's own double opt-in, and everybody confirms after an hour.
    fn listening(known: &[Value]) -> Scene {
        let mut scene = Scene::confirming(known, HOUR);
        let events = &mut scene.workspace.opt_ins.behaviour.opt_in_events;
        events.insert(EVENT.to_owned(), GROUP.to_owned());
        scene
    }

    fn event() -> Value {
        json!({"external_id": "1", "name": EVENT, "time": "1970-01-01T00:00:00Z"})
    }

    #[test]
    fn whoever_is_prompted_stays_unsubscribed_until_they_confirm_and_no_longer() {
        let mut scene = Scene::confirming(&ada(), HOUR);
        scene.set(&opt_in());
        assert_eq!(scene.status(Duration::ZERO), "unknown", "on its way");
        assert_eq!(scene.status(APPEAR), "unsubscribed");
        assert_eq!(
            scene.status(Duration::from_millis(3_599_999)),
            "unsubscribed"
        );
        assert_eq!(scene.status(Duration::from_millis(1)), "subscribed");
        assert_eq!(scene.workspace.opt_ins.prompts[0].language, "en");
        assert_eq!(scene.workspace.opt_ins.tally.confirmed, 1);
    }

    #[test]
    fn a_confirmation_after_thirty_days_subscribes_nobody() {
        for (after, status) in [(DAY * 30, "subscribed"), (DAY * 31, "unsubscribed")] {
            let mut scene = Scene::confirming(&ada(), after);
            scene.set(&opt_in());
            assert_eq!(scene.status(DAY * 40), status);
        }
    }

    #[test]
    fn whoever_refuses_is_unsubscribed_and_remembered_as_having_said_stop() {
        let refusing = Behaviour {
            confirm: 0.0,
            refuse: 1.0,
            refuse_after: Spread::exactly(HOUR),
            ..Behaviour::default()
        };
        let mut scene = Scene::with(&ada(), refusing);
        scene.set(&opt_in());
        assert_eq!(scene.status(DAY), "unsubscribed");
        let stopped = scene.workspace.opt_ins.stopped_at(PHONE, GROUP);
        assert_eq!(stopped, Some(Timestamp::ZERO + APPEAR + HOUR));
        scene.set(&subscribe(&json!({})));
        assert_eq!(scene.workspace.sets[1].stopped_at, stopped, "and shows");
    }

    #[test]
    fn a_second_double_opt_in_within_a_day_prompts_nobody_and_voids_nothing() {
        let mut scene = Scene::confirming(&ada(), HOUR);
        scene.set(&opt_in());
        scene.status(HOUR / 2);
        scene.set(&opt_in());
        assert_eq!(scene.status(HOUR), "subscribed");
        assert_eq!(prompts(&scene).len(), 1);
        assert_eq!(scene.workspace.opt_ins.tally.suppressed, 1);
    }

    #[test]
    fn whoever_is_subscribed_is_not_prompted() {
        let mut scene = listening(&ada());
        scene.set(&subscribe(&json!({})));
        scene.status(DAY);
        scene.set(&opt_in());
        scene.track_all(&json!({"events": [event()]}));
        assert_eq!(scene.status(DAY), "subscribed");
        assert!(prompts(&scene).is_empty());
    }

    #[test]
    fn a_double_opt_in_before_the_profile_appeared_is_lost_for_ever() {
        let mut scene = Scene::confirming(&[], HOUR);
        scene.track(&json!({"external_id": "1", "phone": PHONE}));
        scene.now = scene.now + APPEAR / 2;
        scene.set(&opt_in());
        assert_eq!(scene.status(DAY * 30), "unknown");
        assert!(prompts(&scene).is_empty());
        assert_eq!(scene.workspace.silent.opt_ins_dropped, 1);
    }

    #[test]
    fn a_double_opt_in_of_somebody_without_a_phone_is_nothing() {
        let mut scene = Scene::confirming(&[json!({"external_id": "1"})], HOUR);
        scene.set(&subscribe(
            &json!({"phone": null, "external_id": "1", "use_double_opt_in_logic": true}),
        ));
        scene.status(DAY);
        assert!(prompts(&scene).is_empty());
        assert_eq!(scene.workspace.silent.opt_ins_dropped, 1);
    }

    #[test]
    fn track_can_create_somebody_and_start_their_double_opt_in() {
        let mut scene = Scene::confirming(&[], HOUR);
        let groups = json!([{"subscription_group_id": GROUP, "subscription_state": "subscribed",
            "use_double_opt_in_logic": true}]);
        scene.track(&json!({"external_id": "1", "phone": PHONE, "subscription_groups": groups}));
        assert_eq!(scene.status(APPEAR), "unsubscribed");
        assert_eq!(scene.status(HOUR), "subscribed");
        assert_eq!(scene.workspace.opt_ins.prompts[0].by(), "users_track");
    }

    #[test]
    fn an_event_starts_the_brands_own_double_opt_in_and_changes_no_state_before() {
        let mut scene = listening(&[]);
        let create = json!({"external_id": "1", "phone": PHONE, "language": "fr"});
        scene.track_all(&json!({"events": [event()], "attributes": [create]}));
        assert_eq!(scene.status(APPEAR), "unknown");
        assert_eq!(scene.status(HOUR), "subscribed");
        let prompt = &scene.workspace.opt_ins.prompts[0];
        assert_eq!((prompt.by(), prompt.language.as_str()), ("event", "fr"));
        assert_eq!(prompt.at, Timestamp::ZERO + APPEAR);
    }

    #[test]
    fn only_the_named_event_prompts_and_each_time_it_happens() {
        let mut scene = listening(&ada());
        let mut other = event();
        other["name"] = json!("other");
        scene.track_all(&json!({"events": [event(), other, event()]}));
        scene.status(APPEAR);
        assert_eq!(prompts(&scene).len(), 2);
    }

    #[test]
    fn an_event_of_somebody_without_a_phone_prompts_nobody() {
        let mut scene = listening(&[json!({"external_id": "1"})]);
        scene.track_all(&json!({"events": [event()]}));
        scene.status(APPEAR);
        assert!(prompts(&scene).is_empty());
        assert_eq!(scene.workspace.silent.opt_ins_dropped, 1);
    }

    #[test]
    fn a_stop_takes_everybody_with_the_phone_out_and_voids_the_answer_to_come() {
        let known = [
            ada()[0].clone(),
            json!({"external_id": "2", "phone": PHONE}),
        ];
        let mut scene = Scene::confirming(&known, HOUR);
        scene.set(&opt_in());
        scene.status(HOUR / 2);
        let stopped = scene.workspace.hear(Keyword::Stop, PHONE, GROUP, scene.now);
        assert_eq!(stopped, Some("Unsubscribed"));
        assert_eq!(scene.status(DAY * 2), "unsubscribed");
        let all = scene.workspace.profiles.all();
        assert!(all.iter().all(|one| !one.groups[GROUP].subscribed));
        assert_eq!(
            scene
                .workspace
                .hear(Keyword::Confirm, PHONE, GROUP, scene.now),
            None
        );
    }

    #[test]
    fn a_start_subscribes_or_prompts_whenever_the_last_prompt_was() {
        let mut scene = Scene::confirming(&ada(), HOUR);
        scene.workspace.hear(Keyword::Stop, PHONE, GROUP, scene.now);
        scene
            .workspace
            .hear(Keyword::Start, PHONE, GROUP, scene.now);
        assert_eq!(scene.status(Duration::ZERO), "subscribed");
        assert_eq!(scene.workspace.opt_ins.stopped_at(PHONE, GROUP), None);
        scene.workspace.hear(Keyword::Stop, PHONE, GROUP, scene.now);
        scene.set(&opt_in());
        scene.status(APPEAR);
        let started = scene
            .workspace
            .hear(Keyword::StartOptIn, PHONE, GROUP, scene.now);
        assert_eq!(started, Some("Unsubscribed"));
        assert_eq!(prompts(&scene).len(), 2);
        assert_eq!(scene.status(HOUR), "subscribed");
    }

    #[test]
    fn an_ordinary_set_ends_the_waiting() {
        let mut scene = Scene::confirming(&ada(), HOUR);
        scene.set(&opt_in());
        scene.status(APPEAR);
        scene.set(&subscribe(&json!({"subscription_state": "unsubscribed"})));
        assert_eq!(scene.status(DAY), "unsubscribed");
    }

    #[test]
    fn an_answer_and_a_write_happen_in_the_order_of_their_moments_although_nobody_asks_in_between()
    {
        let mut scene = Scene::confirming(&ada(), APPEAR / 2);
        scene.set(&opt_in());
        // Takes effect after the confirmation; both are on their way when somebody asks again.
        scene.now = scene.now + APPEAR * 4 / 5;
        scene.set(&subscribe(&json!({"subscription_state": "unsubscribed"})));
        assert_eq!(scene.status(DAY), "unsubscribed");
        assert_eq!(scene.workspace.opt_ins.tally.confirmed, 1);
    }

    #[test]
    fn a_person_is_shown_with_what_they_wait_for_until_it_expires() {
        let mut scene = Scene::new(&ada());
        scene.set(&opt_in());
        scene.status(APPEAR);
        let group = scene.workspace.person(PHONE)["groups"][0].clone();
        assert_eq!(
            (&group["opting_in"], &group["prompts"]),
            (&json!(true), &json!(1))
        );
        assert_eq!(group["status"], json!("Unsubscribed"));
        assert_eq!(
            group["expires_at"],
            json!(Timestamp::ZERO + APPEAR + DAY * 30)
        );
        scene.status(DAY * 31);
        let group = scene.workspace.person(PHONE)["groups"][0].clone();
        assert_eq!(
            (&group["opting_in"], &group["expires_at"]),
            (&json!(false), &Value::Null)
        );
        assert_eq!(scene.workspace.person("+1")["groups"], json!([]));
    }
}
