//! Tests of `zokor dev` with servers that only pretend.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;

use zokor_core::replica::{Mode, Stats};

use super::*;

/// A server that serves until it is stopped, or ends with a reason at once.
struct Pretender {
    address: SocketAddr,
    stopped: Cell<bool>,
    problem: Option<String>,
    has_told: bool,
}

impl Running for Pretender {
    fn client_address(&self) -> SocketAddr {
        self.address
    }

    fn stats(&self) -> Stats {
        Stats { mode: Mode::Leader, serving: true, ..Stats::default() }
    }

    fn handle(&self) -> Option<&zokor_net::runtime::Handle> {
        None
    }

    fn stop(&self) {
        self.stopped.set(true);
    }

    fn ended(&mut self) -> Pin<Box<dyn Future<Output = Result<(), String>> + '_>> {
        Box::pin(async {
            assert!(!self.has_told, "its end was asked for twice");
            if let Some(problem) = &self.problem {
                self.has_told = true;
                return Err(problem.clone());
            }
            while !self.stopped.get() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.has_told = true;
            Ok(())
        })
    }
}

/// Arguments for ports that were free a moment ago, in a folder of their own.
fn arguments(n_servers: u16) -> (tempfile::TempDir, DevArguments) {
    let dir = tempfile::tempdir().unwrap();
    let arguments = DevArguments {
        servers: n_servers,
        port: free_ports(n_servers),
        data_dir: dir.path().join("data"),
        host: "127.0.0.1".to_owned(),
    };
    (dir, arguments)
}

/// The first of that many free ports in a row.
fn free_ports(n_ports: u16) -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = listener.local_addr().unwrap().port();
        let others = (first..).take(n_ports.into()).skip(1);
        let others: Vec<_> = others.map(|port| TcpListener::bind((LOOPBACK, port))).collect();
        if others.len() + 1 == usize::from(n_ports) && others.iter().all(Result::is_ok) {
            return first;
        }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn the_end_of_one_server_stops_all_and_is_told() {
    let (_dir, arguments) = arguments(3);
    let plans: Rc<RefCell<Vec<Plan>>> = Rc::default();
    let start = async |plan: Plan| {
        let problem = (plan.replica.raft.id == ServerId(2)).then(|| "the disk is full".to_owned());
        let address = SocketAddr::new(LOOPBACK.parse().unwrap(), plan.client.port);
        plans.borrow_mut().push(plan);
        let server = Pretender { address, stopped: Cell::new(false), problem, has_told: false };
        Ok(Box::new(server) as Box<dyn Running>)
    };
    let error = block_on(run(&arguments, start)).unwrap_err();
    assert_eq!(error, "server 2: the disk is full");
    let plans = plans.take();
    assert_eq!(plans.len(), 3);
    for (plan, n) in plans.iter().zip(1_u16..) {
        assert_eq!(plan.client.port, arguments.port + n - 1);
        assert_eq!(plan.peers.len(), 2);
        assert_eq!(plan.replica.ensemble.members.len(), 3);
        let folder: PathBuf = arguments.data_dir.join(format!("server-{n}"));
        assert_eq!((&plan.data_dir, &plan.log_dir), (&folder, &None));
        for (id, addresses) in &plan.peers {
            let other = plans.iter().find(|other| other.replica.raft.id == *id).unwrap();
            assert_eq!(&other.peer_listen, addresses);
        }
    }
    let peer_ports: BTreeSet<_> = plans.iter().map(|plan| plan.peer_listen[0].port).collect();
    assert_eq!(peer_ports.len(), 3);
    let mark = std::fs::read_to_string(arguments.data_dir.join("zokor-dev")).unwrap();
    for plan in &plans {
        assert!(mark.contains(&format!("\nensemble={:016x}\n", plan.ensemble)), "{mark}");
    }
}

#[test]
fn one_server_is_standalone() {
    let clients = [HostPort { host: LOOPBACK.to_owned(), port: 2181 }];
    let plans = plans(Path::new("data"), &clients, &[(1, 2)]);
    assert_eq!(plans.len(), 1);
    assert!(plans[0].peer_listen.is_empty() && plans[0].peers.is_empty());
    assert!(plans[0].replica.ensemble.members.is_empty());
}

#[test]
fn a_server_that_cannot_start_is_named() {
    let (_dir, arguments) = arguments(1);
    let start = async |_: Plan| Err::<Box<dyn Running>, _>("no disk".to_owned());
    assert_eq!(block_on(run(&arguments, start)).unwrap_err(), "server 1: no disk");
}

#[test]
fn a_port_in_use_is_one_clear_sentence() {
    let (_dir, arguments) = arguments(2);
    let _taken = TcpListener::bind((LOOPBACK, arguments.port + 1)).unwrap();
    let start = async |_: Plan| Err::<Box<dyn Running>, _>("never asked".to_owned());
    let error = block_on(run(&arguments, start)).unwrap_err();
    let port = arguments.port + 1;
    assert_eq!(
        error,
        format!(
            "port {port} on 127.0.0.1 is in use; stop what listens there, or choose another --port"
        )
    );
}

#[test]
fn ports_beyond_the_last_one_are_refused() {
    let (_dir, mut arguments) = arguments(1);
    (arguments.servers, arguments.port) = (3, 65_534);
    assert!(client_addresses(&arguments).unwrap_err().contains("choose a smaller --port"));
    arguments.servers = 2;
    assert_eq!(client_addresses(&arguments).unwrap()[1].port, 65_535);
}

#[test]
fn a_host_that_is_no_address_is_refused() {
    let (_dir, mut arguments) = arguments(1);
    arguments.host = "nowhere.invalid".to_owned();
    let start = async |_: Plan| Err::<Box<dyn Running>, _>("never asked".to_owned());
    let error = block_on(run(&arguments, start)).unwrap_err();
    assert!(error.contains("is no IP address"), "{error}");
}
