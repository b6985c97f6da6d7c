//! A Chromium without a window, driven as a person would: WebDriver (W3C) is JSON over HTTP, and the client for that is here
//! already; a crate for it brings thirty others.
//!
//! Invariants: one browser at a time; its profile is new, and the browser, its driver and that profile end with the handle,
//! also where a test fails. A step that cannot be done within a minute fails the test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use braze_relay::client::http::RawAnswer;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use crate::support::{Client, require, until};

/// Longer than any step takes on a machine that has much to do.
pub const WITHIN: Duration = Duration::from_mins(1);

/// Keys as WebDriver writes them.
pub const TAB: &str = "\u{E004}";
pub const ENTER: &str = "\u{E007}";
pub const ESCAPE: &str = "\u{E00C}";

/// The name of an element's reference (W3C WebDriver section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

static ONE: Mutex<()> = Mutex::const_new(());

/// The driver, and by its process group the browser, which does not end with it.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let group = self.0.id().and_then(|id| Pid::from_raw(id as i32));
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A browser with one page.
pub struct Browser {
    client: Client,
    session: Url,
    _driver: Driver,
    profile: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts one; `None`, loudly, where there is none.
    pub async fn start() -> Option<Browser> {
        if !(require("chromium") && require("chromedriver")) {
            return None;
        }
        let turn = ONE.lock().await;
        let profile = tempfile::tempdir().unwrap();
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // What the browser leaves lying about when it is killed goes with its profile.
            .env("TMPDIR", profile.path())
            .process_group(0)
            .spawn();
        let mut driver = Driver(driver.unwrap());
        let mut lines = BufReader::new(driver.0.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("a port");
            let said = line.split_once("successfully on port ");
            if let Some(port) = said.and_then(|(_, port)| port.trim_end_matches('.').parse().ok()) {
                break port;
            }
        };
        // What it says further must go somewhere.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = Client::new();
        let root = root(port);
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = client
            .post(&root.join("session").unwrap(), body(&wanted))
            .await;
        let id = value(&answer.unwrap())["sessionId"]
            .as_str()
            .unwrap()
            .to_owned();
        Some(Browser {
            session: root.join(&format!("session/{id}/")).unwrap(),
            client,
            _driver: driver,
            profile,
            _turn: turn,
        })
    }

    /// Ends it as a person would, and sees that it ends.
    pub async fn close(self) {
        let session = self.session.as_str().trim_end_matches('/');
        let ended = self.client.delete(&session.parse().unwrap()).await;
        value(&ended.unwrap());
    }

    async fn post(&self, what: &str, said: &Value) -> RawAnswer {
        let url = self.session.join(what).unwrap();
        self.client.post(&url, body(said)).await.unwrap()
    }

    async fn get(&self, what: &str) -> Value {
        let url = self.session.join(what).unwrap();
        value(&self.client.get(&url).await.unwrap())
    }

    /// Opens an address.
    pub async fn open(&self, url: &Url) {
        value(&self.post("url", &json!({ "url": url.as_str() })).await);
    }

    /// Shows a page of the dashboard by its address alone, as a bookmark does.
    pub async fn show(&self, dashboard: &Url, page: &str) {
        // Anything else between: an address that differs in its fragment alone loads nothing.
        self.open(&"about:blank".parse().unwrap()).await;
        let mut url = dashboard.clone();
        url.set_fragment(Some(page));
        self.open(&url).await;
    }

    /// What a script answers; it is the body of a function.
    pub async fn run(&self, script: &str) -> Value {
        let said = json!({ "script": script, "args": [] });
        value(&self.post("execute/sync", &said).await)
    }

    /// Waits until an expression is true.
    pub async fn wait(&self, expression: &str) {
        let script = format!("return Boolean({expression});");
        until(expression, WITHIN, async || {
            (self.run(&script).await == true).then_some(())
        })
        .await;
    }

    /// What is to be read there.
    pub async fn text(&self, css: &str) -> String {
        let script = format!("return document.querySelector({css:?})?.textContent ?? '';");
        self.run(&script).await.as_str().unwrap().to_owned()
    }

    /// Clicks on what `css` finds, once it is there and can be clicked.
    pub async fn click(&self, css: &str) {
        self.on(css, "click", &json!({})).await;
    }

