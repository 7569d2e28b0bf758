//! Draws what a client does.
//!
//! Invariant: steps depend on the plan and the client's stream alone, and come in order of time.

use super::{Access, Op, Place, Step, Znode, ZnodeKind};
use crate::plan::ClientPlan;
use crate::rng::Stream;
use crate::world::queue::Micros;

/// The steps of one client until `end`.
pub fn draw(plan: &ClientPlan, end: Micros, s: &mut Stream) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = s.below(plan.interval * 2 + 500_000);
    let mut watched = Vec::new();
    while at < end {
        let op = Draw { plan, s, watched: &mut watched }.op();
        watched.extend(watch_of(&op));
        let is_write = matches!(op, Op::Create(_) | Op::Set(..));
        steps.push(Step { at, op });
        // Away from one connection, a write on the next, and away from that while it is under way.
        if is_write && plan.moves && s.below(16) == 0 {
            steps.push(Step { at: at + 1, op: Op::Move });
            let op = Draw { plan, s, watched: &mut watched }.create();
            steps.push(Step { at: at + 2, op });
            at += 3 + s.log_between(1, 3_000);
            steps.push(Step { at, op: Op::Move });
        }
        at += 1 + s.below(plan.interval * 2);
    }
    steps
}

struct Draw<'a> {
    plan: &'a ClientPlan,
    s: &'a mut Stream,
    /// What the client has asked to watch, and how: `WatcherType`'s number.
    watched: &'a mut Vec<(Place, u8)>,
}

fn watch_of(op: &Op) -> Option<(Place, u8)> {
    match op {
        Op::List(place, true, _) => Some((place.clone(), 1)),
        Op::Get(place, true) | Op::Exists(place, true) => Some((place.clone(), 2)),
        Op::AddWatch(place, is_recursive) => Some((place.clone(), 4 + u8::from(*is_recursive))),
        _ => None,
    }
}

