//! Identities: events as clients see them, and the jobs that carry them out.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// The relay's id of an accepted event: a UUIDv7, monotonic in order of acceptance, opaque to clients.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Default,
    Serialize,
    Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct EventId(pub [u8; 16]);

/// One job of an event: number 0 is the one the event started, others were spawned by it.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Default,
    Serialize,
    Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct JobId {
    /// The event it belongs to.
    pub event: EventId,
    /// 0 for the event's first job; children are numbered by their parent, so a step run twice names the same child.
    pub number: u8,
}

/// A text that is no id of ours.
#[derive(Debug, thiserror::Error)]
#[error("not an id: expected a UUID as the relay answers it, with an optional .N behind it")]
pub struct NotAnId;

impl EventId {
    /// The next id at `now`, larger than `last`. `random` fills the bits that tell two relays apart.
    ///
    /// Layout of RFC 9562 section 5.7 with a 12-bit sequence behind the milliseconds (method 1); when the sequence is used up, or the
    /// clock has gone back, the millisecond of `last` is carried on from.
    pub fn next(last: EventId, now: Timestamp, random: u64) -> EventId {
        let (last_millis, last_sequence) = last.parts();
        let (millis, sequence) = if now.as_millis() > last_millis {
            (now.as_millis(), 0)
        } else if last_sequence < 0x0fff {
            (last_millis, last_sequence + 1)
        } else {
            (last_millis + 1, 0)
        };
        let high = (millis << 16) | 0x7000 | u64::from(sequence);
        let low = (random & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        EventId(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
    }

    fn parts(self) -> (u64, u16) {
        let high = (u128::from_be_bytes(self.0) >> 64) as u64;
        (high >> 16, (high & 0x0fff) as u16)
    }

    /// When it was given, to the millisecond (later than that only where the clock had gone back).
    pub fn accepted_at(self) -> Timestamp {
        Timestamp::from_millis(self.parts().0)
    }

    /// The lowest id that could be given at this moment: before it stand exactly those that were given earlier.
    pub fn first_at(moment: Timestamp) -> EventId {
        EventId((u128::from(moment.as_millis()) << 80).to_be_bytes())
    }

    /// The job of this event with this number.
    pub fn job(self, number: u8) -> JobId {
        JobId {
            event: self,
            number,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        uuid::Uuid::parse_str(text)
            .map(|id| EventId(id.into_bytes()))
            .map_err(|_| NotAnId)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            0 => fmt::Display::fmt(&self.event, f),
            number => write!(f, "{}.{number}", self.event),
        }
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for JobId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        match text.split_once('.') {
            None => Ok(text.parse::<EventId>()?.job(0)),
            Some((event, number)) => Ok(event
                .parse::<EventId>()?
                .job(number.parse().map_err(|_| NotAnId)?)),
        }
    }
}

macro_rules! as_text {
    ($id:ty) => {
        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.to_string()
            }
        }
        impl TryFrom<String> for $id {
            type Error = NotAnId;
            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }
    };
}
as_text!(EventId);
as_text!(JobId);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_goes_back_or_the_sequence_is_full() {
        let mut last = EventId::default();
        for now in [1000, 1000, 500, 1001]
            .into_iter()
            .chain(std::iter::repeat_n(900, 9000))
        {
            let next = EventId::next(last, Timestamp::from_millis(now), u64::MAX);
            assert!(next > last);
            assert_eq!(uuid::Uuid::from_bytes(next.0).get_version_num(), 7);
            last = next;
        }
    }

    #[test]
    fn a_job_id_survives_its_text() {
        let event = EventId::next(EventId::default(), Timestamp::from_millis(7), 9);
        for id in [event.job(0), event.job(3)] {
            assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
        }
    }
}
