//! Numbers and names in little room.
//!
//! Invariants: pure. A number is never cut: it is written shorter; a name that is cut says so (`…`).

use ratatui::text::Span;

use crate::model::time::Timestamp;

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// As much as fits; what is cut says so.
pub(super) fn clipped(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut cut = String::new();
    for char in text.chars() {
        cut.push(char);
        if width(&cut) + 1 > room {
            cut.pop();
            break;
        }
    }
    if room > 0 {
        cut.push('…');
    }
    cut
}

/// Both ends of a name: what it begins with and what it ends with tell it from others.
pub(super) fn middle(text: &str, room: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= room || room < 3 {
        return clipped(text, room);
    }
    let after = (room - 1) * 2 / 3;
    let before: String = chars[..room - 1 - after].iter().collect();
    let behind: String = chars[chars.len() - after..].iter().collect();
    format!("{before}…{behind}")
}

/// Parts two spaces apart, in lines of this width.
pub(super) fn wrapped(parts: &[String], room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if width(line) + 2 + width(part) <= room => {
                line.push_str("  ");
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}

/// The newest at the right, the peak of each column.
pub(super) fn spark(values: &[f64], room: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    if room == 0 || values.is_empty() {
        return " ".repeat(room);
    }
    let peak = values.iter().copied().fold(0.0, f64::max);
    let each = values.len().div_ceil(room);
    let mut columns: Vec<char> = values
        .rchunks(each)
        .map(|some| {
            let top = some.iter().copied().fold(0.0, f64::max);
            let part = if peak > 0.0 { top / peak } else { 0.0 };
            BARS[((part * 7.0).ceil() as usize).min(7)]
        })
        .collect();
    columns.reverse();
    let before = " ".repeat(room - columns.len());
    format!("{before}{}", String::from_iter(columns))
}

/// A count in five characters at most.
pub(super) fn count(count: u64) -> String {
    match count {
        ..100_000 => count.to_string(),
        100_000..1_000_000 => format!("{}k", count / 1000),
        1_000_000..10_000_000 => format!("{:.1}M", (count / 100_000) as f64 / 10.0),
        10_000_000..10_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

pub(super) fn rate(rate: f64) -> String {
    match rate {
        ..0.05 => "0".into(),
        ..10.0 => format!("{rate:.1}"),
        _ => count(rate.round() as u64),
    }
}

/// A duration in seven characters at most, below 1000 days: two units, rounded down.
pub(super) fn short(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        ..60 => format!("{whole}s"),
        60..3_600 => format!("{}m {}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h {}m", whole / 3_600, whole % 3_600 / 60),
        86_400..8_640_000 => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3_600),
        _ => format!("{}d", whole / 86_400),
    }
}

/// How long what is due takes, rounded up; `-` for nothing, `?` where nobody knows.
pub(super) fn eta(due: u64, seconds: Option<f64>) -> String {
    match (due, seconds) {
        (0, _) => "-".into(),
        (_, Some(seconds)) => short(seconds.ceil().max(1.0)),
        (_, None) => "?".into(),
    }
}

/// The time of day, UTC.
pub(super) fn clock(moment: Timestamp) -> String {
    let text = moment.to_string();
    let time = text.get(11..19).unwrap_or(&text);
    format!("{time}Z")
}
