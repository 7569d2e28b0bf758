//! `zokor status` and `zokor 4lw`: asks running servers four-letter words.
//!
//! Invariant: a server that says nothing, or never stops talking, costs a bounded time and space.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::FourLetterArguments;

/// Prints a table of all `servers`. The exit code is 1 if any of them does not serve.
pub fn run(servers: &[String]) -> ExitCode {
    // All at once: one that is down must not make the others wait.
    let rows: Vec<Row> = std::thread::scope(|scope| {
        let asked: Vec<_> = servers.iter().map(|server| scope.spawn(|| Row::of(server))).collect();
        asked
            .into_iter()
            .zip(servers)
            .map(|(row, server)| {
                row.join().unwrap_or_else(|_| Row::down(server, "asking it failed"))
            })
            .collect()
    });
    print!("{}", table(&rows));
    let all_serve = rows.iter().all(|row| row.serves);
    if all_serve { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the answer to one word.
pub fn ask_and_print(arguments: &FourLetterArguments) -> Result<ExitCode, String> {
    if arguments.word.len() != 4 || !arguments.word.is_ascii() {
        return Err(format!("{:?} does not have four letters", arguments.word));
    }
    let answer = ask(&arguments.server, &arguments.word)?;
    let end = if answer.ends_with('\n') { "" } else { "\n" };
    print!("{answer}{end}");
    Ok(ExitCode::SUCCESS)
}

/// What one server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    cells: [String; COLUMNS.len()],
    serves: bool,
}

impl Row {
    fn of(server: &str) -> Self {
        match ask(server, "srvr") {
            Ok(answer) => Row::parse(server, &answer),
            Err(problem) => Row::down(server, &problem),
        }
    }

    fn parse(server: &str, answer: &str) -> Self {
        let value = |key: &str| {
            let found = answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            found.unwrap_or("-").to_owned()
        };
        let mode = value("Mode");
        if mode == "-" {
            return Row::down(server, answer.lines().next().unwrap_or("it said nothing"));
        }
        let version = value("Zookeeper version");
        let version = version.split(',').next().unwrap_or_default().to_owned();
        let cells = [
            server.to_owned(),
            mode,
            value("Zxid"),
            value("Node count"),
            value("Connections"),
            value("Outstanding"),
            value("Latency min/avg/max"),
            version,
        ];
        Row { cells, serves: true }
    }

    fn down(server: &str, why: &str) -> Self {
        let mut cells = [const { String::new() }; COLUMNS.len()];
        // What a stranger sent is shown without its control characters.
        let why: String = why.chars().filter(|c| !c.is_control()).take(100).collect();
        cells[0] = server.to_owned();
        cells[1] = format!("not serving: {why}");
        Row { cells, serves: false }
    }
}

/// Aligned columns; the reason of a server that is down may run on.
fn table(rows: &[Row]) -> String {
    let mut widths = COLUMNS.map(str::len);
    for row in rows {
        let n_aligned = if row.serves { COLUMNS.len() } else { 1 };
        for (width, cell) in widths.iter_mut().zip(&row.cells).take(n_aligned) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let cells: Vec<_> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&COLUMNS.map(str::to_owned));
    for row in rows {
        text.push_str(&line(&row.cells));
    }
    text
}

/// Sends `word` to `server` and reads the answer. An `Err` is a few words.
pub(crate) fn ask(server: &str, word: &str) -> Result<String, String> {
    let with_port = match server.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => server.to_owned(),
        _ => format!("{server}:2181"),
    };
    let addresses =
        with_port.to_socket_addrs().map_err(|error| format!("no such address: {error}"))?;
    let mut problem = "no such address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return converse(stream, word).map_err(|error| error.to_string()),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(problem)
}

fn converse(mut stream: TcpStream, word: &str) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

const COLUMNS: [&str; 8] =
    ["SERVER", "MODE", "ZXID", "ZNODES", "CONNECTIONS", "OUTSTANDING", "LATENCY MS", "VERSION"];

/// For one connect, one read or one write.
const PATIENCE: Duration = Duration::from_secs(3);
const MAX_ANSWER_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SRVR: &str = "Zookeeper version: 3.9.4-zokor-0.1.0, built on 2026-01-01 00:00 UTC\n\
                        Latency min/avg/max: 0/1.25/17\nReceived: 120\nSent: 119\n\
                        Connections: 3\nOutstanding: 0\nZxid: 0x30000002a\nMode: leader\n\
                        Node count: 7\nProposal sizes last/min/max: 48/32/210\n";

    #[test]
    fn servers_stand_in_aligned_columns() {
        let rows = [Row::parse("host1:2181", SRVR), Row::down("h2:2181", "Connection refused")];
        let expected = "\
SERVER      MODE    ZXID         ZNODES  CONNECTIONS  OUTSTANDING  LATENCY MS  VERSION
host1:2181  leader  0x30000002a  7       3            0            0/1.25/17   3.9.4-zokor-0.1.0
h2:2181     not serving: Connection refused
";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn a_server_without_a_quorum_does_not_serve() {
        let text = "This ZooKeeper instance is not currently serving requests\n";
        let row = Row::parse("a:1", text);
        assert!(!row.serves);
        assert!(row.cells[1].contains("not currently serving"), "{row:?}");
        assert!(!Row::parse("a:1", "").serves);
    }

    #[test]
    fn a_word_is_sent_and_the_answer_read_to_its_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            stream.write_all(SRVR.as_bytes()).unwrap();
            word
        });
        assert_eq!(ask(&server, "srvr").unwrap(), SRVR);
        assert_eq!(&served.join().unwrap(), b"srvr");
    }
}
