//! Reading single values: each kind of value is understood, bounded and complained about in one place.
//!
//! Invariants: a mistake is noted, and `None` returned, by whoever finds it; nobody notes it again.

use std::ops::RangeInclusive;
use std::time::Duration;

use url::{Host, Url};

use super::Limit;
use super::mistake::{Mistake, nearest};
use super::read::{Context, Section};
use super::tree::{Node, Value, quoted};

/// The longest string and the longest key that Braze takes, in characters.
pub(super) const TEXT_CHARS_MAX: usize = 255;

/// One value being read.
pub(super) struct Field<'a> {
    pub(super) context: Context<'a>,
    pub(super) node: &'a Node,
    pub(super) path: String,
}

impl<'a> Field<'a> {
    pub(super) fn mistake(&self, problem: &str) -> Mistake {
        Mistake::new(&self.node.at, self.path.clone(), problem)
    }

    /// Notes that what stands here is wrong, and shows it: not for secrets.
    pub(super) fn wrong(&self, problem: &str, allowed: &str) {
        self.context.notes.mistake(
            self.mistake(problem)
                .found(self.node.shown())
                .allowed(allowed),
        );
    }

    pub(super) fn section(&self) -> Option<Section<'a>> {
        if let Value::Table(table) = &self.node.value {
            let at = self.node.at.clone();
            Some(Section::new(self.context, table, at, self.path.clone()))
        } else {
            self.context.notes.mistake(
                self.mistake("wrong type")
                    .found(self.node.kind())
                    .allowed("a table"),
            );
            None
        }
    }

    pub(super) fn text(&self) -> Option<&'a str> {
        if let Value::Text(text) = &self.node.value {
            Some(text)
        } else {
            self.wrong("wrong type", "a string");
            None
        }
    }

    /// A string that is not empty and not longer than Braze takes.
    pub(super) fn short_text(&self) -> Option<&'a str> {
        let text = self.text()?;
        let chars = text.chars().count();
        if (1..=TEXT_CHARS_MAX).contains(&chars) && !text.chars().any(char::is_control) {
            return Some(text);
        }
        self.wrong(
            &format!("a string of {chars} characters cannot stand here"),
            &format!("1 to {TEXT_CHARS_MAX} characters, no control characters"),
        );
        None
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        if let Value::Boolean(truth) = self.node.value {
            Some(truth)
        } else {
            self.wrong("wrong type", "true or false, without quotes");
            None
        }
    }

    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let allowed = match (*range.start(), *range.end()) {
            (low, high) if high >= i64::MAX as u64 => format!("an integer from {low}"),
            (low, high) => format!("an integer from {low} to {high}"),
        };
        let Value::Integer(number) = self.node.value else {
            self.wrong("wrong type", &allowed);
            return None;
        };
        let fits = u64::try_from(number)
            .ok()
            .filter(|number| range.contains(number));
        if fits.is_none() {
            self.wrong("out of range", &allowed);
        }
        fits
    }

    /// A part of a whole: above 0, up to 1.
    pub(super) fn share(&self) -> Option<f64> {
        let allowed = "a number above 0 and up to 1, such as 0.5";
        self.number(allowed, |share| share > 0.0 && share <= 1.0)
    }

    /// As [`Field::share`], or nothing of it.
    pub(super) fn part(&self) -> Option<f64> {
        let allowed = "a number from 0 to 1, such as 0.1";
        self.number(allowed, |part| (0.0..=1.0).contains(&part))
    }

    fn number(&self, allowed: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
        let number = match self.node.value {
            Value::Float(number) => number,
            Value::Integer(number) => number as f64,
            Value::Table(_)
            | Value::Array(_)
            | Value::Text(_)
            | Value::Boolean(_)
            | Value::Moment(_) => {
                self.wrong("wrong type", allowed);
                return None;
            }
        };
        if fits(number) {
            return Some(number);
        }
        self.wrong("out of range", allowed);
        None
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        let allowed =
            "a positive duration in quotes, such as \"20ms\", \"120s\", \"2m\", \"24h\" or \"30d\"";
        let Value::Text(text) = &self.node.value else {
            self.wrong("wrong type", allowed);
            return None;
        };
        match humantime::parse_duration(text) {
            Ok(duration) if !duration.is_zero() => Some(duration),
            Ok(_) => {
                self.wrong("a duration must be longer than nothing", allowed);
                None
            }
            Err(_) => {
                self.wrong("not a duration", allowed);
                None
            }
        }
    }

    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let all = all.join(", ");
        let Value::Text(text) = &self.node.value else {
            self.wrong("wrong type", &all);
            return None;
        };
        let found = words.iter().find(|(word, _)| word == text);
        if found.is_none() {
            self.context.notes.mistake(
                self.mistake("not one of the known words")
                    .found(self.node.shown())
                    .allowed(all)
                    .nearest(nearest(text, words.iter().map(|(word, _)| *word))),
            );
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// One of these names, which stand in the table `table`.
    pub(super) fn reference(&self, table: &str, names: &[&str]) -> Option<&'a str> {
        let name = self.text()?;
        if names.contains(&name) {
            return Some(name);
        }
        let mistake = self
            .mistake(&format!("there is no [{table}.{name}]"))
            .found(self.node.shown())
            .nearest(nearest(name, names.iter().copied()));
        self.context.notes.mistake(if names.is_empty() {
            mistake.remedy(format!("add a table [{table}.{name}]"))
        } else {
            mistake.allowed(names.join(", "))
        });
        None
    }

    pub(super) fn limits(&self) -> Option<Vec<Limit>> {
        let allowed = "a list of \"N/[k]unit\" with unit s, min or h, such as [\"3000/3s\"] or [\"40/s\", \"250/min\"]; all of them apply";
        let Value::Array(items) = &self.node.value else {
            self.wrong("wrong type", allowed);
            return None;
        };
        if items.is_empty() {
            self.wrong("a lane without any limit", allowed);
        }
        let limits: Vec<Option<Limit>> = items
            .iter()
            .enumerate()
            .map(|(at, node)| {
                let limit = match &node.value {
                    Value::Text(text) => limit(text),
                    _ => None,
                };
                if limit.is_none() {
                    let item = Field {
                        context: self.context,
                        node,
                        path: format!("{}[{at}]", self.path),
                    };
                    item.wrong("not a limit", allowed);
                }
                limit
            })
            .collect();
        limits.into_iter().collect()
    }

    /// Where requests go: https, or http to this machine; nothing behind the path.
    pub(super) fn url(&self) -> Option<Url> {
        self.address(false)
    }

    /// As [`Field::url`], for what carries no secret: http may lead anywhere.
    pub(super) fn open_url(&self) -> Option<Url> {
        self.address(true)
    }

    fn address(&self, open: bool) -> Option<Url> {
        let allowed = if open {
            "http://HOST[/PATH] or https://HOST[/PATH]"
        } else {
            "https://HOST[/PATH], or http:// to a loopback address"
        };
        let text = self.text()?;
        let problem = match Url::parse(text) {
            Err(_) => "not a URL",
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "credentials do not belong in a URL"
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                "a query or a fragment does not belong here"
            }
            Ok(_) if text.ends_with('/') => "a slash at the end does not belong here",
            Ok(url) if url.scheme() == "http" && !open && !is_loopback(&url) => {
                "http without TLS is only for loopback addresses"
            }
            Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
                "not a web address"
            }
            Ok(_) if text.trim() != text => "white space around a URL",
            Ok(url) => return Some(url),
        };
        // Whatever may carry a password stays unseen.
        let open = !text.contains(['@', '?', '#']);
        let found = if open {
            quoted(text)
        } else {
            "a URL that is not shown, since it may hold a secret".into()
        };
        self.context
            .notes
            .mistake(self.mistake(problem).found(found).allowed(allowed));
        None
    }

    /// A JSON pointer (RFC 6901) to something inside a lead.
    pub(super) fn pointer(&self) -> Option<&'a str> {
        let text = self.text()?;
        let escapes_hold = text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']));
        if text.starts_with('/') && escapes_hold {
            return Some(text);
        }
        self.wrong(
            "not a JSON pointer",
            "a path that begins with / (RFC 6901), such as \"/lead/email\"; ~0 stands for ~, ~1 for / in a name",
        );
        None
    }
}

/// Whether this URL leads to this machine and nowhere else.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `N/[k]unit`.
fn limit(text: &str) -> Option<Limit> {
    let (requests, window) = text.split_once('/')?;
    let digits = window.chars().take_while(char::is_ascii_digit).count();
    let (count, unit) = window.split_at(digits);
    let count: u64 = match count {
        "" => 1,
        count => count.parse().ok()?,
    };
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    let requests = Some(requests)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<u32>().ok())
        .filter(|requests| *requests > 0)?;
    let window = count.checked_mul(seconds).filter(|window| *window > 0)?;
    Some(Limit {
        requests,
        window: Duration::from_secs(window),
    })
}
