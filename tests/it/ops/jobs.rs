//! Jobs that are not done: list and show.

use serde_json::json;

use super::*;

const ADA: &str = "ada.lovelace@example.com";

#[tokio::test]
async fn a_job_is_listed_and_shown_masked_with_what_holds_it_and_what_comes_next() {
    let world = World::open().await;
    let id = world.append(vec![running(ADA)]).await[0];
    let listed = world.get("/api/v1/jobs").await;
    let page = listed.json();
    assert_eq!(page["next"], Value::Null);
    let item = &page["items"][0];
    for (field, value) in [
        ("id", json!(id.to_string())),
        ("event_id", json!(id.event.to_string())),
        ("source", json!("quikly")),
        ("workspace", json!("acme")),
        ("activation", json!("spring-drop")),
        ("flow", json!("email")),
        ("step", json!("look_up")),
        ("lane", json!("acme/users_export_ids")),
        ("state", json!("ready")),
        ("due", json!(today().to_string())),
        ("behind", json!(false)),
        ("attempts", json!(0)),
        ("last_failure", Value::Null),
        ("participant", json!("a***@example.com")),
        ("participant_hash", json!(world.store.participant_hash(ADA))),
        ("accepted_at", json!(today().to_string())),
    ] {
        assert_eq!(item[field], value, "{field}");
    }
    assert_eq!(item["held"]["activation"], "spring-drop");
    assert_eq!(item["held"]["reason"], "burials");

    let told = world.get(&format!("/api/v1/jobs/{id}")).await;
    let shown = told.json();
    assert_eq!(shown["id"], item["id"]);
    assert_eq!(shown["history"], json!([]));
    let plan = shown["plan"].as_array().unwrap();
    let said = plan[0].as_str().unwrap();
    assert!(said.contains("spring-drop is held (burials)"), "{said}");
    let last = plan.last().unwrap().as_str().unwrap();
    assert_eq!(last, "credit it: tell Quikly joined");
    for text in [listed.text, told.text] {
        assert!(!text.contains("ada.lovelace"), "whole address: {text}");
        assert!(!text.contains("+15550100"), "a phone: {text}");
    }
}

