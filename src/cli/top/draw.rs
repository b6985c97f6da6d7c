//! The picture: a pure function of what is shown and of the size of the screen.
//!
//! Invariants: pure. A number is never cut: it is written shorter where room is scarce. A name that is cut says so (`…`), and
//! rows that have no room are counted. What is held is named by every picture. Without colours nothing is lost.

use ratatui::text::Line;

use super::super::text::plain;
use super::canvas::{Canvas, Look};
use super::lanes::{Columns, ending};
use super::view::{Activation, Link, Target, View};
use super::write::{clock, count, eta, middle, rate, short, spark, width};
use crate::ops::wire::{Live, Moment};

/// Room for so many rows of anything: of a picture that is not for a screen.
pub(super) const ENDLESS: usize = 100_000;

/// A relay that tells nothing for so long does not do as it should: it tells each second.
const QUIET_SECONDS: f64 = 5.0;

/// The lines of a picture of this size.
pub(super) fn picture(view: &View, width: usize, height: usize) -> Vec<Line<'static>> {
    let mut canvas = Canvas {
        width,
        colour: view.colour,
        lines: Vec::new(),
    };
    head(&mut canvas, view);
    if view.help {
        help(&mut canvas);
    } else if let Some(live) = &view.live {
        alarms(&mut canvas, view, live);
        let few = height < 10;
        canvas.put_parts(&numbers(live, few), Look::Loud);
        let roomy = height >= 18;
        if roomy || !live.status.events.adds_up {
            canvas.put_parts(&conservation(live), Look::Plain);
        }
        if height >= 22 {
            sparklines(&mut canvas, view);
        }
        let used = canvas.lines.len() + 1;
        rows(&mut canvas, view, height.saturating_sub(used));
    } else {
        alarm_of_link(&mut canvas, view);
    }
    // The keys are the last line, whatever there was no room for.
    canvas.lines.truncate(height.saturating_sub(1));
    if height < ENDLESS {
        while canvas.lines.len() + 1 < height {
            canvas.lines.push(Line::default());
        }
        foot(&mut canvas, view);
    }
    canvas.lines
}

fn head(canvas: &mut Canvas, view: &View) {
    let status = view.live.as_ref().map(|live| &live.status);
    let state = match (&view.link, view.paused) {
        (Link::Lost(_), _) => "NO RELAY",
        (Link::Waiting, _) => "connecting",
        (Link::Live, true) => "PAUSED",
        (Link::Live, false) => "live",
    };
    let time = status.map_or(String::new(), |status| format!(" {}", clock(status.now)));
    let right = format!("{state}{time}");
    let mut lefts = vec!["braze-relay".to_owned()];
    if let Some(status) = status {
        lefts.push(format!("braze-relay {}", plain(&status.version)));
        let up = short(status.uptime_seconds as f64);
        lefts.push(format!("{}  up {up}", lefts[1]));
    }
    // As much as has room, and no half of a number.
    let room = canvas.width.saturating_sub(width(&right) + 1);
    let fitting = lefts.into_iter().rfind(|left| width(left) <= room);
    let left = fitting.unwrap_or_default();
    let gap = canvas.width.saturating_sub(width(&left) + width(&right));
    canvas.put(&format!("{left}{}{right}", " ".repeat(gap)), Look::Loud);
}

fn alarm_of_link(canvas: &mut Canvas, view: &View) {
    if let Link::Lost(why) = &view.link {
        let since = short(view.silent_seconds);
        let parts = [
            format!("RECONNECTING for {since};"),
            "what is shown is old:".to_owned(),
            why.clone(),
        ];
        canvas.put_parts(&parts, Look::Alarm);
    } else if view.live.is_some() && view.silent_seconds >= QUIET_SECONDS {
        let since = short(view.silent_seconds);
        let parts = [
            format!("NO NEWS for {since};"),
            "what is shown is old".to_owned(),
        ];
        canvas.put_parts(&parts, Look::Alarm);
    } else if view.live.is_none() {
        canvas.put("waiting for the relay to tell how things are", Look::Plain);
    }
}

