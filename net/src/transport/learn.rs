//! Which ensemble a server belongs to that has nothing yet: what the others say.
//!
//! Invariant: nothing is said but the hello of a server that belongs to no ensemble, by which no
//! connection comes to stand with a member of one; nothing is believed but a hello of the peer that
//! was asked, and no number that fewer than a quorum name.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zokor_core::id::ServerId;

use super::Identity;
use super::codec::{LOGIN_LIMIT, hello, told};
use super::inbox::Inbox;

/// How long one address of a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The number that the ensemble of `id` has, if it began with an import or a backup: the one that a
/// quorum of all its servers, or all of the others, answer by at their addresses. `None` if there
/// is no such number, or too few can be reached.
pub async fn learn_ensemble(id: ServerId, peers: &BTreeMap<ServerId, Vec<String>>) -> Option<u64> {
    let asked: Vec<_> = peers
        .iter()
        .map(|(&peer, addresses)| tokio::spawn(ask(id, peer, addresses.clone())))
        .collect();
    let mut named = Vec::new();
    for answer in asked {
        named.extend(answer.await.ok().flatten());
    }
    agreed(&named, peers.len())
}

/// The number that enough of `n_others` name.
fn agreed(named: &[u64], n_others: usize) -> Option<u64> {
    let n_servers = n_others + 1;
    let quorum = n_servers / 2 + 1;
    let count = |number: u64| named.iter().filter(|it| **it == number).count();
    let found = named.iter().copied().find(|&number| count(number) >= quorum.min(n_others));
    found.filter(|number| *number != 0)
}

async fn ask(id: ServerId, peer: ServerId, addresses: Vec<String>) -> Option<u64> {
    for address in addresses {
        if let Ok(Some(number)) = timeout(PATIENCE, ask_at(id, peer, &address)).await {
            return Some(number);
        }
    }
    None
}

async fn ask_at(id: ServerId, peer: ServerId, address: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&hello(Identity { id, ensemble: 0 }, peer, false)).await.ok()?;
    stream.flush().await.ok()?;
    let mut inbox = Inbox::new(LOGIN_LIMIT);
    loop {
        if let Some(frame) = inbox.frame().ok()? {
            return told(id, peer, frame);
        }
        if inbox.fill(&mut stream).await.ok()? == 0 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_learnt_from_a_quorum_or_from_all_others_and_never_from_fewer() {
        assert_eq!(agreed(&[7, 7], 2), Some(7));
        assert_eq!(agreed(&[7], 2), None, "one of three is no quorum");
        assert_eq!(agreed(&[7, 8], 2), None);
        assert_eq!(agreed(&[7], 1), Some(7), "there is nobody else");
        assert_eq!(agreed(&[8, 7, 7, 7], 4), Some(7));
        assert_eq!(agreed(&[8, 8, 7, 7], 4), None);
        assert_eq!(agreed(&[0, 0], 2), None, "they have none");
        assert_eq!(agreed(&[], 2), None);
    }
}
