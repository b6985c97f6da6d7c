//! Whom the relay must leave alone, with the real binary: nobody is subscribed or asked without consent, no phone is
//! overwritten, a STOP stays one over every replay, and who takes part twice is treated once.

use serde_json::{Value, json};

use crate::support::scene::{GROUP, Scene, WITHIN};
use crate::support::{Relay, until};

const OPT_IN: &str = "quikly_double_opt_in";

/// Every way in which a phone can be subscribed or somebody asked, by activation.
const WAYS: [&str; 5] = ["sms", "inline", "event", "logic", "logic_inline"];

/// Two minutes in two seconds.
const SPEED: u32 = 60;

fn activations(more: &str) -> String {
    let ways = WAYS.map(|way| {
        let own = match way {
            "sms" => "flow = \"sms\"".to_owned(),
            "inline" => "flow = \"sms\"\nsubscribe = \"inline\"".to_owned(),
            "event" => format!("flow = \"double_opt_in\"\nopt_in = {{ event = \"{OPT_IN}\" }}"),
            "logic" => "flow = \"double_opt_in\"\nopt_in = { use_double_opt_in_logic = true }".to_owned(),
            _ => "flow = \"double_opt_in\"\nsubscribe = \"inline\"\nopt_in = { use_double_opt_in_logic = true }"
                .to_owned(),
        };
        format!(
            "[activations.{way}]\nworkspace = \"acme\"\n{own}\nsubscription_group_id = \"{GROUP}\"\n\
             mark_attributes = {{ joined_{way} = true }}\ncredit = {{ event = \"joined\" }}\n"
        )
    });
    format!("{}{more}", ways.concat())
}

/// Everybody who is asked confirms soon.
async fn open(more: &str, options: &[&str]) -> Scene {
    let event = format!("{OPT_IN}={GROUP}");
    let willing = [
        "--confirm",
        "1",
        "--refuse",
        "0",
        "--confirm-after",
        "10s..1m",
    ];
    let all = [&willing[..], &["--opt-in-event", &event], options].concat();
    Scene::new(SPEED, &activations(more), &all).await
}

fn email(way: &str, who: &str) -> String {
    format!("{who}.{way}@example.com")
}

/// The `place`-th phone of a way.
fn phone(way: &str, place: usize) -> String {
    let way = WAYS.iter().position(|it| *it == way).unwrap();
    format!("+1555{way}{place:06}")
}

/// A participation; its id and whose it is are one word, its phone is the `place`-th of this way.
fn joins(way: &str, who: &str, place: usize, consent: bool) -> Value {
    json!({"id": format!("{way}-{who}"), "q_scope": way, "type": "participation", "email": email(way, who),
        "phone": phone(way, place), "sms_consent": consent})
}

fn without_phone(mut event: Value) -> Value {
    event.as_object_mut().unwrap().remove("phone");
    event
}

/// A file of profiles that Braze has from the start.
fn known(profiles: &[Value]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<_> = profiles.iter().map(Value::to_string).collect();
    std::fs::write(file.path(), lines.join("\n")).unwrap();
    file
}

/// How often this phone was set, and how often prompted.
async fn touched(scene: &Scene, phone: &str) -> (usize, usize) {
    let of = |list: &str| format!("{list}?wait=false&phone={}", phone.replace('+', "%2B"));
    let (sets, prompts) = (of("sets"), of("prompts"));
    (
        scene.lines(&sets).await.len(),
        scene.lines(&prompts).await.len(),
    )
}

async fn credited(scene: &Scene, email: &str) -> usize {
    let question = format!("credits?wait=false&email={email}");
    scene.lines(&question).await.len()
}

/// How often the brand's own double opt-in was started for a profile.
fn opt_ins(profile: &Value) -> u64 {
    let events = profile["custom_events"].as_array().unwrap();
    let opt_in = events.iter().find(|event| event["name"] == OPT_IN);
    opt_in.map_or(0, |event| event["count"].as_u64().unwrap())
}