/// What somebody has to know before anything else.
fn alarms(canvas: &mut Canvas, view: &View, live: &Live) {
    alarm_of_link(canvas, view);
    let status = &live.status;
    let lanes = status.lanes.iter().filter(|lane| lane.held.is_some());
    let held: Vec<&str> = lanes
        .map(|lane| lane.lane.as_str())
        .chain(
            status
                .held_activations
                .iter()
                .map(|it| it.activation.as_str()),
        )
        .collect();
    if !held.is_empty() {
        let text = format!("HELD {}: {}", held.len(), held.join(", "));
        canvas.put(&text, Look::Alarm);
    }
    if let Some(why) = &status.store.refusing {
        canvas.put(&format!("TAKES NO NEW EVENTS: {why}"), Look::Alarm);
    }
}

/// `few`: those of which somebody has to know most.
fn numbers(live: &Live, few: bool) -> Vec<String> {
    let moment = &live.moment;
    let oldest = moment.oldest_seconds;
    if few {
        return vec![
            format!("depth {}", count(moment.depth)),
            format!("oldest {}", oldest.map_or("-".into(), short)),
            format!("dead {}", count(moment.dead)),
        ];
    }
    vec![
        format!("accepted {}/s", rate(moment.accepted_per_second)),
        format!("done {}/s", rate(moment.done_per_second)),
        format!("credits {}/s", rate(moment.credits_per_second)),
        format!("died {}/s", rate(moment.dead_per_second)),
        format!("depth {}", count(moment.depth)),
        format!("oldest {}", oldest.map_or("-".into(), short)),
        format!("later {}", count(moment.waiting)),
        format!("dead {}", count(moment.dead)),
    ]
}

fn conservation(live: &Live) -> Vec<String> {
    let events = &live.status.events;
    let equals = if events.adds_up { "=" } else { "≠" };
    let mut parts = vec![
        format!("accepted {} {equals}", events.accepted),
        format!("done {} +", events.done),
        format!("dead {} +", events.dead),
        format!("queued {} +", events.queued),
        format!("discarded {} +", events.discarded),
        format!("forgotten {}", events.forgotten),
    ];
    if !events.adds_up {
        parts.push("THIS DOES NOT ADD UP".into());
    }
    parts
}

/// One number of a moment.
type Of = fn(&Moment) -> f64;

fn sparklines(canvas: &mut Canvas, view: &View) {
    let span = view.hour.len() as u64 * view.every_seconds;
    let rows: [(&str, Of); 3] = [
        ("accepted/s", |it| it.accepted_per_second),
        ("done/s", |it| it.done_per_second),
        ("depth", |it| it.depth as f64),
    ];
    for (name, of) in rows {
        let values: Vec<f64> = view.hour.iter().map(of).collect();
        let peak = values.iter().copied().fold(0.0, f64::max);
        let label = format!("{name:<11}");
        let told = format!(" peak {} in {}", rate(peak), short(span as f64));
        let room = canvas.width.saturating_sub(label.len() + width(&told));
        canvas.put(
            &format!("{label}{}{told}", spark(&values, room)),
            Look::Plain,
        );
    }
}

/// Lanes, activations and dead letters, in what room there is.
fn rows(canvas: &mut Canvas, view: &View, room: usize) {
    let (lanes, activations) = (view.lanes(), view.activations());
    let dead = usize::from(room > 4);
    let beside = match (activations.len(), room / 3) {
        (0, _) | (_, 0) => 0,
        // No room for a head and rows: they are counted.
        (_, 1..3) => 1,
        (some, third) => (some + 1).min(third),
    };
    let for_lanes = room.saturating_sub(beside + dead).min(lanes.len() + 1);
    let selected = view.selected.as_ref();
    let at = lanes.iter().position(|lane| {
        selected.is_some_and(|it| matches!(it, Target::Lane(name) if *name == lane.lane))
    });
    let columns = Columns::of(canvas.width, &lanes);
    let busy = |skipped: &[usize]| {
        let busy = skipped.iter().filter(|row| lanes[**row].depth > 0);
        match busy.count() {
            0 => String::new(),
            busy => format!(", {busy} with work due"),
        }
    };
    let lines: Vec<(String, Look)> = lanes
        .iter()
        .enumerate()
        .map(|(row, lane)| {
            (
                columns.lane(lane),
                look(at == Some(row), lane.held.is_some()),
            )
        })
        .collect();
    block(
        canvas,
        &columns.head(),
        &lines,
        at,
        for_lanes,
        "lanes",
        busy,
    );

    let at = activations.iter().position(|row| {
        selected.is_some_and(|it| matches!(it, Target::Activation(name) if *name == row.name))
    });
    let name = canvas.width.saturating_sub(30).clamp(8, 40);
    let lines: Vec<(String, Look)> = activations
        .iter()
        .enumerate()
        .map(|(row, it)| {
            let state = match &it.held {
                Some((reason, until)) => format!("HELD {reason}{}", ending(*until)),
                None => format!("eta {}", eta(it.due, it.eta_seconds)),
            };
            let line = format!(
                "{:<name$} {:>6} {state}",
                middle(&plain(&it.name), name),
                count(it.due)
            );
            (line, look(at == Some(row), it.held.is_some()))
        })
        .collect();
    let head = format!("{:<name$} {:>6} STATE", "ACTIVATION", "DUE");
    if beside == 1 {
        let selected = at.and_then(|at| lines.into_iter().nth(at));
        let (line, look) = selected.unwrap_or_else(|| (summary(&activations), Look::Plain));
        canvas.put(&line, look);
    } else if beside > 1 {
        block(canvas, &head, &lines, at, beside, "activations", |_| {
            String::new()
        });
    }
    if dead > 0 {
        canvas.put_parts(&graves(view), Look::Plain);
    }
}

