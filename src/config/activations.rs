//! `[activations.Q_SCOPE]`: what a participation starts, and how.
//!
//! Invariants: settings whose feature is not in this version are checked as strictly as the others; only then are
//! they listed as not yet there.

use std::time::Duration;

use super::attributes;
use super::field::{Field, TEXT_CHARS_MAX};
use super::mistake::Mistake;
use super::read::Section;
use super::workspaces::{KNOWN_FOR, Known, ORDER_GAP};
use crate::model::Name;
use crate::model::rules::{
    ConfiguredEvent, ConfirmEvery, CreditRule, Identity, OnUnknown, OptIn, ParticipationFlow,
    PhoneMismatch, PhoneRules, RetryPolicy, Rules, SubscribeBy,
};

const FLOWS: [(&str, ParticipationFlow); 3] = [
    ("email", ParticipationFlow::Email),
    ("sms", ParticipationFlow::Sms),
    ("double_opt_in", ParticipationFlow::DoubleOptIn),
];

pub(super) fn read<'a>(root: &Section<'a>, known: &Known<'a>, retry: RetryPolicy) -> Vec<Rules> {
    let sections = root.named("activations");
    let read = sections.iter().map(|(scope, section)| {
        scope_name(section, scope);
        activation(scope, section, known, retry)
    });
    read.flatten().collect()
}

/// A `q_scope` is Quikly's to choose; only what could not be told apart or printed is refused.
fn scope_name(section: &Section<'_>, scope: &str) {
    let chars = scope.chars().count();
    if !(1..=TEXT_CHARS_MAX).contains(&chars)
        || scope.chars().any(char::is_control)
        || scope.trim() != scope
        || scope == "none"
    {
        section.mistake(
            Mistake::new(&section.at, section.path.clone(), "not a name for an activation")
                .found(super::tree::quoted(scope))
                .allowed("1 to 255 characters, no control characters, no white space around, and not the word none"),
        );
    }
}

fn activation<'a>(
    scope: &str,
    section: &Section<'a>,
    known: &Known<'a>,
    retry: RetryPolicy,
) -> Option<Rules> {
    let workspace = known.of_section(section);
    let flow = section.choice("flow", &FLOWS);
    let identity = section.choice_or(
        "identity",
        &[("export", Identity::Export), ("email", Identity::Email)],
        Identity::Export,
    );
    let by_phone = match flow {
        Some(ParticipationFlow::Sms | ParticipationFlow::DoubleOptIn) => true,
        Some(ParticipationFlow::Email) | None => false,
    };
    let opt_in = opt_in(section, flow);
    let mismatches = [
        ("dead", PhoneMismatch::Dead),
        ("replace", PhoneMismatch::Replace),
    ];
    let mismatch = section.choice("phone_mismatch", &mismatches);
    if identity == Identity::Email {
        by_email(section, by_phone, mismatch);
    }
    let credit = section.table("credit").and_then(|section| credit(&section));
    if section.has("credit") {
        credited(section, known, workspace, flow);
    }
    let phone = phone(
        section,
        flow,
        by_phone,
        opt_in,
        mismatch.unwrap_or_default(),
    );
    without_effect(section, flow, by_phone);
    let progress = section.table_or_empty("progress");
    Some(Rules {
        scope: Name::from(scope),
        flow,
        identity,
        phone,
        mark_attributes: attributes::read(
            section,
            "mark_attributes",
            attributes::Consent::Forbidden,
        ),
        created_attributes: attributes::read(
            section,
            "created_attributes",
            attributes::Consent::Allowed,
        ),
        created_event: section
            .table("created_event")
            .and_then(|section| created_event(&section)),
        credit,
        progress_on_unknown: on_unknown(&progress),
        retry,
        mapping: None,
        // The workspace's, once that is read.
        order_gap: ORDER_GAP,
        known_for: KNOWN_FOR,
        // Last, so that everything above has been read, and complained about, by now.
        workspace: Name::from(workspace?),
    })
}

