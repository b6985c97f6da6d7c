//! How every page looks: in both themes, on a desk and on a phone, to eyes and to machines that read aloud.

use super::*;

const PAGES: [&str; 11] = [
    "now",
    "activations",
    "activation/acme/resend",
    "dead",
    "letter",
    "replays",
    "replay/1",
    "lanes",
    "person",
    "config",
    "audit",
];

/// Text that is cut, and whether the page is wider than the window.
const CUT: &str = "const hidden = (it) => it.closest('.hidden, thead, .skip, .u-wrap');
    const cut = [...document.querySelectorAll('body *')].filter((it) => !hidden(it) && it.clientWidth > 0
        && it.scrollWidth > it.clientWidth + 1 && getComputedStyle(it).overflowX !== 'visible');
    const out = [...document.querySelectorAll('body *')].filter((it) => !hidden(it) && it.getBoundingClientRect().width > 0
        && it.getBoundingClientRect().right > innerWidth + 1);
    return [document.documentElement.scrollWidth > innerWidth, ...[...cut, ...out].map((it) => it.outerHTML.slice(0, 120))];";

/// Text with less than 4.5 to 1 against what is behind it (WCAG 2.2, 1.4.3).
const FAINT: &str = "const parse = (text) => { const [r, g, b, a = 1] = text.match(/[0-9.]+/g).map(Number); return { rgb: [r, g, b], a }; };
    const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
        return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
    const behind = (it) => { for (; it; it = it.parentElement) { const c = parse(getComputedStyle(it).backgroundColor); if (c.a === 1) return c.rgb; } return [255, 255, 255]; };
    const faint = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const it = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !it.checkVisibility() || it.closest('.hidden, .skip, script, noscript, dialog')) continue;
        const [one, other] = [light(parse(getComputedStyle(it).color).rgb), light(behind(it))].sort((a, b) => b - a);
        const ratio = (one + .05) / (other + .05);
        if (ratio < 4.5) faint.push(`${walk.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
    }
    return faint;";

/// Headings that leave a step out, tables without heads, inputs and buttons without a name.
const UNTOLD: &str = "const levels = [...document.querySelectorAll('main :is(h1, h2, h3)')].map((it) => Number(it.tagName[1]));
    const wrong = levels.filter((level, at) => level > (levels[at - 1] ?? 0) + 1).map((level) => `h${level}`);
    if (levels.filter((it) => it === 1).length !== 1) wrong.push('not one h1');
    for (const it of document.querySelectorAll('main table:not(.u-legend)')) if (!it.caption || !it.querySelector('th[scope=col]')) wrong.push('a table');
    for (const it of document.querySelectorAll('main :is(input, select)')) if (!it.labels.length) wrong.push(it.name);
    for (const it of document.querySelectorAll('button')) if (it.checkVisibility() && !(it.textContent.trim() || it.ariaLabel)) wrong.push('a button');
    return wrong;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_and_is_readable_in_both_themes_on_a_desk_and_on_a_phone() {
    let long = "an-activation-whose-name-is-longer-than-a-phone-is-wide";
    let more = format!("[activations.{long}]\nworkspace = \"acme\"\nflow = \"email\"\n");
    let Some(desk) = Desk::new(&more).await else {
        return;
    };
    desk.refuse(true).await;
    desk.join(0, 30).await;
    desk.until_events("dead", 30).await;
    desk.scene
        .command(
            &desk.relay,
            &["dead", "replay", "--all", "--rate", "1/s", "--yes"],
        )
        .await;
    desk.scene
        .command(
            &desk.relay,
            &[
                "lane",
                "hold",
                "acme/users_delete",
                "--for",
                "10m",
                "--because",
                "a reason of some length",
            ],
        )
        .await;
    desk.join(100, 20).await;
    let dead = desk
        .scene
        .client
        .document(&desk.relay.ops("/api/v1/dead?limit=1"))
        .await;
    let letter = format!("letter/{}", dead["items"][0]["id"].as_str().unwrap());
    let browser = &desk.browser;
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        for width in [1280, 360] {
            browser.look(width, theme).await;
            for page in PAGES {
                let name = page.split('/').next().unwrap();
                desk.show(if page == "letter" { &letter } else { page })
                    .await;
                let drawn = match name {
                    "person" => "form",
                    "activation" => ".funnel",
                    _ => ":is(table, dl.pairs)",
                };
                browser
                    .wait(&format!("document.querySelector('main {drawn}')"))
                    .await;
                if page == "person" {
                    browser.fill("[name=email]", "person.1@example.com").await;
                    browser.click("main .act").await;
                    browser.wait("document.querySelector('main .card')").await;
                    assert!(!browser.text("main").await.contains("person.1@"));
                }
                let place = format!("{name}, {theme}, {width}");
                assert_eq!(browser.run("return innerWidth;").await, width, "{place}");
                assert_eq!(browser.run(CUT).await, json!([false]), "{place}: cut");
                assert_eq!(browser.run(FAINT).await, json!([]), "{place}: faint");
                assert_eq!(browser.run(UNTOLD).await, json!([]), "{place}: untold");
                browser.picture(&format!("{name}-{width}-{theme}")).await;
                desk.left_clean().await;
            }
        }
        grounds.push(
            browser
                .run("return getComputedStyle(document.body).backgroundColor;")
                .await,
        );
    }
    assert_ne!(grounds[0], grounds[1]);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_email_that_is_typed_in_stands_in_no_address() {
    let Some(desk) = Desk::new("").await else {
        return;
    };
    desk.refuse(true).await;
    desk.join(0, 2).await;
    desk.until_events("dead", 2).await;
    let browser = &desk.browser;
    desk.show("dead").await;
    browser.click("summary").await;
    browser.fill("[name=text]", "person.1@example.com").await;
    browser.click("form.filter .act").await;
    browser
        .wait("document.querySelector('#failed').textContent.includes('participant')")
        .await;
    browser.fill("[name=text]", "").await;
    browser
        .fill("[name=participant]", "Person.1@example.com ")
        .await;
    browser.click("form.filter .act").await;
    browser.wait("location.hash.includes('participant=') && document.querySelector('main').textContent.includes('1 dead letter match')").await;
    desk.close().await;
}
