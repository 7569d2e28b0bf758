//! ZooKeeper's four-letter words: which are known, which are allowed, and what each answers.
//!
//! Invariant: an answer is a function of the word, the settings and the facts; what is shown is
//! bounded by what the server holds. Source: `zookeeper: server/command/*`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zokor_core::id::ServerId;
use zokor_core::proto::Ensemble;
use zokor_core::replica::Mode;
use zokor_net::runtime::{Admin, Answer, Auditor, Detail, Reset, ServerFacts};
use zokor_net::wire::frame::Word;

use super::environment::file_descriptors;
use super::metrics::{AdminCounts, Start, StartSnapshot};
use super::prometheus::{Exposition, MetricsExposition};
use super::sink::Lines;
use super::{dump, environment, monitor, process, report};

/// The words that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whitelist(BTreeSet<Word>);

impl Whitelist {
    /// Without the key `4lw.commands.whitelist`: what tells little and costs little.
    pub const DEFAULT: [Word; 4] = [Word::Isro, Word::Mntr, Word::Ruok, Word::Srvr];

    /// From the value of `4lw.commands.whitelist`: words between commas, among which `*` stands for
    /// all. Unknown words are skipped, and `srvr` is always allowed, as in ZooKeeper.
    pub fn new(list: Option<&str>) -> Self {
        let Some(list) = list else {
            return Whitelist(Whitelist::DEFAULT.into());
        };
        let list = || list.split(',').map(str::trim);
        if list().any(|word| word == "*") {
            return Whitelist::all();
        }
        let mut words: BTreeSet<_> = list().filter_map(Word::parse).collect();
        words.insert(Word::Srvr);
        Whitelist(words)
    }

    /// Every word.
    pub fn all() -> Self {
        Whitelist(Word::ALL.into())
    }

    /// Whether `word` may be asked.
    pub fn allows(&self, word: Word) -> bool {
        self.0.contains(&word)
    }
}

/// What `conf` and `dirs` show beside the facts: fixed while the server runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The port on which clients are served.
    pub client_port: u16,
    /// The folder that holds the snapshots.
    pub data_dir: PathBuf,
    /// The folder that holds the log.
    pub log_dir: PathBuf,
    /// In milliseconds.
    pub tick_time_ms: u32,
    /// Connections from one address, at most; 0 is without limit.
    pub max_connections_per_address: u32,
    /// In milliseconds.
    pub min_session_timeout_ms: i32,
    /// In milliseconds.
    pub max_session_timeout_ms: i32,
    /// The listen backlog of the client port; `None` leaves it to the system.
    pub client_backlog: Option<u32>,
    /// What only a member of an ensemble has; `None` if standalone.
    pub member: Option<MemberSettings>,
}

/// What `conf` shows of a member of an ensemble.
#[derive(Clone, Debug)]
pub struct MemberSettings {
    /// The number in `myid`.
    pub id: ServerId,
    /// In ticks.
    pub init_limit_ticks: u32,
    /// In ticks.
    pub sync_limit_ticks: u32,
    /// ZooKeeper's election port of this server's line.
    pub election_port: u16,
    /// The port for peers.
    pub quorum_port: u16,
    /// Whether it is without a vote.
    pub is_observer: bool,
    /// All servers that this one is configured with.
    pub ensemble: Ensemble,
}

/// Answers four-letter words, and knows what the admin server shares with them.
#[derive(Clone)]
pub struct Words {
    settings: Settings,
    whitelist: Whitelist,
    /// `None` once it was set back.
    start: Arc<Mutex<Option<Start>>>,
    /// The snapshot that the start found.
    found: Arc<Mutex<StartSnapshot>>,
    /// Kept and told, though nothing is traced by it.
    trace_mask: Arc<AtomicI64>,
    admin: Arc<AdminCounts>,
    auditor: Option<Arc<dyn Auditor>>,
}

impl Words {
    /// Answers by these settings, and only what `whitelist` allows.
    pub fn new(settings: Settings, whitelist: Whitelist) -> Self {
        Words {
            settings,
            whitelist,
            start: Arc::default(),
            found: Arc::default(),
            trace_mask: Arc::new(AtomicI64::new(DEFAULT_TRACE_MASK)),
            admin: Arc::default(),
            auditor: None,
        }
    }

    /// The same, of a server whose clients' deeds `auditor` hears.
    pub fn with_auditor(self, auditor: Option<Arc<dyn Auditor>>) -> Self {
        Words { auditor, ..self }
    }