fn on_unknown(section: &Section<'_>) -> OnUnknown {
    section.choice_or(
        "on_unknown",
        &[("resend", OnUnknown::Resend), ("park", OnUnknown::Park)],
        OnUnknown::default(),
    )
}

fn credit(section: &Section<'_>) -> Option<CreditRule> {
    let on_unknown = on_unknown(section);
    let event = section
        .required(
            "event",
            "event = \"NAME\", as Quikly knows it; without a credit leave the table out",
        )?
        .short_text()?;
    Some(CreditRule {
        event: event.to_owned(),
        on_unknown,
    })
}

fn created_event(section: &Section<'_>) -> Option<ConfiguredEvent> {
    let on_unknown = on_unknown(section);
    let name = section
        .required("name", "name = \"NAME\", a custom event in Braze")?
        .short_text()?;
    Some(ConfiguredEvent {
        name: name.to_owned(),
        on_unknown,
    })
}

/// The subscription group, and how its status is set and read back.
fn phone(
    section: &Section<'_>,
    flow: Option<ParticipationFlow>,
    by_phone: bool,
    opt_in: Option<OptIn>,
    mismatch: PhoneMismatch,
) -> Option<PhoneRules> {
    if by_phone {
        section.required(
            "subscription_group_id",
            "the id of the SMS subscription group; flows with a phone need it",
        );
    }
    let group = section.field("subscription_group_id");
    if let Some(field) = &group {
        group_id(field);
    }
    let delay = section.duration("subscription_delay", Duration::from_secs(120));
    let [first, max, within] = confirm_every(&section.table_or_empty("confirm_every"), flow);
    let subscribe = section.choice_or(
        "subscribe",
        &[
            ("delayed", SubscribeBy::Delayed),
            ("inline", SubscribeBy::Inline),
        ],
        SubscribeBy::default(),
    );
    Some(PhoneRules {
        group: group.filter(|_| by_phone)?.text()?.to_owned(),
        subscribe,
        delay,
        mismatch,
        confirm: ConfirmEvery { first, max, within },
        opt_in: opt_in.filter(|_| flow == Some(ParticipationFlow::DoubleOptIn)),
    })
}

/// Shape of a UUID, hyphenated.
pub(super) fn group_id(field: &Field<'_>) {
    let Some(text) = field.text() else { return };
    if text.len() != 36 || uuid::Uuid::parse_str(text).is_err() {
        field.wrong(
            "not the id of a subscription group",
            "a UUID, such as \"6f4b0c3e-0000-4000-8000-000000000000\"",
        );
    }
}

/// First wait, longest wait, and how long in all.
pub(super) fn confirm_every(
    section: &Section<'_>,
    flow: Option<ParticipationFlow>,
) -> [Duration; 3] {
    let [first, max, within] = match flow {
        Some(ParticipationFlow::DoubleOptIn) => [30, 3600, 30 * 24 * 3600],
        Some(ParticipationFlow::Sms | ParticipationFlow::Email) | None => [5, 60, 3600],
    }
    .map(Duration::from_secs);
    let first = section.duration("first", first);
    let max = section.duration("max", max);
    let within = section.duration("within", within);
    section.in_order(&[("first", first), ("max", max), ("within", within)]);
    [first, max, within]
}

/// How a double opt-in begins: by a custom event of the brand's, or by Braze's own logic.
fn opt_in(section: &Section<'_>, flow: Option<ParticipationFlow>) -> Option<OptIn> {
    let either = "{ event = \"NAME\" } or { use_double_opt_in_logic = true }, one of the two";
    let Some(opt_in) = section.table("opt_in") else {
        if flow == Some(ParticipationFlow::DoubleOptIn) && !section.has("opt_in") {
            section.mistake(
                Mistake::new(&section.at, section.key("opt_in"), "this key is required")
                    .allowed(either)
                    .remedy("flow = \"double_opt_in\" must say how the opt-in begins"),
            );
        }
        return None;
    };
    let event = opt_in.field("event").and_then(|event| event.short_text());
    let logic = opt_in.boolean("use_double_opt_in_logic", false);
    let on_unknown = on_unknown(&opt_in);
    if opt_in.has("event") == logic {
        let found = if logic { "both" } else { "neither" };
        opt_in.mistake(
            Mistake::new(
                &section.place("opt_in"),
                section.key("opt_in"),
                "how does the opt-in begin?",
            )
            .found(found)
            .allowed(either),
        );
        return None;
    }
    if logic {
        return Some(OptIn::Logic(on_unknown));
    }
    Some(OptIn::Event(ConfiguredEvent {
        name: event?.to_owned(),
        on_unknown,
    }))
}

