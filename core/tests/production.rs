//! What is measured by deliberate defects is not what is shipped: here there are none, and no
//! chances are taken.

/// A constant: in the twin, where it depends on the thread, this would not even compile.
const IS_MUTATED: bool = zokor_core::mutated!(LocalTime | RandomOrder if unknown_to_everyone());

const IS_TAKEN: bool = zokor_core::maybe!(ApplyLater if unknown_to_everyone());
const COUNTER_BITS: u32 = zokor_core::counter_bits!();

#[test]
fn no_chance_is_part_of_the_production_core() {
    assert_eq!(([IS_TAKEN], COUNTER_BITS), ([false], 32));
}

#[test]
fn no_mutant_is_part_of_the_production_core() {
    assert_eq!([IS_MUTATED], [false]);
}
