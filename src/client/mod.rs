//! The outside world as the engine sees it: requests that carry calls, and an answer for each call.
//!
//! Invariants: a client decides nothing about jobs; it says which of the few [`Failure`]s an answer is. It never shows
//! a key, a body or an address in what it returns. Store and client know nothing of each other. Each workspace's
//! Braze and Quikly have connections and time-outs of their own, so that a dead host stalls nobody else.
//! Deliberately absent: retries, pacing and any limit on how many requests are under way; those are the engine's.

mod answer;
mod body;
pub mod braze;
mod delete;
pub mod http;
pub mod pack;
pub mod probe;
pub mod quikly;
mod status;
mod throttle;
mod verdict;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use secrecy::ExposeSecret;

use self::answer::not_configured;
use self::braze::Braze;
use self::http::RawAnswer;
pub use self::http::in_trace;
use self::quikly::Quikly;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::model::Name;
use crate::model::budget::Told;
use crate::model::call::{Call, Failure, Reply, SetStatus, Track};
use crate::model::lane::Lane;

/// One answer for each call of a request, in order.
pub type Answers = Vec<Result<Reply, Failure>>;

/// What came back for one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// One answer for each of its calls.
    pub answers: Answers,
    /// What it said about the lane's budget.
    pub told: Told,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// `false`: there was nothing that could be sent; the answers say why, and say nothing about the other side.
    pub sent: bool,
}

impl Heard {
    /// These answers, and nothing about the budget.
    pub fn silent(answers: Answers) -> Heard {
        Heard {
            answers,
            told: Told::Nothing,
            status: None,
            sent: true,
        }
    }

    /// These answers without having asked.
    fn unsent(answers: Answers) -> Heard {
        Heard {
            sent: false,
            ..Heard::silent(answers)
        }
    }

    /// These answers to a request that was answered, with what its rate headers say.
    fn told(answers: Answers, answer: &RawAnswer) -> Heard {
        Heard {
            answers,
            told: throttle::told(answer),
            status: Some(answer.status),
            sent: true,
        }
    }
}

/// Who sends requests. Clones share connections.
pub trait Client: Clone + Send + Sync + 'static {
    /// Sends `calls`, which [`Client::objects_max`] and [`pack`] allow in one request, and takes the answers apart.
    /// Always returns exactly one answer for each call.
    fn perform(&self, lane: &Lane, calls: Vec<Call>) -> impl Future<Output = Heard> + Send;

    /// How many objects one request of this lane may carry.
    fn objects_max(&self, lane: &Lane) -> usize;
}

/// The real outside: Braze and Quikly of every configured workspace. Clones are one.
#[derive(Clone, Debug)]
pub struct Outside {
    today: Arc<RwLock<Workspaces>>,
    clock: Clock,
}

/// Whom one configuration knows outside.
#[derive(Clone, Debug, Default)]
pub struct Workspaces(BTreeMap<Name, Arc<Workspace>>);

#[derive(Debug)]
struct Workspace {
    braze: Braze,
    quikly: Option<Quikly>,
}

/// Why there is no outside.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The key or token holds a character that no header can carry.
    #[error(
        "workspace {workspace}: {secret} has a character that cannot be sent in a header (a line break?)"
    )]
    Secret {
        /// Whose.
        workspace: Name,
        /// Which: `braze.api_key` or `quikly.token`.
        secret: &'static str,
    },
    /// TLS could not be set up.
    #[error(transparent)]
    Http(#[from] http::NotBuilt),
}

impl Outside {
    /// The outside of `config`. Opens no connection yet.
    pub fn new(config: &Config, clock: Clock) -> Result<Outside, OutsideError> {
        Outside::of(&config.workspaces, clock)
    }

    /// The outside of these workspaces.
    pub fn of(
        workspaces: &BTreeMap<Name, config::Workspace>,
        clock: Clock,
    ) -> Result<Outside, OutsideError> {
        let outside = Outside {
            today: Arc::default(),
            clock,
        };
        let today = outside.other(workspaces, |_| true)?;
        outside.swap(today);
        Ok(outside)
    }

    /// What it would be with these workspaces: those that are not `new` keep their connections. Nothing changes yet.
    pub fn other(
        &self,
        workspaces: &BTreeMap<Name, config::Workspace>,
        is_new: impl Fn(&Name) -> bool,
    ) -> Result<Workspaces, OutsideError> {
        let today = self.today();
        let one = |(name, settings): (&Name, &config::Workspace)| {
            let workspace = match today.0.get(name).filter(|_| !is_new(name)) {
                Some(known) => known.clone(),
                None => Arc::new(Workspace::new(name, settings, &self.clock)?),
            };
            Ok((name.clone(), workspace))
        };
        let workspaces = workspaces.iter().map(one);
        Ok(Workspaces(workspaces.collect::<Result<_, OutsideError>>()?))
    }

