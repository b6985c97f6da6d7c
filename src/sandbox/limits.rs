//! Braze's rate limits: fixed windows, aligned to the clock, told in one of several header variants.
//!
//! Invariants: pure, `now` is an argument. A request that is refused uses nothing up.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::options::NotAnOption;
use crate::model::time::Timestamp;

/// What shares one limit in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// `/users/track`
    UsersTrack,
    /// `/users/export/ids`
    UsersExportIds,
    /// `/users/export/ids` when it asks for campaigns or Canvases: these count here as well.
    UsersExportIdsHeavy,
    /// `/users/delete`, with aliases, identify and merge
    UsersDelete,
    /// `/subscription/status/set`, v1 and v2
    SubscriptionStatusSet,
    /// `/subscription/status/get` and many others
    Default,
}

impl Bucket {
    /// Every one.
    pub const ALL: [Bucket; 6] = [
        Bucket::UsersTrack,
        Bucket::UsersExportIds,
        Bucket::UsersExportIdsHeavy,
        Bucket::UsersDelete,
        Bucket::SubscriptionStatusSet,
        Bucket::Default,
    ];

    /// Its name in options.
    pub const fn as_str(self) -> &'static str {
        match self {
            Bucket::UsersTrack => "users_track",
            Bucket::UsersExportIds => "users_export_ids",
            Bucket::UsersExportIdsHeavy => "users_export_ids_heavy",
            Bucket::UsersDelete => "users_delete",
            Bucket::SubscriptionStatusSet => "subscription_status_set",
            Bucket::Default => "default",
        }
    }

    /// Braze's documented limits (api/api_limits), of data-point contracts.
    pub fn documented() -> BTreeMap<Bucket, Vec<Window>> {
        let window = |requests, seconds| {
            let length = Duration::from_secs(seconds);
            vec![Window { requests, length }]
        };
        BTreeMap::from([
            (Bucket::UsersTrack, window(3000, 3)),
            (Bucket::UsersExportIds, window(40, 1)),
            (Bucket::UsersExportIdsHeavy, window(250, 60)),
            (Bucket::UsersDelete, window(20_000, 60)),
            (Bucket::SubscriptionStatusSet, window(5000, 60)),
            (Bucket::Default, window(250_000, 3600)),
        ])
    }
}

impl FromStr for Bucket {
    type Err = NotAnOption;
    fn from_str(text: &str) -> Result<Self, NotAnOption> {
        let known = Bucket::ALL.into_iter().find(|one| one.as_str() == text);
        known.ok_or_else(|| NotAnOption(format!("{text:?} has no limit in the sandbox")))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// So many requests in so long, written `3000/3s`, `40/s`, `5000/min`, `250000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Requests.
    pub requests: u32,
    /// In this long.
    pub length: Duration,
}

impl FromStr for Window {
    type Err = NotAnOption;
    fn from_str(text: &str) -> Result<Self, NotAnOption> {
        let wrong = || {
            NotAnOption(format!(
                "{text:?} is no limit such as 3000/3s, 40/s or 5000/min"
            ))
        };
        let (requests, length) = text.split_once('/').ok_or_else(wrong)?;
        let unit = length.trim_start_matches(|c: char| c.is_ascii_digit());
        let times = match &length[..length.len() - unit.len()] {
            "" => 1,
            digits => digits.parse().map_err(|_| wrong())?,
        };
        let seconds: u64 = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        let requests = requests.parse().map_err(|_| wrong())?;
        if times == 0 {
            return Err(wrong());
        }
        let length = Duration::from_secs(seconds * times);
        Ok(Window { requests, length })
    }
}

/// How Braze tells its limits; contracts and endpoints differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderVariant {
    /// `X-RateLimit-*`, reset in seconds since the epoch.
    Epoch,
    /// `X-RateLimit-*`, reset in seconds from now.
    Delta,
    /// Nothing at all.
    None,
    /// As `Delta`, but a 429 has only `X-Ratelimit-Retry-After`.
    Mau,
}

