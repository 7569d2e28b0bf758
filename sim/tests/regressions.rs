//! What has failed once. Seeds are replayed for good measure: when plans or the core's own draws
//! change, a seed leads elsewhere, which is why each mended defect of the core has a test there as
//! well.
//!
//! The scenarios in `regressions/` are runs that have found a mutant, made small. They show that
//! the checks still bite, and are made anew by the example `mutants`, with `--shrink`.

use std::path::{Path, PathBuf};

use zokor_mutants::{Mutant, with};
use zokor_sim::mutation::case;
use zokor_sim::run::{run, run_scenario};
use zokor_sim::scenario::Scenario;
use zokor_sim::trace::Trace;

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
    (0x30aa_e6bc_264e_369d, "a lost write of the last batch was not spared under another one"),
    (0xdc97_8d4b_55e1_addf, "the same under a write whose sync failed"),
    (0x27de_966b_8da6_f7a9, "a barrier by the only voter, who changes the membership (R4)"),
    (0x9cfb_0181_d147_f017, "snapshots of several former terms answered in one poll (model)"),
    (0x1704_e17a_fe6e_e179, "a lone voter with a new one beside it heard a quorum for ever"),
    (0x97fe_816c_62ef_a161, "the same, by another seed (a leader hears from a quorum)"),
    (0x501e_8b27_c87d_7ff6, "a server that lost its leader again and again kept local sessions"),
    (0x958d_d5f2_14a7_766f, "a local session closed by a client that never heard of it"),
    (0x1202_bc7c_7115_e940, "entries after a snapshot of the same poll, its term left (model)"),
    (0xbc92_f9c4_ccf6_8329, "a wiped observer that is given two states at once (C8)"),
    (0x0701_4197_dbcd_7353, "a disk wiped again and again costs one election each time (liveness)"),
    (0x7abb_f1d4_46b2_5a8e, "a learner under repair took a state older than its own (C8)"),
    (
        0xc609_72e2_a87f_2f29,
        "a damaged log shows an entry that was cut, its cut being lost (storage)",
    ),
];

#[test]
fn seeds_that_failed_once_fail_no_more() {
    let failures: Vec<String> = SEEDS
        .iter()
        .filter_map(|&(seed, story)| Some(format!("{story}\n{}", run(seed).failure()?)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn small_scenarios_fail_with_their_mutant_and_with_nothing_else() {
    // A mutant may well run into an assertion: that is a hit, and no news.
    let said = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    let wrong: Vec<String> = files.iter().filter_map(|file| wrong_with(file)).collect();
    std::panic::set_hook(said);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is not as it should be with a scenario and the mutant that its file is named after.
fn wrong_with(file: &Path) -> Option<String> {
    let name = file.file_stem().and_then(|name| name.to_str()).expect("files have plain names");
    let mutants = Mutant::named(name.split_once('-').expect("NUMBER-NAME.ron").1);
    let [mutant] = mutants[..] else { return Some(format!("{name} names no mutant")) };
    let scenario = read(file);
    let check = |mutant| {
        let play = || run_scenario(scenario.clone(), Trace::off()).0.violation;
        with(mutant, play)
    };
    if let Some(violation) = check(None) {
        return Some(format!("{name} fails without its mutant: {violation}"));
    }
    match check(Some(mutant)) {
        None => Some(format!("{name}: its mutant is not found any more")),
        Some(violation) if !case(mutant).expects(violation.check) => {
            Some(format!("{name} finds its mutant by another check: {violation}"))
        }
        Some(_) => None,
    }
}

fn read(file: &Path) -> Scenario {
    let text = std::fs::read_to_string(file).expect("the folder was just listed");
    Scenario::read(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
