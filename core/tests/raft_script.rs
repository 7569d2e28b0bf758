//! Conversations of a few Raft servers, to the letter. Each file in `tests/raft_script/` has
//! commands on top and what followed from them below `----`. `UPDATE=1` writes the lower half anew.
//!
//! Commands, one a line (`#` begins a comment):
//!
//! ```text
//! servers 1 2 3 learners 4     these servers exist, are connected, and know each other
//! keep N                       entries kept behind a snapshot (before `servers`)
//! turns N M                    snapshots and log syncs at a time (before `servers`)
//! relays                       learners are fed by followers (before `servers`)
//! campaign 1                   the time comes when server 1 starts an election; only it wakes
//! tick 100                     so many milliseconds pass; everyone wakes in time
//! skip 100                     so many milliseconds pass and nobody wakes
//! wake 1                       server 1 wakes
//! deliver                      all messages arrive, and those that follow from them
//! propose 1 a b                server 1 is given commands, then polled once
//! read 1                       server 1 is asked for a read barrier
//! transfer 1 2                 server 1 is to hand over to 2
//! change 1 1 2 learners 4      server 1 is to change the membership
//! ... groups a=1,2*0 b=3*2     after either: who stands together, and what each weighs if not 1
//! snapshot 1                   server 1 makes a snapshot of what it has applied
//! cut 1 / join 1               no message goes from or to server 1 / goes again
//! break 1 2                    the connection between 1 and 2 breaks, and is not made again
//! stall 1 / sync 1             the disk of 1 keeps what it gets / completes it and goes on so
//! forget 1 2                   the disk of 1, which is down, loses the last two entries unseen
//! crash 1 / start 1            server 1 loses what is not durable / starts from its disk
//! quiet / loud                 what is sent and written is not shown / is shown
//! state, log 1, peers 1        shows the servers, a log, a leader's view of its followers
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::path::Path;

use zokor_core::groups::Groups;
use zokor_core::id::{Seed, ServerId};
use zokor_core::raft::{
    Body, Command, Config, Effect, EntryId, HardState, Index, Membership, Message, Payload,
    Persist, Raft, Recovered, SharedEntry, SnapshotMeta, Term,
};
use zokor_core::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Word(String);

impl Command for Word {
    fn size_bytes(&self) -> usize {
        self.0.len().max(1)
    }
}

#[derive(Default)]
struct Server {
    raft: Option<Raft<Word>>,
    hard_state: HardState,
    snapshot: SnapshotMeta,
    entries: Vec<SharedEntry<Word>>,
    stalled: bool,
    writing: VecDeque<Persist<Word>>,
    delivered: Index,
    lives: u8,
}

impl Server {
    fn complete(&mut self, now: Instant) {
        while let Some(persist) = self.writing.pop_front() {
            self.hard_state = persist.hard_state.unwrap_or(self.hard_state);
            if persist.reset.is_some() {
                self.entries.clear();
            }
            if let Some(after) = persist.truncate_after {
                self.entries.retain(|entry| entry.id.index <= after);
            }
            self.entries.extend(persist.append);
            if let Some(raft) = &mut self.raft {
                raft.persisted(now, persist.ticket);
            }
        }
    }
}

enum Letter {
    Message(Message<Word>),
    Snapshot(Term, SnapshotMeta),
}

#[derive(Default)]
struct Stage {
    out: String,
    now: Instant,
    quiet: bool,
    keep: u64,
    turns: Option<(usize, usize)>,
    relays: bool,
    membership: Membership,
    servers: BTreeMap<ServerId, Server>,
    mail: VecDeque<(ServerId, ServerId, Letter)>,
    cut: BTreeSet<ServerId>,
}

impl Stage {
    fn say(&mut self, line: impl AsRef<str>) {
        writeln!(self.out, "  {}", line.as_ref()).expect("a string takes everything");
    }

    fn whisper(&mut self, line: impl AsRef<str>) {
        if !self.quiet {
            self.say(line);
        }
    }

