//! The free JSON in an event, attributes and properties: looked through for what must not be in it, and kept as it came.
//!
//! Invariants: pure; every string and number is read, so that what passes can be read again; nothing is built of it:
//! names are borrowed from the body, values are looked at and left. Nesting deeper than meant is not followed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::check::{self, Fault, Faults, Forbidden};
use super::parse::{Field, MemberName, syntax};
use crate::model::json::ObjectText;

/// The deepest nesting of an attribute or property. Deeper than anything meant, and shallow enough that whoever reads
/// the requests we make of it need not give up on them.
const DEPTH_MAX: usize = 64;

/// What the names of an object may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// Why the object may not have a member of this name.
    pub refused: fn(&str) -> Option<Forbidden>,
    /// `inc`, `add` and `remove` are operators wherever an object may stand in it, as Braze takes them in attributes; in
    /// properties they are plain names.
    pub words: bool,
}

/// The object called `name`, unless it is empty, absent or wrong.
pub(super) fn object(
    name: &'static str,
    field: Field<'_>,
    names: Names,
    faults: &mut Faults,
) -> Option<ObjectText> {
    let text = match field {
        Field::Absent => return None,
        Field::Object(text) => text,
        other => return check::wrong_type(name, "an object", &other, faults),
    };
    let mut walk = Walk {
        path: vec![Cow::Borrowed(name)],
        names,
        members: 0,
        faults,
    };
    let read = walk.deserialize(&mut serde_json::Deserializer::from_str(text));
    let members = walk.members;
    if let Err(error) = read {
        faults.add(Fault::new(name, format!("is not JSON: {}", syntax(&error))));
    }
    (members > 0).then(|| ObjectText::read(text))
}

/// One object on the way through.
struct Walk<'de, 'w> {
    /// Where we are, from the object's own name.
    path: Vec<Cow<'de, str>>,
    names: Names,
    /// How many members the object itself has.
    members: usize,
    faults: &'w mut Faults,
}

impl Walk<'_, '_> {
    /// What is wrong with a member of this name, here.
    fn refused(&self, name: &str) -> Option<Fault> {
        if self.path.len() == 1
            && let Some((reason, remedy)) = (self.names.refused)(name)
        {
            return Some(Fault {
                field: format!("{}.{}", self.path[0], check::shown(name)).into(),
                reason: reason.into(),
                remedy,
            });
        }
        let bare = name.trim();
        let word = self.names.words && self.path.len() > 1;
        (bare.starts_with('$') || (word && matches!(bare, "inc" | "add" | "remove"))).then(|| {
            let names = self.path.iter().map(|name| check::shown(name));
            let names: Vec<_> = names.chain([check::shown(name)]).collect();
            Fault::new(names.join("."), "is an operator").remedy("send the new value itself")
        })
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk<'de, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if self.path.len() > DEPTH_MAX {
            let reason = format!("is nested deeper than {DEPTH_MAX} levels");
            self.faults
                .add(Fault::new(self.path[0].clone().into_owned(), reason));
            from.deserialize_ignored_any(IgnoredAny)?;
            return Ok(());
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk<'de, '_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.path.push(Cow::Borrowed("[]"));
        while elements.next_element_seed(&mut *self)?.is_some() {}
        self.path.pop();
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(MemberName(name)) = members.next_key()? {
            self.members += usize::from(self.path.len() == 1);
            if let Some(fault) = self.refused(&name) {
                self.faults.add(fault);
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            self.path.push(name);
            members.next_value_seed(&mut *self)?;
            self.path.pop();
        }
        Ok(())
    }
}

/// The members of an event's `event`.
#[derive(Debug, Default)]
pub(super) struct Custom<'a> {
    /// `name`.
    pub name: Field<'a>,
    /// `properties`.
    pub properties: Field<'a>,
    /// What is wrong with the members' names.
    pub faults: Faults,
}

impl<'a> Custom<'a> {
    /// From the text of the object.
    pub(super) fn read(text: &'a str) -> Result<Custom<'a>, serde_json::Error> {
        serde_json::Deserializer::from_str(text).deserialize_map(CustomVisitor)
    }
}

struct CustomVisitor;

impl<'de> Visitor<'de> for CustomVisitor {
    type Value = Custom<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut custom = Custom::default();
        while let Some(MemberName(name)) = members.next_key()? {
            match &*name {
                "name" => custom.name = members.next_value()?,
                "properties" => custom.properties = raw(&mut members)?,
                other => {
                    if let Some((reason, remedy)) = check::forbidden(other) {
                        custom.faults.add(Fault {
                            field: format!("event.{}", check::shown(other)).into(),
                            reason: reason.into(),
                            remedy,
                        });
                    }
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(custom)
    }
}

/// A member's value, an object as its text.
pub(super) fn raw<'de, A: MapAccess<'de>>(members: &mut A) -> Result<Field<'de>, A::Error> {
    let text = members.next_value::<&'de RawValue>()?.get();
    if text.starts_with('{') {
        return Ok(Field::Object(text));
    }
    serde_json::from_str(text).map_err(A::Error::custom)
}
