//! What model clients do: steps, drawn from a seed before the run begins or written by hand.
//!
//! Invariant: a step is a value. Taking one away changes nothing about the others.

mod draw;
mod request;

use serde::{Deserialize, Serialize};

use crate::world::queue::Micros;

pub use draw::draw;
pub use request::{Maker, auth};

/// What a client does at some time, or as soon after it as it can.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Micros,
    /// What.
    pub op: Op,
}

/// What a client can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Make a znode.
    Create(Znode),
    /// Set data, of this many bytes or null.
    Set(Place, i32, Option<u32>),
    /// Set data to a text: that of a quota.
    SetText(Place, String),
    /// Delete a znode of this version.
    Delete(Place, i32),
    /// See whether a znode has this version; inside a multi only.
    Check(Place, i32),
    /// All of these or none.
    Multi(Vec<Op>),
    /// Several reads at one zxid.
    MultiRead(Vec<Op>),
    /// Read data; `true`: and watch.
    Get(Place, bool),
    /// See whether a znode is there; `true`: and watch.
    Exists(Place, bool),
    /// Read the names of the children; `true`: and watch; `true`: with the stat.
    List(Place, bool, bool),
    /// Read an ACL.
    GetAcl(Place),
    /// Set an ACL.
    SetAcl(Place, Access, i32),
    /// Set a watch that stays; `true`: also on all that is below.
    AddWatch(Place, bool),
    /// Take watches of some kind away; the numbers are ZooKeeper's (`WatcherType`).
    RemoveWatches(Place, u8),
    /// See whether there are such watches.
    CheckWatches(Place, u8),
    /// Count what is below.
    CountDescendants(Place),
    /// The session's own ephemeral znodes below a prefix.
    Ephemerals(String),
    /// Ask who one is.
    WhoAmI,
    /// Add an identity by name and password.
    Auth(String),
    /// A barrier.
    Sync(Place),
    /// Close the session.
    Close,
    /// Leave the connection; `true`: the server hears of it at once.
    Leave(bool),
    /// Connect elsewhere and leave the connection as it is.
    Move,
    /// Connect anew with a wrong password.
    Forget,
    /// Leave the connection and connect to this server.
    MoveTo(u64),
}

/// Which znode is meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// The one at this path.
    At(String),
    /// One of those that replies have named to this client.
    Learnt(u32),
}

/// A znode to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Znode {
    /// Where.
    pub path: String,
    /// What kind.
    #[serde(default)]
    pub kind: ZnodeKind,
    /// Whether the answer is to hold the stat.
    #[serde(default)]
    pub stat: bool,
    /// How many bytes of data; none for null.
    #[serde(default)]
    pub size: Option<u32>,
    /// Data in place of those: the text of a quota.
    #[serde(default)]
    pub text: Option<String>,
    /// Who may do what.
    #[serde(default)]
    pub access: Access,
}

/// The kinds of znodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ZnodeKind {
    /// Stays.
    #[default]
    Persistent,
    /// Goes with its session.
    Ephemeral,
    /// Stays, and has a number.
    Sequential,
    /// Goes with its session, and has a number.
    EphemeralSequential,
    /// Goes when it is empty.
    Container,
    /// Goes when it was left alone for this many milliseconds.
    Ttl(u32),
}

/// A few ACLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Everybody may do everything.
    #[default]
    Open,
    /// Everybody may read, nobody may do anything else.
    ReadOnly,
    /// Who made it may do everything (`CREATOR_ALL_ACL`).
    Creator,
    /// `ann` may do everything, the others may read.
    Ann,
    /// `ann` may do everything, the others everything but read.
    Hidden,
    /// Not valid.
    Empty,
}