    fn raft(&mut self, id: ServerId) -> &mut Raft<Word> {
        let server = self.servers.get_mut(&id).expect("the script names known servers");
        server.raft.as_mut().expect("the script speaks to living servers")
    }

    fn living(&self) -> Vec<ServerId> {
        let living = self.servers.iter().filter(|(_, server)| server.raft.is_some());
        living.map(|(id, _)| *id).collect()
    }

    fn start(&mut self, id: ServerId) {
        let mut config = Config::new(id, self.membership.clone());
        config.keep_entries = self.keep;
        config.relays = self.relays;
        if let Some((snapshots, log_syncs)) = self.turns {
            (config.max_snapshots, config.max_log_syncs) = (snapshots, log_syncs);
        }
        let now = self.now;
        let server = self.servers.entry(id).or_default();
        let last = server.snapshot.last.index;
        server.entries.retain(|entry| entry.id.index > last);
        let recovered = Recovered {
            hard_state: server.hard_state,
            snapshot: server.snapshot.clone(),
            entries: server.entries.clone(),
            damage: None,
        };
        server.delivered = last;
        server.lives += 1;
        let seed = Seed([id.0 as u8 + 16 * server.lives; 32]);
        server.raft = Some(Raft::new(now, config, seed, recovered));
        for peer in self.living() {
            if peer != id {
                self.raft(peer).peer_up(now, id);
                self.raft(id).peer_up(now, peer);
                self.drain(peer);
            }
        }
        self.drain(id);
    }

    fn drain(&mut self, id: ServerId) {
        loop {
            let now = self.now;
            while let Some(effect) = self.raft(id).poll(now) {
                self.carry_out(id, effect);
            }
            let server = self.servers.get_mut(&id).expect("known");
            if server.stalled || server.writing.is_empty() {
                return;
            }
            server.complete(now);
        }
    }

    fn carry_out(&mut self, id: ServerId, effect: Effect<Word>) {
        match effect {
            Effect::Persist(persist) => {
                self.whisper(format!("{id} writes {}", show_persist(&persist)));
                self.servers.get_mut(&id).expect("known").writing.push_back(persist);
            }
            Effect::Send { to, message } => {
                let lost = self.cut.contains(&id) || self.cut.contains(&to);
                let lost = lost || self.servers.get(&to).is_none_or(|server| server.raft.is_none());
                let mark = if lost { " (lost)" } else { "" };
                self.whisper(format!("{id}>{to} term={} {}{mark}", message.term, show(&message)));
                if !lost {
                    self.mail.push_back((id, to, Letter::Message(message)));
                }
            }
            Effect::SendSnapshot { to } => {
                let (now, delivered) = (self.now, self.servers[&id].delivered);
                let raft = self.raft(id);
                let meta = raft.snapshot_meta(delivered).expect("applied entries are known");
                raft.snapshot_sent(now, to, meta.last.index);
                let term = raft.term();
                self.whisper(format!("{id}>{to} term={term} snapshot up to {}", pair(meta.last)));
                if !self.cut.contains(&id) && !self.cut.contains(&to) {
                    self.mail.push_back((id, to, Letter::Snapshot(term, meta)));
                }
            }
            Effect::SendState { to, term } => {
                let delivered = self.servers[&id].delivered;
                let meta = self.raft(id).snapshot_meta(delivered).expect("applied is known");
                self.whisper(format!("{id}>{to} term={term} state up to {}", pair(meta.last)));
                if !self.cut.contains(&id) && !self.cut.contains(&to) {
                    self.mail.push_back((id, to, Letter::Snapshot(term, meta)));
                }
            }
            Effect::Committed(entries) => {
                self.servers.get_mut(&id).expect("known").delivered =
                    entries.last().expect("never empty").id.index;
                self.say(format!("{id} applies {}", show_entries(&entries)));
            }
            Effect::Readable { token, index } => {
                self.say(format!("{id} read {} waits for {index}", token.number));
            }
            Effect::Unreadable { token } => self.say(format!("{id} read {} fails", token.number)),
            Effect::Role { role, term, leader } => {
                let leader = leader.map_or("-".into(), |leader| leader.to_string());
                self.say(format!("{id} is {role:?} term={term} leader={leader}").to_lowercase());
            }
        }
    }

