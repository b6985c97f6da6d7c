//! The dashboard in a real browser, in front of the real relay and the sandbox: what it shows is so, what is clicked is done
//! and asked about before, it goes on by itself, and it can be read by everybody who has to.
//!
//! Needs `chromium` and `chromedriver`. Pictures of every page are written to `target/screenshots`.

mod change;
mod driver;
mod enter;
mod look;
mod watch;

use serde_json::{Value, json};
use url::Url;

use self::driver::{Browser, WITHIN};
use crate::support::scene::Scene;
use crate::support::{Relay, until};

/// A relay with its sandbox, and a browser that looks at it.
struct Desk {
    scene: Scene,
    relay: Relay,
    browser: Browser,
}

impl Desk {
    /// `None` where there is no browser. `more` is further configuration.
    async fn new(more: &str) -> Option<Desk> {
        let browser = Browser::start().await?;
        let scene = Scene::new(1, &format!("{}{more}", super::process::ACTIVATIONS), &[]).await;
        let relay = scene.relay().await;
        Some(Desk {
            scene,
            relay,
            browser,
        })
    }

    fn page(&self) -> Url {
        self.relay.ops("/")
    }

    /// Shows a page of the dashboard, once something was told.
    async fn show(&self, page: &str) {
        self.browser.show(&self.page(), page).await;
        self.browser
            .wait("document.querySelector('main h1') && document.querySelector('#link')?.textContent === 'live'")
            .await;
    }

    async fn status(&self) -> Value {
        let url = self.relay.ops("/api/v1/status");
        self.scene.client.document(&url).await
    }

    /// Waits until this many events are there.
    async fn until_events(&self, name: &str, count: u64) {
        until(&format!("{count} are {name}"), WITHIN, async || {
            (self.status().await["events"][name] == count).then_some(())
        })
        .await;
    }

    /// Posts so many people who join.
    async fn join(&self, from: u64, count: u64) {
        let one = |number| {
            json!({"id": format!("join-{number}"), "q_scope": "resend", "type": "participation",
                "email": format!("person.{number}@example.com")})
        };
        let people: Vec<Value> = (from..from + count).map(one).collect();
        self.scene.events(&self.relay, &people).await;
    }

    /// From now on Quikly refuses everything, or nothing.
    async fn refuse(&self, refuses: bool) {
        let rules = json!([{"lane": "quikly", "action": {"status": 422}}]);
        self.scene
            .script(&if refuses { rules } else { json!([]) })
            .await;
    }

    async fn audit(&self) -> Value {
        let url = self.relay.ops("/api/v1/audit");
        self.scene.client.document(&url).await["items"].take()
    }

    /// Nothing went wrong in the page, nothing was asked of anybody else, and no address has somebody's e-mail.
    async fn left_clean(&self) {
        assert_eq!(self.browser.mistakes().await, Vec::<String>::new());
        let asked = "return [location.href, ...performance.getEntriesByType('resource').map((it) => it.name)];";
        let ours = self.page();
        for url in self.browser.run(asked).await.as_array().unwrap() {
            let url = url.as_str().unwrap();
            assert!(url.starts_with(ours.as_str()) || url == "data:,", "{url}");
            assert!(!url.contains('@') && !url.contains("%40"), "{url}");
        }
    }

    async fn close(self) {
        self.left_clean().await;
        self.browser.close().await;
        self.relay.stop(&self.scene.setup).await;
    }
}
