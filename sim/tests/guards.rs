//! The simulations run against the simulated tokio, and the shipped server against the real one;
//! deliberate defects and chances are part of the twins alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use zokor_chance::{Chance, Chances};
use zokor_core::proto::Zxid;
use zokor_mutants::Mutant;

#[test]
fn the_twins_tokio_is_the_simulated_one() {
    let name = std::any::type_name::<tokio::net::TcpStream>();
    assert!(name.starts_with("zokor_tokio_sim"), "{name}");
    let name = std::any::type_name::<tokio::time::Sleep>();
    assert!(name.starts_with("madsim"), "{name}");
}

#[test]
fn the_server_has_nothing_of_madsim_in_it() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "-p", "zokor", "-e", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is what runs this test");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("zokor-net v"), "{tree}");
    assert!(tree.contains("tokio v"), "{tree}");
    assert!(!tree.contains("madsim"), "{tree}");
    assert!(!tree.contains("zokor-mutants"), "{tree}");
    assert!(!tree.contains("zokor-chance"), "{tree}");
}

/// All sources of which there are twins.
fn sources_of_the_twins() -> String {
    let mut sources = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("sim is in the workspace");
    let mut folders: Vec<PathBuf> = ["core/src", "net/src"].map(|path| root.join(path)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                sources.push_str(&fs::read_to_string(path).expect("a text"));
            }
        }
    }
    sources
}

#[test]
fn every_mutant_has_a_site() {
    let sources = sources_of_the_twins();
    let sites = sources.split("mutated!(").skip(1);
    let named: Vec<&str> = sites.flat_map(|site| mutants_of(site).split('|')).collect();
    let lacks = |mutant: &&Mutant| !named.iter().any(|name| name.trim() == format!("{mutant:?}"));
    let without: Vec<&Mutant> = Mutant::ALL.iter().filter(lacks).collect();
    assert!(without.is_empty(), "{without:?} are active nowhere");
}

#[test]
fn every_chance_has_a_site_that_says_why_it_does_no_harm() {
    let sources = sources_of_the_twins();
    for chance in Chance::ALL {
        let site = format!("maybe!({chance:?}");
        let lines: Vec<&str> = sources.lines().collect();
        let at = lines.iter().position(|line| line.contains(&site));
        let at = at.unwrap_or_else(|| panic!("{chance:?} is taken nowhere"));
        let says = lines[at.saturating_sub(4)..at].iter().any(|line| line.contains("// Legal: "));
        assert!(says, "{chance:?} has to say why it does no harm");
    }
}

/// What stands before the condition, or the end.
fn mutants_of(site: &str) -> &str {
    let end = site.find([')', '\n']).unwrap_or(site.len());
    let names = &site[..end];
    names.split(" if ").next().unwrap_or(names)
}

#[test]
fn a_mutant_of_this_thread_is_active_in_the_twin() {
    let asks = || zokor_core::mutated!(LocalTime | RandomOrder);
    assert!(!asks());
    assert!(zokor_mutants::with(Some(Mutant::RandomOrder), asks));
    assert!(!zokor_mutants::with(Some(Mutant::CopyApplied), asks));
}

#[test]
fn a_chance_of_this_thread_is_taken_in_the_twin() {
    let asks = || (0..100).any(|_| zokor_core::maybe!(EarlyBeat));
    assert!(!asks());
    let mut active = (0..).map(Chances::of).find(|it| it.is_active(Chance::EarlyBeat)).unwrap();
    assert!(zokor_chance::with(&mut active, asks));
    assert!(!zokor_chance::with(&mut Chances::none(), asks));
}

#[test]
fn a_narrow_counter_carries_into_the_epoch() {
    let next = |counter: i64| Zxid((7 << 32) | counter).next();
    let narrow = || (next(14), next(15), next(0xffff_ffff));
    let mut chances = Chances::none().with_counter_bits(4);
    let carried = Zxid(8 << 32);
    assert_eq!(zokor_chance::with(&mut chances, narrow), (Zxid((7 << 32) | 15), carried, carried));
    assert_eq!(narrow(), (Zxid((7 << 32) | 15), Zxid((7 << 32) | 16), carried));
}
