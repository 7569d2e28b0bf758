//! COMPATIBILITY.md says what is so: every line of its tables is put to a running server.
//!
//! A failure names the line and what it has to say.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use zokor_tests::client::Part;
use zokor_tests::jute::{Reader, Writer};
use zokor_tests::program::zokor;
use zokor_tests::raw::{Connection, Hello, four_letter};
use zokor_tests::{Acl, Client, Ensemble, ErrorCode, Program, op};

/// A line of a table.
struct Row {
    /// Counted from 1.
    line: usize,
    /// Its columns.
    cells: Vec<String>,
}

impl Row {
    /// The column with the state, which is the last but one.
    fn state(&self) -> &str {
        &self.cells[self.cells.len() - 2]
    }

    /// The last column.
    fn note(&self) -> &str {
        &self.cells[self.cells.len() - 1]
    }

    /// What stands between backticks in the first column.
    fn names(&self) -> Vec<&str> {
        self.cells[0].split('`').skip(1).step_by(2).collect()
    }

    /// A sentence that says where, what and what else.
    fn wrong(&self, name: &str, found: &str, right: &[&str]) -> String {
        let (line, state, right) = (self.line, self.state(), right.join("` or `"));
        format!("COMPATIBILITY.md:{line}: {name} is `{state}`, but {found}; write `{right}`")
    }
}

fn text_of(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of the table under this heading, without its head.
fn table(heading: &str) -> Vec<Row> {
    let text = text_of("COMPATIBILITY.md");
    let lines = text.lines().enumerate();
    let section = lines.skip_while(|(_, line)| *line != format!("## {heading}")).skip(1);
    let section = section.take_while(|(_, line)| !line.starts_with("## "));
    let rows: Vec<Row> = section
        .filter(|(_, line)| line.starts_with('|'))
        .skip(2)
        .map(|(n, line)| {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            Row { line: n + 1, cells: cells.collect() }
        })
        .collect();
    assert!(rows.len() > 5, "COMPATIBILITY.md has no table under \"{heading}\"");
    rows
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

/// What must hold of every row: `differs` has a reason, and nothing stands there twice.
fn check_form(rows: &[Row], names: impl Fn(&Row) -> Vec<String>, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for row in rows {
        if row.state() == "differs" && row.note().is_empty() {
            problems.push(format!("COMPATIBILITY.md:{}: say how it differs, and why", row.line));
        }
        for name in names(row) {
            if !seen.insert(name.clone()) {
                problems.push(format!("COMPATIBILITY.md:{}: {name} stands there twice", row.line));
            }
        }
    }
}

/// One server that was told all that it could make use of.
fn lone_server() -> Ensemble {
    let auth = "org.apache.zookeeper.server.auth";
    Ensemble::of(1)
        .line("extendedTypesEnabled=true")
        .line(&format!("authProvider.1={auth}.SASLAuthenticationProvider"))
        .line(&format!("authProvider.2={auth}.X509AuthenticationProvider"))
        .line(&format!("authProvider.3={auth}.KeyAuthenticationProvider"))
        .line(&format!("authProvider.4={auth}.EnsembleAuthenticationProvider"))
        .line(&format!("DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"))
        .start()
}

/// How a server takes an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// It knows it, whatever it thinks of an empty record.
    Answered,
    /// `Unimplemented`, and the connection lives.
    Unbuilt,
    /// `Unimplemented`, and the connection ends.
    Foreign,
}

impl Reaction {
    /// Sends the operation without a record, by a session of its own.
    fn to(address: SocketAddr, code: i32) -> Reaction {
        let mut connection = Connection::open(address).expect("a connection");
        connection.handshake(&Hello::fresh(10_000)).expect("a session");
        connection.send(&Writer::new().int(7).int(code).0).expect("it is sent");
        let Ok(reply) = connection.receive() else { panic!("{code} is cut without an answer") };
        let mut reply = Reader::new(reply);
        let (_, _, error) = (reply.int(), reply.long(), ErrorCode(reply.int()));
        if error != ErrorCode::UNIMPLEMENTED {
            return Reaction::Answered;
        }
        connection.send(&Writer::new().int(-2).int(op::PING).0).ok();
        match connection.receive() {
            Ok(_) => Reaction::Unbuilt,
            Err(_) => Reaction::Foreign,
        }
    }

    /// What a row may say of it.
    fn states(self) -> &'static [&'static str] {
        match self {
            Reaction::Answered => &["works", "differs"],
            Reaction::Unbuilt => &["not yet"],
            Reaction::Foreign => &["internal", "in a multi"],
        }
    }
}

