//! Double opt-in, keywords and the record of status sets, over HTTP and by the sandbox's clock.

use std::time::Duration;

use braze_relay::clock::Clock;
use braze_relay::model::time::Timestamp;
use braze_relay::sandbox::{Behaviour, Options, Reaction, Spread};
use serde_json::{Value, json};

use super::{KEY, Tester, at_once, told};

const GROUP: &str = "6f4b0c3e-0000-4000-8000-000000000000";
const EVENT: &str = "quikly_double_opt_in";
const DAY: Duration = Duration::from_hours(24);

fn phone(number: usize) -> String {
    format!("+1555{number:07}")
}

/// Everything at once, and an event that starts the brand's own double opt-in.
fn options() -> Options {
    let mut behaviour = Behaviour {
        seed: 11,
        confirm: 0.5,
        refuse: 0.25,
        confirm_after: "1m..40d".parse().unwrap(),
        refuse_after: "1m..2d".parse().unwrap(),
        ..Behaviour::default()
    };
    behaviour
        .opt_in_events
        .insert(EVENT.to_owned(), GROUP.to_owned());
    Options {
        behaviour,
        ..at_once()
    }
}

/// Thirty-seven people with the numbers from `first` on, each with an event: as many as fit into one request.
fn joining(first: usize) -> Value {
    let numbers = first..first + 37;
    let person = |number: usize| json!({"external_id": number.to_string(), "phone": phone(number)});
    let event = |number: usize| json!({"external_id": number.to_string(), "name": EVENT, "time": "2020-01-01T00:00:00Z"});
    json!({"attributes": numbers.clone().map(person).collect::<Vec<_>>(),
        "events": numbers.map(event).collect::<Vec<_>>()})
}

impl Tester {
    async fn status(&self, phone: &str) -> String {
        let plus = phone.replace('+', "%2B");
        let url = format!(
            "{}/subscription/status/get?subscription_group_id={GROUP}&phone={plus}",
            self.running.braze_url()
        );
        let request = self.client.get(url).bearer_auth(KEY);
        let (_, body) = told(request.send().await.unwrap()).await;
        body["status"][phone].as_str().unwrap().to_lowercase()
    }

    async fn set(&self, body: Value) {
        let mut whole = json!({"subscription_group_id": GROUP, "subscription_state": "subscribed"});
        let more = body.as_object().unwrap().clone();
        whole.as_object_mut().unwrap().extend(more);
        let (status, answer) = self.post("/subscription/status/set", &whole).await;
        assert_eq!((status, answer), (201, json!({"message": "success"})));
    }
}

