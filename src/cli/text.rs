//! Answers for people: aligned columns, durations and sizes.
//!
//! Invariants: what others named or said cannot steer a terminal: control characters are shown as `?`.

use std::time::Duration;

/// One column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Texts: to the left.
    Left(&'static str),
    /// Numbers: to the right.
    Right(&'static str),
}

/// Rows under their heads, aligned; a line each, without white space at the end.
pub(super) fn table<const N: usize>(columns: [Column; N], rows: &[[String; N]]) -> String {
    let heads = columns.map(|column| match column {
        Column::Left(head) | Column::Right(head) => head.to_owned(),
    });
    let all: Vec<[String; N]> = std::iter::once(&heads)
        .chain(rows)
        .map(|row| row.each_ref().map(|cell| plain(cell)))
        .collect();
    let mut widths = [0; N];
    for row in &all {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for ((cell, width), column) in row.iter().zip(widths).zip(columns) {
            let gap = width - cell.chars().count();
            let (before, after) = match column {
                Column::Left(_) => (0, gap),
                Column::Right(_) => (gap, 0),
            };
            line.extend(std::iter::repeat_n(' ', before));
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', after + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `text` without anything that a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect()
}

/// A duration as people say it, to the second above a minute: `2m 3s`, `45ms`.
pub(super) fn duration(seconds: f64) -> String {
    let rounded = if seconds >= 1.0 {
        Duration::from_secs(seconds as u64)
    } else {
        Duration::from_millis((seconds.max(0.0) * 1000.0) as u64)
    };
    humantime::format_duration(rounded).to_string()
}

/// How long something still takes, rounded up to what is worth saying: `1s`, `2m 3s`, `1h 5m`, `2days 3h`.
pub(super) fn remaining(seconds: f64) -> String {
    let unit = match seconds {
        ..3_600.0 => 1.0,
        3_600.0..86_400.0 => 60.0,
        _ => 3_600.0,
    };
    duration(((seconds / unit).ceil() * unit).max(1.0))
}

/// A size in the unit that fits: `12.3 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{size:.1} {}", UNITS[unit]),
    }
}

/// `a 3, b 1`, the most frequent first; `none` for nothing.
pub(super) fn tally<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> String {
    let mut sums = std::collections::BTreeMap::<&str, u64>::new();
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    match sums.as_slice() {
        [] => "none".to_owned(),
        sums => {
            let told = sums.iter().map(|(name, count)| format!("{name} {count}"));
            let told: Vec<_> = told.collect();
            told.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_steers_the_terminal() {
        let rows = [
            ["ü".to_owned(), "7".to_owned()],
            ["\u{1b}[2Jlong".to_owned(), "1234".to_owned()],
        ];
        let text = table([Column::Left("NAME"), Column::Right("N")], &rows);
        assert_eq!(text, "NAME         N\nü            7\n?[2Jlong  1234\n");
    }

    #[test]
    fn durations_and_sizes_are_said_in_the_unit_that_fits() {
        for (seconds, said) in [
            (0.0, "0s"),
            (-1.0, "0s"),
            (0.0456, "45ms"),
            (1.9, "1s"),
            (123.4, "2m 3s"),
            (90_000.0, "1day 1h"),
        ] {
            assert_eq!(duration(seconds), said);
        }
        for (seconds, said) in [
            (0.001, "1s"),
            (122.1, "2m 3s"),
            (3_599.5, "1h"),
            (3_661.0, "1h 2m"),
            (86_399.0, "1day"),
            (180_000.0, "2days 2h"),
        ] {
            assert_eq!(remaining(seconds), said);
        }
        for (size, said) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(bytes(size), said);
        }
    }

    #[test]
    fn a_tally_adds_up_equal_names_and_begins_with_the_most_frequent() {
        assert_eq!(tally([]), "none");
        assert_eq!(
            tally([("a", 1), ("b", 2), ("a", 2), ("c", 2)]),
            "a 3, b 2, c 2"
        );
    }
}