    /// Types into what `css` finds, in place of what is there.
    pub async fn fill(&self, css: &str, text: &str) {
        self.on(css, "clear", &json!({})).await;
        self.on(css, "value", &json!({ "text": text })).await;
    }

    async fn on(&self, css: &str, what: &str, said: &Value) {
        until(&format!("{css} takes a {what}"), WITHIN, async || {
            let using = json!({"using": "css selector", "value": css});
            let found: Value =
                serde_json::from_slice(&self.post("element", &using).await.body).unwrap();
            let element = found["value"][ELEMENT].as_str()?.to_owned();
            let done = self.post(&format!("element/{element}/{what}"), said).await;
            (done.status == 200).then_some(())
        })
        .await;
    }

    /// Presses one key, wherever the focus is.
    pub async fn press(&self, key: &str) {
        let key = |kind| json!({"type": kind, "value": key});
        let said = json!({"actions": [{"type": "key", "id": "keys", "actions": [key("keyDown"), key("keyUp")]}]});
        value(&self.post("actions", &said).await);
    }

    /// Presses Tab until what `css` finds has the focus, and sees that it is shown.
    pub async fn tab_to(&self, css: &str) {
        for _ in 0..100 {
            self.press(TAB).await;
            let there = format!("return document.activeElement.matches({css:?});");
            if self.run(&there).await == true {
                let outline = "return getComputedStyle(document.activeElement).outlineStyle;";
                assert_eq!(self.run(outline).await, "solid", "{css} shows its focus");
                return;
            }
        }
        panic!("{css} is not reached by Tab");
    }

    /// A command of the DevTools protocol.
    pub async fn command(&self, name: &str, parameters: &Value) -> Value {
        let said = json!({"cmd": name, "params": parameters});
        value(&self.post("goog/cdp/execute", &said).await)
    }

    /// A window of this width, in a light or a dark world.
    pub async fn look(&self, width: u32, theme: &str) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", &size)
            .await;
        let hidden = json!({ "hidden": true });
        self.command("Emulation.setScrollbarsHidden", &hidden).await;
        let media = json!({"features": [
            {"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": "reduce"}]});
        self.command("Emulation.setEmulatedMedia", &media).await;
    }

    /// A picture of the whole page: `target/screenshots/NAME.png`.
    pub async fn picture(&self, name: &str) {
        let size = self
            .run("return [innerWidth, document.documentElement.scrollHeight];")
            .await;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let whole = json!({"captureBeyondViewport": true, "clip": clip});
        let shot = self.command("Page.captureScreenshot", &whole).await;
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = from_base64(shot["data"].as_str().unwrap());
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// The cookies of the page, those no script sees included.
    pub async fn cookies(&self) -> Value {
        self.get("cookie").await
    }

    /// Mistakes that the browser's console has told of since it was asked last.
    pub async fn mistakes(&self) -> Vec<String> {
        let told = value(&self.post("se/log", &json!({"type": "browser"})).await);
        let bad = told.as_array().unwrap().iter();
        let bad = bad.filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING");
        bad.map(|line| line["message"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn root(port: u16) -> Url {
    format!("http://127.0.0.1:{port}/").parse().unwrap()
}

fn body(said: &Value) -> Vec<u8> {
    said.to_string().into_bytes()
}

fn value(answer: &RawAnswer) -> Value {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 200, "{text}");
    let mut document: Value = serde_json::from_slice(&answer.body).unwrap();
    document["value"].take()
}

/// RFC 4648, with padding or without.
fn from_base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let six = LETTERS.iter().position(|known| *known == letter).unwrap();
        bits = (bits << 6 | six as u32) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// Whether any process was started with this profile and has not ended.
fn is_used(profile: &Path) -> bool {
    let profile = profile.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines =
        processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(profile))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_ends_with_its_handle_also_where_nobody_closes_it() {
    for is_closed in [true, false] {
        let Some(browser) = Browser::start().await else {
            return;
        };
        let profile = browser.profile.path().to_owned();
        assert!(is_used(&profile));
        if is_closed {
            browser.close().await;
        } else {
            drop(browser);
        }
        let ended = async || (!is_used(&profile)).then_some(());
        until("no process of the browser is left", WITHIN, ended).await;
        assert!(!profile.exists());
    }
}