fn look(selected: bool, held: bool) -> Look {
    match (selected, held) {
        (true, _) => Look::Selected,
        (false, true) => Look::Alarm,
        (false, false) => Look::Plain,
    }
}

/// A head and as many rows as fit below it, the selected one among them; the rest are counted.
fn block(
    canvas: &mut Canvas,
    head: &str,
    lines: &[(String, Look)],
    selected: Option<usize>,
    room: usize,
    what: &str,
    more: impl Fn(&[usize]) -> String,
) {
    if room == 0 {
        return;
    }
    // Rows are worth more than what stands above them.
    let has_head = room >= 3;
    if has_head {
        canvas.put(head, Look::Faint);
    }
    let room = room - usize::from(has_head);
    if lines.len() <= room {
        for (line, look) in lines {
            canvas.put(line, *look);
        }
        return;
    }
    let shown = room.saturating_sub(1);
    let from = selected.map_or(0, |at| (at + 1).saturating_sub(shown));
    for (line, look) in lines.iter().skip(from).take(shown) {
        canvas.put(line, *look);
    }
    let hidden: Vec<usize> = (0..lines.len())
        .filter(|row| !(from..from + shown).contains(row))
        .collect();
    let text = format!("… {} more {what}{}", hidden.len(), more(&hidden));
    canvas.put(&text, Look::Faint);
}

fn summary(activations: &[Activation]) -> String {
    let held = activations.iter().filter(|it| it.held.is_some()).count();
    let due = activations.iter().filter(|it| it.due > 0).count();
    format!("activations: {held} held, {due} with work due")
}

fn graves(view: &View) -> Vec<String> {
    let dead = view.dead();
    let mut parts = vec!["dead letters:".to_owned()];
    if dead.is_empty() {
        parts.push("none".into());
    }
    parts.extend(dead.into_iter().map(|(reason, all, new)| match new {
        0 => format!("{reason} {all}"),
        new => format!("{reason} {all} (+{new})"),
    }));
    parts
}

fn foot(canvas: &mut Canvas, view: &View) {
    if let Some(change) = &view.asked {
        let what = if change.hold { "hold" } else { "release" };
        let ends = if change.hold {
            " until it is released"
        } else {
            ""
        };
        let all = format!("{what} {}{ends}? y/n", change.target.named());
        let name = canvas.width.saturating_sub(what.len() + 7);
        let brief = format!("{what} {}? y/n", middle(&change.target.named(), name));
        let fits = width(&all) <= canvas.width;
        return canvas.put(if fits { &all } else { &brief }, Look::Selected);
    }
    let keys = match &view.said {
        Some(said) => said.clone(),
        None if canvas.width >= 70 => {
            "q quit  j/k or up/down select  h hold  r release  p pause  ? help".into()
        }
        None => "q quit j/k h hold r release p ? help".into(),
    };
    canvas.put(&keys, Look::Faint);
}

fn help(canvas: &mut Canvas) {
    for line in [
        "q, Ctrl-C   quit",
        "j k         select a lane or activation",
        "h           hold it (asks; operator token)",
        "r           release it (asks)",
        "p           pause the display, go on",
        "DEPTH       calls due, not answered yet",
        "ETA         how long those still take",
        "BUDGET USED of the fullest rate window",
        "any other key: back",
    ] {
        canvas.put(line, Look::Plain);
    }
}
