//! Logs: for people on a terminal, one JSON object a line otherwise; always on standard error.
//!
//! Invariants: packages of others speak from `warn` on, whatever level is asked of the relay, since their finer levels
//! tell addresses and bodies. Deliberately absent: files, rotation, colours where nobody looks.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The environment variable that says how much is told.
pub const LOG_VARIABLE: &str = "RELAY_LOG";

/// How much is told when nothing is said.
const LEVEL: &str = "info";

/// A wish that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error(
    "{LOG_VARIABLE} is not understood ({0}); expected error, warn, info, debug, trace or off, or MODULE=LEVEL, with commas between several"
)]
struct NotAFilter(String);

/// Sets up the logs of this process as [`LOG_VARIABLE`] wishes: a level for the relay, or directives as of `RUST_LOG`.
/// A wish that is not understood is warned of and passed over. Does nothing the second time.
pub fn init() {
    // What a panic says may be what somebody sent: only where it happened is told.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(
            place,
            thread = thread.name(),
            "a part of the relay has broken off"
        );
    }));
    let wish = std::env::var(LOG_VARIABLE).ok();
    let (filter, misunderstood) = match filter(wish.as_deref()) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new(directives("")), Some(error)),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let (set, swap): (_, Swap) = if std::io::stderr().is_terminal() {
        let logs = logs.with_target(false).with_filter_reloading();
        let handle = logs.reload_handle();
        let swap = move |filter| handle.reload(filter).is_ok();
        (logs.finish().try_init(), Box::new(swap))
    } else {
        let logs = logs.json().flatten_event(true).with_ansi(false);
        let logs = logs.with_current_span(false).with_span_list(false);
        let logs = logs.with_filter_reloading();
        let handle = logs.reload_handle();
        let swap = move |filter| handle.reload(filter).is_ok();
        (logs.finish().try_init(), Box::new(swap))
    };
    if set.is_ok() {
        // The first and only time: nobody can have set it.
        let _ = SWAP.set(swap);
        if let Some(error) = misunderstood {
            tracing::warn!("{error}");
        }
    }
}

/// Puts another filter in the place of today's; whether that was possible.
type Swap = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static SWAP: OnceLock<Swap> = OnceLock::new();

/// From now on so much is told of the relay, whatever [`LOG_VARIABLE`] says. Without [`init`] nothing happens.
pub fn follow(level: &str) {
    let told = SWAP.get().zip(filter(Some(level)).ok());
    if told.is_some_and(|(swap, filter)| !swap(filter)) {
        tracing::error!(level, "the log level cannot be changed");
    }
}

/// As [`follow`], unless [`LOG_VARIABLE`] says something else.
pub fn begin(level: &str) {
    let wish = std::env::var(LOG_VARIABLE).unwrap_or_default();
    if wish.trim().is_empty() {
        follow(level);
    }
}

fn filter(wish: Option<&str>) -> Result<EnvFilter, NotAFilter> {
    let directives = directives(wish.unwrap_or_default());
    EnvFilter::try_new(directives).map_err(|error| NotAFilter(error.to_string()))
}

/// Directives that keep a bare level to the relay itself.
fn directives(wish: &str) -> String {
    let mut all = format!("warn,braze_relay={LEVEL}");
    let wishes = wish.split(',').map(str::trim);
    for wish in wishes.filter(|wish| !wish.is_empty()) {
        let bare = !wish.contains(['=', ':', '[']);
        all.push_str(if bare { ",braze_relay=" } else { "," });
        all.push_str(wish);
    }
    all
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_the_relays_and_packages_of_others_stay_at_warn() {
        for (wish, shown) in [
            (None, "braze_relay=info,warn"),
            (Some(""), "braze_relay=info,warn"),
            (Some(" "), "braze_relay=info,warn"),
            (Some("debug"), "braze_relay=debug,warn"),
            (Some("OFF"), "braze_relay=off,warn"),
            (
                Some("trace,hyper=info"),
                "braze_relay=trace,hyper=info,warn",
            ),
            (
                Some("braze_relay::store=trace"),
                "braze_relay::store=trace,braze_relay=info,warn",
            ),
        ] {
            let filter = filter(wish).unwrap().to_string();
            let mut told: Vec<&str> = filter.split(',').collect();
            let mut wanted: Vec<&str> = shown.split(',').collect();
            told.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(told, wanted, "{wish:?}");
        }
    }

    #[test]
    fn what_is_no_level_is_refused() {
        for wish in ["loud", "braze_relay=loud", "a=b=c"] {
            let refusal = filter(Some(wish)).unwrap_err().to_string();
            assert!(refusal.starts_with("RELAY_LOG is not"), "{refusal}");
        }
    }
}
