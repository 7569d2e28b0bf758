//! All metrics as Prometheus reads them, under the names that ZooKeeper 3.6 to 3.9 give them.
//!
//! Invariant: every metric has one line that tells its kind, and all its samples behind it; no name
//! of a znode can end a label or a line. Source: `zookeeper: PrometheusMetricsProvider`, and the
//! text format 0.0.4.

use std::fmt::{Display, Write};

use zokor_core::replica::{Spread, Summary};

use super::sink::Sink;

/// What is told beside the metrics of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsExposition {
    /// Memory, files and processor time of the process: `metricsProvider.exportJvmInfo`.
    pub process: bool,
}

impl Default for MetricsExposition {
    fn default() -> Self {
        MetricsExposition { process: true }
    }
}

/// The text in the making.
#[derive(Default)]
pub(super) struct Exposition(pub(super) String);

impl Exposition {
    fn kind(&mut self, name: &str, kind: &str) {
        self.put(format_args!("# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            self.0.push('{');
            for (label, value) in labels {
                self.put(format_args!("{label}=\"{}\",", escaped(value)));
            }
            self.0.push('}');
        }
        self.put(format_args!(" {value}\n"));
    }

    /// With quantiles in thousandths, by name; of no number there is none.
    fn put_spread(&mut self, name: &str, spread: &Spread, quantiles: &[(&str, u32)]) {
        let summary = spread.summary();
        self.kind(name, "summary");
        for (quantile, per_mille) in quantiles {
            let labels = [("quantile", *quantile)];
            if summary.count == 0 {
                self.sample(name, &labels, "NaN");
            } else {
                self.sample(name, &labels, double(&spread.quantile(*per_mille)));
            }
        }
        self.put_sums(name, &[], summary);
    }

    fn put_sums(&mut self, name: &str, labels: &[(&str, &str)], summary: Summary) {
        self.sample(&format!("{name}_count"), labels, double(&summary.count));
        self.sample(&format!("{name}_sum"), labels, double(&summary.sum));
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        self.0.write_fmt(what).expect("a string takes all text");
    }
}

impl Sink for Exposition {
    /// Numbers alone are metrics.
    fn word(&mut self, _: &str, _: &str) {}

    fn gauge(&mut self, name: &str, value: &dyn Display) {
        self.kind(name, "gauge");
        self.sample(name, &[], double(&value));
    }

    fn gauges(&mut self, set: &str, values: &[(&str, i64)]) {
        if !values.is_empty() {
            self.kind(set, "gauge");
        }
        values.iter().for_each(|(key, value)| self.sample(set, &[("key", key)], double(value)));
    }

    fn counter(&mut self, name: &str, count: u64) {
        self.kind(name, "counter");
        self.sample(name, &[], double(&count));
    }

    fn counters(&mut self, set: &str, counts: &[(&str, u64)]) {
        if !counts.is_empty() {
            self.kind(set, "counter");
        }
        counts.iter().for_each(|(key, count)| self.sample(set, &[("key", key)], double(count)));
    }

    fn summary(&mut self, name: &str, spread: &Spread) {
        self.put_spread(name, spread, &[("0.5", 500)]);
    }

    fn summaries(&mut self, set: &str, summaries: &[(&str, Summary)]) {
        if !summaries.is_empty() {
            self.kind(set, "summary");
        }
        for (key, summary) in summaries {
            self.put_sums(set, &[("key", key)], *summary);
        }
    }

    fn spread(&mut self, name: &str, spread: &Spread) {
        self.put_spread(name, spread, &[("0.5", 500), ("0.9", 900), ("0.99", 990)]);
    }
}

/// A number as Java prints those that are not whole.
fn double(number: &dyn Display) -> String {
    let number = number.to_string();
    if number.contains('.') { number } else { format!("{number}.0") }
}

/// The text of a label.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_metric_has_its_form() {
        let mut text = Exposition::default();
        text.word("server_state", "leader");
        text.gauge("znode_count", &7);
        text.gauge("avg_latency", &"1.25");
        text.gauges("quota_count_limit_per_namespace", &[("app", -1)]);
        text.counter("snap_count", 0);
        text.counters("quota_exceeded_error_per_namespace", &[("a\"b\\c\nd", 2)]);
        text.counters("nobody", &[]);
        let summary = Summary { count: 3, sum: 6, min: 1, max: 3 };
        text.summary("fsynctime", &Spread::default());
        text.summaries("write_per_namespace", &[("app", summary), ("z", summary)]);
        let mut spread = Spread::default();
        (1..=10).for_each(|number| spread.note(number));
        text.spread("readlatency", &spread);
        let expected = "# TYPE znode_count gauge\nznode_count 7.0\n# TYPE avg_latency gauge\n\
                        avg_latency 1.25\n# TYPE quota_count_limit_per_namespace gauge\n\
                        quota_count_limit_per_namespace{key=\"app\",} -1.0\n\
                        # TYPE snap_count counter\nsnap_count 0.0\n\
                        # TYPE quota_exceeded_error_per_namespace counter\n\
                        quota_exceeded_error_per_namespace{key=\"a\\\"b\\\\c\\nd\",} 2.0\n\
                        # TYPE fsynctime summary\nfsynctime{quantile=\"0.5\",} NaN\n\
                        fsynctime_count 0.0\nfsynctime_sum 0.0\n\
                        # TYPE write_per_namespace summary\n\
                        write_per_namespace_count{key=\"app\",} 3.0\n\
                        write_per_namespace_sum{key=\"app\",} 6.0\n\
                        write_per_namespace_count{key=\"z\",} 3.0\n\
                        write_per_namespace_sum{key=\"z\",} 6.0\n\
                        # TYPE readlatency summary\nreadlatency{quantile=\"0.5\",} 5.0\n\
                        readlatency{quantile=\"0.9\",} 9.0\nreadlatency{quantile=\"0.99\",} 10.0\n\
                        readlatency_count 10.0\nreadlatency_sum 55.0\n";
        assert_eq!(text.0, expected);
    }
}
