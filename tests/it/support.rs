//! Real processes for tests: the binary as `serve` and as `sandbox`, an HTTP client, and waiting for conditions.
//!
//! Invariants: every process listens on ports of its own and is killed when its handle is dropped. Nothing sleeps for a
//! fixed time: a condition is asked for until it holds, a bounded number of times. Deliberately absent: anything that
//! reaches into a process; what a test knows it was told over HTTP or by the exit code.

mod campaign;
mod people;
mod process;
pub mod scene;
mod told;

use std::time::Duration;

use braze_relay::client::http::{Http, Method, RawAnswer, Trouble};
use serde_json::Value;
use url::Url;

pub use campaign::Campaign;
pub use people::{Item, Post, Receipt, email_of};
pub use process::{BINARY, Relay, Sandbox, Setup};
pub use told::Told;

/// What a relay of these tests wants to hear.
pub const TOKEN: &str = "quikly-token";

/// How often a condition is asked for.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Whether everything is to run at full length (`RELAY_FULL=1`).
pub fn full() -> bool {
    std::env::var_os("RELAY_FULL").is_some_and(|value| value == "1")
}

/// Whether `tool` can be run. If not, the test that needs it says so and is ignored, or fails under
/// `RELAY_REQUIRE_ALL=1`.
pub fn require(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&paths).any(|folder| folder.join(tool).is_file()) {
        return true;
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let must = std::env::var_os("RELAY_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(
        !must,
        "{test} needs {tool}, which is not installed, and RELAY_REQUIRE_ALL=1"
    );
    eprintln!("IGNORED: {test} needs {tool}, which is not installed");
    false
}

/// Asks until there is an answer, at most for about `within`.
pub async fn until<T>(what: &str, within: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut rounds = tokio::time::interval(ASK_EVERY);
    let asking = async {
        loop {
            rounds.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(within, asking).await;
    answer.unwrap_or_else(|_| panic!("waited {within:?} in vain until {what}"))
}

/// Numbers that follow from a seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// One of `0..below`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }
}

/// A client with connections of its own.
#[derive(Clone)]
pub struct Client(Http);

/// Longer than anything asked for here may take.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
const ANSWER_BYTES_MAX: usize = 1 << 30;

impl Client {
    pub fn new() -> Client {
        Client(Http::new(64, Duration::from_secs(5)).unwrap())
    }

    /// Posts JSON, with the token of these tests.
    pub async fn post(&self, url: &Url, body: Vec<u8>) -> Result<RawAnswer, Trouble> {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        self.ask(Method::POST, url, &headers, Some(body)).await
    }

    /// The answer to a question, whatever its status.
    pub async fn get(&self, url: &Url) -> Result<RawAnswer, Trouble> {
        self.ask(Method::GET, url, &[], None).await
    }

    pub async fn delete(&self, url: &Url) -> Result<RawAnswer, Trouble> {
        self.ask(Method::DELETE, url, &[], None).await
    }

    /// A JSON document that must be there.
    pub async fn document(&self, url: &Url) -> Value {
        serde_json::from_str(&self.text(url).await).unwrap()
    }

    /// NDJSON that must be there.
    pub async fn lines(&self, url: &Url) -> Vec<Value> {
        let text = self.text(url).await;
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// A text that must be there.
    pub async fn text(&self, url: &Url) -> String {
        let answer = self.get(url).await.unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{url}: {text}");
        assert!(answer.whole, "{url} was cut");
        text
    }

    /// Asks with these headers and no others.
    pub async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<RawAnswer, Trouble> {
        self.0
            .request(method, url, headers, body, ANSWER_WITHIN, ANSWER_BYTES_MAX)
            .await
    }
}