    fn deliver(&mut self) {
        for _ in 0..10_000 {
            let Some((from, to, letter)) = self.mail.pop_front() else { return };
            if self.servers[&to].raft.is_none() {
                continue;
            }
            let now = self.now;
            match letter {
                Letter::Message(message) => self.raft(to).step(now, from, message),
                Letter::Snapshot(term, meta) => {
                    if self.raft(to).accepts_snapshot(now, from, term, &meta) {
                        let server = self.servers.get_mut(&to).expect("known");
                        server.snapshot = meta.clone();
                        server.delivered = meta.last.index;
                        self.raft(to).installed(now, meta);
                        self.say(format!("{to} installs the snapshot"));
                    }
                }
            }
            self.drain(to);
        }
        panic!("the servers never stop talking");
    }

    /// Wakes everyone whose deadline comes until `end`.
    fn tick(&mut self, end: Instant) {
        loop {
            let due = |id: &ServerId| {
                let raft = self.servers[id].raft.as_ref().expect("living");
                raft.deadline().map(|deadline| (deadline, *id))
            };
            let Some((at, id)) = self.living().iter().filter_map(due).min() else { break };
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            let now = self.now;
            self.raft(id).wake(now);
            self.drain(id);
            self.deliver();
        }
        self.now = end;
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (command, rest) = words.split_first().expect("not empty");
        let number = rest.first().and_then(|word| word.parse().ok()).unwrap_or(0u64);
        let (id, now) = (ServerId(number), self.now);
        let millis = std::time::Duration::from_millis(number);
        match *command {
            "servers" => {
                self.membership = wanted(rest);
                for id in self.membership.servers() {
                    self.start(id);
                }
            }
            "keep" => self.keep = number,
            "relays" => self.relays = true,
            "turns" => {
                let log_syncs = rest[1].parse().expect("a number");
                self.turns = Some((number as usize, log_syncs));
            }
            "campaign" => {
                let deadline = self.raft(id).deadline().expect("it will start an election");
                self.now = self.now.max(deadline);
                self.run(&format!("wake {id}"));
            }
            "tick" => self.tick(now + millis),
            "skip" => self.now += millis,
            "wake" => {
                self.raft(id).wake(now);
                self.drain(id);
            }
            "deliver" => self.deliver(),
            "propose" => {
                for word in &rest[1..] {
                    match self.raft(id).propose(now, Word((*word).into())) {
                        Ok(at) => self.whisper(format!("{word} is {}", pair(at))),
                        Err(error) => self.say(format!("refused: {error:?}")),
                    }
                }
                self.drain(id);
            }
            "read" => {
                self.raft(id).read_index(now);
                self.drain(id);
            }
            "transfer" => {
                let to = ids(&rest[1..]).pop_first().expect("to whom");
                if let Err(error) = self.raft(id).transfer(now, to) {
                    self.say(format!("refused: {error:?}"));
                }
                self.drain(id);
            }
            "change" => {
                let next = wanted(&rest[1..]);
                if let Err(error) = self.raft(id).change(now, next) {
                    self.say(format!("refused: {error:?}"));
                }
                self.drain(id);
            }
            "snapshot" => {
                let delivered = self.servers[&id].delivered;
                let meta = self.raft(id).snapshot_meta(delivered).expect("applied");
                self.raft(id).compact(meta.clone());
                self.servers.get_mut(&id).expect("known").snapshot = meta;
            }
            "cut" => drop(self.cut.insert(id)),
            "join" => drop(self.cut.remove(&id)),
            "break" => {
                let other = ids(&rest[1..]).pop_first().expect("with whom");
                for (at, peer) in [(id, other), (other, id)] {
                    if self.servers[&at].raft.is_some() {
                        self.raft(at).peer_down(now, peer);
                        self.drain(at);
                    }
                }
            }
            "stall" => self.servers.get_mut(&id).expect("known").stalled = true,
            "sync" => {
                let server = self.servers.get_mut(&id).expect("known");
                server.stalled = false;
                server.complete(now);
                self.drain(id);
            }
            "crash" => {
                let server = self.servers.get_mut(&id).expect("known");
                server.raft = None;
                server.writing.clear();
                server.stalled = false;
            }
            "forget" => {
                let n = rest[1].parse::<usize>().expect("how many");
                let entries = &mut self.servers.get_mut(&id).expect("known").entries;
                entries.truncate(entries.len() - n);
            }
            "start" => self.start(id),
            "quiet" => self.quiet = true,
            "loud" => self.quiet = false,
            "state" => self.show_state(),
            "log" => {
                let raft = self.raft(id);
                let all = (raft.first_index().0..=raft.last().index.0).map(Index);
                let entries: Vec<_> = all.filter_map(|at| raft.entry(at).cloned()).collect();
                self.say(show_entries(&entries));
            }
            "peers" => {
                let raft = self.raft(id);
                for peer in raft.progress().into_iter().chain(raft.relayed()) {
                    let waits = if peer.is_waiting { " waits" } else { "" };
                    self.say(format!(
                        "{} {:?} received={} persisted={}{waits}",
                        peer.peer, peer.flow, peer.received, peer.persisted
                    ));
                }
            }
            other => panic!("unknown command {other}"),
        }
    }

