//! Every state of small worlds, by the model checker.

mod checked;

use checked::search;
use zokor_spec::explore::Bounds;

fn holds(name: &str, bounds: Bounds) {
    let found = search(bounds, None);
    println!("{name}: {} states in {:.1?}", found.states, found.took);
    assert!(found.violation.is_none(), "{:#?}", found.violation);
    assert!(found.reached, "the last term came to nothing: the bounds are too narrow");
}

#[test]
fn elections() { holds("base", Bounds::new(3, 2, 2)); }
#[test]
fn crash() { holds("crash", Bounds::new(3, 2, 2).with_crashes(1)); }
#[test]
fn three() { holds("three", Bounds::new(3, 3, 3)); }