impl FromStr for HeaderVariant {
    type Err = NotAnOption;
    fn from_str(text: &str) -> Result<Self, NotAnOption> {
        match text {
            "epoch" => Ok(HeaderVariant::Epoch),
            "delta" => Ok(HeaderVariant::Delta),
            "none" => Ok(HeaderVariant::None),
            "mau" => Ok(HeaderVariant::Mau),
            _ => Err(NotAnOption(format!(
                "{text:?}: expected epoch, delta, none or mau"
            ))),
        }
    }
}

/// How a bucket stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests the telling window allows.
    pub limit: u32,
    /// What is left of it.
    pub remaining: u32,
    /// When it starts anew.
    pub reset: Timestamp,
}

#[derive(Clone, Debug)]
struct Gauge {
    window: Window,
    index: u64,
    used: u32,
}

impl Gauge {
    fn length_ms(&self) -> u64 {
        (self.window.length.as_millis() as u64).max(1)
    }

    fn turn_to(&mut self, now: Timestamp) {
        let index = now.as_millis() / self.length_ms();
        if index != self.index {
            self.index = index;
            self.used = 0;
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            limit: self.window.requests,
            remaining: self.window.requests.saturating_sub(self.used),
            reset: Timestamp::from_millis((self.index + 1) * self.length_ms()),
        }
    }
}

/// Somebody else who uses the same limit, evenly.
#[derive(Clone, Debug)]
struct Other {
    rate: Window,
    since: Timestamp,
    asked: u64,
}

impl Other {
    /// The moment of the next request.
    fn next(&self) -> Timestamp {
        let length_ms = self.rate.length.as_millis() as u64;
        let after_ms = (self.asked + 1) * length_ms / u64::from(self.rate.requests.max(1));
        self.since + Duration::from_millis(after_ms)
    }
}

/// One bucket's windows with what is used of them.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    gauges: Vec<Gauge>,
    other: Option<Other>,
}

impl Meter {
    /// Nothing used yet. No windows: everything is allowed. `other`: so much is asked for by somebody else, from `now` on.
    pub fn new(windows: &[Window], other: Option<Window>, now: Timestamp) -> Meter {
        let gauge = |window: &Window| Gauge {
            window: *window,
            index: 0,
            used: 0,
        };
        let other = other.filter(|rate| rate.requests > 0).map(|rate| Other {
            rate,
            since: now,
            asked: 0,
        });
        Meter {
            gauges: windows.iter().map(gauge).collect(),
            other,
        }
    }

    /// The next request of somebody else, if it came by `now`: when, and whether there was room for it.
    pub fn other(&mut self, now: Timestamp) -> Option<(Timestamp, bool)> {
        let other = self.other.as_mut()?;
        let at = other.next();
        if at > now {
            return None;
        }
        other.asked += 1;
        Some((at, self.take(at).is_ok()))
    }

    /// Takes one request out of every window, or out of none: `Err` names the full window that opens last.
    /// `Ok(None)` when there is no limit; otherwise the window with the least left.
    pub fn take(&mut self, now: Timestamp) -> Result<Option<Standing>, Standing> {
        for gauge in &mut self.gauges {
            gauge.turn_to(now);
        }
        let full = self
            .gauges
            .iter()
            .map(Gauge::standing)
            .filter(|one| one.remaining == 0);
        if let Some(full) = full.max_by_key(|one| one.reset) {
            return Err(full);
        }
        for gauge in &mut self.gauges {
            gauge.used += 1;
        }
        Ok(self
            .gauges
            .iter()
            .map(Gauge::standing)
            .min_by_key(|one| one.remaining))
    }
}

