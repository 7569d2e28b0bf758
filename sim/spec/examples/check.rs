//! Larger worlds: `cargo run --profile sim -p zokor-spec --example check [NAME]`. All of them take
//! minutes to hours, and some need many gigabytes of memory.

#[path = "../tests/checked/mod.rs"]
mod checked;

use checked::holds;
use zokor_spec::Servers;
use zokor_spec::explore::Bounds;

fn main() {
    let wanted = std::env::args().nth(1);
    let snapshots = Bounds { snapshots: true, ..Bounds::new(3, 2, 2) };
    let changes = vec![Servers::of([0, 1, 3])];
    let changes = Bounds { voters: Servers::of([0, 1, 2]), changes, ..Bounds::new(4, 2, 4) };
    let figure_8 = [0, 1, 0, 1].map(|server| Servers::of([server])).to_vec();
    let figure_8 = Bounds { candidates: figure_8, ..Bounds::new(3, 4, 2) };
    let worlds = [
        ("figure 8", figure_8),
        ("crash", Bounds::new(3, 2, 2).with_crashes(1)),
        ("reads", Bounds { reads: 1, rounds: 2, ..Bounds::new(3, 2, 2) }),
        ("snapshots", snapshots.with_crashes(1)),
        ("three terms", Bounds::new(3, 3, 3)),
        ("crash, three entries", Bounds::new(3, 2, 3).with_crashes(1)),
        ("two crashes", Bounds::new(3, 2, 2).with_crashes(2)),
        ("changes", changes),
        ("five servers", Bounds::new(5, 2, 2)),
    ];
    for (name, bounds) in worlds {
        if wanted.as_ref().is_none_or(|wanted| wanted == name) {
            holds(name, bounds);
        }
    }
}
