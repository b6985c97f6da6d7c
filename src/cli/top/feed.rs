//! What the relay tells while it happens: its stream of events, from a thread of its own, for as long as somebody listens.
//!
//! Invariants: a relay that goes away is asked again every second, and that it went is told.

use std::io;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::super::remote::{Caller, Failed};
use crate::ops::wire::{History, Live};

/// How long a relay that does not answer is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The longest event, bytes: an hour of moments and some thousand lanes fit.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// What is heard.
#[derive(Debug)]
pub(super) enum News {
    /// The last hour.
    History(Box<History>),
    /// A moment.
    Now(Box<Live>),
    /// The relay is not heard of any more, and why; it is asked again.
    Failed(Failed),
    /// It will not answer, however often it is asked.
    Refused(Failed),
    /// What came of a change of holds.
    Changed(String),
    /// The process is to end.
    Stop,
}

/// Events as a stream of bytes tells them (WHATWG HTML, server-sent events: `event`, `data`, and an empty line).
#[derive(Debug, Default)]
pub(super) struct Stream {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl Stream {
    /// What the next bytes bring to an end: names and data.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<Vec<(String, String)>> {
        let mut events = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\r');
            if line.is_empty() {
                let event = (
                    std::mem::take(&mut self.name),
                    std::mem::take(&mut self.data),
                );
                events.extend(Some(event).filter(|(_, data)| !data.is_empty()));
            } else if let Some(name) = line.strip_prefix("event:") {
                name.trim_start().clone_into(&mut self.name);
            } else if let Some(data) = line.strip_prefix("data:") {
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        if self.line.len() + self.data.len() > EVENT_BYTES_MAX {
            return Err(io::Error::other("an event is too long"));
        }
        Ok(events)
    }
}

/// Listens until nobody takes the news any more.
pub(super) fn listen(caller: &Caller, to: &Sender<News>) {
    loop {
        let mut stream = Stream::default();
        let mut gone = false;
        let ended = caller.follow("api/v1/live", |bytes| {
            for (name, data) in stream.take(bytes)? {
                let news = match name.as_str() {
                    "history" => News::History(Box::new(serde_json::from_str(&data)?)),
                    "now" => News::Now(Box::new(serde_json::from_str(&data)?)),
                    _ => continue,
                };
                if to.send(news).is_err() {
                    gone = true;
                    return Err(io::Error::other("nobody listens any more"));
                }
            }
            Ok(())
        });
        if gone {
            return;
        }
        let news = match ended {
            Ok(()) => News::Failed(Failed::BrokenOff("it has ended".into())),
            // A token that may not will not be allowed to later either; a relay that comes up may.
            Err(
                refused @ (Failed::Refused {
                    status: 400..=499, ..
                }
                | Failed::Usage(_)),
            ) => {
                let _ = to.send(News::Refused(refused));
                return;
            }
            Err(failed) => News::Failed(failed),
        };
        if to.send(news).is_err() {
            return;
        }
        std::thread::sleep(AGAIN_AFTER);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_whole_however_they_are_cut() {
        let text = b"event: history\ndata: {\"a\":1}\n\n:keep\n\nevent: now\r\ndata: one\r\ndata: two\r\n\r\nevent: late\n";
        for size in [1, 3, 7, text.len()] {
            let mut stream = Stream::default();
            let mut events = Vec::new();
            for piece in text.chunks(size) {
                events.extend(stream.take(piece).unwrap());
            }
            let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["history", "now"], "in pieces of {size}");
            assert_eq!(events[0].1, "{\"a\":1}");
            assert_eq!(events[1].1, "onetwo");
        }
    }

    #[test]
    fn an_event_without_an_end_is_not_kept_for_ever() {
        let mut stream = Stream::default();
        let piece = vec![b'x'; EVENT_BYTES_MAX / 2 + 1];
        assert!(stream.take(&piece).is_ok());
        assert!(stream.take(&piece).is_err());
    }
}
