//! What is measured by deliberate defects is not what is shipped: here there are none.

/// A constant: in the twin, where it depends on the thread, this would not even compile.
const IS_MUTATED: bool = zokor_core::mutated!(LocalTime | RandomOrder if unknown_to_everyone());

#[test]
fn no_mutant_is_part_of_the_production_core() {
    assert_eq!([IS_MUTATED], [false]);
}
