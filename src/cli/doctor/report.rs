//! The doctor's report: lines for people, one document for programs.
//!
//! Invariants: pure; what others said cannot steer a terminal.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::finding::{Finding, Findings, Status};
use super::plan::Room;
use crate::cli::text::{Column, bytes, plain, remaining, table};

/// Everything that was found.
pub(super) struct Report {
    pub findings: Findings,
    pub rooms: Vec<Room>,
    /// Whether any host accepted a connection.
    pub reached: bool,
}

impl Report {
    /// 0 all well, 1 something fails or does not fit, 3 nobody could be reached.
    pub fn exit_code(&self) -> u8 {
        match (self.reached, self.findings.count(Status::Fail)) {
            (false, _) => 3,
            (true, 0) => 0,
            (true, _) => 1,
        }
    }

    /// Lines, grouped by whose they are, and a summary at the end.
    pub fn told(&self) -> String {
        let mut text = String::new();
        let all = &self.findings.all;
        let width = all
            .iter()
            .map(|it| label(it).len())
            .max()
            .unwrap_or_default();
        let mut subject = "";
        for finding in all {
            if finding.subject != subject {
                let gap = if subject.is_empty() { "" } else { "\n" };
                subject = &finding.subject;
                // Writing to a String does not fail.
                let _ = writeln!(text, "{gap}{}", plain(subject));
            }
            let word = finding.status.word();
            let _ = writeln!(
                text,
                "  {word:<4}  {:<width$}  {}",
                label(finding),
                plain(&finding.detail)
            );
            for remedy in finding.remedy.iter().flat_map(|it| it.lines()) {
                let _ = writeln!(text, "  {:4}  {:<width$}  -> {}", "", "", plain(remedy));
            }
            if finding.id == "room" {
                let room = self.rooms.iter().find(|room| room.subject() == subject);
                text.push_str(&room.map(lanes).unwrap_or_default());
            }
        }
        let _ = writeln!(text, "\n{}", self.summary());
        text
    }

    fn summary(&self) -> String {
        let count = |status| self.findings.count(status);
        let verdict = match self.exit_code() {
            0 => "ready",
            1 => "NOT READY",
            _ => "NOBODY COULD BE REACHED",
        };
        format!(
            "{verdict}: {} ok, {} to think about, {} failed, {} that could not be told (?)",
            count(Status::Ok),
            count(Status::Warn),
            count(Status::Fail),
            count(Status::Unknown)
        )
    }

    /// One document.
    pub fn document(&self) -> Value {
        let count = |status| self.findings.count(status);
        json!({
            "ready": self.exit_code() == 0,
            "exit_code": self.exit_code(),
            "reached": self.reached,
            "counts": {
                "ok": count(Status::Ok), "warn": count(Status::Warn),
                "fail": count(Status::Fail), "unknown": count(Status::Unknown),
            },
            "checks": self.findings.all,
            "plan": self.rooms.iter().map(document).collect::<Vec<_>>(),
        })
    }
}

/// What a finding is called on its line.
fn label(finding: &Finding) -> String {
    finding.id.replacen("permission.", "may ", 1)
}

/// What each lane has to do.
fn lanes(room: &Room) -> String {
    let rows: Vec<[String; 4]> = room
        .lanes
        .iter()
        .map(|lane| {
            let takes = room.fit.as_ref();
            let takes = takes.map(|fit| remaining(lane.seconds(fit.campaign.expect)));
            [
                lane.lane.to_string(),
                format!("{:.3}", lane.requests_each),
                format!("{:.1}", lane.requests_per_second),
                takes.unwrap_or_default(),
            ]
        })
        .collect();
    let columns = [
        Column::Left("LANE"),
        Column::Right("REQUESTS EACH"),
        Column::Right("OURS A SECOND"),
        Column::Right(if room.fit.is_some() { "TAKES" } else { "" }),
    ];
    let mut text = String::new();
    for line in table(columns, &rows).lines() {
        let _ = writeln!(text, "          {line}");
    }
    if let Some(fit) = &room.fit {
        let _ = writeln!(
            text,
            "          {} of disk at the most",
            bytes(fit.disk_bytes)
        );
    }
    text
}

fn document(room: &Room) -> Value {
    let lanes = room.lanes.iter().map(|lane| {
        json!({
            "lane": lane.lane, "requests_each": lane.requests_each,
            "requests_per_second": lane.requests_per_second,
            "seconds": room.fit.as_ref().map(|fit| lane.seconds(fit.campaign.expect)),
        })
    });
    let fit = room.fit.as_ref().map(|fit| {
        let switches = fit.switches.iter();
        let switches = switches.map(|it| json!({ "setting": it.setting, "seconds": it.seconds }));
        json!({
            "expect": fit.campaign.expect, "within_seconds": fit.campaign.within.as_secs_f64(),
            "seconds": fit.seconds, "fits": fit.fits, "tight": fit.tight, "disk_bytes": fit.disk_bytes,
            "switch": switches.collect::<Vec<_>>(),
        })
    });
    json!({
        "activation": room.activation, "workspace": room.workspace, "per_hour": room.per_hour,
        "binds": room.lanes.first().map(|lane| lane.lane),
        "lanes": lanes.collect::<Vec<_>>(), "fit": fit,
    })
}