#[tokio::test]
async fn without_consent_or_phone_nobody_is_set_or_asked_to_opt_in() {
    // One of them is known, with the very phone.
    let old = WAYS
        .map(|way| json!({"email": email(way, "old"), "external_id": way, "phone": phone(way, 3)}));
    let old = known(&old);
    let scene = open("", &["--known", old.path().to_str().unwrap()]).await;
    // Failures on the way must not lead past the question either.
    scene
        .script(&json!([
            {"lane": "users_track", "next": 2, "action": "drop_answer"},
            {"lane": "users_export_ids", "next": 2, "action": {"status": 503}},
        ]))
        .await;
    let relay = scene.relay().await;
    let events: Vec<Value> = WAYS
        .iter()
        .flat_map(|way| {
            let unsaid = {
                let mut event = joins(way, "unsaid", 2, false);
                event.as_object_mut().unwrap().remove("sms_consent");
                event
            };
            [
                joins(way, "willing", 0, true),
                joins(way, "no", 1, false),
                unsaid,
                joins(way, "old", 3, false),
                without_phone(joins(way, "bare", 4, true)),
            ]
        })
        .collect();
    scene.events(&relay, &events).await;
    scene.ended(&relay).await;
    for way in WAYS {
        for (place, who) in ["willing", "no", "unsaid", "old", "bare"]
            .iter()
            .enumerate()
        {
            let email = email(way, who);
            let profile = scene.profile(&email).await.unwrap();
            let mark = &profile["custom_attributes"][format!("joined_{way}")];
            assert_eq!(*mark, json!(true), "{profile}");
            let (sets, prompts) = touched(&scene, &phone(way, place)).await;
            let asked = sets + prompts + opt_ins(&profile) as usize;
            let credits = credited(&scene, &email).await;
            if *who == "willing" {
                assert!(asked > 0 && credits == 1, "{email}: {profile}");
            } else {
                assert_eq!((asked, credits), (0, 0), "{email}: {profile}");
                assert_eq!(profile["subscription_groups"], json!({}), "{profile}");
            }
        }
    }
    for (flow, ways) in [("sms", 2), ("double_opt_in", 3)] {
        assert_eq!(scene.done(&relay, flow, "no_consent").await, 3 * ways);
        assert_eq!(scene.done(&relay, flow, "no_phone").await, ways);
    }
    assert_eq!(scene.dead(&relay).await, Vec::<Value>::new());
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn a_found_profile_with_another_phone_stays_as_it_was_unless_the_activation_says_replace() {
    const MAIL: &str = "[activations.mail]\nworkspace = \"acme\"\nflow = \"email\"\n\
         [activations.by_email]\nworkspace = \"acme\"\nflow = \"email\"\nidentity = \"email\"\n";
    let replace = format!(
        "[activations.replace]\nworkspace = \"acme\"\nflow = \"sms\"\nsubscription_group_id = \"{GROUP}\"\n\
         phone_mismatch = \"replace\"\n"
    );
    let hers = |way: &str| {
        json!({"email": email(way, "victim"), "external_id": way, "phone": "+15559000000",
            "custom_attributes": {"since": "2019"}})
    };
    let all = [&WAYS[..], &["mail", "by_email", "replace"]].concat();
    let profiles: Vec<_> = all.iter().map(|way| hers(way)).collect();
    let file = known(&profiles);
    let options = ["--known", file.path().to_str().unwrap()];
    let scene = open(&format!("{MAIL}{replace}"), &options).await;
    let relay = scene.relay().await;
    let mut before = Vec::new();
    for way in &all {
        before.push(scene.profile(&email(way, "victim")).await.unwrap());
    }
    let another = "+15559111111";
    let events: Vec<Value> = all
        .iter()
        .flat_map(|way| {
            let event = |kind: &str| {
                json!({"id": format!("{way}-{kind}"), "q_scope": way, "type": kind, "email": email(way, "victim"),
                    "phone": another, "sms_consent": true})
            };
            [event("participation"), event("progress")]
        })
        .collect();
    scene.events(&relay, &events).await;
    scene.ended(&relay).await;
    let letters = scene.dead(&relay).await;
    let mut dead: Vec<_> = letters
        .iter()
        .map(|it| {
            (
                it["activation"].as_str().unwrap(),
                it["reason"].as_str().unwrap(),
            )
        })
        .collect();
    dead.sort_unstable();
    let mut expected = WAYS.map(|way| (way, "phone_mismatch"));
    expected.sort_unstable();
    assert_eq!(dead, expected);
    for (way, before) in all.iter().zip(before) {
        let after = scene.profile(&email(way, "victim")).await.unwrap();
        if *way == "replace" {
            assert_eq!(after["phone"], another, "{after}");
        } else {
            assert_eq!(after, before);
        }
    }
    // Only where she may be overwritten, something was set.
    assert_eq!(touched(&scene, another).await, (1, 0));
    assert_eq!(touched(&scene, "+15559000000").await, (0, 0));
    assert_eq!(scene.summed("credits").await, 0);

    // As long as nothing is configured otherwise, a replay ends where it did.
    scene
        .command(&relay, &["dead", "replay", "--all", "--yes", "--watch"])
        .await;
    scene.ended(&relay).await;
    assert_eq!(scene.dead(&relay).await.len(), WAYS.len());
    assert_eq!(
        scene.profile(&email("sms", "victim")).await.unwrap()["phone"],
        "+15559000000"
    );
    relay.stop(&scene.setup).await;
}

/// Posts the participations of `who` while `rules` hold, and waits until all of them are dead.
async fn die(scene: &Scene, relay: &Relay, who: &[(&str, usize)], rules: &Value) {
    let before = scene.dead(relay).await.len();
    let events: Vec<_> = who
        .iter()
        .map(|(who, place)| joins("sms", who, *place, true))
        .collect();
    scene.script(rules).await;
    scene.events(relay, &events).await;
    until("they are dead", WITHIN, async || {
        let dead = scene.dead(relay).await.len() - before;
        (dead == who.len()).then_some(())
    })
    .await;
    scene.script(&json!([])).await;
}

#[tokio::test]
async fn who_said_stop_before_a_replay_is_not_subscribed_by_it() {
    let scene = open("[retry]\nmax_attempts = 2\n", &[]).await;
    let relay = scene.relay().await;
    // The subscription worked, nobody was told, and nobody could be asked.
    let unheard = json!([
        {"path": "/v2/subscription/status/set", "action": "drop_answer"},
        {"path": "/subscription/status/get", "skip": 1, "action": {"status": 503}},
    ]);
    die(&scene, &relay, &[("unheard", 0)], &unheard).await;
    // It was refused.
    let refused = json!([{"path": "/v2/subscription/status/set", "action": {"status": 400}}]);
    let both = [("refused", 1), ("refused-and-glad", 2)];
    die(&scene, &relay, &both, &refused).await;
    // It failed until nobody tried any more.
    let failed = json!([{"path": "/v2/subscription/status/set", "action": {"status": 503}}]);
    die(&scene, &relay, &[("failed", 3)], &failed).await;
    let sets_before = scene.summed("sets").await;
    assert_eq!(sets_before, 1, "the one that worked");
    for place in [0, 1, 3] {
        scene.text(&phone("sms", place), "stop").await;
    }
    scene
        .command(&relay, &["dead", "replay", "--all", "--yes", "--watch"])
        .await;
    scene.ended(&relay).await;
    assert_eq!(scene.done(&relay, "sms", "opted_out").await, 3);
    assert_eq!(scene.done(&relay, "sms", "subscribed").await, 1);
    assert_eq!(scene.dead(&relay).await, Vec::<Value>::new());
    // Nobody was set again but the one who had not said STOP.
    assert_eq!(scene.summed("sets").await, sets_before + 1);
    assert_eq!(touched(&scene, &phone("sms", 2)).await, (1, 0));
    for (who, place) in [("unheard", 0), ("refused", 1), ("failed", 3)] {
        let profile = scene.profile(&email("sms", who)).await.unwrap();
        let status = &profile["subscription_groups"][GROUP];
        assert_eq!(*status, json!("Unsubscribed"), "{who} ({place}): {profile}");
        assert_eq!(credited(&scene, &email("sms", who)).await, 0);
    }
    assert_eq!(credited(&scene, &email("sms", "refused-and-glad")).await, 1);
    relay.stop(&scene.setup).await;
}

#[tokio::test]
async fn who_takes_part_again_is_not_set_asked_or_credited_again() {
    let scene = open("", &[]).await;
    let relay = scene.relay().await;
    let first: Vec<_> = WAYS.map(|way| joins(way, "ada", 0, true)).to_vec();
    // The same once more, and another of the same person, in other letters and with more to tell.
    let again = |number: u64| -> Vec<Value> {
        WAYS.iter()
            .flat_map(|way| {
                let mut other = joins(way, "ada", 0, true);
                other["id"] = format!("{way}-ada-again-{number}").into();
                other["email"] = email(way, "ada").to_uppercase().into();
                other["attributes"] = json!({format!("again_{number}"): true});
                [joins(way, "ada", 0, true), other]
            })
            .collect()
    };
    let ways = WAYS.len() as u64;
    let receipt = scene.events(&relay, &first).await;
    assert_eq!(receipt["accepted"], ways);
    // At once, in the middle of the two minutes, after a kill there, and when all is over.
    let receipt = scene.events(&relay, &again(1)).await;
    assert_eq!(
        (&receipt["accepted"], &receipt["duplicates"]),
        (&json!(ways), &json!(ways))
    );
    until(
        "some wait for the two minutes to pass",
        WITHIN,
        async || {
            let sms = scene.jobs(&relay, "sms", "waiting").await;
            let double = scene.jobs(&relay, "double_opt_in", "waiting").await;
            (sms >= 1 && double >= 1).then_some(())
        },
    )
    .await;
    scene.events(&relay, &again(2)).await;
    relay.kill().await;
    let relay = scene.relay().await;
    scene.events(&relay, &again(3)).await;
    scene.ended(&relay).await;
    let receipt = scene.events(&relay, &again(4)).await;
    assert_eq!(
        (&receipt["accepted"], &receipt["duplicates"]),
        (&json!(ways), &json!(ways))
    );
    scene.ended(&relay).await;
    for way in WAYS {
        let email = email(way, "ada");
        let profile = scene.profile(&email).await.unwrap();
        let (sets, prompts) = touched(&scene, &phone(way, 0)).await;
        let wanted = match way {
            "sms" | "inline" => (1, 0, 0),
            "event" => (0, 1, 1),
            _ => (1, 1, 0),
        };
        assert_eq!((sets, prompts, opt_ins(&profile)), wanted, "{profile}");
        let requests = scene.lines(&format!("credits?email={email}")).await;
        assert_eq!(requests.len(), 1, "{way}: {requests:?}");
        assert_eq!(requests[0]["requests"], 1);
        for number in 1..=4 {
            let told = &profile["custom_attributes"][format!("again_{number}")];
            assert_eq!(*told, json!(true), "{profile}");
        }
    }
    assert_eq!(scene.dead(&relay).await, Vec::<Value>::new());
    relay.stop(&scene.setup).await;
}
