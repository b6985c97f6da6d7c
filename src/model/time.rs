//! Points in time as the relay counts them: whole milliseconds since the Unix epoch, UTC.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(u64);

/// A text that is not an RFC 3339 date-time with offset.
#[derive(Debug, thiserror::Error)]
#[error("not an RFC 3339 date-time such as 2026-11-27T09:30:00Z")]
pub struct NotATimestamp;

impl Timestamp {
    /// The epoch; earlier than anything that happens.
    pub const ZERO: Timestamp = Timestamp(0);

    /// A moment from milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Timestamp(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it is not earlier.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339, UTC, always three decimals: `2026-11-27T09:30:00.000Z`.
    pub fn to_rfc3339(self) -> String {
        let moment = jiff::Timestamp::from_millisecond(i64::try_from(self.0).unwrap_or(i64::MAX))
            .unwrap_or(jiff::Timestamp::MAX);
        moment.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }

    /// Reads RFC 3339 with any offset. Moments before 1970 become the epoch.
    pub fn parse_rfc3339(text: &str) -> Result<Self, NotATimestamp> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| NotATimestamp)?;
        Ok(Timestamp(
            u64::try_from(moment.as_millisecond()).unwrap_or(0),
        ))
    }
}

/// Whether `text` is a date-time with an offset as RFC 3339 section 5.6 writes it, and of the calendar. Our date library
/// reads more than that.
pub fn is_rfc3339(text: &str) -> bool {
    has_rfc3339_shape(text) && Timestamp::parse_rfc3339(text).is_ok()
}

fn has_rfc3339_shape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let fits = |bytes: &[u8], shape: &[u8]| {
        bytes.len() == shape.len()
            && bytes.iter().zip(shape).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't' | b' '),
                b'Z' => matches!(byte, b'Z' | b'z'),
                b'+' => matches!(byte, b'+' | b'-'),
                other => byte == other,
            })
    };
    let Some((date_time, mut rest)) = bytes.split_at_checked(19) else {
        return false;
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    fits(date_time, b"0000-00-00T00:00:00") && (fits(rest, b"Z") || fits(rest, b"+00:00"))
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, rest: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, rest: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_sub(u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> String {
        moment.to_rfc3339()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = NotATimestamp;
    fn try_from(text: String) -> Result<Self, NotATimestamp> {
        Timestamp::parse_rfc3339(&text)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_text() {
        let moment = Timestamp::from_millis(1_795_770_600_123);
        assert_eq!(
            Timestamp::parse_rfc3339(&moment.to_rfc3339()).unwrap(),
            moment
        );
        assert_eq!(
            Timestamp::parse_rfc3339("2026-11-27T10:30:00+01:00")
                .unwrap()
                .to_rfc3339(),
            "2026-11-27T09:30:00.000Z"
        );
    }
}