    /// Requests from now on go there; those under way end where they began.
    pub fn swap(&self, workspaces: Workspaces) {
        let today = self.today.write();
        *today.unwrap_or_else(PoisonError::into_inner) = workspaces;
    }

    fn today(&self) -> RwLockReadGuard<'_, Workspaces> {
        self.today.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn workspace(&self, lane: &Lane) -> Option<Arc<Workspace>> {
        self.today().0.get(&lane.workspace).cloned()
    }
}

impl Client for Outside {
    async fn perform(&self, lane: &Lane, calls: Vec<Call>) -> Heard {
        let Some(workspace) = self.workspace(lane) else {
            let text = format!("no workspace {} is configured", lane.workspace);
            return Heard::unsent(vec![Err(not_configured(&text)); calls.len()]);
        };
        match Shared::of(&calls) {
            Shared::Tracks(tracks) => return workspace.braze.track(&tracks).await,
            Shared::Reads(group, phones) => {
                return workspace.braze.read_status(group, &phones).await;
            }
            Shared::Sets(sets) => return workspace.braze.set_status(&sets).await,
            Shared::Nothing => {}
        }
        let mut heard = Heard::unsent(Answers::with_capacity(calls.len()));
        for call in &calls {
            let one = workspace.perform(call).await;
            heard.answers.extend(one.answers);
            heard.told = one.told;
            heard.status = one.status;
            heard.sent |= one.sent;
        }
        heard
    }

    fn objects_max(&self, lane: &Lane) -> usize {
        let workspace = self.workspace(lane);
        let tracked = workspace.map_or(1, |workspace| workspace.braze.objects_max());
        pack::objects_max(lane.kind, tracked)
    }
}

impl Workspace {
    fn new(
        name: &Name,
        settings: &config::Workspace,
        clock: &Clock,
    ) -> Result<Workspace, OutsideError> {
        let check = |value: &str, secret| {
            if http::fits_a_header(value) {
                return Ok(());
            }
            Err(OutsideError::Secret {
                workspace: name.clone(),
                secret,
            })
        };
        check(settings.braze.api_key.expose_secret(), "braze.api_key")?;
        let quikly = settings.quikly.as_ref();
        if let Some(quikly) = quikly {
            check(quikly.token.expose_secret(), "quikly.token")?;
        }
        Ok(Workspace {
            braze: Braze::new(&settings.braze, clock.clone())?,
            quikly: quikly
                .map(|settings| Quikly::new(settings, clock.clone()))
                .transpose()?,
        })
    }

    /// One call in a request of its own.
    async fn perform(&self, call: &Call) -> Heard {
        let nobody = |text| Heard::unsent(vec![Err(not_configured(text))]);
        match (call, &self.quikly) {
            (Call::LookUp { email, .. }, _) => self.braze.look_up(email).await,
            (Call::Recall, _) => nobody("nobody outside can say what is remembered here"),
            (Call::Track(track), _) => self.braze.track(&[track]).await,
            (Call::ReadStatus { group, phone }, _) => self.braze.read_status(group, &[phone]).await,
            (Call::SetStatus(set), _) => self.braze.set_status(&[set]).await,
            (Call::Credit(credit), Some(quikly)) => quikly.credit(credit).await,
            (Call::Delete(ids), _) => self.braze.delete(ids).await,
            (Call::Credit(_), None) => nobody("the workspace has no quikly settings"),
        }
    }
}

/// Calls that one request carries.
enum Shared<'a> {
    Tracks(Vec<&'a Track>),
    Reads(&'a str, Vec<&'a str>),
    Sets(Vec<&'a SetStatus>),
    /// They have no request in common.
    Nothing,
}

impl Shared<'_> {
    fn of(calls: &[Call]) -> Shared<'_> {
        let same = |call: &&Call| {
            calls
                .first()
                .is_some_and(|first| pack::may_share(first, call))
        };
        if !calls.iter().all(|call| same(&call)) {
            return Shared::Nothing;
        }
        let mut shared = Shared::Nothing;
        for call in calls {
            match (call, &mut shared) {
                (Call::Track(track), Shared::Tracks(tracks)) => tracks.push(track),
                (Call::Track(track), _) => shared = Shared::Tracks(vec![track]),
                (Call::ReadStatus { phone, .. }, Shared::Reads(_, phones)) => phones.push(phone),
                (Call::ReadStatus { group, phone }, _) => {
                    shared = Shared::Reads(group, vec![phone]);
                }
                (Call::SetStatus(set), Shared::Sets(sets)) => sets.push(set),
                (Call::SetStatus(set), _) => shared = Shared::Sets(vec![set]),
                (Call::LookUp { .. } | Call::Recall | Call::Credit(_) | Call::Delete(_), _) => {}
            }
        }
        shared
    }
}

/// How long a connection may take to stand: well within the request's time-out, so that one that never stood is known
/// to have carried nothing.
fn connect_within(timeout: Duration) -> Duration {
    (timeout / 2).min(Duration::from_secs(10))
}
