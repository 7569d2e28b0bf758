//! A seed becomes a plan: sizes, timeouts and which faults there are.
//!
//! Invariant: the plan is a function of the seed alone. Each class of faults is on or off per seed
//! ("swarm testing", Groce et al. 2012); one seed in ten is calm, and one in ten has them all.

mod sectors;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zokor_chance::Chances;
use zokor_core::Config;
use zokor_core::db::Rules;
use zokor_core::groups::Groups;
use zokor_core::id::ServerId;
use zokor_core::raft::{self, Membership};

use crate::fault::membership::{draw_groups, groups_of};
use crate::rng::{Concern, Stream};
use crate::world::queue::Micros;

pub use sectors::SectorPlan;

/// One run, before it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How many servers: voters, observers, and those that are no members yet, in this order.
    pub servers: u64,
    /// No faults at all; timing is checked strictly.
    pub calm: bool,
    /// How long faults last.
    pub fault_time: Micros,
    /// The core's own settings.
    pub core: CorePlan,
    /// Links.
    pub network: NetworkPlan,
    /// Disks.
    pub disk: DiskPlan,
    /// Processes.
    pub process: ProcessPlan,
    /// Clients.
    pub clients: ClientPlan,
    /// Who is a member.
    #[serde(default)]
    pub members: MembersPlan,
    /// What is on the disks before the first start; nothing if it is not said.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// What a server does by itself alone.
    #[serde(default)]
    pub solo: SoloPlan,
    /// Until everything heals, servers take chances to do what is legal and rare: which ones is up
    /// to the seed.
    #[serde(default)]
    pub buggify: bool,
    /// Whole servers throttle their clients and bound what they send: each as is up to the seed.
    #[serde(default)]
    pub throttles: bool,
    /// Now and then the state of one server is made wrong.
    #[serde(default)]
    pub rots: bool,
    /// Servers compare their states; they did not when the first scenarios were written.
    #[serde(default)]
    pub compares: bool,
}

/// Who is a member at the beginning, and whether that changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MembersPlan {
    /// How many servers observe.
    pub observers: u64,
    /// How many are no members: their addresses are known, and they run.
    pub spares: u64,
    /// Operators change the membership.
    pub changes: bool,
    /// Observers come into step one after the other.
    pub in_single_file: bool,
    /// By voter, from the first: its group and its weight, 1 in the first group if it is not said.
    /// None for a majority.
    pub groups: Vec<(u64, u64)>,
    /// Observers are fed by followers.
    pub relays: bool,
}

/// Sessions that one server alone knows, and servers that only read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SoloPlan {
    /// New sessions are known to their server alone.
    pub local_sessions: bool,
    /// They are upgraded when they make ephemerals.
    pub upgrading: bool,
    /// After this long without a leader, servers answer reads.
    pub read_only_after: Option<Micros>,
}

impl SoloPlan {
    fn draw(s: &mut Stream) -> Self {
        let local_sessions = s.below(4) == 0;
        let upgrading = local_sessions && s.below(3) != 0;
        let after = s.log_between(100_000, 1_500_000);
        SoloPlan { local_sessions, upgrading, read_only_after: (s.below(4) == 0).then_some(after) }
    }

    /// Whether this client can do with a server that only reads: two of three can.
    pub fn reads_only(&self, client: u64) -> bool {
        self.read_only_after.is_some() && !client.is_multiple_of(3)
    }
}

/// A history before the run: a snapshot, and entries behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The zxid of the snapshot.
    pub zxid: i64,
    /// Behind it, so many sessions were opened, one an entry; the first belong to the clients.
    pub sessions: u64,
}

