//! Runs the saved corpus of the fuzz target `folder` as plain tests, and some thousand edits of a
//! server's folder drawn by a seed.

#[path = "../../fuzz/folders/lib.rs"]
#[expect(unreachable_pub, reason = "the file is a module of a fuzz target as well")]
mod folders;
#[path = "../../fuzz/saved/lib.rs"]
mod saved;

use saved::Seeds;

#[test]
fn storage_keeps_its_promises_for_the_saved_folders() {
    let seeds: Seeds = [
        ("nothing", vec![0]),
        ("flip", vec![1, 2, 0, 60, 16, 1, 8]),
        ("torn", vec![1, 3, 1, 0, 0x18, 1]),
        ("short", vec![0, 4, 3, 30, 0, 0]),
        ("gone", vec![1, 6, 2]),
        ("moved", vec![3, 7, 0, 0, 0, 0, 200, 0, 1, 0, 16, 1]),
        ("renamed", vec![3, 8, 4, 9, 40, 1]),
        ("lengths", vec![2, 0, 0, 0, 16, 1, 3, 255, 255, 255, 255]),
        ("begun", vec![7, 0, 1, 48, 0, 0, 7, 255, 255, 255, 255, 255, 255, 255, 255]),
    ]
    .into();
    saved::run("folder", folders::folder, &seeds);
}

#[test]
fn storage_never_panics_and_invents_nothing_whatever_is_edited() {
    let mut dice = 0x005c_72b5_u64;
    let mut next = || {
        dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    for _ in 0..12_000 {
        let n_bytes = next() % 40 + 2;
        let mut bytes: Vec<u8> = (0..n_bytes).map(|_| next() as u8).collect();
        // Numbers at the ends of what there is are drawn more often.
        for byte in &mut bytes[1..] {
            match next() % 8 {
                0 => *byte = 255,
                1 => *byte = 0,
                _ => {}
            }
        }
        folders::folder(&bytes);
    }
}
