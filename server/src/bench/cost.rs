//! What processes on this machine cost: processor time, context switches, memory.
//!
//! Invariant: what the system does not tell is zero, and never a reason to fail.

use std::fs;

/// One process, since it began or over a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// The process.
    pub(super) pid: u32,
    /// Processor time in nanoseconds, as the scheduler counts it for each thread that lives.
    by_threads_ns: u64,
    /// The same as the system counts it for the process, in steps of a hundredth of a second.
    by_ticks_ns: u64,
    /// How often it gave the processor up to wait.
    pub(super) n_switches: u64,
    /// How often the processor was taken from it.
    pub(super) n_preemptions: u64,
    /// Resident memory in bytes, at the end.
    pub(super) resident: u64,
}

impl Cost {
    /// Of each of `pids` up to now.
    pub(super) fn of_all(pids: &[u32]) -> Vec<Cost> {
        pids.iter().map(|&pid| Cost::of(pid)).collect()
    }

    fn of(pid: u32) -> Cost {
        let mut cost = Cost { pid, ..Cost::default() };
        let read = |path: String| fs::read_to_string(path).unwrap_or_default();
        cost.by_ticks_ns = ticks(&read(format!("/proc/{pid}/stat"))) * NS_PER_TICK;
        cost.resident = field(&read(format!("/proc/{pid}/status")), "VmRSS:") * 1_024;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return cost };
        for task in tasks.flatten() {
            let task = task.path();
            let read = |name| fs::read_to_string(task.join(name)).unwrap_or_default();
            let ran = read("schedstat");
            let ran = ran.split_whitespace().next().and_then(|ns| ns.parse().ok());
            cost.by_threads_ns += ran.unwrap_or(0);
            let status = read("status");
            cost.n_switches += field(&status, "voluntary_ctxt_switches:");
            cost.n_preemptions += field(&status, "nonvoluntary_ctxt_switches:");
        }
        cost
    }

    /// What was added after `before`; the memory is what it is now.
    pub(super) fn since(&self, before: &Cost) -> Cost {
        Cost {
            pid: self.pid,
            by_threads_ns: self.by_threads_ns.saturating_sub(before.by_threads_ns),
            by_ticks_ns: self.by_ticks_ns.saturating_sub(before.by_ticks_ns),
            n_switches: self.n_switches.saturating_sub(before.n_switches),
            n_preemptions: self.n_preemptions.saturating_sub(before.n_preemptions),
            resident: self.resident,
        }
    }

    /// Processor time in nanoseconds. The count by threads is exact, but lacks threads that have
    /// ended: where the other is larger by more than it can be wrong, it is the right one.
    pub(super) fn cpu_ns(&self) -> u64 {
        if self.by_ticks_ns > self.by_threads_ns + 2 * NS_PER_TICK {
            self.by_ticks_ns
        } else {
            self.by_threads_ns
        }
    }
}

/// User and system time in `/proc/PID/stat`: the 14th and 15th field. The second, the name of the
/// program, may hold anything, so counting begins behind its closing parenthesis.
fn ticks(stat: &str) -> u64 {
    let Some((_, rest)) = stat.rsplit_once(')') else { return 0 };
    let fields = rest.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// The number behind `key` at the beginning of a line.
fn field(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Of Linux on every machine that matters (`USER_HZ`).
const NS_PER_TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_program_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 700 30 0 0 20";
        assert_eq!(ticks(&format!("12 (zokor) {rest}")), 730);
        assert_eq!(ticks(&format!("12 (a) b (c) {rest}")), 730);
        for torn in ["", "12 (zokor", "12 (zokor) S 1"] {
            assert_eq!(ticks(torn), 0, "{torn:?}");
        }
    }

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let status = "VmRSS:\t  1234 kB\nvoluntary_ctxt_switches:\t7\n\
                      nonvoluntary_ctxt_switches:\t9\n";
        assert_eq!(field(status, "VmRSS:"), 1_234);
        assert_eq!(field(status, "voluntary_ctxt_switches:"), 7);
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), 9);
        assert_eq!(field(status, "nothing:"), 0);
    }

    #[test]
    fn the_count_by_ticks_is_taken_where_threads_have_ended() {
        let cost =
            |by_threads_ns, by_ticks_ns| Cost { by_threads_ns, by_ticks_ns, ..Cost::default() };
        assert_eq!(cost(123_456_789, 120_000_000).cpu_ns(), 123_456_789);
        assert_eq!(cost(123_456_789, 140_000_000).cpu_ns(), 123_456_789);
        assert_eq!(cost(123_456_789, 900_000_000).cpu_ns(), 900_000_000);
        assert_eq!(cost(5, 3).since(&cost(2, 1)), cost(3, 2));
    }

    #[test]
    fn this_process_costs_something_and_no_process_nothing() {
        let cost = Cost::of_all(&[std::process::id(), u32::MAX]);
        assert!(cost[0].resident > 0);
        assert_eq!(cost[1], Cost { pid: u32::MAX, ..Cost::default() });
    }
}
