//! Asking what a key may do, and whether a host answers, without writing anything.
//!
//! Invariants: it asks by the client that the work is done with: the same URLs, headers, TLS and time-outs. A question
//! is about an address or a phone that is nobody's, or is an empty object, which names nobody: whatever Braze makes of it,
//! there is nothing to write. What Braze's pages do not say is in which order key, permission and body are looked at: that
//! a body was judged is taken to mean that the key was let in. Deliberately absent: repetitions.

use std::time::Duration;

use secrecy::ExposeSecret;
use url::Url;

use super::answer::Redactor;
use super::braze::Braze;
use super::http::{Http, Method, NotBuilt, RawAnswer, Trouble};
use super::{answer, status, throttle, verdict};
use crate::clock::{Clock, Stopwatch};
use crate::config;
use crate::model::budget::Told;
use crate::model::call::{Answer, Failure, Reply};
use crate::model::lane::LaneKind;
use crate::model::time::Timestamp;

/// An address that cannot exist (RFC 2606 section 2).
pub const NOBODYS_EMAIL: &str = "nobody@braze-relay.invalid";
/// A phone of the range that is kept for fiction (North American numbers 555-0100 to 555-0199).
pub const NOBODYS_PHONE: &str = "+12025550147";

/// What is asked of Braze.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Who has [`NOBODYS_EMAIL`]?
    LookUp,
    /// An empty write.
    Track,
    /// Is [`NOBODYS_PHONE`] in this subscription group?
    ReadStatus {
        /// Its id.
        group: String,
    },
    /// An empty subscription.
    SetStatus,
    /// An empty deletion.
    Delete,
}

impl Question {
    /// The permission of the key that it needs.
    pub const fn permission(&self) -> &'static str {
        match self {
            Question::LookUp => "users.export.ids",
            Question::Track => "users.track",
            Question::ReadStatus { .. } => "subscription.status.get",
            Question::SetStatus => "subscription.status.set",
            Question::Delete => "users.delete",
        }
    }

    /// The limit that it counts against.
    pub const fn lane(&self) -> LaneKind {
        match self {
            Question::LookUp => LaneKind::UsersExportIds,
            Question::Track => LaneKind::UsersTrack,
            Question::ReadStatus { .. } => LaneKind::Default,
            Question::SetStatus => LaneKind::SubscriptionStatusSet,
            Question::Delete => LaneKind::UsersDelete,
        }
    }
}

/// What came back. Texts are redacted.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// What was asked was answered.
    Answered,
    /// The body was judged and refused, as an empty one has to be.
    Judged(Answer),
    /// There is no such subscription group.
    UnknownGroup,
    /// 401.
    KeyRefused,
    /// 403.
    Forbidden(Answer),
    /// Nothing of ours is at this URL, or it is elsewhere.
    NotThere(Answer),
    /// 429.
    Throttled,
    /// It was not answered as it should be, which says nothing of the key.
    Unclear(Answer),
    /// No answer at all.
    Silent {
        /// There was a connection (with TLS, where there has to be).
        connected: bool,
        /// What happened.
        text: String,
    },
}

/// One question with its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// What came back.
    pub said: Said,
    /// What it said about the budget.
    pub told: Told,
    /// The other side's clock, to the second, if it was told.
    pub theirs: Option<Timestamp>,
    /// Ours, when the answer was there.
    pub ours: Timestamp,
    /// From the first byte sent to the answer; a new connection is in it.
    pub took: Duration,
}

/// One workspace's Braze, to be asked what its key may do.
#[derive(Clone, Debug)]
pub struct Prober {
    braze: Braze,
    key: secrecy::SecretString,
    clock: Clock,
}

impl Prober {
    /// By `settings`, but that no answer is waited for longer than `within`.
    pub fn new(
        settings: &config::Braze,
        within: Duration,
        clock: Clock,
    ) -> Result<Prober, NotBuilt> {
        let settings = config::Braze {
            timeout: settings.timeout.min(within),
            ..settings.clone()
        };
        Ok(Prober {
            braze: Braze::new(&settings, clock.clone())?,
            key: settings.api_key,
            clock,
        })
    }

