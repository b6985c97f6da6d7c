//! What is watched while it happens.

use super::*;

/// The number of a tile, and what is written below it.
const TILE: &str = "const tile = (name) => [...document.querySelectorAll('.tile')].find((it) => it.querySelector('dt').textContent === name);
     const below = (name) => tile(name).querySelector('small').textContent;
     const number = (text) => Number(text.replaceAll(/[^0-9]/g, ''));";

async fn told(desk: &Desk, name: &str) -> u64 {
    let script = format!("{TILE} return number(below({name:?}));");
    desk.browser.run(&script).await.as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_is_watched_live_and_ends_with_the_numbers_of_the_relay() {
    let Some(desk) = Desk::new("").await else {
        return;
    };
    desk.show("now").await;
    let browser = &desk.browser;
    // What only a reload would take away, and what a careless redrawing would.
    browser.run("window.unloaded = false;").await;
    let link = "main a[href^=\"#activation/\"]";
    browser
        .wait(&format!("document.querySelector({link:?})"))
        .await;
    browser
        .run(&format!("document.querySelector({link:?}).focus(); getSelection().selectAllChildren(document.querySelector('h2'));
            window.focused = document.activeElement; scrollTo(0, 200);"))
        .await;
    for round in 1..=3 {
        desk.join(round * 100, 40).await;
        let all = round * 40;
        until(&format!("the page shows {all}"), WITHIN, async || {
            let shown = (
                told(&desk, "Accepted per second").await,
                told(&desk, "Done per second").await,
            );
            assert!(shown.0 <= all, "{shown:?}");
            (shown == (all, all)).then_some(())
        })
        .await;
    }
    let kept = "return [window.unloaded === false, document.activeElement === window.focused,
         getSelection().toString() === document.querySelector('h2').textContent, scrollY === 200];";
    assert_eq!(browser.run(kept).await, json!([true, true, true, true]));

    let status = desk.status().await;
    assert_eq!(status["events"]["done"], 120);
    let metric = desk
        .scene
        .metric(&desk.relay, "relay_events_total{result=\"accepted\"")
        .await;
    assert_eq!(metric, 120);
    let names = |script: &'static str| async move { texts(&browser.run(script).await) };
    let lanes: Vec<String> = list(&status["lanes"], "lane");
    let shown = names("return [...document.querySelectorAll('table')].find((it) => it.caption.textContent === 'Lanes').querySelectorAll('tbody tr td:first-child').values().map((it) => it.textContent).toArray();").await;
    assert_eq!(shown, lanes, "every lane is shown");
    let shown = names("return [...document.querySelectorAll('table')].find((it) => it.caption.textContent === 'Activations').querySelectorAll('tbody tr td:first-child').values().map((it) => it.textContent).toArray();").await;
    assert_eq!(shown, list(&status["activations"], "activation"));

    desk.show("activation/acme/resend").await;
    browser.wait("document.querySelector('.funnel')").await;
    let funnel =
        "return [...document.querySelectorAll('.funnel b')].map((it) => Number(it.textContent));";
    let steps = browser.run(funnel).await;
    let steps = steps.as_array().unwrap().iter();
    assert_eq!(steps.filter_map(Value::as_u64).sum::<u64>(), 120);
    assert!(browser.text("main").await.contains("120 people"));
    desk.close().await;
}

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().unwrap().iter();
    all.map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn list(rows: &Value, name: &str) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row[name].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_says_that_the_relay_is_gone_and_goes_on_when_it_is_back() {
    let Some(mut desk) = Desk::new("").await else {
        return;
    };
    // The same address after a restart.
    let config = std::fs::read_to_string(desk.scene.setup.config()).unwrap();
    let port = desk.page().port().unwrap();
    let listen = |port: u16| format!("[ops]\nlisten = \"127.0.0.1:{port}\"");
    assert!(config.contains(&listen(0)));
    desk.scene
        .setup
        .write(&config.replace(&listen(0), &listen(port)));
    desk.show("now").await;
    desk.join(0, 7).await;
    desk.until_events("done", 7).await;
    desk.browser
        .wait("document.querySelector('.tile small').textContent === '7 in all'")
        .await;
    desk.relay.kill().await;
    let browser = &desk.browser;
    browser
        .wait("document.querySelector('#alarms').textContent.includes('The relay does not answer')")
        .await;
    let link = browser.text("#link").await;
    assert!(link.starts_with("not connected since"), "{link}");
    desk.relay = desk.scene.relay().await;
    browser
        .wait("document.querySelector('#link').textContent === 'live'")
        .await;
    desk.join(100, 5).await;
    browser
        .wait("document.querySelector('.tile small').textContent === '12 in all'")
        .await;
    assert!(!browser.text("#alarms").await.contains("does not answer"));
    // That nobody listened was told of, and is no mistake of the page.
    browser.mistakes().await;
    desk.close().await;
}
