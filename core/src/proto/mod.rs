//! ZooKeeper's vocabulary, typed: no bytes and no rules of the tree or of the ensemble.

mod acl;
mod ensemble;
mod error;
mod event;
mod names;
mod path;
mod request;
mod response;
mod stat;
mod writes;
mod zxid;

pub use crate::cell::SharedData;
pub use acl::{Acl, AclList, Id, Identities, Permissions, open_acl};
pub use bytestring::ByteString as Text;
pub use ensemble::{Ensemble, Member};
pub use error::ErrorCode;
pub use event::{Event, EventKind};
pub use names::{Names, NamesBuilder};
pub use path::{PathError, is_valid, name_of, parent_of};
pub use request::{
    AuthPacket, ConnectRequest, Create, CreateKind, CreateMode, Read, Reconfig, Request, Rewatch,
    SaslToken, WatchMode, WatcherType, Write,
};
pub use response::{ConnectResponse, OpResult, Response};
pub use stat::Stat;
pub use writes::Writes;
pub use zxid::Zxid;
