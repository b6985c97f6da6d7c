//! What is posted: lines, each one event, and the requests they are cut into.
//!
//! Invariants: the order of the lines is the order of posting, and a request repeats no line of another. Only Quikly
//! batches; whoever must be refused stands alone in a request.

use std::collections::HashSet;

use super::relay::{BRAZE_TOKEN, OUTGROW_TOKEN, QUIKLY_SENDS};

/// How many events the requests carry, in turn: Quikly posts as it pleases.
const SIZES: [usize; 8] = [1, 40, 60, 1, 25, 100, 1, 30];

/// Who posts, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Quikly, participations and progress.
    Quikly,
    /// Outgrow, a lead of this content.
    Outgrow(&'static str),
    /// A Braze campaign.
    Braze,
}

impl Route {
    fn path(self) -> String {
        match self {
            Route::Quikly => "/v1/quikly/events".into(),
            Route::Outgrow(content) => format!("/v1/outgrow/{content}"),
            Route::Braze => "/webhook/braze".into(),
        }
    }

    const fn token(self) -> &'static str {
        match self {
            Route::Quikly => QUIKLY_SENDS,
            Route::Outgrow(_) => OUTGROW_TOKEN,
            Route::Braze => BRAZE_TOKEN,
        }
    }
}

/// One event.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The client's id of it.
    pub id: String,
    /// What is the same for the same event, delivered again.
    pub same: String,
    /// Whom it is about.
    pub participant: String,
    /// Who posts it.
    pub route: Route,
    /// JSON.
    pub text: String,
    /// The status it must be answered with.
    pub must: u16,
}

impl Line {
    /// Whether it is to be accepted.
    pub(super) fn is_good(&self) -> bool {
        self.must == 202
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    /// Where it goes.
    pub path: String,
    /// What it shows.
    pub token: &'static str,
    /// The body.
    pub body: String,
    /// `content-type`.
    pub media_type: &'static str,
    /// The ids of its events, in order.
    pub ids: Vec<String>,
    /// How many of them repeat one that stands before them.
    pub repeats: usize,
    /// The status it must be answered with.
    pub must: u16,
}

/// Cuts the lines into requests: single objects, arrays, NDJSON.
pub(super) fn requests(lines: &[&Line]) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut rest = lines;
    let mut known = HashSet::new();
    let mut turn = 0;
    while let Some(first) = rest.first() {
        let alike = |line: &&&Line| line.route == Route::Quikly && line.is_good();
        let size = if alike(&first) {
            turn += 1;
            let most = SIZES[(turn - 1) % SIZES.len()];
            rest.iter().take(most).take_while(alike).count()
        } else {
            1
        };
        let (now, later) = rest.split_at(size);
        rest = later;
        let texts: Vec<_> = now.iter().map(|line| line.text.as_str()).collect();
        let (body, media_type) = match (size, turn % 2) {
            (1, _) => (texts.concat(), "application/json"),
            (_, 1) => (format!("[{}]", texts.join(",")), "application/json"),
            (_, _) => (texts.join("\n") + "\n", "application/x-ndjson"),
        };
        let fresh = now.iter().filter(|line| known.insert(line.same.as_str()));
        requests.push(Request {
            path: first.route.path(),
            token: match first.must {
                401 => "whoever",
                _ => first.route.token(),
            },
            body,
            media_type,
            repeats: size - fresh.count(),
            ids: now.iter().map(|line| line.id.clone()).collect(),
            must: first.must,
        });
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize, route: Route, must: u16) -> Line {
        Line {
            id: format!("l{number}"),
            same: (number % 90).to_string(),
            participant: String::new(),
            route,
            text: format!("{{\"id\":\"l{number}\"}}"),
            must,
        }
    }

    #[test]
    fn every_line_is_in_one_request_and_all_three_forms_occur() {
        let lines: Vec<_> = (0..400).map(|it| line(it, Route::Quikly, 202)).collect();
        let requests = requests(&lines.iter().collect::<Vec<_>>());
        let ids: Vec<_> = requests.iter().flat_map(|request| &request.ids).collect();
        assert_eq!(ids, lines.iter().map(|line| &line.id).collect::<Vec<_>>());
        let repeats: usize = requests.iter().map(|request| request.repeats).sum();
        assert_eq!(repeats, 310);
        for (request, id) in requests
            .iter()
            .flat_map(|request| request.ids.iter().map(move |id| (request, id)))
        {
            assert!(request.body.contains(&format!("\"{id}\"")), "{id}");
        }
        let forms: HashSet<_> = requests
            .iter()
            .map(|request| (&request.body[..1] == "[", request.media_type))
            .collect();
        assert_eq!(forms.len(), 3);
    }

    #[test]
    fn only_good_events_of_quikly_share_a_request() {
        let lines = [
            line(0, Route::Quikly, 202),
            line(1, Route::Quikly, 202),
            line(2, Route::Quikly, 202),
            line(3, Route::Braze, 202),
            line(4, Route::Braze, 401),
            line(5, Route::Outgrow("quiz"), 202),
        ];
        let requests = requests(&lines.iter().collect::<Vec<_>>());
        let shown: Vec<_> = requests
            .iter()
            .map(|one| (one.path.as_str(), one.token, one.ids.len()))
            .collect();
        assert_eq!(
            shown,
            [
                ("/v1/quikly/events", QUIKLY_SENDS, 1),
                ("/v1/quikly/events", QUIKLY_SENDS, 2),
                ("/webhook/braze", BRAZE_TOKEN, 1),
                ("/webhook/braze", "whoever", 1),
                ("/v1/outgrow/quiz", OUTGROW_TOKEN, 1),
            ]
        );
    }
}