/// The headers that tell `standing`; `refused` with a 429 or not.
pub fn headers(
    variant: HeaderVariant,
    standing: Standing,
    refused: bool,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let rest = standing.reset.since(now).as_millis().div_ceil(1000);
    let reset = match variant {
        HeaderVariant::None => return Vec::new(),
        HeaderVariant::Mau if refused => {
            return vec![("x-ratelimit-retry-after", rest.to_string())];
        }
        HeaderVariant::Epoch => standing.reset.as_millis().div_ceil(1000).to_string(),
        HeaderVariant::Delta | HeaderVariant::Mau => rest.to_string(),
    };
    vec![
        ("x-ratelimit-limit", standing.limit.to_string()),
        ("x-ratelimit-remaining", standing.remaining.to_string()),
        ("x-ratelimit-reset", reset),
    ]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests may")]
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn meter(windows: &[&str]) -> Meter {
        let windows: Vec<Window> = windows.iter().map(|one| one.parse().unwrap()).collect();
        Meter::new(&windows, None, at(0))
    }

    #[test]
    fn somebody_else_takes_evenly_what_there_is_and_is_refused_like_everybody() {
        let (window, other) = ("4/s".parse().unwrap(), "2/s".parse().unwrap());
        let mut meter = Meter::new(&[window], Some(other), at(1000));
        assert_eq!(meter.other(at(1499)), None);
        assert_eq!(meter.other(at(1600)), Some((at(1500), true)));
        assert_eq!(meter.other(at(1600)), None);
        for left in [2, 1, 0] {
            assert_eq!(meter.take(at(1700)).unwrap().unwrap().remaining, left);
        }
        assert_eq!(meter.other(at(2600)), Some((at(2000), true)));
        assert_eq!(meter.other(at(2600)), Some((at(2500), true)));
        assert_eq!(meter.other(at(3000)), Some((at(3000), true)));
        for _ in 0..3 {
            meter.take(at(3400)).unwrap();
        }
        assert_eq!(meter.other(at(3500)), Some((at(3500), false)));
    }

    #[test]
    fn a_window_is_aligned_to_the_clock_and_not_to_the_first_request() {
        let mut meter = meter(&["2/3s"]);
        assert_eq!(meter.take(at(5900)).unwrap().unwrap().remaining, 1);
        assert_eq!(meter.take(at(5950)).unwrap().unwrap().remaining, 0);
        assert_eq!(meter.take(at(5999)).unwrap_err().reset, at(6000));
        assert_eq!(meter.take(at(6000)).unwrap().unwrap().reset, at(9000));
    }

    #[test]
    fn a_burst_window_refuses_although_the_hour_has_plenty_and_uses_none_of_it() {
        let mut meter = meter(&["100/h", "1/3s"]);
        meter.take(at(0)).unwrap();
        for _ in 0..50 {
            assert_eq!(meter.take(at(1)).unwrap_err().reset, at(3000));
        }
        for burst in 1..100 {
            meter.take(at(burst * 3000)).unwrap();
        }
        assert_eq!(meter.take(at(300_000)).unwrap_err().reset, at(3_600_000));
    }

    #[test]
    fn every_header_variant_says_what_its_contract_says() {
        let standing = Standing {
            limit: 40,
            remaining: 0,
            reset: at(1_592_427_600_000),
        };
        let now = at(1_592_427_597_500);
        let names = |variant, refused| -> Vec<_> {
            let told = headers(variant, standing, refused, now);
            told.into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        let three = |reset: &str| {
            vec![
                "x-ratelimit-limit=40".to_owned(),
                "x-ratelimit-remaining=0".to_owned(),
                format!("x-ratelimit-reset={reset}"),
            ]
        };
        assert_eq!(names(HeaderVariant::Epoch, true), three("1592427600"));
        assert_eq!(names(HeaderVariant::Delta, true), three("3"));
        assert_eq!(names(HeaderVariant::Mau, false), three("3"));
        assert_eq!(
            names(HeaderVariant::Mau, true),
            ["x-ratelimit-retry-after=3"]
        );
        assert!(names(HeaderVariant::None, true).is_empty());
    }

    #[test]
    fn windows_are_written_with_s_min_and_h() {
        let window: Window = "250000/h".parse().unwrap();
        assert_eq!(window.length, Duration::from_hours(1));
        assert_eq!(
            "3000/3s".parse::<Window>().unwrap().length,
            Duration::from_secs(3)
        );
        for wrong in ["", "5", "5/", "5/0s", "x/s", "5/3d"] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}
