//! docs/behaviours.md names a test for each behaviour: every one of them is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are in the workspace").to_owned()
}

/// The names of all functions below `folder` that are marked as tests.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                tests_below(&path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            found.extend(tests_in(&text));
        }
    }
}

fn tests_in(text: &str) -> Vec<String> {
    let (mut found, mut is_marked) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        let words = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "));
        if let Some(rest) = words {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            if is_marked {
                found.push(name.to_owned());
            }
            is_marked = false;
        } else if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_marked = true;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            is_marked = false;
        }
    }
    found
}

/// Why this row of the table is not as it must be, if it is not.
fn wrong(row: &str, number: usize, tests: &BTreeSet<String>) -> Option<String> {
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [count, behaviour, shown] = cells[..] else { return Some("has not three cells".into()) };
    if count != number.to_string() {
        return Some(format!("is number {number}"));
    }
    if behaviour.is_empty() {
        return Some("says nothing".into());
    }
    // Keys of the configuration stand behind "Not there", before any colon.
    let is_without = shown.starts_with("*Not there*") || shown.starts_with("*Moot*");
    let named = if is_without { shown.splitn(3, ':').nth(2).unwrap_or_default() } else { shown };
    let mut names = named.split('`').skip(1).step_by(2).peekable();
    if names.peek().is_none() && !is_without {
        return Some("names no test".into());
    }
    let gone = names.find(|name| match name.contains('/') {
        true => !root().join(name).exists(),
        false => !tests.contains(*name),
    })?;
    Some(format!("names {gone}, which is not there"))
}

#[test]
fn every_test_that_shows_a_behaviour_is_there() {
    let mut tests = BTreeSet::new();
    tests_below(&root(), &mut tests);
    assert!(tests.len() > 500, "{} tests", tests.len());
    let text = fs::read_to_string(root().join("docs/behaviours.md")).expect("it is there");
    let is_row = |line: &&str| {
        let first = line.strip_prefix("| ").and_then(|rest| rest.chars().next());
        first.is_some_and(|c| c.is_ascii_digit())
    };
    let rows: Vec<&str> = text.lines().filter(is_row).collect();
    assert!(rows.len() > 300, "{} rows", rows.len());
    let mut problems = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        if let Some(why) = wrong(row, n + 1, &tests) {
            problems.push(format!("docs/behaviours.md: row {} {why}: {row}", n + 1));
        }
    }
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn a_row_without_its_test_is_found() {
    let tests = BTreeSet::from(["it_is_so".to_owned()]);
    for (row, is_right) in [
        ("| 7 | It is so | `it_is_so` |", true),
        ("| 8 | It is so | `it_is_so` |", false),
        ("| 7 | It is so | `it_was_so` |", false),
        ("| 7 | It is so | `it_is_so`, `it_was_so` |", false),
        ("| 7 | It is so | because |", false),
        ("| 7 |  | `it_is_so` |", false),
        ("| 7 | It is so | `tests/tests/tidy.rs` |", true),
        ("| 7 | It is so | `tests/tests/untidy.rs` |", false),
        ("| 7 | It is so | *Not there*: `key` |", true),
        ("| 7 | It is so | *Not there*: `key`; nearby: `it_was_so` |", false),
        ("| 7 | It is so | *Moot*: never; nearby: `it_is_so` |", true),
        ("| 7 | It is so | *Another way*: nobody shows it |", false),
    ] {
        assert_eq!(wrong(row, 7, &tests).is_none(), is_right, "{row}");
    }
    let text =
        "#[test]\nfn a() {}\nfn b() {}\n#[tokio::test]\nasync fn c() {}\n#[test]\nx\nfn d() {}";
    assert_eq!(tests_in(text), ["a", "c"]);
}
