//! `restore`: a snapshot becomes the state. What does it is given; here is the door.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use hyper::{Response, StatusCode};
use tracing::warn;
use zokor_core::proto::Zxid;

use super::body::{Body, RequestBody};
use super::command::Command;
use super::desk::{Desk, failed, json};
use super::guests::Busy;

/// Takes a snapshot in ZooKeeper's form and makes it the state; returns the zxid of its last
/// transaction. An `Err` is one sentence.
pub type Restorer = Arc<
    dyn Fn(RequestBody) -> Pin<Box<dyn Future<Output = Result<Zxid, String>> + Send>> + Send + Sync,
>;

impl Desk {
    /// Source: `zookeeper: Commands.RestoreCommand`, whose order of checks this is.
    pub(super) async fn restore(&self, body: RequestBody, busy: &mut Busy) -> Response<Body> {
        let refused = |status, why: &str| failed(Command::Restore, status, why);
        if !self.admin.restore_enabled {
            let why = "restore is switched off by admin.restore.enabled";
            return refused(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        if !self.admin.with_last_zxid {
            let why = "restore needs serializeLastProcessedZxid.enabled";
            return refused(StatusCode::INTERNAL_SERVER_ERROR, why);
        }
        if body.is_empty() {
            return refused(StatusCode::BAD_REQUEST, "the body has to be a snapshot");
        }
        let Some(restorer) = &self.plans.restorer else {
            let why = "restore is not built";
            return refused(StatusCode::SERVICE_UNAVAILABLE, why);
        };
        if !self.restores.allows(Instant::now()) {
            self.words.counts().restores_limited.fetch_add(1, Ordering::Relaxed);
            let why = "too soon after another restore (admin.rateLimiterIntervalInMS)";
            return refused(StatusCode::TOO_MANY_REQUESTS, why);
        }
        busy.keep();
        match restorer(body).await {
            Ok(zxid) => {
                json(Command::Restore, StatusCode::OK, |json| json.put("last_zxid", zxid.0))
            }
            Err(why) => {
                warn!(why, "a restore has failed");
                self.words.counts().restore_errors.fetch_add(1, Ordering::Relaxed);
                refused(StatusCode::INTERNAL_SERVER_ERROR, &why)
            }
        }
    }
}
