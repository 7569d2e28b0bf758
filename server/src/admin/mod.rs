//! What operators and their monitoring ask a server: the four-letter words.

mod date;
mod dump;
mod environment;
mod four_letter;
mod metrics;
mod monitor;
mod report;

pub use four_letter::{MemberSettings, Settings, Whitelist, Words};
pub use metrics::Start;