#[test]
fn every_operation_is_answered_as_the_table_says() {
    if !Program::promises("what COMPATIBILITY.md says") {
        return;
    }
    let server = lone_server();
    let (rows, mut problems) = (table("Operations"), Vec::new());
    check_form(&rows, |row| vec![row.cells[0].clone()], &mut problems);
    let mut listed = BTreeSet::new();
    for row in &rows {
        let code: i32 = row.cells[0].parse().expect("an operation begins with its code");
        listed.insert(code);
        let reaction = Reaction::to(server.address(0), code);
        let found = format!("a server's reaction is {reaction:?}");
        if !reaction.states().contains(&row.state()) {
            problems.push(row.wrong(&row.cells[1], &found, reaction.states()));
        } else if (row.state() == "in a multi") != (code == op::CHECK) {
            problems.push(row.wrong(
                &row.cells[1],
                "only `check` belongs in a multi",
                &["not yet"],
            ));
        }
    }
    for code in (-20..130).chain([1000, i32::MIN, i32::MAX]).filter(|code| !listed.contains(code)) {
        let reaction = Reaction::to(server.address(0), code);
        if reaction != Reaction::Foreign {
            problems.push(format!(
                "COMPATIBILITY.md: a server's reaction to operation {code} is {reaction:?}; add \
                 a line to the table of operations"
            ));
        }
    }
    report(&problems);
}

#[test]
fn check_works_in_a_multi() {
    let server = Ensemble::standalone();
    let mut client = server.client(0);
    let results = client.multi(&[Part::Check("/".into(), -1)]).expect("results");
    assert_eq!(results, [Part::Done(op::CHECK)]);
}

#[test]
fn every_operation_of_the_wire_is_in_the_table() {
    let source = text_of("net/src/wire/opcode.rs");
    let listed: BTreeSet<String> =
        table("Operations").iter().map(|row| row.cells[0].clone()).collect();
    let codes: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.strip_suffix(';'))
        .filter_map(|line| line.split_once(": i32 = "))
        .map(|(_, code)| code)
        .collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        assert!(listed.contains(code), "COMPATIBILITY.md: add a line for operation {code}");
    }
}

#[test]
fn every_four_letter_word_is_answered_as_the_table_says() {
    if !Program::promises("what COMPATIBILITY.md says") {
        return;
    }
    let server = Ensemble::standalone();
    let silent = Ensemble::of(1).line("4lw.commands.whitelist=srvr").without_whitelist().start();
    let mut client = server.client(0);
    // Some words have nothing to tell of a young server.
    for _ in 0..300 {
        client.set_data("/", b"", -1).expect("the root takes data");
    }
    let (rows, mut problems) = (table("Four-letter words"), Vec::new());
    check_form(&rows, |row| vec![row.cells[0].clone()], &mut problems);
    for row in &rows {
        let word = row.cells[0].as_str();
        // Behind `stmk` comes a mask: eight bytes, here those of the one that is set anyway.
        let asked = if word == "stmk" { "stmk\0\0\0\0\0\0\u{1}2" } else { word };
        let answer = four_letter(server.address(0), asked).unwrap_or_default();
        let refusal = four_letter(silent.address(0), word).unwrap_or_default();
        let is_known = word == "srvr" || refusal.contains("is not in the whitelist");
        let (found, right): (_, &[&str]) = match (is_known, answer.is_empty()) {
            (true, false) => ("a server answers it", &["works", "differs"]),
            (true, true) => ("a server has nothing to say to it", &["not yet"]),
            (false, _) => ("a server does not know it", &["not yet"]),
        };
        if !right.contains(&row.state()) {
            problems.push(row.wrong(word, found, right));
        }
    }
    report(&problems);
}

#[test]
fn every_four_letter_word_of_the_wire_is_in_the_table() {
    let source = text_of("net/src/wire/frame.rs");
    let listed: BTreeSet<String> =
        table("Four-letter words").iter().map(|row| row.cells[0].clone()).collect();
    let words = source.lines().filter_map(|line| line.trim().strip_prefix("Word::"));
    let words: Vec<_> = words.filter_map(|line| line.split_once(" => \"")).collect();
    assert!(words.len() > 15, "{words:?}");
    for (_, word) in words {
        let word = &word[..4];
        assert!(listed.contains(word), "COMPATIBILITY.md: add a line for the word {word}");
    }
}