#[tokio::test]
async fn a_crowd_does_exactly_what_its_seed_says_in_forty_days() {
    let options = options();
    let behaviour = options.behaviour.clone();
    // Forty days pass in a third of a second.
    let clock = Clock::starting_at(Timestamp::from_millis(1_795_770_600_000), 1e7);
    let tester = Tester::living_by(options, clock.clone()).await;
    let crowd = 4 * 37;
    for first in (0..crowd).step_by(37) {
        assert_eq!(tester.post("/users/track", &joining(first)).await.0, 201);
    }
    let (prompts, _) = tester.list("/prompts?by=event").await;
    assert_eq!(prompts.len(), crowd);
    assert_eq!(prompts[0]["event"], json!(EVENT));
    let end = clock.now() + DAY * 41;
    while clock.now() < end {
        tester.ask("/summary").await;
    }
    let mut seen = [0; 3];
    for (number, prompt) in prompts.iter().enumerate() {
        let phone = phone(number);
        let expected = match behaviour.reaction(&phone) {
            Reaction::Confirm(after) if after <= DAY * 30 => "subscribed",
            Reaction::Confirm(_) | Reaction::Ignore => "unknown",
            Reaction::Refuse(_) => "unsubscribed",
        };
        assert_eq!(tester.status(&phone).await, expected, "{phone}");
        let place = ["subscribed", "unknown", "unsubscribed"]
            .iter()
            .position(|one| *one == expected);
        seen[place.unwrap()] += 1;
        let told = tester.ask(&format!("/people/{phone}")).await;
        assert_eq!(told["will"], prompt["will"]);
        assert_eq!(
            told["after_ms"].as_u64().map(Duration::from_millis),
            behaviour.reaction(&phone).after()
        );
    }
    assert!(seen.iter().all(|many| *many > 20), "{seen:?}");
    let summary = tester.ask("/summary").await;
    let numbers = &summary["workspaces"]["sandbox"];
    assert_eq!(summary["prompts"], json!(crowd));
    assert_eq!(numbers["opt_ins_confirmed"], json!(seen[0]));
    assert_eq!(numbers["opt_ins_refused"], json!(seen[2]));
    assert!(numbers["opt_ins_expired"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_double_opt_in_by_api_prompts_once_and_shows_on_the_profile() {
    let mut silent = options();
    silent.behaviour.confirm = 0.0;
    silent.behaviour.refuse = 0.0;
    // A clock that nearly stands.
    let clock = Clock::starting_at(Timestamp::from_millis(1_795_770_600_000), 1e-6);
    let tester = Tester::living_by(silent, clock).await;
    let ada = phone(1);
    tester
        .set(json!({"phone": ada, "use_double_opt_in_logic": true}))
        .await;
    let person = json!({"external_id": "1", "phone": ada, "language": "fr"});
    tester
        .post("/users/track", &json!({"attributes": [person]}))
        .await;
    assert_eq!(tester.status(&ada).await, "unknown", "asked too early");
    for _ in 0..2 {
        tester
            .set(json!({"phone": ada, "use_double_opt_in_logic": true}))
            .await;
    }
    assert_eq!(tester.status(&ada).await, "unsubscribed");
    let (prompts, _) = tester.list(&format!("/prompts?phone={ada}")).await;
    let told: Vec<_> = prompts
        .iter()
        .map(|one| {
            (
                one["by"].as_str().unwrap(),
                one["language"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("status_set", "en")]);
    let (profiles, _) = tester.list("/profiles").await;
    assert_eq!(
        profiles[0]["opting_in"][GROUP]["prompted_at"],
        prompts[0]["at"]
    );
    let (sets, _) = tester.list("/sets?outcome=opt_in_dropped").await;
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0]["profiles"], json!([]));
    let (rest, _) = tester.list("/sets?via=v1&after=1").await;
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[0]["profiles"][0]["phone_asked_at"], sets[0]["at"]);
    assert_eq!(rest[0]["status_before"], json!("Unknown"));
    assert_eq!(rest[1]["status_before"], json!("Unsubscribed"));
    let summary = tester.ask("/summary").await;
    let numbers = &summary["workspaces"]["sandbox"];
    assert_eq!(
        (&numbers["prompts"], &numbers["prompts_suppressed"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_test_can_text_for_somebody() {
    let mut slow = options();
    slow.behaviour.confirm_after = Spread::exactly(DAY);
    let tester = Tester::new(slow).await;
    let ada = phone(1);
    let text = async |path: &str| {
        tester
            .post(&format!("/_sandbox/people/{path}"), &json!({}))
            .await
    };
    assert_eq!(text(&format!("{ada}/stop")).await.0, 404, "nobody has it");
    tester.post("/users/track", &joining(0)).await;
    let groupless = phone(999);
    let person = json!({"external_id": "x", "phone": groupless});
    tester
        .post("/users/track", &json!({"attributes": [person]}))
        .await;
    assert_eq!(
        text(&format!("{groupless}/stop")).await.0,
        400,
        "which group?"
    );
    assert_eq!(
        text(&format!("{ada}/start?subscription_group_id=x"))
            .await
            .0,
        400
    );
    assert_eq!(text(&format!("{ada}/dance")).await.0, 404);

    let (status, body) = text(&format!("{ada}/confirm")).await;
    let changed =
        json!([{"workspace": "sandbox", "subscription_group_id": GROUP, "status": "Subscribed"}]);
    assert_eq!((status, &body["changed"]), (200, &changed));
    assert_eq!(tester.status(&ada).await, "subscribed");
    assert_eq!(
        text(&format!("{ada}/confirm")).await.1["changed"],
        json!([])
    );

    // A raw plus and an encoded one are the same here.
    text(&format!("%2B{}/stop", &ada[1..])).await;
    assert_eq!(tester.status(&ada).await, "unsubscribed");
    tester.set(json!({ "phone": ada })).await;
    let (sets, _) = tester.list(&format!("/sets?phone={ada}")).await;
    assert!(sets[0]["stopped_at"].is_string(), "set after a STOP");
    assert_eq!(sets[0]["status_before"], json!("Unsubscribed"));

    text(&format!("{ada}/stop")).await;
    text(&format!("{ada}/start?subscription_group_id={GROUP}")).await;
    assert_eq!(tester.status(&ada).await, "subscribed");
    text(&format!("{ada}/stop")).await;
    text(&format!(
        "{ada}/start?subscription_group_id={GROUP}&double_opt_in=true"
    ))
    .await;
    assert_eq!(tester.status(&ada).await, "unsubscribed");
    let (prompts, _) = tester
        .list(&format!("/prompts?phone={ada}&by=keyword"))
        .await;
    assert_eq!(prompts.len(), 1);
    let person = tester.ask(&format!("/people/{ada}")).await;
    let group = &person["workspaces"][0]["groups"][0];
    assert_eq!(
        (&group["opting_in"], &group["prompts"]),
        (&json!(true), &json!(2))
    );
}

#[tokio::test]
async fn behaviour_can_be_changed_while_it_runs_and_put_back() {
    let tester = Tester::new(options()).await;
    let before = tester.ask("/behaviour").await;
    assert_eq!(before["opt_in_events"], json!({ EVENT: GROUP }));
    let (status, after) = tester
        .post(
            "/_sandbox/behaviour",
            &json!({"confirm": 1, "refuse": 0, "confirm_after": "0ms"}),
        )
        .await;
    assert_eq!((status, &after["seed"]), (200, &json!(11)));
    tester.post("/users/track", &joining(0)).await;
    for number in 0..37 {
        assert_eq!(tester.status(&phone(number)).await, "subscribed");
    }
    for wrong in [
        json!({"confirm": 2}),
        json!({"opt_in_events": {"e": "no group"}}),
        json!({"cheer": 1}),
    ] {
        assert_eq!(
            tester.post("/_sandbox/behaviour", &wrong).await.0,
            400,
            "{wrong}"
        );
    }
    let url = format!("http://{}/_sandbox/behaviour", tester.running.addr);
    let (status, back) = told(tester.client.delete(url).send().await.unwrap()).await;
    assert_eq!((status, back), (200, before));
}

#[tokio::test]
async fn an_orphaned_set_is_inherited_by_a_profile_that_comes_later() {
    let tester = Tester::new(at_once()).await;
    let ada = phone(1);
    let v2 = json!({"subscription_groups": [
        {"subscription_group_id": GROUP, "subscription_state": "subscribed", "phones": [ada]}]});
    assert_eq!(tester.post("/v2/subscription/status/set", &v2).await.0, 201);
    assert_eq!(tester.status(&ada).await, "unknown");
    let person = json!({"external_id": "1", "phone": ada});
    tester
        .post("/users/track", &json!({"attributes": [person]}))
        .await;
    assert_eq!(tester.status(&ada).await, "subscribed");
    let (sets, _) = tester.list("/sets").await;
    assert_eq!(
        (sets[0]["via"].as_str(), sets[0]["outcome"].as_str()),
        (Some("v2"), Some("orphaned"))
    );
    assert_eq!(tester.ask("/summary").await["sets"], json!(1));
}

#[tokio::test]
async fn credits_tell_their_further_pairs_and_their_order() {
    let tester = Tester::new(at_once()).await;
    for key in ["a", "a", "b"] {
        assert_eq!(tester.credit(key).await.unwrap().status(), 200);
    }
    let (credits, _) = tester.list("/credits").await;
    let arrivals: Vec<_> = credits.iter().map(|one| one["arrival"].clone()).collect();
    assert_eq!(arrivals, [json!(0), json!(2)]);
    assert_eq!(credits[0]["more"], json!({}));
}
