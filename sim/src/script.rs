//! Scenarios written by hand: a healthy ensemble, and exactly what is said to go wrong.
//!
//! Invariant: nothing goes wrong but what the script says. Its variations differ in what no script
//! can command: latencies, the order of what happens at once, what a power cut leaves of a write.

use std::time::Duration;

use crate::fault::{CrashPoint, Fault, Timed};
use crate::plan::{
    ClientPlan, CorePlan, DiskPlan, MembersPlan, NetworkPlan, Plan, ProcessPlan, SoloPlan,
};
use crate::scenario::{Recovery, Scenario};
use crate::workload::{Op, Place, Step, Znode, ZnodeKind};
use crate::world::network::Link;
use crate::world::queue::Micros;

/// A scenario in the making. Times are in seconds.
#[derive(Clone, Debug)]
pub struct Script {
    scenario: Scenario,
}

/// Longer than any script.
pub const FOR_GOOD: f64 = 3_000.0;

/// Seconds as the world counts them.
pub fn micros(seconds: f64) -> Micros {
    (seconds * 1e6) as Micros
}

impl Script {
    /// So many servers in good health. Faults end after six seconds, and all heals at once.
    pub fn calm(servers: u64) -> Self {
        let plan = Plan {
            seed: 0,
            servers,
            calm: false,
            fault_time: micros(6.0),
            core: core(),
            network: NetworkPlan {
                latency_min: 100,
                latency_spread: 2_000,
                ..NetworkPlan::default()
            },
            disk: DiskPlan { latency_min: 100, latency_spread: 1_500, ..DiskPlan::default() },
            process: ProcessPlan::default(),
            clients: ClientPlan { window: 64, ..ClientPlan::default() },
            members: MembersPlan::default(),
            origin: None,
            solo: SoloPlan::default(),
            buggify: false,
            throttles: false,
            rots: false,
            compares: true,
        };
        let recovery = Recovery::at_once(servers);
        let (faults, clients) = (Vec::new(), Vec::new());
        Script { scenario: Scenario { plan, faults, clients, recovery } }
    }

    /// Other settings.
    pub fn with(mut self, change: impl FnOnce(&mut Plan)) -> Self {
        change(&mut self.scenario.plan);
        self
    }

    /// Faults end, and all that is broken heals.
    pub fn heals_at(self, seconds: f64) -> Self {
        self.with(|plan| plan.fault_time = micros(seconds))
    }

    /// By server: how many times as long it waits before it stands for election, and as a leader
    /// before it gives up.
    pub fn slow(self, times: &[u32]) -> Self {
        self.with(|plan| plan.core.slowness = times.to_vec())
    }

    /// Server 1 leads at first: the others wait three times as long.
    pub fn led(self) -> Self {
        let others = self.scenario.plan.servers as usize - 1;
        let times: Vec<u32> = std::iter::once(1).chain(std::iter::repeat_n(3, others)).collect();
        self.slow(&times)
    }

    /// A fault strikes.
    pub fn at(mut self, seconds: f64, fault: Fault) -> Self {
        self.scenario.faults.push(Timed { at: micros(seconds), fault });
        self
    }

    /// From some time on a fault waits for `server` to reach `point`.
    pub fn when(self, seconds: f64, server: u64, point: CrashPoint, fault: Fault) -> Self {
        self.at(seconds, when(server, point, fault))
    }

    /// A client does something.
    pub fn client(mut self, number: u64, seconds: f64, op: Op) -> Self {
        let clients = &mut self.scenario.clients;
        clients.resize(clients.len().max(number as usize), Vec::new());
        clients[number as usize - 1].push(Step { at: micros(seconds), op });
        self.scenario.plan.clients.count = clients.len() as u64;
        self
    }

    /// A client goes to a server early on.
    pub fn home(self, number: u64, server: u64) -> Self {
        self.client(number, 0.8, Op::MoveTo(server))
    }

    /// A client makes znodes with numbers, again and again.
    pub fn writes(self, number: u64, from: f64, until: f64, every: f64) -> Self {
        let times = (0..).map(|n| from + f64::from(n) * every).take_while(|&at| at < until);
        times.fold(self, |script, at| script.client(number, at, sequential("/w-")))
    }

    /// A client asks for barriers, again and again.
    pub fn syncs(self, number: u64, from: f64, until: f64, every: f64) -> Self {
        let times = (0..).map(|n| from + f64::from(n) * every).take_while(|&at| at < until);
        times.fold(self, |script, at| script.client(number, at, Op::Sync(at_path("/"))))
    }