/// Settings of the core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorePlan {
    /// As in `raft::Config`.
    #[serde(with = "micros")]
    pub heartbeat_interval: Duration,
    /// As in `raft::Config`.
    #[serde(with = "micros")]
    pub election_timeout: Duration,
    /// As in `raft::Config`.
    #[serde(with = "micros")]
    pub disk_stall_timeout: Duration,
    /// As in `raft::Config`.
    pub max_append_bytes: usize,
    /// As in `raft::Config`.
    pub max_appends_in_flight: usize,
    /// As in `raft::Config`.
    pub keep_entries: u64,
    /// As in `replica::Config`.
    pub snapshot_entries: u64,
    /// As in `replica::Config`.
    pub min_session_timeout_ms: i32,
    /// As in `replica::Config`.
    pub max_session_timeout_ms: i32,
    /// As in `replica::Config`.
    #[serde(with = "micros")]
    pub upkeep_interval: Duration,
    /// As in `replica::Config`.
    #[serde(with = "micros")]
    pub orphan_timeout: Duration,
    /// As in `replica::Config`.
    #[serde(with = "micros")]
    pub resend_interval: Duration,
    /// By server, from the first: its election timeout is so many times as long; once if it is not
    /// said.
    #[serde(default)]
    pub slowness: Vec<u32>,
    /// Bits of the counter in a zxid, 1 to 32; 32 if it is not said.
    #[serde(default)]
    pub counter_bits: Option<u8>,
    /// By server, from the first: the bits of the rules that it stamps as leader; 0 if it is not
    /// said.
    #[serde(default)]
    pub rules: Vec<u8>,
    /// As in `replica::Config`; the default there if it is not said.
    #[serde(default)]
    pub reap_interval_ms: Option<u64>,
    /// As `reap_unused_after` in `replica::Config`.
    #[serde(default)]
    pub reap_unused_ms: u64,
}

/// What links are like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkPlan {
    /// The least latency in microseconds.
    pub latency_min: u64,
    /// How much more it can be.
    pub latency_spread: u64,
    /// One message in fifty takes up to forty times as long.
    pub heavy_tail: bool,
    /// Messages lost, in a million.
    pub loss_ppm: u64,
    /// Messages that come twice, in a million.
    pub duplicate_ppm: u64,
    /// Messages overtake each other.
    pub reorder: bool,
    /// Messages of a broken connection still arrive.
    pub late: bool,
    /// Links are cut in both directions.
    pub partitions: bool,
    /// Links are cut in one direction.
    pub one_way: bool,
    /// Connections break; one end may hear of it late.
    pub breaks: bool,
    /// Clients and servers do not hear each other for a time.
    pub client_cuts: bool,
}

/// What disks are like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskPlan {
    /// The least time of a write in microseconds.
    pub latency_min: u64,
    /// How much more it can be.
    pub latency_spread: u64,
    /// One write in a hundred takes up to fifty times as long.
    pub heavy_tail: bool,
    /// Writes stop for up to seconds.
    pub stalls: bool,
    /// One sync may complete all writes that are waiting.
    pub merge: bool,
    /// The real log format over sectors, in the place of an ideal list of changes.
    pub sectors: Option<SectorPlan>,
}

/// What happens to processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessPlan {
    /// Servers crash, half of the time right at an effect.
    pub crashes: bool,
    /// A majority, or all, crash at once.
    pub mass_crashes: bool,
    /// Servers stand still.
    pub pauses: bool,
    /// Clocks have rates of their own.
    pub skew: bool,
    /// Wall clocks jump.
    pub wall_jumps: bool,
    /// Servers start again with other settings.
    pub retunes: bool,
    /// Microseconds between an input and the poll that follows, at most.
    pub poll_delay: u64,
}

/// What clients do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientPlan {
    /// How many.
    pub count: u64,
    /// The mean time between requests of one client.
    pub interval: Micros,
    /// Requests under way of one client, at most.
    pub window: usize,
    /// They disconnect at random.
    pub disconnects: bool,
    /// They connect elsewhere while the former connection is open.
    pub moves: bool,
    /// They close their sessions at times.
    pub closes: bool,
    /// They set watches.
    pub watches: bool,
    /// They ask for `sync`.
    pub syncs: bool,
    /// They ask for multis.
    pub multis: bool,
    /// They disappear with a session open at the end of the faults.
    pub deaths: bool,
    /// They use ACLs and identities.
    pub acls: bool,
    /// They set watches that stay, and take watches away.
    pub lasting_watches: bool,
    /// They make containers and znodes with a time to live.
    pub containers: bool,
    /// They make quotas, and what looks like some.
    pub quotas: bool,
    /// They try wrong passwords.
    pub wrong_passwords: bool,
    /// They send large data, make deep paths and many children.
    pub extremes: bool,
    /// How many paths they use.
    pub paths: u64,
}

