//! `[workspaces.NAME]`: where each brand's Braze and Quikly are, and how fast they may be asked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::field::is_loopback;
use super::mistake::Mistake;
use super::read::Section;
use super::{Braze, Limit, Quikly, Workspace};
use crate::model::Name;
use crate::model::lane::LaneKind;

/// `order_gap`, when nothing is said.
pub(super) const ORDER_GAP: Duration = Duration::from_secs(2);
/// `known_for`, when nothing is said.
pub(super) const KNOWN_FOR: Duration = Duration::from_hours(30 * 24);

/// `partner`, when nothing is said.
const PARTNER: &str = "Quikly-BrazeRelay";

/// The tables of all workspaces by name, for those who refer to them: right in themselves or not.
pub(super) struct Known<'a>(Vec<(&'a str, Section<'a>)>);

impl<'a> Known<'a> {
    pub(super) fn of(root: &Section<'a>) -> Known<'a> {
        if !root.has("workspaces") {
            root.context.notes.warn(
                &root.at,
                "workspaces",
                "no workspace is configured: whatever is accepted becomes a dead letter",
            );
        }
        Known(root.named("workspaces"))
    }

    /// The workspace that `section` says it belongs to.
    pub(super) fn of_section(&self, section: &Section<'a>) -> Option<&'a str> {
        let names: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        section
            .required(
                "workspace",
                "workspace = \"NAME\", where there is a table [workspaces.NAME]",
            )?
            .reference("workspaces", &names)
    }

    /// Whether the workspace has a table `quikly`.
    pub(super) fn has_quikly(&self, workspace: &str) -> bool {
        let mut all = self.0.iter();
        all.any(|(name, section)| *name == workspace && section.has("quikly"))
    }
}

pub(super) fn read(known: &Known<'_>) -> BTreeMap<Name, Workspace> {
    let read = known.0.iter().map(|(name, section)| {
        plain_name(section, name, "a workspace");
        Some((Name::from(*name), workspace(section)?))
    });
    read.flatten().collect()
}

/// Names that are metric labels, lanes on the command line and parts of paths.
pub(super) fn plain_name(section: &Section<'_>, name: &str, what: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    let fits = (1..=64).contains(&name.len()) && name.chars().all(plain) && name != "none";
    if !fits {
        section.mistake(
            Mistake::new(
                &section.at,
                section.path.clone(),
                format!("not a name for {what}"),
            )
            .found(format!("{name:?}"))
            .allowed("1 to 64 of the characters a-z A-Z 0-9 - _ . ~ and not the word none"),
        );
    }
}

fn workspace(section: &Section<'_>) -> Option<Workspace> {
    let brand = section.field("brand").and_then(|brand| brand.short_text());
    let braze = if section.has("braze") {
        section.table("braze").and_then(|section| braze(&section))
    } else {
        braze(&section.table_or_empty("braze"))
    };
    let quikly = section.table("quikly").map(|section| quikly(&section));
    Some(Workspace {
        brand: brand.map(str::to_owned),
        braze: braze?,
        quikly: match quikly {
            Some(quikly) => Some(quikly?),
            None => None,
        },
    })
}

fn braze(section: &Section<'_>) -> Option<Braze> {
    let url = section
        .required("url", "the REST endpoint that Braze's dashboard shows, such as url = \"https://rest.iad-01.braze.com\"")
        .and_then(|field| field.url());
    let exposed = url.as_ref().is_some_and(|url| !is_loopback(url));
    let api_key = section.secret("api_key", true, exposed);
    let share = section
        .or_default("share", || 1.0)
        .and_then(|field| field.share());
    let partner = section
        .or_default("partner", || format!("{PARTNER:?}"))
        .and_then(|field| {
            let text = field.text()?;
            let fits = text.split('-').count() >= 2
                && text.split('-').all(|word| {
                    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric())
                });
            if !fits {
                field.wrong(
                    "not a partner's name",
                    "Organization-Product, such as \"Quikly-BrazeRelay\"",
                );
            }
            Some(text)
        });
    let limits = section.table_or_empty("limits");
    let limits = BRAZE_LIMITS
        .into_iter()
        .map(|(kind, default)| (kind, limits.limits(kind.as_str(), &[default])));
    Some(Braze {
        share: share.unwrap_or(1.0),
        timeout: section.duration("timeout", Duration::from_secs(30)),
        max_in_flight: section.size("max_in_flight", 64, 1..=10_000),
        track_objects_max: section.size("track_objects_max", 75, 1..=75),
        linger: section.duration("linger", Duration::from_millis(20)),
        order_gap: section.duration("order_gap", ORDER_GAP),
        partner: partner.unwrap_or(PARTNER).to_owned(),
        known_for: section.duration("known_for", KNOWN_FOR),
        limits: limits.collect(),
        // Last, so that everything above has been read, and complained about, by now.
        url: url?,
        api_key: api_key?,
    })
}

fn quikly(section: &Section<'_>) -> Option<Quikly> {
    let url = section
        .required(
            "url",
            "Quikly's webhook URL, such as url = \"https://api.quikly.com/webhook/braze\"",
        )
        .and_then(|field| field.url());
    let exposed = url.as_ref().is_some_and(|url| !is_loopback(url));
    let token = section.secret("token", true, exposed);
    Some(Quikly {
        limit: section.limits("limit", &[limit(100, 1)]),
        max_in_flight: section.size("max_in_flight", 16, 1..=10_000),
        timeout: section.duration("timeout", Duration::from_secs(15)),
        url: url?,
        token: token?,
    })
}

const fn limit(requests: u32, seconds: u64) -> Limit {
    Limit {
        requests,
        window: Duration::from_secs(seconds),
    }
}

/// What Braze grants by default ("API limits" in its documentation).
const BRAZE_LIMITS: [(LaneKind, Limit); 5] = [
    (LaneKind::UsersTrack, limit(3000, 3)),
    (LaneKind::UsersExportIds, limit(40, 1)),
    (LaneKind::SubscriptionStatusSet, limit(5000, 60)),
    (LaneKind::UsersDelete, limit(20_000, 60)),
    (LaneKind::Default, limit(250_000, 3600)),
];