    /// Asks once.
    pub async fn ask(&self, question: &Question) -> Observed {
        let watch = Stopwatch::start();
        let asked = self.braze.probe(question).await;
        let (took, ours) = (watch.elapsed(), self.clock.now());
        match asked {
            Err(trouble) => Observed::silent(&trouble, took, ours),
            Ok(answer) => {
                let redactor = Redactor::new(self.key.expose_secret());
                let said = said(question, &answer, &redactor, ours);
                Observed::of(&answer, said, took, ours)
            }
        }
    }
}

/// Asks `url` for nothing but its headers (`HEAD`, which by RFC 9110 section 9.2.1 changes nothing), without a token:
/// whatever is answered, somebody is there.
pub async fn knock(url: &Url, within: Duration, clock: &Clock) -> Result<Observed, NotBuilt> {
    let http = Http::new(1, within)?;
    let agent = concat!("braze-relay/", env!("CARGO_PKG_VERSION"));
    let watch = Stopwatch::start();
    let headers = [("user-agent", agent)];
    let asked = http
        .request(Method::HEAD, url, &headers, None, within, 0)
        .await;
    let (took, ours) = (watch.elapsed(), clock.now());
    Ok(match asked {
        Err(trouble) => Observed::silent(&trouble, took, ours),
        Ok(answer) => {
            let said = match answer.status {
                500.. => Said::Unclear(Redactor::new("").answer(answer.status, "it fails")),
                _ => Said::Answered,
            };
            Observed::of(&answer, said, took, ours)
        }
    })
}

impl Observed {
    fn of(answer: &RawAnswer, said: Said, took: Duration, ours: Timestamp) -> Observed {
        Observed {
            said,
            told: throttle::told(answer),
            theirs: throttle::date(answer),
            ours,
            took,
        }
    }

    fn silent(trouble: &Trouble, took: Duration, ours: Timestamp) -> Observed {
        Observed {
            said: Said::Silent {
                connected: matches!(trouble, Trouble::Unknown(_)),
                text: answer::unanswered(trouble).answer().text.clone(),
            },
            told: Told::Nothing,
            theirs: None,
            ours,
            took,
        }
    }
}

fn said(question: &Question, answer: &RawAnswer, redactor: &Redactor, now: Timestamp) -> Said {
    let heard = match question {
        Question::LookUp => verdict::profiles(answer, redactor, now),
        Question::ReadStatus { .. } => {
            let read = status::read(answer, &[NOBODYS_PHONE], redactor, now);
            read.into_iter().next().unwrap_or(Ok(Reply::Tracked))
        }
        Question::Track | Question::SetStatus | Question::Delete => match answer.status {
            200..300 => Ok(Reply::Tracked),
            _ => Err(verdict::refusal(answer, redactor, now)),
        },
    };
    match heard {
        Ok(_) => Said::Answered,
        Err(Failure::WrongGroup(_)) => Said::UnknownGroup,
        Err(Failure::Rejected(said)) if is_judgement(answer) => Said::Judged(said),
        Err(Failure::Throttled { .. }) => Said::Throttled,
        Err(Failure::Denied(said)) => match answer.status {
            401 => Said::KeyRefused,
            403 => Said::Forbidden(said),
            _ => Said::NotThere(said),
        },
        Err(
            Failure::Rejected(said)
            | Failure::Transient(said)
            | Failure::Unknown(said)
            | Failure::Apart { answer: said, .. },
        ) => Said::Unclear(said),
    }
}

/// Whether Braze itself has judged a body: a gateway's own page is no judgement.
fn is_judgement(answer: &RawAnswer) -> bool {
    matches!(answer.status, 400 | 422) && verdict::object(answer).is_some()
}
