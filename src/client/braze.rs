//! Braze: the requests for one workspace.
//!
//! Invariants: one request for each function called, never repeated here. What answers mean is said in `verdict.rs`,
//! what bodies look like in `body.rs`.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::answer::{self, Redactor};
use super::body::{ExportBody, TrackBody, json_bytes};
use super::http::{Http, Method, NotBuilt, RawAnswer, Trouble};
use super::pack::BODY_BYTES_MAX;
use super::probe::{NOBODYS_EMAIL, NOBODYS_PHONE, Question};
use super::{Heard, connect_within, delete, status, verdict};
use crate::clock::Clock;
use crate::config;
use crate::model::call::{Address, Answer, Failure, Reply, SetStatus, Track};

/// How much of an answer to a look-up is read. A profile with the fields we ask for has well under 1 KB.
const EXPORT_BYTES_MAX: usize = 4 << 20;

/// How much of an answer to a track is read: 75 errors have well under 64 KB.
const TRACK_BYTES_MAX: usize = 1 << 20;

/// How much of an answer about a subscription is read: 50 statuses have well under 8 KB.
const STATUS_BYTES_MAX: usize = 256 << 10;

/// One workspace's Braze. Clones share connections.
#[derive(Clone, Debug)]
pub struct Braze {
    http: Http,
    export_url: Url,
    track_url: Url,
    status_url: Url,
    set_url: Url,
    delete_url: Url,
    authorization: SecretString,
    key: SecretString,
    user_agent: String,
    timeout: Duration,
    objects_max: usize,
    clock: Clock,
}

impl Braze {
    /// A pool of connections of its own, as `settings` say.
    pub fn new(settings: &config::Braze, clock: Clock) -> Result<Braze, NotBuilt> {
        Ok(Braze {
            http: Http::new(settings.max_in_flight, connect_within(settings.timeout))?,
            export_url: under(&settings.url, "/users/export/ids"),
            track_url: under(&settings.url, "/users/track"),
            status_url: under(&settings.url, "/subscription/status/get"),
            set_url: under(&settings.url, "/v2/subscription/status/set"),
            delete_url: under(&settings.url, "/users/delete"),
            authorization: format!("Bearer {}", settings.api_key.expose_secret()).into(),
            key: settings.api_key.clone(),
            // Required of partners, in this form: Braze's "Partner API" page.
            user_agent: format!("partner-{}/{}", settings.partner, env!("CARGO_PKG_VERSION")),
            timeout: settings.timeout,
            objects_max: settings.track_objects_max,
            clock,
        })
    }

    /// `POST /users/export/ids`: the profiles with this normalised e-mail.
    pub async fn look_up(&self, email: &str) -> Heard {
        let body = ExportBody::new(email);
        match self.post(&self.export_url, &body, EXPORT_BYTES_MAX).await {
            Err(trouble) => {
                let failure = verdict::once_more(answer::unanswered(&trouble));
                Heard::silent(vec![Err(failure)])
            }
            Ok(answer) => {
                let redactor = self.redactor(std::iter::once(email));
                let said = verdict::profiles(&answer, &redactor, self.clock.now());
                Heard::told(vec![said], &answer)
            }
        }
    }

    /// `POST /users/track` with the objects of all `tracks`: one answer for each.
    pub async fn track(&self, tracks: &[&Track]) -> Heard {
        let (body, places) = TrackBody::new(tracks);
        if places.attributes.is_empty() && places.events.is_empty() {
            // Braze refuses a request without objects; there is nothing to write, and it is written.
            return Heard::unsent(vec![Ok(Reply::Tracked); tracks.len()]);
        }
        if tracks.len() == 1 && json_bytes(&body) > BODY_BYTES_MAX {
            let (status, text) = (None, verdict::TOO_LARGE.to_owned());
            return Heard::unsent(vec![Err(Failure::Rejected(Answer { status, text }))]);
        }
        match self.post(&self.track_url, &body, TRACK_BYTES_MAX).await {
            Err(trouble) => Heard::silent(vec![Err(answer::unanswered(&trouble)); tracks.len()]),
            Ok(answer) => {
                let mut redactor = Redactor::new(self.key.expose_secret());
                for track in tracks {
                    redactor.hide_track(track);
                }
                let now = self.clock.now();
                let answers = verdict::tracked(&answer, tracks, &places, &redactor, now);
                Heard::told(answers, &answer)
            }
        }
    }

