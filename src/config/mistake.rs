//! What is wrong with a configuration, said so that it can be put right: where, what was found, what is allowed.
//!
//! Invariants: a secret's value never gets here; everything found is gathered before anything is reported.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

use super::effective::{Gathered, Part};
use super::tree::{Place, Table};
use super::{NotYet, schema};

/// One thing that makes a configuration unusable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The line in the file, from 1; 0 where no line is to blame (the environment, an unreadable file).
    pub line: usize,
    /// The environment variable it came from, if not from the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// The key's full path, such as `workspaces.acme.braze.url`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub problem: String,
    /// What was found there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What may stand there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<String>,
    /// The nearest known name, where one is near.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Mistake {
    pub(super) fn new(at: &Place, key: impl Into<String>, problem: impl Into<String>) -> Mistake {
        Mistake {
            line: at.line(),
            variable: at.variable(),
            key: key.into(),
            problem: problem.into(),
            found: None,
            allowed: None,
            nearest: None,
            remedy: None,
        }
    }

    pub(super) fn found(mut self, found: impl Into<String>) -> Mistake {
        self.found = Some(found.into());
        self
    }

    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Mistake {
        self.allowed = Some(allowed.into());
        self
    }

    pub(super) fn nearest(mut self, nearest: Option<String>) -> Mistake {
        self.nearest = nearest;
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Mistake {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(variable) = &self.variable {
            write!(f, "{variable}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if let Some(found) = &self.found {
            write!(f, "; found {found}")?;
        }
        if let Some(allowed) = &self.allowed {
            write!(f, "; allowed: {allowed}")?;
        }
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

/// Every mistake of a configuration, by line; those of the environment first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            if mistake.line > 0 {
                write!(f, "line {}: ", mistake.line)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// Something that works and is probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The line in the file, from 1; 0: by the environment.
    pub line: usize,
    /// The key's full path.
    pub key: String,
    /// What to think about.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// Where everything that is to be said is gathered while a configuration is read.
#[derive(Default)]
pub(super) struct Notes {
    mistakes: RefCell<Vec<Mistake>>,
    warnings: RefCell<Vec<Warning>>,
    not_yet: RefCell<Vec<NotYet>>,
    effective: RefCell<Gathered>,
}

impl Notes {
    pub(super) fn mistake(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    pub(super) fn warn(&self, at: &Place, key: impl Into<String>, text: impl Into<String>) {
        self.warnings.borrow_mut().push(Warning {
            line: at.line(),
            key: key.into(),
            text: text.into(),
        });
    }

    /// Everything that is written, for whoever wants to see it.
    pub(super) fn written(&self, tree: &Table) {
        self.effective.borrow_mut().written(tree, schema::ROOT, "");
    }

    /// What is followed at a key that is left out.
    pub(super) fn left_out(&self, table: &str, key: &str, value: impl fmt::Display) {
        let value = value.to_string();
        self.effective.borrow_mut().left_out(table, key, value);
    }

    pub(super) fn not_yet(&self, at: &Place, key: impl Into<String>, feature: impl Into<String>) {
        self.not_yet.borrow_mut().push(NotYet {
            line: at.line(),
            key: key.into(),
            feature: feature.into(),
        });
    }

    /// Warnings and what is not built yet, by line; or all mistakes.
    pub(super) fn close(self) -> Result<(Vec<Warning>, Vec<NotYet>, Vec<Part>), Mistakes> {
        let mut mistakes = self.mistakes.into_inner();
        if mistakes.is_empty() {
            let mut warnings = self.warnings.into_inner();
            let mut not_yet = self.not_yet.into_inner();
            warnings.sort_by_key(|warning| warning.line);
            not_yet.sort_by_key(|not_yet| not_yet.line);
            Ok((warnings, not_yet, self.effective.into_inner().close()))
        } else {
            mistakes.sort_by_key(|mistake| mistake.line);
            Err(Mistakes(mistakes))
        }
    }
}

/// The one of `known` that is nearest to `name`, if any is near enough to have been meant.
pub(super) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let name = plain(name);
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name, &plain(known)), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| {
            *distance <= known.chars().count().max(name.chars().count()) / 2
        })
        .map(|(_, known)| known.to_owned())
}
