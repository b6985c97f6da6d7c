//! What an accepted request writes, on its way to take effect.
//!
//! Invariants: a write was judged valid before it became one; nothing is applied here.

use super::attributes::GroupWish;
use super::identifier::Identifier;
use super::profiles::Object;
use super::sets::Via;
use crate::model::time::Timestamp;

/// One accepted thing on its way.
#[derive(Clone, Debug)]
pub enum Write {
    /// An attributes object.
    Attributes {
        /// Whose.
        identifier: Identifier,
        /// Whether it may create the profile.
        create: bool,
        /// As it came.
        object: Object,
    },
    /// An event object.
    Event {
        /// Whose.
        identifier: Identifier,
        /// Whether it may create the profile.
        create: bool,
        /// `name`
        name: String,
        /// `time`
        time: Timestamp,
    },
    /// A purchase object.
    Purchase {
        /// Whose.
        identifier: Identifier,
        /// Whether it may create the profile.
        create: bool,
    },
    /// A status set for everybody who has this e-mail or phone, or for one profile.
    Status {
        /// Who.
        identifier: Identifier,
        /// What.
        wish: GroupWish,
        /// In which request.
        via: Via,
    },
    /// The end of a profile.
    Deletion {
        /// Whose.
        identifier: Identifier,
    },
}

impl Write {
    /// Whom it is for.
    pub fn identifier(&self) -> &Identifier {
        match self {
            Write::Attributes { identifier, .. }
            | Write::Event { identifier, .. }
            | Write::Purchase { identifier, .. }
            | Write::Status { identifier, .. }
            | Write::Deletion { identifier } => identifier,
        }
    }

    /// Whether it makes the profile if there is none.
    pub fn creates(&self) -> bool {
        match self {
            Write::Attributes { create, .. }
            | Write::Event { create, .. }
            | Write::Purchase { create, .. } => *create,
            Write::Status { .. } | Write::Deletion { .. } => false,
        }
    }
}

/// Takes the e-mail out of the creation of a profile that is not named by it; a write that brings it.
pub fn keep_email_back(write: &mut Write) -> Option<Write> {
    let Write::Attributes {
        identifier, object, ..
    } = write
    else {
        return None;
    };
    if matches!(identifier, Identifier::Email(_)) {
        return None;
    }
    let email = object.shift_remove("email")?;
    Some(Write::Attributes {
        identifier: identifier.clone(),
        create: false,
        object: Object::from_iter([("email".to_owned(), email)]),
    })
}