    /// Notes how the server started.
    pub fn started(&self, start: Start, found: StartSnapshot) {
        *self.start() = Some(start);
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    fn start(&self) -> MutexGuard<'_, Option<Start>> {
        self.start.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The answer to `mntr`.
    pub(super) fn monitor(&self, facts: &ServerFacts) -> String {
        let mut lines = Lines::default();
        monitor::put(&mut lines, facts, file_descriptors(), *self.start(), &self.admin);
        lines.0
    }

    /// The same for Prometheus.
    pub(super) fn exposition(&self, facts: &ServerFacts, what: MetricsExposition) -> String {
        let mut text = Exposition::default();
        monitor::put(&mut text, facts, file_descriptors(), *self.start(), &self.admin);
        if what.process {
            process::put(&mut text);
        }
        text.0
    }

    /// The newest snapshot, and when it was written.
    pub(super) fn last_snapshot(&self, facts: &ServerFacts) -> StartSnapshot {
        facts.last_snapshot.or(*self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn trace_mask(&self) -> i64 {
        self.trace_mask.load(Ordering::Relaxed)
    }

    pub(super) fn set_trace_mask(&self, mask: i64) {
        self.trace_mask.store(mask, Ordering::Relaxed);
    }

    /// What the admin server counts.
    pub(super) fn counts(&self) -> &AdminCounts {
        &self.admin
    }

    /// Sets back what is counted here.
    pub(super) fn reset(&self) {
        *self.start() = None;
        self.admin.reset();
    }

    /// What is allowed and needs a server that serves.
    fn of_serving(&self, word: Word, facts: &ServerFacts) -> Answer {
        match word {
            Word::Conf => said(report::conf(&self.settings, facts)),
            Word::Cons => said(report::cons(facts)),
            Word::Crst => {
                Answer { text: "Connection stats reset.\n".to_owned(), reset: Reset::Connections }
            }
            Word::Dirs => said(format!(
                "datadir_size: {}\nlogdir_size: {}\n",
                folder_bytes(&self.settings.data_dir),
                folder_bytes(&self.settings.log_dir)
            )),
            Word::Dump => said(dump::report(facts, self.settings.tick_time_ms)),
            Word::Hash => said(report::hash(facts)),
            Word::Mntr => said(self.monitor(facts)),
            Word::Srst => {
                self.reset();
                Answer { text: "Server stats reset.\n".to_owned(), reset: Reset::Server }
            }
            Word::Srvr => said(report::srvr(facts)),
            Word::Stat => said(report::stat(facts)),
            Word::Wchc => said(report::wchc(facts)),
            Word::Wchp => said(report::wchp(facts)),
            Word::Wchs => said(report::wchs(facts)),
            Word::Envi | Word::Gtmk | Word::Isro | Word::Ruok | Word::Stmk => {
                unreachable!("{word:?} is answered by any server")
            }
        }
    }
}

impl Admin for Words {
    fn detail(&self, word: &str) -> Detail {
        match Word::parse(word).filter(|word| self.whitelist.allows(*word)) {
            Some(Word::Cons | Word::Stat) => Detail::Connections,
            Some(Word::Dump) => Detail::Sessions,
            Some(Word::Wchs) => Detail::WatchSummary,
            Some(Word::Wchc | Word::Wchp) => Detail::Watches,
            Some(Word::Conf) => Detail::Membership,
            Some(Word::Hash) => Detail::Digests,
            Some(Word::Mntr) => Detail::Counts,
            Some(_) | None => Detail::Plain,
        }
    }

    /// The mask that `stmk` sets.
    fn argument_bytes(&self, word: &str) -> usize {
        match Word::parse(word).filter(|word| self.whitelist.allows(*word)) {
            Some(Word::Stmk) => size_of::<i64>(),
            Some(_) | None => 0,
        }
    }

    fn argument(&self, word: &str, bytes: &[u8]) {
        if let (Some(Word::Stmk), Ok(mask)) = (Word::parse(word), bytes.try_into()) {
            self.set_trace_mask(i64::from_be_bytes(mask));
        }
    }

    fn auditor(&self) -> Option<Arc<dyn Auditor>> {
        self.auditor.clone()
    }

    /// Empty for what is no four-letter word: then nobody knows what to expect.
    fn answer(&self, word: &str, facts: &ServerFacts) -> Answer {
        let Some(word) = Word::parse(word) else { return said("") };
        if !self.whitelist.allows(word) {
            return said(format!(
                "{} is not executed because it is not in the whitelist.\n",
                word.as_str()
            ));
        }
        let serving = facts.stats.serving;
        match word {
            Word::Ruok => said("imok"),
            Word::Envi => said(environment::report()),
            Word::Gtmk | Word::Stmk => said(self.trace_mask().to_string()),
            Word::Isro if !serving => said("null"),
            Word::Isro if facts.stats.mode == Mode::ReadOnly => said("ro"),
            Word::Isro => said("rw"),
            // This one alone ends no line.
            Word::Hash if !serving => said(NOT_SERVING.trim_end()),
            // Ours: who waits for a repair looks here.
            Word::Mntr if facts.stats.repair.is_some() || facts.stats.in_doubt => {
                self.of_serving(word, facts)
            }
            _ if !serving => said(NOT_SERVING),
            _ => self.of_serving(word, facts),
        }
    }
}

fn said(text: impl Into<String>) -> Answer {
    Answer { text: text.into(), reset: Reset::Nothing }
}

/// Bytes of all files in and below `folder`; what cannot be read counts nothing.
pub(super) fn folder_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            // Links are not followed: a folder could lead back to itself.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    bytes += entry.metadata().map_or(0, |metadata| metadata.len());
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    bytes
}

/// zookeeper: ZooTrace.
const DEFAULT_TRACE_MASK: i64 = 306;
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

#[cfg(test)]
mod tests;
