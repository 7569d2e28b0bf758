//! Servers that belong together, each a process with a folder and ports of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

use crate::client::Client;
use crate::ports::Ports;
use crate::program::Server;
use crate::raw::four_letter;
use crate::wait::eventually;

/// One server or several. All are stopped when it goes; after a failed test their logs are shown.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Server>,
    // After the servers, so that it goes last.
    _folder: TempDir,
    ports: Arc<Ports>,
    /// Whether operators are served, and whether metrics are.
    doors: [bool; 2],
}

/// How an ensemble is to be.
#[derive(Clone, Debug)]
pub struct Builder {
    n_servers: usize,
    n_observers: usize,
    tick_ms: u32,
    lines: Vec<String>,
    flags: Vec<String>,
    files: Vec<(String, String)>,
    whitelist: bool,
    long_sessions: bool,
    ports: Option<Arc<Ports>>,
    servers_as_seen: Option<Vec<Vec<String>>>,
    admin: bool,
    metrics: bool,
}

impl Builder {
    /// The ports to use, so that a test can name them before. Where servers speak to each other is
    /// told by [`Ensemble::peer_port`].
    pub fn ports(mut self, ports: Arc<Ports>) -> Self {
        self.ports = Some(ports);
        self
    }

    /// What stands behind `server.N=`: for each server a list, with one text for each.
    pub fn servers_as_seen(mut self, texts: Vec<Vec<String>>) -> Self {
        self.servers_as_seen = Some(texts);
        self
    }

    /// `tickTime`; sessions last at least two ticks. Default 500.
    pub fn tick_ms(mut self, tick_ms: u32) -> Self {
        self.tick_ms = tick_ms;
        self
    }

    /// The last `n_observers` of the servers do not vote.
    pub fn observers(mut self, n_observers: usize) -> Self {
        assert!(n_observers < self.n_servers);
        self.n_observers = n_observers;
        self
    }

    /// One more line for `zoo.cfg`.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.into());
        self
    }

    /// One more flag for every server's Java machine, which ours reads from `JVMFLAGS`.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// One more file in every server's working folder.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Every server has an admin server, at [`Ensemble::admin_address`].
    pub fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    /// Every server has metrics for Prometheus, at [`Ensemble::metrics_address`].
    pub fn metrics(mut self) -> Self {
        self.metrics = true;
        self
    }

    /// Leaves `4lw.commands.whitelist` out.
    pub fn without_whitelist(mut self) -> Self {
        self.whitelist = false;
        self
    }

    /// Leaves `maxSessionTimeout` out, which is a minute otherwise: tests ping only to test pings.
    pub fn with_default_session_bounds(mut self) -> Self {
        self.long_sessions = false;
        self
    }

    /// Starts the servers and waits until all serve.
    pub fn start(self) -> Ensemble {
        let mut ensemble = self.stopped();
        for server in &mut ensemble.servers {
            server.start();
        }
        ensemble.wait_until_serving();
        ensemble
    }

    /// Prepares the servers and starts none.
    pub fn stopped(self) -> Ensemble {
        let ports = self.ports.clone().unwrap_or_else(|| Arc::new(Ports::claim()));
        let folder = tempfile::Builder::new().prefix("zokor-test-").tempdir();
        let folder = folder.expect("there is a temporary folder");
        let mut servers = Vec::new();
        for index in 0..self.n_servers {
            let place = folder.path().join(format!("{}", index + 1));
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.get(index)));
            let mut config = self.config(index, &place.join("data"), address, &ports);
            config += &self.doors(index, &ports);
            let id = (self.n_servers > 1).then_some(index as u8 + 1);
            let mut server = Server::new(place, address, &config, id);
            server.give(&self.flags, &self.files);
            servers.push(server);
        }
        Ensemble { servers, _folder: folder, ports, doors: [self.admin, self.metrics] }
    }

    fn config(
        &self,
        own: usize,
        data: &std::path::Path,
        address: SocketAddr,
        ports: &Ports,
    ) -> String {
        let mut text = format!(
            "tickTime={}\ninitLimit=40\nsyncLimit=20\ndataDir={}\nclientPort={}\n\
             clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n",
            self.tick_ms,
            data.display(),
            address.port(),
        );
        if self.whitelist {
            text += "4lw.commands.whitelist=*\n";
        }
        if self.long_sessions {
            text += "maxSessionTimeout=60000\n";
        }
        for line in &self.lines {
            text += &format!("{line}\n");
        }
        if let Some(texts) = &self.servers_as_seen {
            for (line, n) in texts[own].iter().zip(1..) {
                text += &format!("server.{n}={line}\n");
            }
            return text;
        }
        for index in 0..if self.n_servers > 1 { self.n_servers } else { 0 } {
            let (peer, election) =
                (ports.get(self.n_servers + 2 * index), ports.get(self.n_servers + 2 * index + 1));
            let observes = index >= self.n_servers - self.n_observers;
            let role = if observes { ":observer" } else { "" };
            text += &format!("server.{}=127.0.0.1:{peer}:{election}{role}\n", index + 1);
        }
        text
    }

    /// The ports of operators, behind those of the servers.
    fn doors(&self, index: usize, ports: &Ports) -> String {
        let mut text = String::new();
        if self.admin {
            let port = ports.get(3 * self.n_servers + index);
            text += &format!(
                "admin.enableServer=true\nadmin.serverAddress=127.0.0.1\nadmin.serverPort={port}\n"
            );
        }
        if self.metrics {
            let port = ports.get(4 * self.n_servers + index);
            text += &format!(
                "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.\
                 PrometheusMetricsProvider\nmetricsProvider.httpHost=127.0.0.1\n\
                 metricsProvider.httpPort={port}\n"
            );
        }
        text
    }
}

