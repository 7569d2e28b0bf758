//! What a reviewer should not have to say: sizes, names, forgotten files, imports that go up.
//!
//! Each rule reads the sources as text and lists every place that breaks it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// The text up to the tests at the bottom; nothing of a file that is all tests.
    fn without_tests(&self) -> &str {
        let is_test = self.path.ends_with("/tests.rs") || self.path.contains("/tests/");
        if is_test {
            return "";
        }
        match self.text.find("\n#[cfg(test)]\nmod ") {
            Some(end) if self.text[end..].contains(" {\n") => &self.text[..end],
            _ => &self.text,
        }
    }

    /// Lines that are not comments, numbered from 1, without the tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.without_tests().lines().enumerate();
        lines.filter(|(_, l)| !l.trim_start().starts_with("//")).map(|(n, l)| (n + 1, l))
    }
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests are in the workspace").to_owned()
}

/// All files below the root whose name ends in one of `ends`, but for what tools put there.
fn files(ends: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let ours = !name.starts_with('.') || name == ".ci" || name == ".cargo";
            if path.is_dir() {
                if ours && !["target", "node_modules", "corpus"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if ends.iter().any(|end| name.ends_with(end)) {
                let text = String::from_utf8_lossy(&fs::read(&path).expect("a file")).into_owned();
                let path = path.strip_prefix(root()).expect("below the root");
                found.push(Source { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn sources() -> Vec<Source> {
    let sources = files(&[".rs"]);
    assert!(sources.iter().any(|source| source.path == "core/src/lib.rs"));
    sources
}

fn report(rule: &str, places: &[String]) {
    assert!(places.is_empty(), "{rule}:\n{}", places.join("\n"));
}

#[test]
fn files_are_short() {
    let mut places = Vec::new();
    for source in sources() {
        let (all, code) = (source.text.lines().count(), source.without_tests().lines().count());
        if all > 700 || code > 600 {
            places.push(format!("{}: {all} lines, {code} without tests", source.path));
        }
    }
    report("at most 700 lines, 600 without tests", &places);
}

#[test]
fn functions_fit_a_screen() {
    let mut places = Vec::new();
    for source in sources() {
        let mut open: Option<(usize, usize)> = None;
        for (number, line) in source.without_tests().lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words: Vec<&str> = line.split_whitespace().take(6).collect();
            let begins = words.contains(&"fn") && !words[0].starts_with("//");
            match open {
                None if begins && !line.ends_with('}') && !line.ends_with(';') => {
                    open = Some((number, indent));
                }
                Some((first, at)) if indent == at && line.trim_start().starts_with('}') => {
                    if number - first >= 70 {
                        places.push(format!("{}:{}", source.path, first + 1));
                    }
                    open = None;
                }
                // The end of a declaration without a body.
                Some((_, at)) if indent == at && line.ends_with(';') => open = None,
                _ => {}
            }
        }
    }
    report("a function has at most 70 lines", &places);
}

#[test]
fn lines_end_by_column_100() {
    let mut places = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            if line.chars().count() > 100 {
                places.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    report("a line has at most 100 columns", &places);
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut places = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") && !source.text.starts_with("#![no_main]") {
            places.push(source.path);
        }
    }
    report("a file opens with //!", &places);
}

#[test]
fn nothing_is_left_undone() {
    // Put together here, so that this file does not name them.
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let marks = ["TO", "FIX", "XX"].iter().zip(["DO", "ME", "X"]).map(|(a, b)| format!("{a}{b}"));
    let marks: Vec<String> = marks.collect();
    let mut places = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            let has_mark = marks
                .iter()
                .any(|mark| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == mark));
            if has_mark || macros.iter().any(|name| line.contains(name)) {
                places.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    report("no unfinished work", &places);
}

#[test]
fn names_mean_something() {
    const NEVER: [&str; 7] =
        ["manager", "processor", "handler", "helper", "util", "utils", "common"];
    const NOT_ALONE: [&str; 3] = ["context", "data", "info"];
    let is_banned = |name: &str| {
        let words = words(name);
        words.iter().any(|word| NEVER.contains(&word.trim_end_matches('s')))
            || words.len() == 1 && NOT_ALONE.contains(&words[0].as_str())
    };
    let mut places = BTreeSet::new();
    for source in sources() {
        for part in source.path.trim_end_matches(".rs").split('/') {
            if is_banned(part) {
                places.insert(source.path.clone());
            }
        }
        for (number, line) in source.code() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            // An associated type has its name from a trait, which may be a stranger's.
            let is_given = line.starts_with("    type ") && line.contains(" = ");
            while let Some(word) = words.next() {
                if is_given {
                    break;
                }
                if ["struct", "enum", "trait", "mod", "type"].contains(&word)
                    && words.clone().next().is_some_and(is_banned)
                {
                    places.insert(format!("{}:{number}", source.path));
                }
            }
        }
    }
    report("a name that says nothing", &places.into_iter().collect::<Vec<_>>());
}

/// `SessionHandler` and `session_handler` are `session`, `handler`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if (c == '_' || c == '-' || c.is_uppercase()) && words.last().is_some_and(|w| !w.is_empty())
        {
            words.push(String::new());
        }
        if c.is_alphanumeric() {
            words.last_mut().expect("never empty").extend(c.to_lowercase());
        }
    }
    words
}

#[test]
fn every_file_belongs_to_a_module() {
    let sources = sources();
    let paths: BTreeSet<&str> = sources.iter().map(|source| source.path.as_str()).collect();
    let mut declared = BTreeSet::new();
    for source in &sources {
        let path = source.path.as_str();
        let stem = path.trim_end_matches(".rs");
        let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
        let is_root = ["lib", "main", "build"].contains(&name)
            || folder.ends_with("/bin")
            || ["/tests", "/benches", "/examples", "/fuzz_targets"].iter().any(|end| {
                let package = folder.strip_suffix(end);
                package.is_some_and(|package| root().join(package).join("Cargo.toml").exists())
            });
        // Where the modules that it declares may lie.
        let below = if is_root || name == "mod" { folder.to_owned() } else { stem.to_owned() };
        if is_root {
            declared.insert(path.to_owned());
        }
        for line in source.text.lines() {
            let Some(name) = line.trim().strip_suffix(';').and_then(|l| l.split("mod ").nth(1))
            else {
                continue;
            };
            declared.insert(format!("{below}/{name}.rs"));
            declared.insert(format!("{below}/{name}/mod.rs"));
        }
    }
    let places: Vec<String> =
        paths.iter().filter(|path| !declared.contains(**path)).map(ToString::to_string).collect();
    report("no module declares", &places);
}

/// Which rooms of its own crate a room may import.
const LADDER: &[(&str, &[&str])] = &[
    ("core/src/time", &[]),
    ("core/src/id", &[]),
    ("core/src/groups", &["id"]),
    ("core/src/cell", &[]),
    ("core/src/proto", &["cell", "groups", "id", "time"]),
    ("core/src/raft", &["groups", "id", "time"]),
    ("core/src/pages", &[]),
    ("core/src/tree", &["cell", "pages", "proto", "id", "time"]),
    ("core/src/session", &["pages", "proto", "id", "time"]),
    ("core/src/watch", &["proto", "id", "time"]),
    ("core/src/db", &["tree", "session", "cell", "pages", "proto", "id", "time"]),
    ("core/src/auth", &["tree", "proto", "id", "time"]),
    (
        "core/src/replica",
        &["auth", "db", "session", "tree", "watch", "raft", "proto", "groups", "id", "time"],
    ),
    ("net/src/wire", &[]),
    ("net/src/storage", &["wire"]),
    ("net/src/transport", &["wire"]),
    ("net/src/runtime", &["wire", "storage", "transport"]),
];

#[test]
fn imports_go_down_the_ladder() {
    let mut places = Vec::new();
    for source in sources() {
        let room = LADDER.iter().find(|(room, _)| {
            let rest = source.path.strip_prefix(room);
            rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        });
        let Some((room, may)) = room else { continue };
        let own = room.rsplit('/').next().expect("a room has a name");
        for (number, room) in crate_imports(&source) {
            if room != own && !may.contains(&room.as_str()) {
                places.push(format!("{}:{number} imports {room}", source.path));
            }
        }
    }
    report("imports against the ladder", &places);
}

/// The first segments after `crate::`, of groups too, with the line on which they begin.
fn crate_imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code: Vec<(usize, &str)> = source.code().collect();
    for (index, (number, line)) in code.iter().enumerate() {
        for (at, _) in line.match_indices("crate::") {
            let mut rest = line[at + "crate::".len()..].to_owned();
            if rest.starts_with('{') {
                for (_, more) in &code[index + 1..] {
                    if rest.contains("};") {
                        break;
                    }
                    rest.push_str(more);
                }
                found.extend(group(&rest).into_iter().map(|name| (*number, name)));
            } else {
                found.push((*number, identifier(&rest)));
            }
        }
    }
    // A type of the crate's root, such as `crate::Replica`, is not a room.
    found.retain(|(_, name)| name.chars().next().is_some_and(char::is_lowercase));
    found
}