/// `identity = "email"`: new and found profiles cannot be told apart, and nobody sees which phone is there.
fn by_email(section: &Section<'_>, by_phone: bool, mismatch: Option<PhoneMismatch>) {
    for key in ["created_event", "created_attributes"] {
        if section.has(key) {
            section.mistake(
                Mistake::new(
                    &section.place(key),
                    section.key(key),
                    "cannot go with identity = \"email\": without a look-up, new and found profiles cannot be told apart",
                )
                .remedy("take it out, or set identity = \"export\""),
            );
        }
    }
    if by_phone && mismatch != Some(PhoneMismatch::Replace) {
        section.mistake(
            Mistake::new(
                &section.place("phone_mismatch"),
                section.key("phone_mismatch"),
                "with identity = \"email\" a flow with a phone overwrites whatever phone is there, and must say so",
            )
            .found(match mismatch {
                Some(_) => "\"dead\"",
                None => "nothing, which means \"dead\"",
            })
            .allowed("\"replace\"")
            .remedy("set phone_mismatch = \"replace\", or identity = \"export\""),
        );
    }
}

fn credited(
    section: &Section<'_>,
    known: &Known<'_>,
    workspace: Option<&str>,
    flow: Option<ParticipationFlow>,
) {
    if let Some(workspace) = workspace
        && !known.has_quikly(workspace)
    {
        section.mistake(
            Mistake::new(
                &section.place("credit"),
                section.key("credit"),
                format!("a credit needs [workspaces.{workspace}.quikly], which is not there"),
            )
            .remedy("add that table with url and token, or take the credit out"),
        );
    }
    if flow.is_none() && !section.has("flow") {
        section.context.notes.warn(
            &section.place("credit"),
            section.key("credit"),
            "has no effect without a flow",
        );
    }
}

/// What is written down and never used is probably a mistake about the flow.
fn without_effect(section: &Section<'_>, flow: Option<ParticipationFlow>, by_phone: bool) {
    let warn = |key: &str, needed: &str| {
        section.context.notes.warn(
            &section.place(key),
            section.key(key),
            format!("has no effect without {needed}"),
        );
    };
    let phones = [
        "subscribe",
        "subscription_group_id",
        "subscription_delay",
        "phone_mismatch",
        "confirm_every",
    ];
    for key in phones
        .into_iter()
        .filter(|key| section.has(key) && !by_phone)
    {
        warn(key, "flow = \"sms\" or \"double_opt_in\"");
    }
    if section.has("opt_in") && flow != Some(ParticipationFlow::DoubleOptIn) {
        warn("opt_in", "flow = \"double_opt_in\"");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::super::env::Env;
    use super::super::mistake::Notes;
    use super::super::read::Context;
    use super::super::{EXAMPLE, tree};
    use super::*;

    #[test]
    fn the_example_shows_the_default_waits_of_a_confirmation() {
        let tree = tree::parse(EXAMPLE).unwrap();
        let (env, notes) = (Env::default(), Notes::default());
        let context = Context {
            env: &env,
            notes: &notes,
        };
        let root = Section::root(context, &tree);
        for (name, section) in root.named("activations") {
            let flow = section.choice("flow", &FLOWS);
            let shown = confirm_every(&section.table_or_empty("confirm_every"), flow);
            let default = confirm_every(&section.table_or_empty("nothing"), flow);
            assert_eq!(shown, default, "{name}");
        }
    }
}
