//! Whether what Braze webhooks say can go on to Quikly.

use super::Ingest;
use super::read::Section;
use super::workspaces::Known;
use crate::model::event::Source;
use crate::model::rules::Rules;

/// Warns about every activation that webhooks are accepted for and cannot leave.
pub(super) fn check(root: &Section<'_>, known: &Known<'_>, ingest: &Ingest, rules: &[Rules]) {
    let accepted = ingest.tokens.get(&Source::Braze);
    if accepted.is_none_or(Vec::is_empty) {
        return;
    }
    for rules in rules {
        let section = root
            .table("activations")
            .and_then(|all| all.table(&rules.scope));
        if let Some(section) = section
            && !known.has_quikly(&rules.workspace)
        {
            let workspace = &rules.workspace;
            root.context.notes.warn(
                &section.place("workspace"),
                section.key("workspace"),
                format!("there is no [workspaces.{workspace}.quikly]: Braze webhooks for this activation are accepted and wait until there is one"),
            );
        }
    }
}