    fn show_state(&mut self) {
        for id in self.living() {
            let raft = self.raft(id);
            let row = format!(
                "{id} {:9} term={} commit={} persisted={} last={}",
                format!("{:?}", raft.role()).to_lowercase(),
                raft.term(),
                raft.commit(),
                raft.persisted_index(),
                pair(raft.last())
            );
            self.say(row);
        }
    }
}

fn pair(id: EntryId) -> String {
    format!("{}:{}", id.term, id.index)
}

fn ids(words: &[&str]) -> BTreeSet<ServerId> {
    words.iter().map(|word| ServerId(word.parse().expect("a server"))).collect()
}

/// The membership that `words` name.
fn wanted(words: &[&str]) -> Membership {
    let place = |word: &str| words.iter().position(|it| *it == word).unwrap_or(words.len());
    let (groups_at, split) = (place("groups"), place("learners").min(place("groups")));
    let mut groups = Groups::none();
    for (number, members) in (1..).zip(words.get(groups_at + 1..).unwrap_or_default()) {
        let (_, members) = members.split_once('=').expect("a group's name and its servers");
        for member in members.split(',') {
            let (id, weight) = member.split_once('*').unwrap_or((member, "1"));
            let id = ids(&[id]).pop_first().expect("one");
            assert!(groups.put(number, id, weight.parse().expect("a weight")), "in one group");
        }
    }
    let learners = ids(words.get(split + 1..groups_at).unwrap_or_default());
    Membership { learners, ..Membership::of_groups(ids(&words[..split]), groups) }
}

fn show_groups(groups: &Groups) -> String {
    let show = |(_, members): (u64, &BTreeMap<ServerId, u64>)| {
        let members: Vec<String> =
            members.iter().map(|(id, weight)| format!("{id}*{weight}")).collect();
        format!("({})", members.join(","))
    };
    groups.iter().map(show).collect()
}

fn show_ids(ids: &BTreeSet<ServerId>) -> String {
    let ids: Vec<String> = ids.iter().map(ServerId::to_string).collect();
    ids.join(",")
}

fn show_entries(entries: &[SharedEntry<Word>]) -> String {
    let show_entry = |entry: &SharedEntry<Word>| {
        let payload = match &entry.payload {
            Payload::Blank => "blank".into(),
            Payload::Command(word) => word.0.clone(),
            Payload::Membership(m) => {
                let outgoing = if m.is_joint() { "&" } else { "" };
                let learners = if m.learners.is_empty() { "" } else { "+" };
                format!(
                    "[{}{}{outgoing}{}{}{learners}{}]",
                    show_ids(&m.voters),
                    show_groups(&m.groups),
                    show_ids(&m.outgoing),
                    show_groups(&m.outgoing_groups),
                    show_ids(&m.learners)
                )
            }
        };
        format!("{}={payload}", pair(entry.id))
    };
    entries.iter().map(show_entry).collect::<Vec<_>>().join(" ")
}