/// What `zokor keys` prints: kind and key.
fn kinds_of(keys: &[&str]) -> Vec<(String, String)> {
    let output = Command::new(zokor()).arg("keys").arg("--").args(keys).output();
    let output = output.expect("zokor keys runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let lines = text.lines().map(|line| line.split_once('\t').expect("a kind, a tab and a key"));
    lines.map(|(kind, key)| (kind.to_owned(), key.to_owned())).collect()
}

#[test]
fn every_key_has_the_state_that_the_server_gives_it() {
    let (rows, mut problems) = (table("Keys of zoo.cfg"), Vec::new());
    let names = |row: &Row| row.names().into_iter().map(str::to_owned).collect();
    check_form(&rows, names, &mut problems);
    let keys: Vec<&str> = rows.iter().flat_map(Row::names).collect();
    let kinds = kinds_of(&keys);
    assert_eq!(kinds.len(), keys.len(), "a line for each key");
    let mut kinds = kinds.iter();
    for row in &rows {
        for key in row.names() {
            let kind = kinds.next().expect("a line for each key").0.as_str();
            let right: &[&str] = match kind {
                "own" => &["ours"],
                "honoured" => &["works", "differs"],
                "moot" => &["moot"],
                "security" | "known" => &["not yet"],
                _ => &["nothing: take the key out, or add it to server/src/config/known.rs"],
            };
            if !right.contains(&row.state()) {
                problems.push(row.wrong(key, &format!("`zokor keys` calls it {kind}"), right));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_key_that_the_server_knows_is_in_the_table() {
    let rows = table("Keys of zoo.cfg");
    let listed: BTreeSet<&str> = rows.iter().flat_map(Row::names).collect();
    let mut problems = Vec::new();
    for (kind, key) in kinds_of(&[]) {
        let is_listed = match key.strip_suffix('*') {
            Some(prefix) => listed.iter().any(|listed| listed.starts_with(prefix)),
            None => listed.contains(key.as_str()),
        };
        if !is_listed {
            problems.push(format!("COMPATIBILITY.md: add `{key}`, which is {kind}, to the keys"));
        }
    }
    report(&problems);
}

/// Whether a server makes use of this scheme, in an ACL or of credentials.
fn knows_scheme(address: SocketAddr, scheme: &str) -> bool {
    let (id, credentials) = match scheme {
        "world" => ("anyone", "anyone"),
        "ip" => ("127.0.0.1", ""),
        "digest" => ("ann:hash", "ann:secret"),
        "x509" => ("CN=ann", ""),
        _ => ("ann", "ann"),
    };
    let mut client = Client::connect(address);
    if matches!(scheme, "auth" | "super") {
        // Of these the first has an identity to stand for, and the other is had no other way.
        let credentials = if scheme == "auth" { "ann:secret" } else { "super:test" };
        client.authenticate("digest", credentials.as_bytes()).expect("any credentials will do");
    }
    if scheme == "super" {
        let identities = client.who_am_i().expect("an answer");
        return identities.iter().any(|(scheme, _)| scheme == "super");
    }
    let acl = [Acl::new(31, scheme, id)];
    let in_acl = client.create_with_acl(&format!("/{scheme}"), &acl).is_ok();
    // The last question: a refusal ends the connection.
    in_acl || client.authenticate(scheme, credentials.as_bytes()).is_ok()
}

#[test]
fn every_scheme_is_known_as_the_table_says() {
    if !Program::promises("what COMPATIBILITY.md says") {
        return;
    }
    let server = lone_server();
    let (rows, mut problems) = (table("Authentication schemes"), Vec::new());
    check_form(&rows, |row| vec![row.cells[0].clone()], &mut problems);
    for row in &rows {
        let scheme = row.cells[0].as_str();
        let (found, right): (_, &[&str]) = if knows_scheme(server.address(0), scheme) {
            ("a server makes use of it", &["works", "differs"])
        } else {
            ("a server makes no use of it", &["not yet"])
        };
        if !right.contains(&row.state()) {
            problems.push(row.wrong(scheme, found, right));
        }
    }
    report(&problems);
}

#[test]
fn every_difference_that_the_comparison_allows_is_in_the_table() {
    let source = text_of("tests/interop/sides/known.py");
    let start = source.find("\nKNOWN = [").expect("known.py has its table") + 1;
    let known: BTreeSet<&str> = source[start..]
        .lines()
        .skip(1)
        .take_while(|line| *line != "]")
        .map(|line| line.trim().trim_end_matches(','))
        .collect();
    let rows = table("Answer by answer");
    let listed: BTreeSet<&str> = rows.iter().flat_map(Row::names).collect();
    assert!(known.len() > 5, "{known:?}");
    let mut problems = Vec::new();
    for row in &rows {
        for gone in row.names().into_iter().filter(|name| !known.contains(name)) {
            let line = row.line;
            problems
                .push(format!("COMPATIBILITY.md:{line}: {gone} is not in known.py: take it out"));
        }
    }
    for name in known.difference(&listed) {
        problems.push(format!("COMPATIBILITY.md: add `{name}`, which is in known.py"));
    }
    report(&problems);
}

const SUPER_DIGEST: &str = "super:D/InIHSb7yEEbrWz8b9l71RjZJU=";
