//! What operators and their monitoring ask a server: the four-letter words, the admin server, and
//! metrics for Prometheus.

mod date;
mod dump;
mod environment;
mod four_letter;
pub mod http;
mod metrics;
mod monitor;
mod process;
mod prometheus;
mod report;
mod sink;

pub(crate) use date::log_date;
pub(crate) use environment::properties as environment_properties;
pub use four_letter::{MemberSettings, Settings, Whitelist, Words};
pub use metrics::{Start, StartSnapshot};
pub use prometheus::MetricsExposition;
