//! From what was seen to what is found, in the order in which it is told.
//!
//! Invariants: pure. What a workspace's key must be able to do is what the flows of its activations ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::braze::{self, Answers};
use super::finding::{Findings, Status, fail, ok, unknown, warn};
use super::host;
use super::limits::{self, Report, Reports};
use super::observe::Outlook;
use super::plan::{self, Campaign, Intake, Room};
use crate::cli::text;
use crate::client::probe::{Question, Said};
use crate::config::{Loaded, Workspace};
use crate::model::Name;
use crate::model::budget::Told;
use crate::model::event::Source;
use crate::model::lane::LaneKind;
use crate::model::rules::{Identity, Rules};

/// The two clocks may be so far apart before moments are reckoned by theirs.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// What is looked at.
pub(super) struct Scope<'a> {
    pub loaded: &'a Loaded,
    pub workspaces: Vec<(&'a Name, &'a Workspace)>,
    pub activations: Vec<&'a Arc<Rules>>,
    pub contents: Vec<&'a Arc<Rules>>,
}

impl Scope<'_> {
    /// What has to be asked of a workspace's Braze, for what its activations and contents do. A deletion is asked for
    /// wherever, since `forget` may want it.
    pub fn questions(&self, workspace: &Name) -> Vec<Question> {
        let mut questions = BTreeSet::from([Question::Delete]);
        if self.contents.iter().any(|it| it.workspace == *workspace) {
            questions.insert(Question::Track);
        }
        let ours = |rules: &&&Arc<Rules>| rules.workspace == *workspace;
        for rules in self.activations.iter().filter(ours) {
            // Without a flow there are still the updates.
            if rules.flow.is_none() {
                questions.insert(Question::Track);
                questions.extend((rules.identity == Identity::Export).then_some(Question::LookUp));
            }
            for lane in plan::objects(rules, Duration::from_hours(1)).into_keys() {
                questions.extend(match lane {
                    LaneKind::UsersExportIds => Some(Question::LookUp),
                    LaneKind::UsersTrack => Some(Question::Track),
                    LaneKind::SubscriptionStatusSet => Some(Question::SetStatus),
                    LaneKind::Default => rules.phone.as_ref().map(|phone| Question::ReadStatus {
                        group: phone.group.clone(),
                    }),
                    LaneKind::UsersDelete | LaneKind::Quikly | LaneKind::Held => None,
                });
            }
        }
        questions.into_iter().collect()
    }
}

/// What the configuration itself says.
pub(super) fn configuration(findings: &mut Findings, scope: &Scope<'_>) {
    let config = &scope.loaded.config;
    let warnings = &scope.loaded.warnings;
    for warning in warnings {
        let line = match warning.line {
            0 => String::new(),
            line => format!("line {line}: "),
        };
        findings.add(
            "configuration",
            (Status::Warn, format!("{line}{warning}"), None),
        );
    }
    for not_yet in &config.not_yet {
        let detail = format!(
            "{} asks for what this version does not do: {}",
            not_yet.key, not_yet.feature
        );
        findings.add(
            "configuration",
            fail(detail, "take it out: serve refuses to start with it"),
        );
    }
    if warnings.is_empty() && config.not_yet.is_empty() {
        findings.add("configuration", ok("no warnings"));
    }
    let has_flow = |rules: &&Arc<Rules>| rules.flow.is_some();
    for source in Source::ALL {
        let wanted = match source {
            Source::Quikly => scope.activations.iter().any(has_flow),
            Source::Outgrow => !scope.contents.is_empty(),
            Source::Braze => !scope.activations.iter().all(|it| it.flow.is_some()),
            Source::Operator => false,
        };
        let name = source.as_str();
        let tokens = config.ingest.tokens.get(&source).map_or(0, Vec::len);
        let verdict = match (tokens, wanted) {
            (0, false) => continue,
            (0, true) => fail(
                format!("no token: all that {name} posts is answered 401"),
                format!("[ingest.sources.{name}] tokens = [{{ env = \"NAME\" }}]"),
            ),
            (1, _) => ok("1 token is accepted"),
            (tokens, _) => ok(format!("{tokens} tokens are accepted")),
        };
        findings.add(format!("ingest.{name}"), verdict);
    }
}

/// What was seen of one workspace.
pub(super) fn workspace(
    findings: &mut Findings,
    settings: &Workspace,
    questions: &[Question],
    seen: &Outlook,
) {
    let answers: Vec<_> = seen.answers.iter().map(|(_, seen)| seen).collect();
    host::judge(findings, "braze", &seen.braze, &answers);
    findings.add("braze.key", braze::key(&seen.answers));
    let mut named = BTreeSet::new();
    for question in questions {
        let name = question.permission();
        let optional = (*question == Question::Delete).then_some("forget --delete-in-braze");
        if named.insert(name) {
            findings.add(
                format!("permission.{name}"),
                braze::permission(question, &seen.answers, optional),
            );
        }
    }
    limits(findings, settings, &seen.answers);
    if let Some((host, knocked)) = &seen.quikly {
        let answers: Vec<_> = knocked.iter().collect();
        host::judge(findings, "quikly", host, &answers);
        if let Some(seen) = knocked
            && let Said::Unclear(answer) = &seen.said
        {
            let status = answer.status.unwrap_or_default();
            let remedy = "ask Quikly whether it is well: credits wait until it is";
            findings.add(
                "quikly.fails",
                warn(format!("Quikly answers {status}"), remedy),
            );
        }
        findings.add(
            "quikly.token",
            unknown(
                "a token is set; whether Quikly takes it cannot be asked without giving a credit",
            ),
        );
    }
}

