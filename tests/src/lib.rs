//! What the black-box tests share: servers as processes, and a client that knows only the protocol.
//!
//! Nothing here uses another crate of the workspace: the tests read the protocol with eyes of their
//! own. (One test forges what is on a disk, which takes the code that writes there.)
//! With `ZOKOR_TEST_SERVER=zookeeper` the same tests run against Apache ZooKeeper (Debian's package
//! and a `java` on the path); a test that fails there misunderstands the protocol.

pub mod client;
pub mod ensemble;
pub mod http;
pub mod jute;
pub mod load;
pub mod ports;
pub mod program;
pub mod raw;
pub mod records;
pub mod sasl;
pub mod shape;
pub mod wait;
pub mod way;

pub use client::Client;
pub use ensemble::{Ensemble, Shared};
pub use program::Program;
pub use records::{Acl, ErrorCode, Event, EventKind, Stat, op};
pub use wait::eventually;
