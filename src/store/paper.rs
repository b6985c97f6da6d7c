//! Papers: small documents that operators' work leaves behind (what was done, what is being done), by name.
//!
//! Invariants: a paper is bounded, so that it is one stored piece and no part of the queue. What stands in it is its
//! owner's affair; the store knows names and texts alone.

/// The longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 100;

/// The longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 4000;

/// How many papers one look takes at most.
pub const LOOK_MAX: usize = 1000;

/// A document by its name, such as `audit/00000000000000000007`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    name: String,
    text: String,
}

/// A paper that is too long, or has no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a paper has a name of 1 to {NAME_BYTES_MAX} bytes and a text of {TEXT_BYTES_MAX} at most")]
pub struct NotAPaper;

impl Paper {
    /// A paper of this name.
    ///
    /// # Errors
    /// When one of them is longer than it may be, or the name is empty.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Result<Paper, NotAPaper> {
        let (name, text) = (name.into(), text.into());
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && text.len() <= TEXT_BYTES_MAX;
        fits.then_some(Paper { name, text }).ok_or(NotAPaper)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Papers that go, and then those that are put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Papers {
    /// Gone, by name.
    pub remove: Vec<String>,
    /// There, each instead of one of its name.
    pub put: Vec<Paper>,
}

/// What is put on paper of a change to letters, in the write of the change itself: it is told of each letter, in order,
/// whether it is a dead one (of one that is named twice, the first time alone).
pub type Note = Box<dyn FnOnce(&[bool]) -> Papers + Send>;

impl Papers {
    /// For a change of which nothing is put on paper.
    pub fn none() -> Note {
        Box::new(|_| Papers::default())
    }
}

/// Which papers are looked at, in the order of the bytes of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    /// Those whose names begin so.
    pub prefix: String,
    /// Only those behind this name, in the order they are looked at.
    pub behind: Option<String>,
    /// The last first.
    pub last_first: bool,
}

impl Shelf {
    /// All papers whose names begin so, in order.
    pub fn of(prefix: &str) -> Shelf {
        Shelf {
            prefix: prefix.to_owned(),
            ..Shelf::default()
        }
    }

    /// Whether the paper of this name stands here.
    pub fn holds(&self, name: &str) -> bool {
        name.starts_with(&self.prefix)
            && self.behind.as_deref().is_none_or(|behind| {
                if self.last_first {
                    name < behind
                } else {
                    name > behind
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paper_is_bounded() {
        let paper = |name: usize, text: usize| Paper::new("n".repeat(name), "t".repeat(text));
        assert!(paper(1, 0).is_ok());
        assert!(paper(NAME_BYTES_MAX, TEXT_BYTES_MAX).is_ok());
        assert_eq!(paper(0, 1), Err(NotAPaper));
        assert_eq!(paper(NAME_BYTES_MAX + 1, 1), Err(NotAPaper));
        assert_eq!(paper(1, TEXT_BYTES_MAX + 1), Err(NotAPaper));
    }

    #[test]
    fn a_shelf_begins_behind_a_name_from_either_end() {
        let shelf = |behind: Option<&str>, last_first| Shelf {
            prefix: "a/".into(),
            behind: behind.map(str::to_owned),
            last_first,
        };
        for (shelf, name, holds) in [
            (shelf(None, false), "a/1", true),
            (shelf(None, false), "b/1", false),
            (shelf(Some("a/1"), false), "a/1", false),
            (shelf(Some("a/1"), false), "a/2", true),
            (shelf(Some("a/1"), true), "a/0", true),
            (shelf(Some("a/1"), true), "a/1", false),
        ] {
            assert_eq!(shelf.holds(name), holds, "{shelf:?} {name}");
        }
    }
}
