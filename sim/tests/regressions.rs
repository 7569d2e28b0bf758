//! Every seed that ever failed, and what it found. They are replayed for good measure: when plans
//! or the core's own draws change, a seed leads elsewhere, which is why each mended defect of the
//! core has a test there as well.

use zokor_sim::run::run;

/// A seed and its story.
const SEEDS: &[(u64, &str)] = &[
    (0xa5aa_218a_976b_f18f, "a session expired early: its last word went with its connection (S5)"),
    (0x1fa5_77b5_974a_97fb, "the same, found by another seed (S5)"),
    (0x3abc_1963_bf1e_7790, "no start from a snapshot of a term that was not durable (panic)"),
    (0xe3b6_1316_90a6_d6e6, "each old refusal had the whole window sent again (C12)"),
    (0x7af4_3d5c_9b7a_da3d, "the same, with three servers (C12)"),
    (0x08d6_cd07_10ea_4e2d, "the same, found by a later sweep (C12)"),
    (0x72a8_b30e_b371_457c, "a check too strict: it won before the entry was committed (C5)"),
    (0x5a1c_f67a_8368_0580, "the same check, with another winner that learnt it late (C5)"),
];

#[test]
fn seeds_that_failed_once_fail_no_more() {
    let failures: Vec<String> = SEEDS
        .iter()
        .filter_map(|&(seed, story)| Some(format!("{story}\n{}", run(seed).failure()?)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
