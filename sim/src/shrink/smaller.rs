//! Single steps towards a smaller scenario.
//!
//! Invariant: what comes out of a scenario that can run can run.

use std::collections::BTreeSet;

use crate::fault::{CrashPoint, Fault};
use crate::scenario::Scenario;

/// Takes the last server away, and what names it: first those that are no members, then observers,
/// then voters.
pub(super) fn without_last_server(scenario: &mut Scenario) {
    let plan = &mut scenario.plan;
    let last = plan.servers;
    if plan.members.spares > 0 {
        plan.members.spares -= 1;
    } else {
        plan.members.observers = plan.members.observers.saturating_sub(1);
    }
    plan.servers -= 1;
    if plan.voters() > 0 && !plan.membership().can_decide() {
        plan.members.groups.clear();
    }
    let left: BTreeSet<u64> = (1..last).collect();
    let spared = |fault: &Fault| match fault {
        Fault::ChangeMembership(_) | Fault::When(..) => {
            fault.names().all(|server| server < last).then(|| fault.clone())
        }
        fault => without(fault.clone(), last, &left),
    };
    scenario.faults = std::mem::take(&mut scenario.faults)
        .into_iter()
        .filter_map(|mut timed| {
            timed.fault = spared(&timed.fault)?;
            Some(timed)
        })
        .collect();
    let recovery = &mut scenario.recovery;
    recovery.order.retain(|&server| server != last);
    recovery.fates.retain(|&(server, _)| server != last);
    recovery.outside = std::mem::take(&mut recovery.outside)
        .into_iter()
        .filter_map(|(fault, gap)| Some((spared(&fault)?, gap)))
        .collect();
}

/// What is left of a fault without the last server.
fn without(fault: Fault, last: u64, left: &BTreeSet<u64>) -> Option<Fault> {
    let lasts = |link: &(u64, u64)| link.0 == last || link.1 == last;
    match fault {
        Fault::Cut(mut links, time) => {
            links.retain(|link| !lasts(link));
            (!links.is_empty()).then_some(Fault::Cut(links, time))
        }
        Fault::Clog(mut links, time) => {
            links.retain(|link| !lasts(link));
            (!links.is_empty()).then_some(Fault::Clog(links, time))
        }
        Fault::Break(link, _) | Fault::HalfOpen(link, _) if lasts(&link) => None,
        Fault::CrashLeader(..) | Fault::CutLeader(..) => Some(fault),
        fault => fault.only(left, None),
    }
}

/// Lets crashes happen at once instead of at some point, and what waits for a point too.
pub(super) fn at_once(fault: &mut Fault) {
    match fault {
        Fault::Crash(crashes) => {
            crashes.iter_mut().for_each(|(_, point, _)| *point = CrashPoint::Now);
        }
        Fault::CrashLeader(point, _) => *point = CrashPoint::Now,
        Fault::When(_, _, then) => *fault = (**then).clone(),
        _ => {}
    }
}

/// Lets a fault last half as long.
pub(super) fn halve(fault: &mut Fault) {
    match fault {
        Fault::Crash(crashes) => crashes.iter_mut().for_each(|(.., restart)| *restart /= 2),
        Fault::CrashLeader(_, time)
        | Fault::Cut(_, time)
        | Fault::CutLeader(_, time)
        | Fault::Break(_, time)
        | Fault::Pause(_, time, _)
        | Fault::Stall(_, time)
        | Fault::Clog(_, time)
        | Fault::HalfOpen(_, time)
        | Fault::CutClient(_, _, time)
        | Fault::DiskError(.., time)
        | Fault::DiskFull(.., time)
        | Fault::DiskDamage(.., time) => *time /= 2,
        Fault::WallJump(_, by) => *by /= 2,
        Fault::When(_, _, then) => halve(then),
        Fault::Retune(..)
        | Fault::ChangeMembership(_)
        | Fault::Restore(..)
        | Fault::TreeRot(..) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_without_its_last_server_can_be_read() {
        for seed in 0..40 {
            let mut scenario = Scenario::of_seed(seed);
            while scenario.plan.servers > 1 {
                without_last_server(&mut scenario);
                assert_eq!(Scenario::read(&scenario.text()).as_ref(), Ok(&scenario));
            }
            assert_eq!(scenario.plan.voters(), 1);
        }
    }
}
