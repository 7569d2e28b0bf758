//! The doors that an operator's files come through. Each function feeds one of them, and panics if
//! the parser breaks a promise: that it is total, and that what it prints can be read again.
//!
//! A module of the targets for them, and of `server/tests/corpus.rs`, where plain tests run the
//! saved corpus.

use std::path::Path;

use zokor_core::id::ServerId;
use zokor_server::config::{ClientLimits, ServerLine};

/// A configuration file: its keys and values, its server lines, its numbers.
pub fn properties(bytes: &[u8]) {
    let file = Path::new("zoo.cfg");
    if let Err(error) = ClientLimits::parse(file, bytes) {
        assert_eq!(error.file, file, "{error}");
    }
    match ServerLine::parse_all(file, bytes) {
        Ok(lines) => {
            assert!(lines.windows(2).all(|pair| pair[0].id < pair[1].id), "ascending ids");
            lines.iter().for_each(again);
        }
        Err(error) => assert_eq!(error.file, file, "{error}"),
    }
}

/// The text behind `server.N=`.
pub fn server_line(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(line) = ServerLine::parse(ServerId(1), &text) {
        again(&line);
    }
}

/// What is printed of a line parses to one that prints alike.
fn again(line: &ServerLine) {
    let printed = line.canonical();
    let parsed = ServerLine::parse(line.id, &printed).expect("what is printed parses");
    assert_eq!(parsed.canonical(), printed);
}