impl Plan {
    /// The plan of `seed`.
    pub fn new(seed: u64) -> Self {
        Plan::draw(seed, &mut Stream::new(seed, Concern::Plan))
    }

    /// The plan of `seed` that `s` draws.
    pub fn draw(seed: u64, s: &mut Stream) -> Self {
        let kind = s.below(10);
        let calm = kind == 0;
        let all = kind == 1;
        let servers = *s.pick(&[1, 2, 3, 3, 3, 3, 4, 5, 5, 7]);
        let mut on = |s: &mut Stream| !calm && (s.coin() || all);
        let mut network = network(s, &mut on);
        let mut disk = disk(s, &mut on);
        let process = process(s, &mut on);
        let mut clients = clients(s, &mut on);
        let fault_time = s.between(8_000_000, 20_000_000);
        let (mut core, origin) = (core(s), None);
        let changes = on(s);
        let mut members = MembersPlan {
            observers: if s.coin() { s.between(1, 3) } else { 0 },
            spares: if changes { s.below(4) } else { 0 },
            changes,
            in_single_file: false,
            groups: groups(&mut Stream::new(seed, Concern::Groups), servers),
            relays: false,
        };
        let servers = servers + members.observers + members.spares;
        // Which damage an ensemble can bear would change with its voters.
        disk.sectors = seed.is_multiple_of(3).then(|| {
            let sectors = SectorPlan::new(seed, calm, all);
            let damage = sectors.damage && !members.changes;
            SectorPlan { damage, repairs: sectors.repairs && damage && servers > 2, ..sectors }
        });
        // A vote on its way must not arrive at a server that has lost its memory of others.
        network.late &= !disk.sectors.as_ref().is_some_and(|sectors| sectors.repairs);
        let s = &mut Stream::new(seed, Concern::Chance);
        let buggify = s.coin() && !calm;
        core.counter_bits = (s.below(4) == 0).then(|| s.between(4, 8) as u8);
        let solo = SoloPlan::draw(s);
        members.in_single_file = s.below(4) == 0;
        members.relays = s.below(3) == 0;
        rules(&mut Stream::new(seed, Concern::Rules), servers, &mut core, &mut clients);
        let mut plan = Plan {
            seed,
            servers,
            calm,
            fault_time,
            core,
            network,
            disk,
            process,
            clients,
            members,
            origin,
            solo,
            buggify,
            throttles: false,
            rots: false,
            compares: true,
        };
        plan.rots = !calm && Stream::new(seed, Concern::Rot).below(6) == 0 && plan.may_rot();
        if plan.rots {
            plan.spare_the_right();
        }
        plan
    }

    /// Whether enough others have the right state when one has not, and stay members.
    fn may_rot(&self) -> bool {
        let is_fixed = !self.members.changes && self.members.groups.is_empty();
        is_fixed && self.voters() >= 3 && self.disk.sectors.is_none()
    }

    /// A wrong state must not be handed on before it is found: nobody is away, or far behind.
    fn spare_the_right(&mut self) {
        self.core.keep_entries = 1_000_000;
        self.buggify = false;
        let (process, network) = (&mut self.process, &mut self.network);
        (process.crashes, process.mass_crashes, process.retunes) = (false, false, false);
        (network.partitions, network.one_way) = (false, false);
    }

    /// What servers may do that is legal and rare.
    pub fn chances(&self) -> Chances {
        let chances = if self.buggify { Chances::of(self.seed) } else { Chances::none() };
        let bits = self.core.counter_bits;
        bits.map_or(chances.clone(), |bits| chances.with_counter_bits(bits.into()))
    }

    /// The same with none but those who vote, for good, and with nothing that one does alone.
    pub fn voters_only(self) -> Self {
        let servers = self.voters();
        let (members, solo) = (MembersPlan::default(), SoloPlan::default());
        Plan { servers, members, solo, ..self }
    }

    /// The number of servers that vote at the beginning.
    pub fn voters(&self) -> u64 {
        self.servers - self.members.observers - self.members.spares
    }

    /// The number of them that make a quorum.
    pub fn quorum(&self) -> usize {
        self.voters() as usize / 2 + 1
    }

