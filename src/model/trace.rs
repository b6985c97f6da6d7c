//! The trace that an event belongs to, as W3C Trace Context carries it.
//!
//! Invariants: ids are never all zero; nothing here says what happened, only where it belongs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The header it comes and goes by.
pub const HEADER: &str = "traceparent";

/// One span within a trace.
pub type SpanId = [u8; 8];

/// A place in a trace: what happens next hangs below it. Its text is a `traceparent` of version 00.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span that what happens next belongs to.
    pub parent: SpanId,
    /// Whether whoever began the trace wants it recorded.
    pub sampled: bool,
}

/// A text that is no `traceparent`.
#[derive(Debug, thiserror::Error)]
#[error("not a traceparent such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
pub struct NotATraceContext;

/// The bit of the flags that says "sampled".
const SAMPLED: u8 = 1;

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// So many bytes of lower-case hexadecimal.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let half = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = (half(*high)? << 4) | half(*low)?;
    }
    Some(out)
}

impl FromStr for TraceContext {
    type Err = NotATraceContext;
    /// Reads a `traceparent` (W3C Trace Context, section 3.2). Of a version after 00 what 00 says of it.
    fn from_str(text: &str) -> Result<Self, NotATraceContext> {
        let read = || {
            let (known, behind) = text.split_at_checked(LENGTH)?;
            let mut parts = known.split('-');
            let [version] = bytes(parts.next()?)?;
            let context = TraceContext {
                trace: bytes(parts.next()?)?,
                parent: bytes(parts.next()?)?,
                sampled: bytes::<1>(parts.next()?)?[0] & SAMPLED != 0,
            };
            let whole = match version {
                0 => behind.is_empty(),
                0xff => false,
                _ => behind.is_empty() || behind.starts_with('-'),
            };
            let said = context.trace != [0; 16] && context.parent != [0; 8];
            (whole && said && parts.next().is_none()).then_some(context)
        };
        read().ok_or(NotATraceContext)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, parent) = (
            u128::from_be_bytes(self.trace),
            u64::from_be_bytes(self.parent),
        );
        write!(
            f,
            "00-{trace:032x}-{parent:016x}-{:02x}",
            u8::from(self.sampled)
        )
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> String {
        context.to_string()
    }
}

impl TryFrom<String> for TraceContext {
    type Error = NotATraceContext;
    fn try_from(text: String) -> Result<Self, NotATraceContext> {
        text.parse()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_again() {
        let context: TraceContext = GOOD.parse().unwrap();
        assert_eq!(context.trace[..2], [0x0a, 0xf7]);
        assert_eq!(context.parent[7], 0x31);
        assert!(context.sampled);
        assert_eq!(context.to_string(), GOOD);
        let quiet: TraceContext = GOOD.replace("-01", "-00").parse().unwrap();
        assert!(!quiet.sampled);
        // Flags that are not known yet are passed over.
        let marked: TraceContext = GOOD.replace("-01", "-03").parse().unwrap();
        assert_eq!(marked, context);
    }

    #[test]
    fn what_the_specification_calls_invalid_is_no_traceparent() {
        let bad = [
            String::new(),
            "00".into(),
            GOOD.to_uppercase(),
            GOOD.replace("00-0", "ff-0"),
            GOOD.replace("00-0", "0-00"),
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            GOOD.replace('-', "_"),
            GOOD[..54].to_owned(),
            format!("{GOOD}0"),
            format!("{GOOD}-more"),
            format!("{GOOD}0").replace("00-0", "01-0"),
            GOOD.replace("0af7", "0äf"),
            GOOD.replace("-b7ad", "b-7ad"),
        ];
        for text in bad {
            assert!(text.parse::<TraceContext>().is_err(), "{text}");
        }
        let later = format!("{GOOD}-more").replace("00-0", "01-0");
        assert_eq!(
            later.parse::<TraceContext>().unwrap(),
            GOOD.parse().unwrap()
        );
    }
}
