//! Gauges of one moment: made anew for every scrape, so that no series outlives what it told of.
//!
//! Deliberately absent: where the numbers come from. Whoever answers a scrape knows that.

use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, Opts, Registry};

use super::MetricsError;

/// What is told in one scrape beside the counters.
#[derive(Debug, Default)]
pub struct Gauges {
    registry: Registry,
}

/// The series of one gauge.
#[derive(Debug)]
pub struct Family(GaugeVec);

impl Gauges {
    /// A gauge with these labels, without any series yet. Fails for a name that is there already.
    pub fn family(&self, name: &str, help: &str, labels: &[&str]) -> Result<Family, MetricsError> {
        let made = GaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(made.clone()))?;
        Ok(Family(made))
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

impl Family {
    /// The series with these label values, in the order of the labels, shows `value`. The last word counts.
    pub fn set(&self, labels: &[&str], value: f64) -> Result<(), MetricsError> {
        self.0.get_metric_with_label_values(labels)?.set(value);
        Ok(())
    }

    /// As [`Family::set`], on top of what the series shows already (0 at first).
    pub fn add(&self, labels: &[&str], value: f64) -> Result<(), MetricsError> {
        self.0.get_metric_with_label_values(labels)?.add(value);
        Ok(())
    }
}