/// The first segments in `{a::b, c::{d, e}}`.
fn group(text: &str) -> Vec<String> {
    let (mut depth, mut names, mut start) = (0, Vec::new(), true);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => start = true,
            c if depth == 1 && start && c.is_alphanumeric() => {
                names.push(identifier(&text[at..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Words that a folder's code may not use, and what they would bring in.
const NEVER: &[(&str, &[&str])] = &[
    (
        "core/src",
        &[
            "zokor_net",
            "tokio",
            "madsim",
            "tracing",
            "std::fs",
            "std::net::Tcp",
            "std::net::Udp",
            "std::thread",
            "std::env",
            "std::process",
            "Instant::now",
            "SystemTime",
            "RandomState",
            "HashMap::new",
            "HashSet::new",
            "HashMap::with_capacity(",
            "thread_local!",
            "static mut",
            "println!",
            "rand::rng",
            "OsRng",
            "LazyLock",
            "OnceLock",
        ],
    ),
    ("core/src/raft", &["proto::", "Znode", "Zxid", "SessionId"]),
    ("net/src/wire", &["tokio", "madsim", "std::net", "std::fs", "Instant::now", "SystemTime"]),
    (
        "net/src/storage",
        &["tokio", "madsim", "std::net", "Instant::now", "SystemTime", "std::thread"],
    ),
    ("net/src", &["madsim", "zokor_sim"]),
    ("server/src", &["madsim", "zokor_sim"]),
    ("sim/src", &["std::time::Instant", "SystemTime::now", "thread_rng"]),
    ("tests/src", &["zokor_core", "zokor_net", "zokor_sim"]),
];

#[test]
fn rooms_use_nothing_that_they_must_not_know() {
    let mut places = Vec::new();
    for source in sources() {
        for (folder, words) in NEVER.iter().filter(|(folder, _)| below(&source.path, folder)) {
            for (number, line) in source.code() {
                for word in words.iter().filter(|word| mentions(line, word)) {
                    places.push(format!("{}:{number} {word} in {folder}", source.path));
                }
            }
        }
    }
    report("not for this room", &places);
}

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether `word` stands in `line` and is not the end of a longer name.
fn mentions(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn only_the_simulator_depends_on_madsim() {
    let mut places = Vec::new();
    for manifest in files(&["Cargo.toml"]) {
        let simulates = manifest.path == "Cargo.toml" || manifest.path.starts_with("sim/");
        let is_madsim = |line: &str| line.starts_with("madsim") || line.contains("\"madsim");
        let mut dependencies = manifest.text.lines().filter(|line| line.contains(" = "));
        if !simulates && dependencies.any(is_madsim) {
            places.push(manifest.path);
        }
    }
    report("madsim is for the simulator", &places);
}

#[test]
fn twins_depend_on_what_their_originals_depend_on() {
    let manifests = files(&["Cargo.toml"]);
    let names = |path: &str| -> BTreeSet<String> {
        let manifest = manifests.iter().find(|manifest| manifest.path == path);
        let text = &manifest.unwrap_or_else(|| panic!("no {path}")).text;
        let lines = text.lines().skip_while(|line| *line != "[dependencies]").skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        let names = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        names.map(|line| line.split(['.', ' ', '=']).next().unwrap_or("").to_owned()).collect()
    };
    let mut core_twin = names("sim/core-sim/Cargo.toml");
    assert!(core_twin.remove("zokor-mutants"), "deliberate defects are for the twin alone");
    assert!(core_twin.remove("zokor-chance"), "chances are for the twin alone");
    assert_eq!(names("core/Cargo.toml"), core_twin);
    assert_eq!(names("net/Cargo.toml"), names("sim/net-sim/Cargo.toml"));
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    let folders = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat(), ["/ho", "me/"].concat()];
    let ends = [".rs", ".md", ".toml", ".sh", ".py", ".js", ".yml", ".yaml", ".cfg", "run"];
    let mut places = Vec::new();
    for source in files(&ends) {
        for (number, line) in source.text.lines().enumerate() {
            if folders.iter().any(|folder| line.contains(folder)) {
                places.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    report("a path of one machine", &places);
}
