//! The process as the system sees it, under the names that all of Prometheus' libraries give it.
//!
//! Invariant: what the system does not tell is left out.

use std::fs;

use super::environment::file_descriptors;
use super::sink::Sink;

/// Puts all of it.
pub(super) fn put(sink: &mut dyn Sink) {
    if let Some((open, most)) = file_descriptors() {
        sink.gauge("process_open_fds", &open);
        sink.gauge("process_max_fds", &most);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, key) in
        [("process_resident_memory_bytes", "VmRSS:"), ("process_virtual_memory_bytes", "VmSize:")]
    {
        if let Some(kib) = number_behind(&status, key) {
            sink.gauge(name, &(kib * 1_024));
        }
    }
    if let Some(threads) = number_behind(&status, "Threads:") {
        sink.gauge("process_threads", &threads);
    }
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(ticks) = cpu_ticks(&stat) {
        // A hundred a second, on every system that there is.
        let seconds = format!("{}.{:02}", ticks / 100, ticks % 100);
        sink.gauge("process_cpu_seconds_total", &seconds);
    }
}

fn number_behind(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time, of the process itself and of the system on its behalf.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The second field is the name in brackets, which may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 51 0 0 20 0 4 0 99 1 1";
        assert_eq!(cpu_ticks(stat), Some(301));
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn memory_is_read_from_the_line_of_its_name() {
        let status = "Name:\tzokor\nVmSize:\t  20 kB\nVmRSS:\t   10 kB\nThreads:\t4\n";
        assert_eq!(number_behind(status, "VmRSS:"), Some(10));
        assert_eq!(number_behind(status, "Threads:"), Some(4));
        assert_eq!(number_behind(status, "VmSwap:"), None);
    }
}
