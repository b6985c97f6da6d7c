//! What a bench measures and how it is shown: rates, percentiles, medians over repetitions.

use std::time::{Duration, Instant};

/// A stretch of time that counts; what is answered before or behind it does not.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    begin: Instant,
    end: Instant,
}

impl Window {
    /// Counting begins after `warm_up` and goes on for `long`.
    pub fn after(warm_up: Duration, long: Duration) -> Window {
        let begin = Instant::now() + warm_up;
        Window {
            begin,
            end: begin + long,
        }
    }

    /// Whether something that ended then counts.
    pub fn has(&self, moment: Instant) -> bool {
        (self.begin..self.end).contains(&moment)
    }

    /// Whether nothing more is to be begun.
    pub fn is_over(&self, moment: Instant) -> bool {
        moment >= self.end
    }

    /// Its length, s.
    pub fn seconds(&self) -> f64 {
        (self.end - self.begin).as_secs_f64()
    }
}

/// How long things took, µs.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// One more.
    pub fn add(&mut self, took: Duration) {
        self.0
            .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// These too.
    pub fn merge(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    /// The figures, when each of these carried `each` and all of them took `seconds`.
    pub fn figures(mut self, each: usize, seconds: f64) -> Figures {
        self.0.sort_unstable();
        let at = |share: f64| {
            let index = (self.0.len() as f64 * share) as usize;
            let micros = self.0.get(index).or(self.0.last()).copied().unwrap_or(0);
            f64::from(micros) / 1e3
        };
        Figures {
            per_second: (self.0.len() * each) as f64 / seconds,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        }
    }
}

/// What one repetition came to.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Events (or keys) a second.
    pub per_second: f64,
    /// Half were answered within, ms.
    pub p50_ms: f64,
    /// All but one in a hundred were answered within, ms.
    pub p99_ms: f64,
}

/// The middle one; of an even number, what lies between the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    f64::midpoint(at(values.len().saturating_sub(1) / 2), at(values.len() / 2))
}

/// The repetitions of one row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Repetition by repetition.
    pub runs: Vec<Figures>,
}

impl Row {
    /// None yet.
    pub fn new(name: impl Into<String>) -> Row {
        Row {
            name: name.into(),
            runs: Vec::new(),
        }
    }

    /// The median rate.
    pub fn per_second(&self) -> f64 {
        median(self.runs.iter().map(|run| run.per_second).collect())
    }

    /// How this one's rate compares with another's: the median over the repetitions, each with its neighbour in time,
    /// which is what a noisy machine leaves comparable.
    pub fn ratio(&self, to: &Row) -> f64 {
        let pairs = self.runs.iter().zip(&to.runs);
        median(pairs.map(|(a, b)| a.per_second / b.per_second).collect())
    }
}

/// Prints rows under one another; medians over the repetitions, and the range of the rates.
pub fn print(title: &str, unit: &str, rows: &[Row]) {
    let width = rows.iter().map(|row| row.name.chars().count()).max();
    let width = width.unwrap_or(0).max(20);
    let timed = rows
        .iter()
        .flat_map(|row| &row.runs)
        .any(|run| !run.p50_ms.is_nan());
    let latencies = if timed { ["p50 ms", "p99 ms"] } else { [""; 2] };
    println!("\n{title}");
    println!(
        "{:width$}  {unit:>10}  {:>17}  {:>8}  {:>8}",
        "", "lowest–highest", latencies[0], latencies[1]
    );
    for row in rows {
        let of = |field: fn(&Figures) -> f64| median(row.runs.iter().map(field).collect());
        let rates = row.runs.iter().map(|run| run.per_second);
        let lowest = rates.clone().fold(f64::INFINITY, f64::min);
        let highest = rates.fold(0.0, f64::max);
        let shown = |ms: f64| {
            if ms.is_nan() {
                String::new()
            } else {
                format!("{ms:.2}")
            }
        };
        println!(
            "{:width$}  {:>10.0}  {:>17}  {:>8}  {:>8}",
            row.name,
            row.per_second(),
            format!("{lowest:.0}–{highest:.0}"),
            shown(of(|run| run.p50_ms)),
            shown(of(|run| run.p99_ms)),
        );
    }
}
