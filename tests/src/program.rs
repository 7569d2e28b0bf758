//! Which server is under test, and how one process of it is started and stopped.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The server under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `zokor serve`, built from this workspace.
    Zokor,
    /// Apache ZooKeeper as Debian packages it, to check the tests themselves.
    ZooKeeper,
}

impl Program {
    /// As `ZOKOR_TEST_SERVER` says; zokor if it does not.
    pub fn under_test() -> Program {
        match std::env::var("ZOKOR_TEST_SERVER").as_deref() {
            Err(_) | Ok("" | "zokor") => Program::Zokor,
            Ok("zookeeper") => Program::ZooKeeper,
            Ok(other) => panic!("ZOKOR_TEST_SERVER={other}: zokor or zookeeper"),
        }
    }

    /// Whether it is ours. Says on standard error what is left out if not; `what` is a promise that
    /// ZooKeeper 3.8 does not make.
    pub fn promises(what: &str) -> bool {
        let ours = Program::under_test() == Program::Zokor;
        if !ours {
            eprintln!("left out with ZooKeeper: {what}");
        }
        ours
    }

    fn command(self, config: &Path, flags: &[String]) -> Command {
        match self {
            Program::Zokor => {
                let mut command = Command::new(zokor());
                command.arg("serve").arg("--config").arg(config);
                command.env("JVMFLAGS", flags.join(" ")).env_remove("SERVER_JVMFLAGS");
                command
            }
            Program::ZooKeeper => {
                let mut command = Command::new("java");
                command.args(flags);
                command.args(["-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
                // The last one is for its admin server, which the first does not name.
                let jars = ["zookeeper", "slf4j-simple", "servlet-api"];
                let jars = jars.map(|jar| format!("/usr/share/java/{jar}.jar"));
                command.arg(jars.join(":"));
                command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(config);
                command
            }
        }
    }
}

/// One server: a folder, an address, and a process while it runs.
#[derive(Debug)]
pub struct Server {
    /// Where clients connect.
    pub address: SocketAddr,
    folder: PathBuf,
    flags: Vec<String>,
    process: Option<Child>,
    n_starts: u32,
}

impl Server {
    /// A server that will live in `folder` with this `zoo.cfg` and, in an ensemble, this id.
    pub(crate) fn new(folder: PathBuf, address: SocketAddr, config: &str, id: Option<u8>) -> Self {
        fs::create_dir_all(folder.join("data")).expect("the temporary folder is writable");
        let config = further_keys() + config;
        fs::write(folder.join("zoo.cfg"), config).expect("the temporary folder is writable");
        if let Some(id) = id {
            let myid = folder.join("data").join("myid");
            fs::write(myid, format!("{id}\n")).expect("the temporary folder is writable");
        }
        Server { address, folder, flags: Vec::new(), process: None, n_starts: 0 }
    }

    /// Flags for its Java machine, and files for its folder.
    pub(crate) fn give(&mut self, flags: &[String], files: &[(String, String)]) {
        self.flags.extend_from_slice(flags);
        for (name, text) in files {
            fs::write(self.folder.join(name), text).expect("the temporary folder is writable");
        }
    }

    /// The folder with `zoo.cfg`, `data/` and the logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the process. It may not serve yet when this returns.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        self.n_starts += 1;
        let path = self.folder.join(format!("log.{:02}", self.n_starts));
        let log = File::create(path).expect("the temporary folder is writable");
        let mut command = Program::under_test().command(&self.folder.join("zoo.cfg"), &self.flags);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        let process = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        self.process = Some(process);
    }

    /// Whether the process runs. Panics if it ended by itself.
    pub fn is_running(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        if let Some(status) = process.try_wait().expect("a child can be asked") {
            panic!("the server at {} ended by itself: {status}", self.address);
        }
        true
    }

    /// Ends the process at once, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("a child can be killed");
            process.wait().expect("a child can be waited for");
        }
    }

    /// The process's memory in KiB, or `None` where the system does not tell.
    pub fn resident_kib(&self) -> Option<u64> {
        self.status_kib("VmRSS:")
    }

    /// The most memory that it has had, likewise.
    pub fn most_resident_kib(&self) -> Option<u64> {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, name: &str) -> Option<u64> {
        let pid = self.process.as_ref()?.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// The process's id while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// How many files it has open, or `None` where the system does not tell.
    pub fn n_open_files(&self) -> Option<usize> {
        let pid = self.process_id()?;
        fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count)
    }

    /// How many sockets it has open, or `None` where the system does not tell. Of other files a
    /// server may open one at any time, to look at what is at rest.
    pub fn n_open_sockets(&self) -> Option<usize> {
        let pid = self.process_id()?;
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let is_socket = |link: &Path| link.to_string_lossy().starts_with("socket:");
        let links = open.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        Some(links.filter(|link| is_socket(link)).count())
    }

    /// All that it has logged since its last start.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join(format!("log.{:02}", self.n_starts)));
        String::from_utf8_lossy(&log.unwrap_or_default()).into_owned()
    }

    /// The ends of the logs of all its starts.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for start in 1..=self.n_starts {
            let name = format!("log.{start:02}");
            let log = fs::read(self.folder.join(&name)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
            text += &format!("---- {} {name}\n{}\n", self.address, tail.join("\n"));
        }
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The path of our binary: `ZOKOR_BIN`, or built once in the profile of this very test.
pub fn zokor() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("ZOKOR_BIN") {
        Some(path) => fs::canonicalize(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")),
        None => build_zokor(),
    })
}

fn build_zokor() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    // <target>/<profile>/deps/<test>
    let profile_folder = test.ancestors().nth(2).expect("cargo puts tests three levels deep");
    let target = profile_folder.parent().expect("cargo puts tests three levels deep");
    let profile = match profile_folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => panic!("no profile in {test:?}"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--package", "zokor", "--profile", profile, "--target-dir"])
        .arg(target)
        .stdin(Stdio::null())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the server does not build");
    profile_folder.join(format!("zokor{}", std::env::consts::EXE_SUFFIX))
}

/// Lines for the `zoo.cfg` of every server: `ZOKOR_TEST_KEYS`, with `;` between two. So all tests
/// can be run once under other settings.
fn further_keys() -> String {
    let keys = std::env::var("ZOKOR_TEST_KEYS").unwrap_or_default();
    keys.split_terminator(';').map(|line| format!("{}\n", line.trim())).collect()
}

/// How much of a log a failed test shows.
const LOG_LINES: usize = 60;
