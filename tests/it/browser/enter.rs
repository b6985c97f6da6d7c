//! Who gets in, and what they may.

use super::*;

const TOKENS: &str = "[ops]\ntokens = [{ value = \"a-viewers-token\", role = \"viewer\" }, { value = \"an-operators-token\", role = \"operator\" }]\n";

async fn sign_in(desk: &Desk, token: &str) {
    desk.browser.fill("[name=token]", token).await;
    desk.browser.click("main .act").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_a_wrong_one_does_not_and_a_viewer_changes_nothing() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let scene = Scene::new(1, crate::process::ACTIVATIONS, &[]).await;
    let config = std::fs::read_to_string(scene.setup.config()).unwrap();
    scene.setup.write(&config.replace("[ops]\n", TOKENS));
    let relay = scene.relay().await;
    let desk = Desk {
        scene,
        relay,
        browser,
    };
    let browser = &desk.browser;
    browser.show(&desk.page(), "lanes").await;
    browser
        .wait("location.hash === '#login' && document.querySelector('[name=token]')")
        .await;
    sign_in(&desk, "a-wrong-token").await;
    browser
        .wait("document.querySelector('#refused').textContent.includes('no token of ops.tokens')")
        .await;
    assert_eq!(browser.cookies().await, json!([]));

    for (token, who, buttons) in [
        ("a-viewers-token", "viewer-1", false),
        ("an-operators-token", "operator-2", true),
    ] {
        browser.wait("document.querySelector('[name=token]')").await;
        sign_in(&desk, token).await;
        browser.wait("location.hash === '#now' && document.querySelector('#link').textContent === 'live'").await;
        let cookies = browser.cookies().await;
        let cookie = &cookies[0];
        assert_eq!(
            (&cookie["httpOnly"], &cookie["sameSite"]),
            (&json!(true), &json!("Strict")),
            "{cookies}"
        );
        assert_eq!(browser.run("return document.cookie;").await, "");
        assert!(browser.text("#who").await.contains(who));
        for page in ["lanes", "dead", "replays", "config", "activations"] {
            desk.show(page).await;
            let found = browser
                .run("return document.querySelectorAll('main button:not(form button)').length;")
                .await;
            // Whatever else a page has, none of these has any other button.
            assert!(buttons || found == 0, "{who} at {page}: {found}");
            assert!(
                !buttons || page != "lanes" || found.as_u64() > Some(5),
                "{who}: {found}"
            );
        }
        browser.click("#who button").await;
        browser.wait("location.hash === '#login'").await;
        assert_eq!(browser.cookies().await, json!([]));
    }
    // That it was refused is told of by the browser itself.
    browser.mistakes().await;
    desk.close().await;
}
