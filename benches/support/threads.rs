//! What the threads of a process cost: CPU time by thread name (a number at its end left off), from Linux's procfs.

use std::collections::BTreeMap;
use std::fs;

/// CPU time by thread name, µs; threads that differ only in a number are taken together. Empty where there is no procfs.
pub fn cpu_micros(process: u32) -> BTreeMap<String, f64> {
    let mut by_name = BTreeMap::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return by_name;
    };
    for thread in threads.flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let nanos = read("schedstat")
            .split(' ')
            .next()
            .and_then(|nanos| nanos.parse::<f64>().ok());
        let name = read("comm");
        let name = name
            .trim()
            .trim_end_matches(|letter: char| letter.is_ascii_digit());
        let name = name.trim_end_matches('-').to_owned();
        *by_name.entry(name).or_default() += nanos.unwrap_or(0.0) / 1e3;
    }
    by_name
}