    /// The members at the beginning.
    pub fn membership(&self) -> Membership {
        let voters = self.voters();
        let learners = (voters + 1..=voters + self.members.observers).map(ServerId);
        let voters: BTreeSet<ServerId> = (1..=voters).map(ServerId).collect();
        let groups = match &self.members.groups[..] {
            [] => Groups::none(),
            places => groups_of(&voters, |voter| places.get(voter.0 as usize - 1).copied()),
        };
        Membership { learners: learners.collect(), ..Membership::of_groups(voters, groups) }
    }

    /// The settings of one of the servers.
    pub fn config(&self, server: u64) -> Config {
        let core = &self.core;
        let defaults = raft::Config::new(ServerId(server), self.membership());
        let slowness = core.slowness.get(server as usize - 1).copied();
        let election_timeout = core.election_timeout * slowness.unwrap_or(1);
        let broken = defaults.broken_link_timeout;
        let raft = raft::Config {
            heartbeat_interval: core.heartbeat_interval,
            election_timeout,
            broken_link_timeout: if slowness.is_none() { broken } else { election_timeout },
            disk_stall_timeout: core.disk_stall_timeout,
            max_append_bytes: core.max_append_bytes,
            max_appends_in_flight: core.max_appends_in_flight,
            keep_entries: core.keep_entries,
            max_promotion_lag: core.keep_entries / 4,
            snapshot_timeout: core.election_timeout * 20,
            relays: self.members.relays,
            ..defaults
        };
        let raft = match self.members.in_single_file {
            true => raft::Config { max_snapshots: 1, max_log_syncs: 1, ..raft },
            false => raft,
        };
        let rules = core.rules.get(server as usize - 1).copied().unwrap_or_default();
        let defaults = Config::new(raft);
        Config {
            rules: Rules::from_bits(rules).unwrap_or_default(),
            reap_interval: core
                .reap_interval_ms
                .map_or(defaults.reap_interval, Duration::from_millis),
            reap_unused_after: Duration::from_millis(core.reap_unused_ms),
            min_session_timeout_ms: core.min_session_timeout_ms,
            max_session_timeout_ms: core.max_session_timeout_ms,
            upkeep_interval: core.upkeep_interval,
            orphan_timeout: core.orphan_timeout,
            resend_interval: core.resend_interval,
            snapshot_entries: core.snapshot_entries,
            catch_up_timeout: core.election_timeout * 10,
            local_sessions: self.solo.local_sessions,
            local_upgrading: self.solo.upgrading,
            read_only_after: self.solo.read_only_after.map(Duration::from_micros),
            compares_states: self.compares,
            ..defaults
        }
    }
}

/// One ensemble in sixteen decides by groups and weights.
fn groups(s: &mut Stream, voters: u64) -> Vec<(u64, u64)> {
    if voters == 1 || s.below(16) > 0 { Vec::new() } else { draw_groups(voters, s) }
}

fn clients(s: &mut Stream, on: &mut impl FnMut(&mut Stream) -> bool) -> ClientPlan {
    ClientPlan {
        count: s.between(1, 6),
        interval: s.log_between(15_000, 200_000),
        window: s.between(1, 8) as usize,
        disconnects: on(s),
        moves: on(s),
        closes: s.coin(),
        watches: s.coin(),
        syncs: s.coin(),
        multis: s.coin(),
        deaths: s.coin(),
        acls: s.coin(),
        lasting_watches: s.coin(),
        containers: s.coin(),
        quotas: false,
        wrong_passwords: on(s),
        extremes: s.coin(),
        paths: s.between(2, 12),
    }
}

fn process(s: &mut Stream, on: &mut impl FnMut(&mut Stream) -> bool) -> ProcessPlan {
    ProcessPlan {
        crashes: on(s),
        mass_crashes: on(s) && s.coin(),
        pauses: on(s),
        skew: s.coin(),
        wall_jumps: on(s),
        retunes: on(s),
        poll_delay: if s.coin() { 0 } else { s.log_between(10, 2_000) },
    }
}

