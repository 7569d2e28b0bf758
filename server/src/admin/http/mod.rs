//! ZooKeeper's admin server, and the metrics for Prometheus: what operators ask by HTTP.
//!
//! All of it runs on the thread that waits for the server's end, so that whatever operators ask and
//! however slow they are, the loop that serves clients is held up only for the moments in which
//! facts are taken. What grows with what the server holds is taken part by part.
//!
//! Invariant: a port that the admin server cannot have is a warning, as with ZooKeeper's servers of
//! an ensemble; one that metrics cannot have refuses the start.

mod body;
mod command;
mod desk;
mod door;
mod fields;
mod guests;
mod json;
mod limiter;
mod lists;
mod restore;
mod shed;
mod snapshot;
mod visitor;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use zokor_core::auth::AuthConfig;
use zokor_net::runtime::Handle;
use zokor_net::transport::bind;

use super::{MetricsExposition, Words};
use crate::config::{AdminHttp, HostPort};
use crate::launch::resolve;
use desk::{Desk, Site};
use guests::Guests;

pub use body::RequestBody;
pub use restore::Restorer;

/// What the ports of operators are opened with.
pub struct Plans {
    /// The admin server; `None` if there is none.
    pub admin: Option<AdminHttp>,
    /// How clients prove who they are, and operators with them.
    pub auth: AuthConfig,
    /// Whether nobody is asked for a permission.
    pub skips_acl: bool,
    /// The configuration's text.
    pub file_text: String,
    /// What a Java server would have as properties of its machine.
    pub properties: Vec<(String, String)>,
    /// What restores a snapshot; `None` if nothing does.
    pub restorer: Option<Restorer>,
}

/// Where metrics are served, if they are.
pub struct Metrics {
    listener: TcpListener,
    exposition: MetricsExposition,
}

impl Metrics {
    /// Takes the port. An `Err` is one sentence.
    pub async fn open(at: &HostPort, exposition: MetricsExposition) -> Result<Self, String> {
        let bound = bind(resolve(at).await?, "metrics", None).await;
        let listener = bound.map_err(|error| format!("{error}; see metricsProvider.httpPort"))?;
        Ok(Metrics { listener, exposition })
    }
}

/// The open ports of operators. They close when this is dropped.
#[derive(Debug, Default)]
pub struct Ports(Vec<JoinHandle<()>>);

impl Drop for Ports {
    fn drop(&mut self) {
        for port in &self.0 {
            port.abort();
        }
    }
}

/// Begins to serve operators of the server behind `handle`.
pub async fn serve(
    plans: Plans,
    metrics: Option<Metrics>,
    handle: Handle,
    words: Arc<Words>,
) -> Ports {
    let guests = Guests::new(MAX_GUESTS);
    let mut ports = Ports::default();
    let patience = plans.admin.as_ref().map_or(PATIENCE, |admin| admin.idle_timeout);
    if let Some(Metrics { listener, exposition }) = metrics {
        tell(&listener, "metrics are at", "/metrics");
        let site = Site::Metrics { handle: handle.clone(), words: words.clone(), exposition };
        let served = door::serve(listener, site, guests.clone(), patience);
        ports.0.push(tokio::spawn(served));
    }
    if let Some(admin) = plans.admin.clone()
        && let Some(listener) = open(&admin.address).await
    {
        tell(&listener, "the admin server is at", &admin.command_url);
        let site = Site::Admin(Arc::new(Desk::new(plans, admin, handle, words)));
        ports.0.push(tokio::spawn(door::serve(listener, site, guests, patience)));
    }
    ports
}

/// The admin server's port, or a warning.
async fn open(at: &HostPort) -> Option<TcpListener> {
    let opened = match resolve(at).await {
        Ok(address) => bind(address, "operators", None).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    let told = |why: &String| {
        warn!(
            "there is no admin server: {why}; clients are served all the same \
             (admin.serverPort, or admin.enableServer=false)"
        );
    };
    opened.inspect_err(told).ok()
}

fn tell(listener: &TcpListener, what: &str, path: &str) {
    if let Ok(address) = listener.local_addr() {
        info!("{what} http://{address}{path}");
    }
}

/// Connections of operators, at most; see `room_for_clients`.
const MAX_GUESTS: usize = 64;
/// How long nothing may move on a connection for metrics.
const PATIENCE: Duration = Duration::from_secs(30);