impl Draw<'_> {
    fn op(&mut self) -> Op {
        let plan = self.plan;
        match self.s.below(1000) {
            0..8 if plan.disconnects => Op::Leave(self.s.coin()),
            8..16 if plan.moves => Op::Move,
            16..20 if plan.wrong_passwords => Op::Forget,
            20..50 if plan.acls => Op::Auth((*self.s.pick(&["ann", "bob"])).to_owned()),
            50..250 => self.create(),
            250..430 => self.set(),
            430..550 => self.delete(),
            550..630 if plan.multis => self.multi(),
            630..680 if plan.syncs => Op::Sync(self.place()),
            680..700 if plan.closes => Op::Close,
            700..740 if plan.acls => {
                let (place, _) = self.watched_place();
                Op::SetAcl(place, self.access(), self.version())
            }
            740..760 if plan.lasting_watches => {
                let (place, _) = self.watched_place();
                Op::AddWatch(place, self.s.coin())
            }
            760..790 if plan.lasting_watches => {
                let (place, kind) = self.watched_place();
                // Of the kind that was set, of all, or of any.
                let kind = match self.s.below(4) {
                    0 => 3,
                    1 => self.s.between(1, 5) as u8,
                    _ => kind,
                };
                if self.s.coin() {
                    Op::RemoveWatches(place, kind)
                } else {
                    Op::CheckWatches(place, kind)
                }
            }
            780..860 if plan.quotas => self.quota(),
            _ => self.read(),
        }
    }

    fn create(&mut self) -> Op {
        let kind = match self.s.below(8) {
            0..3 => ZnodeKind::Persistent,
            3..5 => ZnodeKind::Ephemeral,
            5 => ZnodeKind::Sequential,
            6 => ZnodeKind::EphemeralSequential,
            _ if !self.plan.containers => ZnodeKind::Persistent,
            _ if self.s.coin() => ZnodeKind::Container,
            _ => ZnodeKind::Ttl(self.s.log_between(1, 4_000) as u32),
        };
        let mut path = self.path();
        if matches!(kind, ZnodeKind::Sequential | ZnodeKind::EphemeralSequential) {
            path.push_str(if self.s.coin() { "/s-" } else { "-" });
        }
        let (stat, size, access) = (self.s.coin(), self.size(), self.access());
        Op::Create(Znode { path, kind, stat, size, text: None, access })
    }

    /// A quota as clients make it, a part of one, or what no server should stumble over.
    fn quota(&mut self) -> Op {
        let top = self.s.below(self.plan.paths);
        let folder = match self.s.below(16) {
            0 => "/zookeeper/quota".to_owned(),
            1 => "/zookeeper/quota/zookeeper".to_owned(),
            2 => "/zookeeper/quota/zookeeper/config".to_owned(),
            3..7 => format!("/zookeeper/quota/n{top}/c{}", self.s.below(3)),
            _ => format!("/zookeeper/quota/n{top}"),
        };
        let stats = format!("{folder}/zookeeper_stats");
        let limits = format!("{folder}/zookeeper_limits");
        match self.s.below(20) {
            0..8 => Op::Multi(vec![
                self.quota_znode(folder, ""),
                self.quota_znode(limits, "count=-1,bytes=-1=;byteHardLimit=40;countHardLimit=3"),
                self.quota_znode(stats, "count=0,bytes=0"),
            ]),
            8 => self.quota_znode(folder, ""),
            9 => self.quota_znode(limits, "count=2,bytes=10"),
            10 => self.quota_znode(stats, "nonsense"),
            11 => self.quota_znode(format!("{limits}/odd"), "count=1"),
            12 => Op::Delete(Place::At(limits), -1),
            13 => Op::Delete(Place::At(stats), -1),
            14 => Op::SetText(Place::At(stats), self.quota_text()),
            15..18 => Op::SetText(Place::At(limits), self.quota_text()),
            18 => Op::Get(Place::At(limits), self.plan.watches),
            _ => Op::Get(Place::At(stats), self.plan.watches),
        }
    }

    fn quota_znode(&mut self, path: String, text: &str) -> Op {
        let text = if self.s.below(4) == 0 { self.quota_text() } else { text.to_owned() };
        let (kind, stat, access) = (ZnodeKind::Persistent, self.s.coin(), Access::Open);
        Op::Create(Znode { path, kind, stat, size: None, text: Some(text), access })
    }

    fn quota_text(&mut self) -> String {
        const TEXTS: [&str; 12] = [
            "count=-1,bytes=-1=;byteHardLimit=40;countHardLimit=3",
            "count=-1,bytes=-1=;byteHardLimit=20",
            "count=1,bytes=1=;countHardLimit=0",
            "count=2,bytes=10",
            "count=,bytes=",
            "count=1=2,,;;bytes=3",
            "=;=,count",
            "countHardLimit=1,countHardLimit=9223372036854775807",
            "byteHardLimit=9223372036854775808",
            "count=-5,bytes=-9",
            "\u{fffd}",
            "",
        ];
        (*self.s.pick(&TEXTS)).to_owned()
    }

    fn set(&mut self) -> Op {
        Op::Set(self.place(), self.version(), self.size())
    }

    fn delete(&mut self) -> Op {
        let place =
            if self.s.coin() { Place::Learnt(self.s.below(64) as u32) } else { self.place() };
        Op::Delete(place, self.version())
    }

    fn multi(&mut self) -> Op {
        if self.s.below(6) == 0 {
            let parts = self.s.between(0, 4);
            let part = |draw: &mut Self| match draw.s.coin() {
                true => Op::Get(draw.place(), false),
                false => Op::List(draw.place(), false, false),
            };
            return Op::MultiRead((0..parts).map(|_| part(self)).collect());
        }
        let most = if self.plan.extremes && self.s.below(20) == 0 { 60 } else { 4 };
        let parts = self.s.between(0, most);
        let part = |draw: &mut Self| match draw.s.below(4) {
            0 => draw.create(),
            1 => draw.set(),
            2 => draw.delete(),
            _ => Op::Check(draw.place(), draw.version()),
        };
        Op::Multi((0..parts).map(|_| part(self)).collect())
    }

    fn read(&mut self) -> Op {
        let watch = self.plan.watches && self.s.coin();
        let place = if self.s.below(8) == 0 { Place::At("/".to_owned()) } else { self.place() };
        match self.s.below(40) {
            0..10 => Op::Exists(place, watch),
            10..20 => Op::Get(place, watch),
            20 => Op::CountDescendants(place),
            21 => Op::Ephemerals(if self.s.coin() { "/".to_owned() } else { self.path() }),
            22 => Op::GetAcl(place),
            23 if self.plan.acls => Op::WhoAmI,
            _ => Op::List(place, watch, self.s.coin()),
        }
    }

    fn place(&mut self) -> Place {
        Place::At(self.path())
    }

    /// One that the client has asked to watch of late, so that kinds of watches meet on it; or any.
    fn watched_place(&mut self) -> (Place, u8) {
        let n_late = self.watched.len().min(8);
        if n_late == 0 || self.s.coin() {
            return (self.place(), self.s.between(1, 5) as u8);
        }
        let n = self.watched.len() - 1 - self.s.below(n_late as u64) as usize;
        self.watched[n].clone()
    }

    /// Of few different ones, so that clients meet.
    fn path(&mut self) -> String {
        let top = self.s.below(self.plan.paths);
        if self.plan.extremes && self.s.below(100) == 0 {
            return format!("/n{top}{}", "/deep".repeat(self.s.between(1, 40) as usize));
        }
        match self.s.below(3) {
            0 => format!("/n{top}/c{}", self.s.below(3)),
            _ => format!("/n{top}"),
        }
    }

    fn size(&mut self) -> Option<u32> {
        match self.s.below(16) {
            0 => None,
            1 if self.plan.extremes => Some(self.s.log_between(100, 200_000) as u32),
            _ => Some(0),
        }
    }

    fn access(&mut self) -> Access {
        if !self.plan.acls {
            return Access::Open;
        }
        *self.s.pick(&[
            Access::Open,
            Access::Open,
            Access::Open,
            Access::ReadOnly,
            Access::Creator,
            Access::Ann,
            Access::Hidden,
            Access::Empty,
        ])
    }

    fn version(&mut self) -> i32 {
        *self.s.pick(&[-1, -1, -1, 0, 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Concern;

    #[test]
    fn steps_come_in_order_and_keep_to_the_plan() {
        let plan = ClientPlan { interval: 1_000, paths: 3, ..ClientPlan::default() };
        let steps = draw(&plan, 1_000_000, &mut Stream::new(1, Concern::Client(1)));
        assert!(steps.len() > 500);
        assert!(steps.is_sorted_by_key(|step| step.at));
        for step in steps {
            assert!(
                !matches!(step.op, Op::Leave(_) | Op::Move | Op::Forget | Op::Close),
                "{step:?}"
            );
        }
    }
}
