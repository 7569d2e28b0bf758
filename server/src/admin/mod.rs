//! What operators and their monitoring ask a server: the four-letter words.

mod date;
mod dump;
mod environment;
pub mod facts;
mod four_letter;
mod monitor;
mod report;

pub use environment::file_descriptors;
pub use facts::ServerFacts;
pub use four_letter::{Admin, Answer, MemberSettings, Reset, Settings, Whitelist, Word};