#[tokio::test]
async fn a_persons_timeline_is_found_by_their_address_and_does_not_say_it() {
    let world = World::open().await;
    let dead = world.rejected(ADA).await;
    let mut again = running(ADA);
    again.event.key = "again".into();
    let living = world.append(vec![again]).await[0];
    world.append(vec![running("bob@example.com")]).await;
    let asked = json!({ "email": " Ada.Lovelace@EXAMPLE.com " });
    let said = world.post("/api/v1/participants", &asked).await;
    assert_eq!(said.status, 200, "{}", said.text);
    assert!(
        !said.text.to_lowercase().contains("lovelace"),
        "{}",
        said.text
    );
    let told = said.json();
    assert_eq!(told["participant_hash"], world.store.participant_hash(ADA));
    assert_eq!(told["more"], false);
    let events = told["events"].as_array().unwrap();
    let events: Vec<_> = events
        .iter()
        .map(|it| {
            (
                it["id"].clone(),
                it["state"].clone(),
                it["jobs"][0]["state"].clone(),
            )
        })
        .collect();
    let expected = [(living, "queued", "ready"), (dead, "dead", "dead")];
    let expected =
        expected.map(|(id, state, job)| (json!(id.event.to_string()), json!(state), json!(job)));
    assert_eq!(events, expected);
    let by_hash = json!({ "email": told["participant_hash"] });
    let again = world.post("/api/v1/participants", &by_hash).await.json();
    assert_eq!(again["events"], told["events"]);
    for bad in [
        json!({}),
        json!({ "email": "nobody" }),
        json!({ "email": ADA, "more": 1 }),
    ] {
        let refused = world.post("/api/v1/participants", &bad).await;
        assert_eq!(refused.refusal(), 400);
        assert!(!refused.text.contains("lovelace"), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_held_lane_holds_its_jobs_and_a_dead_job_says_why_it_died() {
    let world = World::open().await;
    let id = world.rejected(ADA).await;
    let item = &world.get("/api/v1/jobs").await.json()["items"][0];
    assert_eq!(item["state"], "dead");
    assert_eq!(item["due"], Value::Null);
    assert_eq!(item["lane"], Value::Null);
    assert_eq!(item["held"], Value::Null);
    let last = json!({
        "at": today().to_string(), "step": "update", "reason": "rejected", "class": "rejected",
        "answer": { "status": 400, "text": "refused" },
    });
    assert_eq!(item["last_failure"], last);
    let shown = world.get(&format!("/api/v1/jobs/{id}")).await.json();
    assert_eq!(shown["history"][0]["step"], "update");
    assert_eq!(
        (&shown["attempts"], &shown["failures"]),
        (&json!(1), &json!(2))
    );

    let mut credit = running("bo@example.com");
    credit.event.scope = "autumn".into();
    let event = "joined".into();
    credit.start = Start::Run {
        lane: "acme/quikly".parse().unwrap(),
        job: Job::new(State::Credit { event }, today()),
    };
    let id = world.append(vec![credit]).await[0];
    let shown = world.get(&format!("/api/v1/jobs/{id}")).await.json();
    assert_eq!(shown["held"]["lane"], "acme/quikly");
    assert_eq!(shown["held"]["reason"], "denied");
}

#[tokio::test]
async fn a_job_that_is_done_or_never_was_is_not_found() {
    let world = World::free().await;
    let id = world.append(vec![running(ADA)]).await[0];
    let path = format!("/api/v1/jobs/{id}");
    assert_eq!(world.get(&path).await.status, 200);
    let leased = world.lend_all(&look_ups()).await.remove(0);
    let shown = world.get(&path).await.json();
    assert_eq!(shown["state"], "in_flight");
    assert_eq!(shown["plan"][0], "its call is under way");
    world.settle(&leased, Fate::Finish(Outcome::Found)).await;
    assert_eq!(world.get(&path).await.refusal(), 404);
    assert_eq!(world.get("/api/v1/jobs/nonsense").await.refusal(), 400);
}

#[tokio::test]
async fn job_filters_choose_and_cursors_go_on() {
    let world = World::free().await;
    let mut all = vec![world.rejected(ADA).await];
    let people = (0..5).map(|n| format!("p{n}@example.com"));
    all.extend(world.append(people.map(|it| running(&it)).collect()).await);
    all.extend(world.append(vec![posted("gone", "q@example.com")]).await);
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    let ids = async |query: &str| {
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/jobs?limit=2{query}{cursor}");
            let page = world.get(&path).await.json();
            for item in page["items"].as_array().unwrap() {
                found.push(item["id"].as_str().unwrap().to_owned());
            }
            match page["next"].as_str() {
                None => return found,
                Some(next) => cursor = format!("&after={next}"),
            }
        }
    };
    assert_eq!(ids("").await, all);
    let hash = world.store.participant_hash("p3@example.com");
    for (query, expected) in [
        ("&workspace=acme".to_owned(), &all[..6]),
        ("&workspace=other".into(), &[]),
        ("&activation=gone".into(), &all[6..]),
        ("&flow=email".into(), &all[..6]),
        ("&flow=sms".into(), &[]),
        ("&state=ready".into(), &all[1..6]),
        ("&state=in_flight".into(), &[]),
        ("&reason=rejected".into(), &all[..1]),
        ("&class=configuration".into(), &all[6..]),
        ("&until=2020-01-01T00:00:00Z".into(), &[]),
        ("&since=2020-01-01T00:00:00Z".into(), &all[..]),
        ("&participant=%20P3@example.com".into(), &all[4..5]),
        (format!("&participant={hash}"), &all[4..5]),
    ] {
        assert_eq!(ids(&query).await, expected, "{query}");
    }
    for wrong in [
        "?limit=0",
        "?limit=1001",
        "?stat=dead",
        "?state=asleep",
        "?participant=ada",
        "?after=7",
    ] {
        let refused = world.get(&format!("/api/v1/jobs{wrong}")).await;
        assert_eq!(refused.refusal(), 400, "{wrong}");
    }
}