    /// `GET /subscription/status/get` about up to [`status::PHONES_MAX`] phones of one group: one answer for each.
    pub async fn read_status(&self, group: &str, phones: &[&str]) -> Heard {
        let url = status::question(&self.status_url, group, phones);
        match self.get(&url).await {
            Err(trouble) => {
                let failure = verdict::once_more(answer::unanswered(&trouble));
                Heard::silent(vec![Err(failure); phones.len()])
            }
            Ok(answer) => {
                let redactor = self.redactor(phones.iter().copied());
                let answers = status::read(&answer, phones, &redactor, self.clock.now());
                Heard::told(answers, &answer)
            }
        }
    }

    /// `POST /v2/subscription/status/set` for up to [`status::PHONES_MAX`] phones that share group and way: one answer
    /// for each.
    pub async fn set_status(&self, sets: &[&SetStatus]) -> Heard {
        let body = status::SetBody::new(sets);
        match self.post(&self.set_url, &body, STATUS_BYTES_MAX).await {
            Err(trouble) => Heard::silent(vec![Err(answer::unanswered(&trouble)); sets.len()]),
            Ok(answer) => {
                let redactor = self.redactor(sets.iter().map(|set| set.phone.as_str()));
                let answers = status::set(&answer, sets.len(), &redactor, self.clock.now());
                Heard::told(answers, &answer)
            }
        }
    }

    /// `POST /users/delete` of the profiles with these ids.
    pub async fn delete(&self, ids: &[Address]) -> Heard {
        let Some(body) = delete::DeleteBody::new(ids) else {
            let text = "a deletion goes by ids of one kind".to_owned();
            let answer = Answer { status: None, text };
            return Heard::silent(vec![Err(Failure::Rejected(answer))]);
        };
        match self.post(&self.delete_url, &body, STATUS_BYTES_MAX).await {
            Err(trouble) => {
                let failure = verdict::once_more(answer::unanswered(&trouble));
                Heard::silent(vec![Err(failure)])
            }
            Ok(answer) => {
                let redactor = self.redactor(ids.iter().filter_map(|id| match id {
                    Address::ExternalId(id) | Address::BrazeId(id) => Some(id.as_str()),
                    Address::Alias(_) | Address::Email(_) => None,
                }));
                let said = delete::deleted(&answer, &redactor, self.clock.now());
                Heard::told(vec![said], &answer)
            }
        }
    }

    /// Asks what `question` asks, in a request that can write nothing: about nobody, or with nothing in it.
    pub(super) async fn probe(&self, question: &Question) -> Result<RawAnswer, Trouble> {
        let nothing = serde_json::json!({});
        match question {
            Question::LookUp => {
                let body = ExportBody::new(NOBODYS_EMAIL);
                self.post(&self.export_url, &body, EXPORT_BYTES_MAX).await
            }
            Question::ReadStatus { group } => {
                let url = status::question(&self.status_url, group, &[NOBODYS_PHONE]);
                self.get(&url).await
            }
            Question::Track => self.post(&self.track_url, &nothing, TRACK_BYTES_MAX).await,
            Question::SetStatus => self.post(&self.set_url, &nothing, STATUS_BYTES_MAX).await,
            Question::Delete => {
                self.post(&self.delete_url, &nothing, STATUS_BYTES_MAX)
                    .await
            }
        }
    }

    pub(super) fn redactor<'a>(&'a self, words: impl Iterator<Item = &'a str>) -> Redactor<'a> {
        let mut redactor = Redactor::new(self.key.expose_secret());
        words.for_each(|word| redactor.hide(word));
        redactor
    }

    /// How many objects one track request may carry.
    pub fn objects_max(&self) -> usize {
        self.objects_max
    }

    fn headers(&self) -> [(&str, &str); 3] {
        [
            ("authorization", self.authorization.expose_secret()),
            ("user-agent", &self.user_agent),
            ("content-type", "application/json"),
        ]
    }

    async fn get(&self, url: &Url) -> Result<RawAnswer, Trouble> {
        let (headers, timeout) = (&self.headers()[..2], self.timeout);
        self.http
            .request(Method::GET, url, headers, None, timeout, STATUS_BYTES_MAX)
            .await
    }

    async fn post(
        &self,
        url: &Url,
        body: &impl serde::Serialize,
        cap_bytes: usize,
    ) -> Result<RawAnswer, Trouble> {
        let body = serde_json::to_vec(body).map_err(|error| Trouble::NotSent(error.to_string()))?;
        self.http
            .request(
                Method::POST,
                url,
                &self.headers(),
                Some(body),
                self.timeout,
                cap_bytes,
            )
            .await
    }
}

/// `path` under the path that `base` has already.
fn under(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}
