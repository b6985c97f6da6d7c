//! How types that other layers own look in the API's document. They are not made to know of it.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::flow::job::{Attempt, Class, Flow, JobState, Outcome, Reason};
use crate::model::call::Answer;
use crate::model::event::{EventKind, Source};
use crate::model::id::{EventId, JobId};
use crate::model::time::Timestamp;

fn text(about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(about))
}

macro_rules! looks {
    ($($name:ident: $schema:expr,)*) => { $(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T(Schema::Object($schema.build()))
            }
        }
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )* };
}

fn one_of<T: ToString>(about: &str, all: &[T]) -> ObjectBuilder {
    text(about).enum_values(Some(all.iter().map(ToString::to_string)))
}

looks! {
    Timestamp: text("A moment: RFC 3339, UTC, milliseconds.").format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
    EventId: text("The relay's id of an event, as its client was told: opaque, in order of acceptance."),
    JobId: text("A job: its event's id, and `.N` behind it for those that the first one spawned."),
    Flow: one_of("A state machine.", Flow::ALL),
    Reason: one_of("Why a job is a dead letter.", Reason::ALL),
    JobState: one_of("Where a job is.", JobState::ALL),
    Class: one_of("Of which failure it died.", Class::ALL),
    Outcome: one_of("How a job ended well.", Outcome::ALL),
    Source: text("Who posts to us: `quikly`, `outgrow`, `braze`; `operator` for what was asked of the relay itself."),
    EventKind: text("`participation`, `progress`, `webhook`, `lead` or `erasure`."),
    Answer: ObjectBuilder::new()
        .description(Some("What the other side said, redacted."))
        .property("status", ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Integer, Type::Null])).description(Some("HTTP status; null when there was no answer.")))
        .property("text", text("A short text.")),
    Attempt: ObjectBuilder::new()
        .description(Some("A failed attempt."))
        .property("at", Timestamp::schema())
        .property("step", text("The step it was made at."))
        .property("answer", Answer::schema()),
}