impl Ensemble {
    /// `n_servers` that form an ensemble, at most five; a single one is standalone.
    pub fn of(n_servers: usize) -> Builder {
        assert!((1..=5).contains(&n_servers));
        Builder {
            n_servers,
            n_observers: 0,
            tick_ms: 500,
            lines: Vec::new(),
            flags: Vec::new(),
            files: Vec::new(),
            whitelist: true,
            long_sessions: true,
            ports: None,
            servers_as_seen: None,
            admin: false,
            metrics: false,
        }
    }

    /// Three servers, started.
    pub fn trio() -> Ensemble {
        Ensemble::of(3).start()
    }

    /// One server, started.
    pub fn standalone() -> Ensemble {
        Ensemble::of(1).start()
    }

    /// The port of `index` of `n_servers` for the others; the next one is for elections.
    pub fn peer_port(ports: &Ports, n_servers: usize, index: usize) -> u16 {
        ports.get(n_servers + 2 * index)
    }

    /// Where clients reach each server.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.address).collect()
    }

    /// Where clients reach this server.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.servers[index].address
    }

    /// Where this server's admin server is.
    pub fn admin_address(&self, index: usize) -> SocketAddr {
        self.local(self.ports.get(3 * self.servers.len() + index))
    }

    /// Where this server's metrics are.
    pub fn metrics_address(&self, index: usize) -> SocketAddr {
        self.local(self.ports.get(4 * self.servers.len() + index))
    }

    fn local(&self, port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Where the servers speak to each other, as `zoo.cfg` has it.
    pub fn peer_addresses(&self) -> Vec<SocketAddr> {
        let n_servers = self.servers.len();
        let ports = (n_servers..3 * n_servers).map(|index| self.ports.get(index));
        ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect()
    }

    /// How many servers there are, running or not.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// One of its servers.
    pub fn server(&self, index: usize) -> &Server {
        &self.servers[index]
    }

    /// A client of this server with a fresh session of 30 s.
    pub fn client(&self, index: usize) -> Client {
        Client::connect(self.address(index))
    }

    /// Ends this server at once, as a crash would.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].kill();
    }

    /// Ends all of them at once.
    pub fn kill_all(&mut self) {
        for server in &mut self.servers {
            server.kill();
        }
    }

    /// Starts this one again on what it had; does not wait.
    pub fn restart(&mut self, index: usize) {
        self.servers[index].start();
    }

    /// Waits until every server that runs has a mode, and one of them leads or stands alone; and
    /// until operators are served as well, where they are to be.
    pub fn wait_until_serving(&mut self) {
        self.wait_for_modes();
        let [admin, metrics] = self.doors;
        for index in 0..self.len() {
            let admin = admin.then(|| self.admin_address(index));
            let metrics = metrics.then(|| self.metrics_address(index));
            for address in [admin, metrics].into_iter().flatten() {
                if self.servers[index].is_running() {
                    eventually("operators are served", || TcpStream::connect(address).ok());
                }
            }
        }
    }

    fn wait_for_modes(&mut self) {
        let servers = &mut self.servers;
        eventually("all servers serve", || {
            let running: Vec<_> =
                servers.iter_mut().filter_map(|s| s.is_running().then_some(s.address)).collect();
            let modes: Option<Vec<String>> = running.into_iter().map(mode).collect();
            let modes = modes?;
            let leads = |mode: &&String| *mode == "leader" || *mode == "standalone";
            (modes.iter().filter(leads).count() == 1).then_some(())
        });
    }

    /// The index of the server that leads, as it says itself, or `None` when no one does just now.
    pub fn leader(&self) -> Option<usize> {
        let leads = |address| mode(address).is_some_and(|mode| mode == "leader");
        self.addresses().into_iter().position(leads)
    }

    /// Waits for a leader.
    pub fn wait_for_leader(&self) -> usize {
        eventually("a leader", || self.leader())
    }

    /// The logs of all servers.
    pub fn logs(&self) -> String {
        self.servers.iter().map(Server::logs).collect()
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// What the server says of itself, as `leader`, `follower`, `observer` or `standalone`; `None`
/// while it does not serve.
pub fn mode(address: SocketAddr) -> Option<String> {
    let answer = four_letter(address, "srvr").ok()?;
    answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
}

/// An ensemble of three that the tests of one file share, for those that harm nobody. It starts
/// with the first test and stops when no test holds it. Each holder has a folder of the tree for
/// itself.
#[derive(Debug)]
pub struct Shared {
    ensemble: Arc<Ensemble>,
    /// A znode that is there, empty, and nobody else's.
    pub root: String,
}

impl Shared {
    /// Joins the ensemble.
    pub fn join() -> Shared {
        static CURRENT: Mutex<Weak<Ensemble>> = Mutex::new(Weak::new());
        let mut current = CURRENT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let ensemble = current.upgrade().unwrap_or_else(|| {
            let ensemble = Arc::new(Ensemble::of(3).line("extendedTypesEnabled=true").start());
            *current = Arc::downgrade(&ensemble);
            ensemble
        });
        drop(current);
        let mut client = ensemble.client(0);
        let root = client.create("/t-", b"", crate::records::mode::SEQUENTIAL).expect("a root");
        client.close();
        // Every server knows the root before anyone uses it.
        for index in 0..ensemble.len() {
            ensemble.client(index).sync("/").expect("sync");
        }
        Shared { ensemble, root }
    }

    /// A path below the own root; `at("")` is the root itself.
    pub fn at(&self, rest: &str) -> String {
        format!("{}{rest}", self.root)
    }
}

impl Deref for Shared {
    type Target = Ensemble;

    fn deref(&self) -> &Ensemble {
        &self.ensemble
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.ensemble.logs());
        }
    }
}
