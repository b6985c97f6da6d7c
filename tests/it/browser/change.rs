//! What is changed by clicking, and by keys alone: asked about once, done, and in the audit.

use super::driver::{ENTER, ESCAPE};
use super::*;

const YES: &str = "#ask-yes";
const LETTER: &str = "main td a[href^=\"#letter/\"]";

async fn dies(desk: &Desk, number: u64) {
    let dead = desk.status().await["events"]["dead"].as_u64().unwrap();
    desk.join(number, 1).await;
    desk.until_events("dead", dead + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_replayed_by_clicking_by_keys_and_all_at_once() {
    let Some(desk) = Desk::new("").await else {
        return;
    };
    desk.refuse(true).await;
    for number in 0..5 {
        dies(&desk, number).await;
    }
    desk.refuse(false).await;
    let browser = &desk.browser;

    // By clicking; nothing is done before it was said twice.
    desk.show("dead").await;
    browser
        .wait("document.querySelector('main').textContent.includes('5 dead letters')")
        .await;
    assert!(
        !browser.text("main").await.contains("person."),
        "a list shows no address"
    );
    browser.click(LETTER).await;
    browser.click("#replay").await;
    browser.wait("document.querySelector('#ask').open").await;
    assert!(
        browser
            .text("#ask")
            .await
            .contains("One letter lives again")
    );
    browser.press(ESCAPE).await;
    browser.wait("!document.querySelector('#ask').open").await;
    assert_eq!(
        browser.run("return document.activeElement.id;").await,
        "replay"
    );
    browser.click("#replay").await;
    browser.wait("document.querySelector('#ask').open").await;
    browser.click("#ask-no").await;
    assert_eq!(desk.status().await["events"]["dead"], 5);
    assert_eq!(desk.audit().await, json!([]));
    browser.click("#replay").await;
    browser.click(YES).await;
    desk.until_events("done", 1).await;

    // By keys alone, from the top of the page.
    desk.show("dead").await;
    browser
        .wait(&format!("document.querySelector({LETTER:?})"))
        .await;
    browser.tab_to(LETTER).await;
    browser.press(ENTER).await;
    browser.wait("document.querySelector('#replay')").await;
    browser.tab_to("#replay").await;
    browser.press(ENTER).await;
    browser.wait("document.querySelector('#ask').open").await;
    browser.tab_to(YES).await;
    browser.press(ENTER).await;
    desk.until_events("done", 2).await;

    // All at once: previewed, begun, watched to its end.
    desk.show("dead").await;
    browser
        .wait("document.querySelector('main').textContent.includes('3 dead letters')")
        .await;
    browser.click("main .act:not(form *)").await;
    browser.wait("document.querySelector('#ask').open").await;
    let asked = browser.text("#ask").await;
    assert!(
        asked.contains("Replay 3 dead letters?") && asked.contains("rejected 3"),
        "{asked}"
    );
    assert!(asked.contains("acme/quikly"), "{asked}");
    browser.click(YES).await;
    browser.wait("location.hash === '#replay/1' && document.querySelector('main').textContent.includes('finished')").await;
    desk.until_events("done", 5).await;

    desk.show("audit").await;
    browser
        .wait("document.querySelectorAll('main tbody tr').length === 4")
        .await;
    let done = browser.run("return [...document.querySelectorAll('main tbody tr td:nth-child(3)')].map((it) => it.textContent);").await;
    assert_eq!(
        done,
        json!(["replay", "replay begin", "dead replay", "dead replay"])
    );
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_discarded_only_with_a_reason() {
    let Some(desk) = Desk::new("").await else {
        return;
    };
    desk.refuse(true).await;
    dies(&desk, 0).await;
    dies(&desk, 1).await;
    let browser = &desk.browser;
    desk.show("dead").await;
    browser.click("main .act:not(form *) + button").await;
    browser.wait("document.querySelector('#ask').open").await;
    browser.click(YES).await;
    assert_eq!(
        browser
            .run("return document.querySelector('#ask').open;")
            .await,
        true
    );
    browser.fill("#ask [name=because]", "they were tests").await;
    browser.click(YES).await;
    desk.until_events("discarded", 2).await;
    browser
        .wait("document.querySelector('#said').textContent.includes('2 letters are discarded')")
        .await;
    assert_eq!(desk.audit().await[0]["why"], "they were tests");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_held_with_a_reason_and_an_end_and_released() {
    let Some(desk) = Desk::new("").await else {
        return;
    };
    let browser = &desk.browser;
    desk.show("lanes").await;
    browser.click("[aria-label=\"Hold acme/quikly\"]").await;
    browser.wait("document.querySelector('#ask').open").await;
    browser.fill("#ask [name=minutes]", "7").await;
    browser.fill("#ask [name=because]", "Quikly is moved").await;
    let lane = async || {
        let status = desk.status().await;
        let lanes = status["lanes"].as_array().unwrap().iter();
        lanes
            .clone()
            .find(|lane| lane["lane"] == "acme/quikly")
            .unwrap()["held"]
            .clone()
    };
    assert_eq!(lane().await, Value::Null, "it was asked first");
    browser.press(ENTER).await;
    browser
        .wait("document.querySelector('[aria-label=\"Release acme/quikly\"]')")
        .await;
    let held = lane().await;
    assert_eq!(
        (&held["reason"], &held["because"]),
        (&json!("manual"), &json!("Quikly is moved"))
    );
    assert!(held["until"].is_string());
    let alarms = browser.text("#alarms").await;
    assert!(
        alarms.contains("acme/quikly is held by hand until") && alarms.contains("Quikly is moved"),
        "{alarms}"
    );

    // Whoever joins is not credited, and the page tells where they are.
    desk.join(0, 3).await;
    browser.show(&desk.page(), "now").await;
    browser
        .wait("document.querySelector('.verdict')?.textContent.includes('3 stuck')")
        .await;

    desk.show("lanes").await;
    browser.click("[aria-label=\"Release acme/quikly\"]").await;
    browser.click(YES).await;
    desk.until_events("done", 3).await;
    browser
        .wait("document.querySelector('#alarms').textContent === ''")
        .await;

    // An activation, too.
    browser.click("[aria-label=\"Hold park\"]").await;
    browser.click(YES).await;
    browser.click("[aria-label=\"Release park\"]").await;
    browser.click(YES).await;
    browser
        .wait("document.querySelector('[aria-label=\"Hold park\"]')")
        .await;
    let audit = desk.audit().await;
    let what: Vec<&Value> = audit
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["what"])
        .collect();
    assert_eq!(
        what,
        ["lane release", "lane hold", "lane release", "lane hold"]
    );
    assert_eq!(audit[3]["why"], "Quikly is moved");
    desk.close().await;
}
