//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::backup::{BackupArguments, RestoreArguments};
use crate::begin::JoinArguments;
use crate::bench::BenchArguments;
use crate::export::ExportArguments;
use crate::import::ImportArguments;
use crate::inspect::InspectArguments;
use crate::version::{LONG_VERSION, VERSION};

/// A coordination service that speaks ZooKeeper's client protocol.
#[derive(Debug, Parser)]
#[command(name = "zokor", version = VERSION, long_version = LONG_VERSION)]
#[command(arg_required_else_help = true, after_help = EXAMPLES)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to log to stderr [default: info for serve, error for dev]
    #[arg(long, global = true, value_name = "LEVEL", value_enum)]
    pub log: Option<LogLevel>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one server, alone or as a member of an ensemble
    Serve(ServeArguments),
    /// Run a whole ensemble in this process, for development
    Dev(DevArguments),
    /// Show what servers are and how they are
    Status(StatusArguments),
    /// Ask a server a four-letter word, such as ruok, srvr or mntr
    #[command(name = "4lw")]
    FourLetterWord(FourLetterArguments),
    /// Tell what becomes of each key of a zoo.cfg
    Keys(KeysArguments),
    /// Load servers and measure them
    Bench(BenchArguments),
    /// Take over the data of an Apache ZooKeeper server
    Import(ImportArguments),
    /// Write the whole state of a server, running or not, to one file
    Backup(BackupArguments),
    /// Begin a new ensemble with a backup
    Restore(RestoreArguments),
    /// Prepare an empty folder for a server that joins an imported or restored ensemble
    Join(JoinArguments),
    /// Write a backup as a snapshot that an Apache ZooKeeper server starts from
    Export(ExportArguments),
    /// Show and check what is in a server's folder, or where two differ
    Inspect(InspectArguments),
}

/// The arguments of `zokor serve`.
#[derive(Args, Debug)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArguments {
    /// ZooKeeper's configuration file, usually called zoo.cfg
    #[arg(short, long, value_name = "FILE", conflicts_with = "standalone")]
    pub config: Option<PathBuf>,
    /// Without a file, a standalone server: PORT DATADIR and, if wanted, tickTime maxClientCnxns
    #[arg(value_name = "PORT DATADIR", num_args = 0..=4)]
    #[arg(required_unless_present = "config")]
    pub standalone: Vec<String>,
}

/// The arguments of `zokor dev`.
#[derive(Args, Clone, Debug)]
#[command(after_help = DEV_EXAMPLES)]
pub struct DevArguments {
    /// How many servers, from 1 to 7
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=7))]
    pub servers: u16,
    /// The first server's client port; the others take the ports after it
    #[arg(long, default_value_t = 2181)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// The folder for all data; it is kept, and the next start goes on with it
    #[arg(long, value_name = "DIR", default_value = "./zokor-data")]
    pub data_dir: PathBuf,
    /// The address on which clients are served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub host: String,
}

/// The arguments of `zokor status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// The servers to ask; a connect string with commas will do
    #[arg(value_name = "HOST:PORT", default_value = DEFAULT_SERVER, value_delimiter = ',')]
    pub servers: Vec<String>,
}

/// The arguments of `zokor 4lw`.
#[derive(Args, Debug)]
pub struct FourLetterArguments {
    /// The word
    #[arg(value_name = "WORD")]
    pub word: String,
    /// The server to ask
    #[arg(value_name = "HOST:PORT", default_value = DEFAULT_SERVER)]
    pub server: String,
}