    /// The variation of this seed.
    pub fn variation(&self, seed: u64) -> Scenario {
        let mut scenario = self.scenario.clone();
        scenario.plan.seed = seed;
        scenario.faults.sort_by_key(|timed| timed.at);
        for steps in &mut scenario.clients {
            steps.sort_by_key(|step| step.at);
        }
        scenario
    }
}

fn core() -> CorePlan {
    CorePlan {
        heartbeat_interval: Duration::from_millis(24),
        election_timeout: Duration::from_millis(120),
        disk_stall_timeout: Duration::from_millis(400),
        max_append_bytes: 10_000,
        max_appends_in_flight: 16,
        keep_entries: 1_000,
        snapshot_entries: 1_000,
        min_session_timeout_ms: 4_000,
        max_session_timeout_ms: 6_000,
        upkeep_interval: Duration::from_millis(200),
        orphan_timeout: Duration::from_millis(600),
        resend_interval: Duration::from_millis(400),
        slowness: Vec::new(),
        counter_bits: None,
        rules: Vec::new(),
        reap_interval_ms: None,
        reap_unused_ms: 0,
    }
}

/// A fault that waits for `server` to reach `point`.
pub fn when(server: u64, point: CrashPoint, fault: Fault) -> Fault {
    Fault::When(Some(server), point, Box::new(fault))
}

/// These servers crash at once and start again after so many seconds.
pub fn crash(servers: &[u64], down: f64) -> Fault {
    Fault::Crash(servers.iter().map(|&one| (one, CrashPoint::Now, micros(down))).collect())
}

/// These servers crash at once and start again after so many seconds each.
pub fn crash_each(servers: &[(u64, f64)]) -> Fault {
    Fault::Crash(servers.iter().map(|&(one, s)| (one, CrashPoint::Now, micros(s))).collect())
}

/// Nothing passes between the sides for so many seconds.
pub fn split(side: &[u64], other: &[u64], seconds: f64) -> Fault {
    let both = side.iter().flat_map(|&a| other.iter().flat_map(move |&b| [(a, b), (b, a)]));
    Fault::Cut(both.collect(), micros(seconds))
}

/// Nothing passes this way for so many seconds.
pub fn mute(from: u64, to: u64, seconds: f64) -> Fault {
    Fault::Cut(vec![(from, to)] as Vec<Link>, micros(seconds))
}

/// The znode at `path`.
pub fn at_path(path: &str) -> Place {
    Place::At(path.to_owned())
}

/// Makes a znode of this kind with a little data.
pub fn create(path: &str, kind: ZnodeKind) -> Op {
    let znode = Znode {
        path: path.to_owned(),
        kind,
        stat: false,
        size: Some(8),
        text: None,
        access: crate::workload::Access::Open,
    };
    Op::Create(znode)
}

/// Makes a znode that stays.
pub fn persistent(path: &str) -> Op {
    create(path, ZnodeKind::Persistent)
}

/// Makes a znode that goes with its session.
pub fn ephemeral(path: &str) -> Op {
    create(path, ZnodeKind::Ephemeral)
}

/// Makes a znode that stays and has a number.
pub fn sequential(path: &str) -> Op {
    create(path, ZnodeKind::Sequential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_a_scenario_in_order_of_time() {
        let script = Script::calm(3)
            .at(2.0, crash(&[1], 0.5))
            .at(1.0, crash(&[2], 0.5))
            .client(2, 3.0, persistent("/b"))
            .client(2, 1.5, persistent("/a"));
        let scenario = script.variation(7);
        assert_eq!((scenario.plan.seed, scenario.plan.clients.count), (7, 2));
        assert!(scenario.faults.is_sorted_by_key(|timed| timed.at));
        assert_eq!(scenario.clients[1].len(), 2);
        assert!(scenario.clients[1].is_sorted_by_key(|step| step.at));
        assert_eq!(Scenario::read(&scenario.text()), Ok(scenario));
    }

    #[test]
    fn a_split_has_both_directions_and_no_link_inside_a_side() {
        let Fault::Cut(links, _) = split(&[1, 2], &[3], 1.0) else { panic!("it is a cut") };
        assert_eq!(links, [(1, 3), (3, 1), (2, 3), (3, 2)]);
    }
}
