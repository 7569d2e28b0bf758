//! A few mutants that have to be found at once. The whole catalogue is hunted by the example
//! `mutants`: `cargo run --profile sim -p zokor-sim --example mutants`.

use zokor_mutants::Mutant;
use zokor_sim::mutation::{case, hunt};

const SEEDS: u64 = 20;

/// One of each kind of check, found within the first few seeds.
const QUICK: [Mutant; 8] = [
    Mutant::VoteBeforeDurable,
    Mutant::OwnEntryBeforeDurable,
    Mutant::OldTermByCounting,
    Mutant::PurgedEarly,
    Mutant::EpochIgnoresTerm,
    Mutant::RewatchAlwaysFires,
    Mutant::MultiHalfDone,
    Mutant::LocalTime,
];

#[test]
fn quick_mutants_are_found_by_the_checks_that_ought_to() {
    let mut missed = Vec::new();
    for mutant in QUICK {
        let case = case(mutant);
        let hunt = hunt(case, SEEDS);
        let check = hunt.hit.as_ref().map(|hit| hit.violation.check);
        println!("{mutant}: {check:?} after {} seeds", hunt.tried);
        if !check.is_some_and(|check| case.expects(check)) {
            missed.push(format!("{mutant}: {hunt:?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A state that goes wrong is found, and shown to nobody from then on: both are missed at once.
#[test]
fn states_that_nobody_compares_or_that_are_shown_in_doubt_are_found() {
    for mutant in [Mutant::StatesNotCompared, Mutant::DoubtfulServes] {
        let case = case(mutant);
        let hunt = hunt(case, case.budget);
        let check = hunt.hit.as_ref().map(|hit| hit.violation.check);
        println!("{mutant}: {check:?} after {} seeds", hunt.tried);
        assert!(check.is_some_and(|check| case.expects(check)), "{mutant}: {hunt:?}");
    }
}