fn show_persist(persist: &Persist<Word>) -> String {
    let mut parts = Vec::new();
    if let Some(HardState { term, vote }) = persist.hard_state {
        let vote = vote.map_or("-".into(), |vote| vote.to_string());
        parts.push(format!("term={term} vote={vote}"));
    }
    if let Some(meta) = &persist.reset {
        parts.push(format!("reset to {}", pair(meta.last)));
    }
    if let Some(after) = persist.truncate_after {
        parts.push(format!("truncate after {after}"));
    }
    if !persist.append.is_empty() {
        parts.push(show_entries(&persist.append));
    }
    parts.join("; ")
}

fn show(message: &Message<Word>) -> String {
    match &message.body {
        Body::PreVote { last } => format!("PreVote last={}", pair(*last)),
        Body::PreVoteReply { granted } => format!("PreVoteReply granted={granted}"),
        Body::Vote { last, transfer } => format!("Vote last={} transfer={transfer}", pair(*last)),
        Body::VoteReply { granted } => format!("VoteReply granted={granted}"),
        Body::Append { previous, commit, entries } => {
            let entries = show_entries(entries);
            format!("Append after={} commit={commit} {entries}", pair(*previous)).trim_end().into()
        }
        Body::AppendReply { received, persisted } => {
            format!("AppendReply received={received} persisted={persisted}")
        }
        Body::AppendReject { previous, hint } => {
            format!("AppendReject previous={previous} hint={}", pair(*hint))
        }
        Body::Heartbeat { commit, round } => format!("Heartbeat commit={commit} round={round}"),
        Body::HeartbeatReply { round, received, persisted } => {
            format!("HeartbeatReply round={round} received={received} persisted={persisted}")
        }
        Body::ReadIndex { token } => format!("ReadIndex {}", token.number),
        Body::ReadIndexReply { token, index: Some(index) } => {
            format!("ReadIndexReply {} index={index}", token.number)
        }
        Body::ReadIndexReply { token, index: None } => {
            format!("ReadIndexReply {} no leader", token.number)
        }
        Body::TimeoutNow => "TimeoutNow".into(),
        Body::SnapshotReply { index } => format!("SnapshotReply index={index}"),
        Body::FeedMe { round, received, persisted } => {
            format!("FeedMe round={round} received={received} persisted={persisted}")
        }
        Body::Feeding { round: Some(round), is_snapshot } => {
            format!("Feeding round={round} snapshot={is_snapshot}")
        }
        Body::Feeding { round: None, .. } => "Feeding refused".into(),
        Body::FedByOther { is_fed } => format!("FedByOther {is_fed}"),
        body @ (Body::Seek { .. }
        | Body::Found { .. }
        | Body::NotFound { .. }
        | Body::SeekState { .. }
        | Body::AskIfNew { .. }
        | Body::IfNew { .. }) => format!("{body:?}"),
    }
}

#[test]
fn conversations_go_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/raft_script");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|file| file.expect("readable").path())
        .collect();
    files.sort();
    assert!(files.len() >= 11, "the scripts are there");
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let (commands, expected) = text.split_once("----\n").unwrap_or((&text, ""));
        let mut stage = Stage { keep: 10_000, ..Stage::default() };
        for line in commands.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                writeln!(stage.out, "{line}").expect("a string takes everything");
                stage.run(line);
            }
        }
        if stage.out == expected {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            let text = format!("{}\n----\n{}", commands.trim_end(), stage.out);
            std::fs::write(&file, text).expect("writable");
        } else {
            let first = stage.out.lines().zip(expected.lines()).find(|(a, b)| a != b);
            wrong.push(format!("{}: {first:?}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nunderstand it, then UPDATE=1", wrong.join("\n"));
}