fn core(s: &mut Stream) -> CorePlan {
    let election_ms = s.log_between(150, 1_500);
    let min_session_ms = s.between(600, 4_000) as i32;
    CorePlan {
        heartbeat_interval: Duration::from_millis(election_ms / s.between(4, 10)),
        election_timeout: Duration::from_millis(election_ms),
        disk_stall_timeout: Duration::from_millis(election_ms * s.between(1, 4)),
        max_append_bytes: s.log_between(100, 100_000) as usize,
        max_appends_in_flight: s.log_between(1, 64) as usize,
        keep_entries: s.log_between(1, 1_000),
        snapshot_entries: s.log_between(2, 3_000),
        min_session_timeout_ms: min_session_ms,
        max_session_timeout_ms: min_session_ms * s.between(1, 3) as i32,
        upkeep_interval: Duration::from_millis(min_session_ms as u64 / s.between(6, 12)),
        orphan_timeout: Duration::from_millis(election_ms * s.between(2, 5)),
        resend_interval: Duration::from_millis(s.log_between(100, 2_000)),
        slowness: Vec::new(),
        counter_bits: None,
        rules: Vec::new(),
        reap_interval_ms: None,
        reap_unused_ms: 0,
    }
}

/// What leaders stamp, when they reap, and whether clients make quotas.
fn rules(s: &mut Stream, servers: u64, core: &mut CorePlan, clients: &mut ClientPlan) {
    clients.quotas = s.coin();
    if s.coin() {
        // Rules that may differ, as while an operator changes one file after the other.
        core.rules = (0..servers).map(|_| *s.pick(&[0, 1, 4, 5, 5])).collect();
    }
    if s.coin() {
        core.reap_interval_ms = Some(s.log_between(200, 8_000));
        core.reap_unused_ms = if s.coin() { s.log_between(100, 5_000) } else { 0 };
    }
}

fn network(s: &mut Stream, on: &mut impl FnMut(&mut Stream) -> bool) -> NetworkPlan {
    NetworkPlan {
        latency_min: s.log_between(20, 1_000),
        latency_spread: s.log_between(100, 10_000),
        heavy_tail: on(s),
        loss_ppm: if on(s) { s.log_between(1_000, 100_000) } else { 0 },
        duplicate_ppm: if on(s) { s.log_between(1_000, 100_000) } else { 0 },
        reorder: on(s),
        late: on(s),
        partitions: on(s),
        one_way: on(s),
        breaks: on(s),
        client_cuts: on(s),
    }
}

fn disk(s: &mut Stream, on: &mut impl FnMut(&mut Stream) -> bool) -> DiskPlan {
    DiskPlan {
        latency_min: s.log_between(50, 5_000),
        latency_spread: s.log_between(100, 20_000),
        heavy_tail: on(s),
        stalls: on(s),
        merge: s.coin(),
        sectors: None,
    }
}

/// Durations as whole microseconds.
mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.as_micros() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_server_waits_longer_before_it_stands_for_election() {
        let mut plan = Plan::new(3);
        (plan.servers, plan.members) = (3, MembersPlan::default());
        let all = |plan: &Plan| [1, 2, 3].map(|n| plan.config(n).raft.election_timeout);
        let timeout = plan.core.election_timeout;
        assert_eq!(all(&plan), [timeout; 3]);
        plan.core.slowness = vec![2, 4];
        assert_eq!(all(&plan), [timeout * 2, timeout * 4, timeout]);
    }

    #[test]
    fn a_calm_plan_has_no_fault() {
        let calm: Vec<Plan> = (0..200).map(Plan::new).filter(|plan| plan.calm).collect();
        assert!(calm.len() > 5);
        for plan in calm {
            assert!(!plan.process.crashes && !plan.network.partitions && !plan.disk.stalls);
            assert_eq!(plan.network.loss_ppm, 0);
        }
    }

    #[test]
    fn a_few_ensembles_decide_by_groups_and_all_can_decide() {
        let plans: Vec<Plan> = (0..2_000).map(Plan::new).collect();
        let is_grouped = |plan: &&Plan| !plan.membership().groups.is_empty();
        let n_grouped = plans.iter().filter(is_grouped).count();
        assert!((60..180).contains(&n_grouped), "{n_grouped}");
        assert!(plans.iter().all(|plan| plan.membership().can_decide()));
        let without_weight = plans.iter().filter(is_grouped).filter(|plan| {
            let membership = plan.membership();
            membership.voters.iter().any(|voter| !membership.may_lead(*voter))
        });
        assert!(without_weight.count() > 10);
    }
}