/// The arguments of `zokor keys`.
#[derive(Args, Debug)]
#[command(after_help = KEYS_WORDS)]
pub struct KeysArguments {
    /// The keys, spelled as in the file; all that ZooKeeper knows if there is none
    #[arg(value_name = "KEY")]
    pub keys: Vec<String>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the five words say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

const DEFAULT_SERVER: &str = "127.0.0.1:2181";

const EXAMPLES: &str = "\
Examples:
  zokor dev                              three servers to try things on
  zokor serve --config /etc/zoo.cfg      one server of an ensemble
  zokor serve 2181 /var/lib/zokor        a standalone server
  zokor status host1:2181,host2:2181     who leads, who follows, who is down
  zokor bench --hosts host1:2181         how fast it is
  zokor import --from /var/lib/zookeeper --to /var/lib/zokor";

const KEYS_WORDS: &str = "\
  honoured    it has the effect that it has in ZooKeeper
  own         it is zokor's own
  security    it would make the service more secure, and is without effect
  known       ZooKeeper knows it; here it is without effect
  unknown     ZooKeeper does not know it either";

const SERVE_EXAMPLES: &str = "\
The file is an unmodified zoo.cfg of ZooKeeper. Settings without effect are named in the log at the
start. The data of an Apache ZooKeeper server is not read here: `zokor import` makes a folder of it.
Flags of the form -Dzookeeper.KEY=VALUE in JVMFLAGS and SERVER_JVMFLAGS count like
lines of the file. SIGINT and SIGTERM stop the server.

Examples:
  zokor serve --config /etc/zookeeper/zoo.cfg
  zokor serve 2181 /var/lib/zokor 2000 60";

const DEV_EXAMPLES: &str = "\
Everything is as durable as in production; only the servers share one process, and have no admin
server, whose ports would collide. Ctrl-C stops it.

Examples:
  zokor dev
  zokor dev --servers 5 --port 12181 --data-dir /tmp/zokor";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn dev_has_defaults_that_work_at_once() {
        let Command::Dev(dev) = parsed("zokor dev").unwrap().command else {
            panic!("not dev");
        };
        assert_eq!((dev.servers, dev.port, dev.host.as_str()), (3, 2181, "127.0.0.1"));
        assert_eq!(dev.data_dir, PathBuf::from("./zokor-data"));
    }

    #[test]
    fn dev_runs_from_one_to_seven_servers() {
        for (servers, good) in [(0, false), (1, true), (7, true), (8, false)] {
            assert_eq!(parsed(&format!("zokor dev --servers {servers}")).is_ok(), good);
        }
        assert!(parsed("zokor dev --port 0").is_err());
    }

    #[test]
    fn serve_takes_a_file_or_zookeepers_arguments_and_not_both() {
        let table = [
            ("zokor serve", false),
            ("zokor serve --config zoo.cfg", true),
            ("zokor serve -c zoo.cfg", true),
            ("zokor serve zoo.cfg", true),
            ("zokor serve 2181 /data", true),
            ("zokor serve 2181 /data 2000", true),
            ("zokor serve 2181 /data 2000 60", true),
            ("zokor serve 2181 /data 2000 60 1", false),
            ("zokor serve --config zoo.cfg 2181 /data", false),
            ("zokor serve --config zoo.cfg --log debug", true),
            ("zokor --log loud serve 2181 /data", false),
        ];
        for (line, good) in table {
            assert_eq!(parsed(line).is_ok(), good, "{line}");
        }
    }

    #[test]
    fn status_takes_a_connect_string() {
        let Command::Status(status) = parsed("zokor status a:1,b:2 c:3").unwrap().command else {
            panic!("not status");
        };
        assert_eq!(status.servers, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn bench_ends_after_a_time_or_after_a_count_and_not_both() {
        for (line, good) in [
            ("zokor bench", true),
            ("zokor bench --hosts a:1,b --mix get=9,set=1 --duration 2m -q", true),
            ("zokor bench --mix watch --count 20 --json", true),
            ("zokor bench --count 20 --duration 2s", false),
            ("zokor bench --count 0", false),
            ("zokor bench --mix got", false),
            ("zokor bench --root /", false),
            ("zokor bench --connections 0", false),
        ] {
            assert_eq!(parsed(line).is_ok(), good, "{line}");
        }
    }

    #[test]
    fn the_version_has_a_line_for_zookeepers_monitoring() {
        let error = parsed("zokor --version").unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayVersion);
        let text = error.to_string();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(format!("zokor {VERSION}").as_str()));
        assert!(lines.next().unwrap().starts_with("Zookeeper version: 3.9.4-"));
    }
}