/// What the answers of one workspace report of its limits.
pub(super) fn reports(answers: &Answers) -> Reports {
    let mut reports = BTreeMap::new();
    for (question, seen) in answers {
        let theirs = seen.theirs.unwrap_or(seen.ours);
        let apart = theirs.since(seen.ours).max(seen.ours.since(theirs));
        let at = if apart > CLOCK_SLACK {
            theirs
        } else {
            seen.ours
        };
        if let Told::Word(word) = seen.told {
            reports.insert(question.lane(), Report { word, at });
        }
    }
    reports
}

fn limits(findings: &mut Findings, settings: &Workspace, answers: &Answers) {
    let reports = reports(answers);
    let mut seen = BTreeSet::new();
    for (question, observed) in answers {
        let lane = question.lane();
        let Some(configured) = settings.braze.limits.get(&lane) else {
            continue;
        };
        if !seen.insert(lane) {
            continue;
        }
        let verdict = match (reports.get(&lane), observed.told) {
            (Some(report), _) => limits::compare(lane, configured, settings.braze.share, report),
            (None, Told::Absurd(why)) => warn(
                format!("rate headers that cannot be right: {why}"),
                "the relay counts by itself: compare the limit with what Braze grants",
            ),
            (None, Told::Nothing | Told::Word(_)) => {
                unknown("Braze did not report its limit with this answer")
            }
        };
        findings.add(format!("limit.{lane}"), verdict);
    }
}

/// What there is to say of one activation, and its room.
pub(super) fn activation(
    findings: &mut Findings,
    rules: &Rules,
    settings: &Workspace,
    answers: &Answers,
    campaign: Option<Campaign>,
) -> Option<Room> {
    let Some(room) = plan::room(rules, settings, &reports(answers), campaign) else {
        findings.add(
            "flow",
            ok("none: Braze webhooks go on to Quikly, a participation would be a dead letter (no_flow)"),
        );
        return None;
    };
    let credit = match &rules.credit {
        Some(_) => "with a credit",
        None => "without a credit",
    };
    findings.add("flow", ok(format!("{} {credit}", flow(rules))));
    if let Some(phone) = &rules.phone {
        findings.add("group", braze::group(&phone.group, answers));
    }
    let binds = room.lanes.first();
    let binds = binds.map_or("nothing", |lane| lane.lane.as_str());
    findings.add(
        "room",
        match &room.fit {
            None => ok(format!(
                "{:.0} participations an hour; {binds} binds",
                room.per_hour
            )),
            Some(fit) => {
                let took = text::remaining(fit.seconds);
                let Campaign { expect, within } = fit.campaign;
                let within = text::duration(within.as_secs_f64());
                let detail = format!("{expect} within {within} take {took}; {binds} binds");
                let switches = fit.switches.iter().map(|switch| match switch.seconds {
                    Some(seconds) => format!("{}: {}", switch.setting, text::remaining(seconds)),
                    None => switch.setting.clone(),
                });
                let remedy = switches.collect::<Vec<_>>().join("\nor ");
                match (fit.fits, fit.tight) {
                    (false, _) => fail(format!("does not fit: {detail}"), remedy),
                    (true, true) => warn(format!("fits, with little to spare: {detail}"), remedy),
                    (true, false) => ok(format!("fits: {detail}")),
                }
            }
        },
    );
    Some(room)
}

/// Whether this machine has room for the campaign, where that is asked.
pub(super) fn machine_room(
    findings: &mut Findings,
    campaign: Campaign,
    rooms: &[Room],
    disk: &super::disk::Disk,
    reserve_bytes: u64,
) {
    let rate = campaign.expect as f64 / campaign.within.as_secs_f64();
    let commits = disk.commits_per_second;
    let remedy = "a faster disk; or have Quikly post in batches";
    findings.add(
        "room.intake",
        match plan::intake(campaign, commits) {
            Intake::Easily => ok(format!("{rate:.0} events a second, each its own commit")),
            Intake::Together => ok(format!(
                "{rate:.0} events a second, if they come side by side or in batches: those share a commit"
            )),
            Intake::TooSlow => fail(
                format!("{rate:.0} events a second are too many for {commits:.0} commits"),
                remedy,
            ),
        },
    );
    let needed = rooms
        .iter()
        .filter_map(|room| Some(room.fit.as_ref()?.disk_bytes));
    let needed = needed.max().unwrap_or_default();
    let free = disk.free_bytes.saturating_sub(reserve_bytes);
    let detail = format!(
        "{} at the most, {} free above the reserve",
        text::bytes(needed),
        text::bytes(free)
    );
    findings.add(
        "room.disk",
        if needed > free {
            fail(
                detail,
                "make room: at the reserve every event is answered 503",
            )
        } else {
            ok(detail)
        },
    );
}

fn flow(rules: &Rules) -> &'static str {
    use crate::model::rules::ParticipationFlow;
    match rules.flow {
        Some(ParticipationFlow::Email) => "email",
        Some(ParticipationFlow::Sms) => "sms",
        Some(ParticipationFlow::DoubleOptIn) => "double_opt_in",
        None => "none",
    }
}
