//! Runs the saved corpus of a fuzz target as a plain test. A module of the tests that do so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs};

/// What a target's corpus begins with, by name.
pub(crate) type Seeds = BTreeMap<&'static str, Vec<u8>>;

/// Feeds every file of the target's corpus to its door, whole, cut and with each bit flipped; the
/// seeds are found to be these, or with `UPDATE` become so.
pub(crate) fn run(target: &str, door: fn(&[u8]), seeds: &Seeds) {
    // Of the package whose test this is; all of them lie beside `fuzz`.
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(&folder).expect("the source tree is writable");
        for (name, bytes) in seeds {
            fs::write(folder.join(format!("seed-{name}")), bytes).expect("as before");
        }
    }
    for (name, bytes) in seeds {
        let saved = fs::read(folder.join(format!("seed-{name}"))).expect("the seed is committed");
        assert_eq!(&saved, bytes, "seed {name} of {target}: run with UPDATE=1 if this is meant");
    }
    for file in fs::read_dir(&folder).expect("the corpus is committed") {
        let bytes = fs::read(file.expect("it was listed").path()).expect("it is a file");
        door(&bytes);
        for length in 0..bytes.len() {
            door(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                door(&flipped);
            }
        }
    }
}
