//! Which servers of the whole world prove to each other who they are.
//!
//! Invariant: a function of the seed and of the life. In a run no two lives are set up so that they
//! could not speak to each other: each pair is one that stands beside each other while proofs are
//! switched on, server by server.

use std::sync::Arc;

use zokor_core::auth::{PeerAuth, Secret};
use zokor_core::id::Seed;
use zokor_net::transport::Credentials;

use crate::rng::mix;

/// What a life whose seed is `life` can show its peers and wants to be shown, in the run of `seed`.
pub(super) fn draw(seed: u64, life: &[u8; 32]) -> Option<Arc<Credentials>> {
    let step = step(seed, life);
    let password = Secret::new("secret");
    let auth = PeerAuth {
        users: [("peer".to_owned(), password.clone())].into(),
        user: "peer".to_owned(),
        password,
        asks: step >= 2,
        demands: step >= 3,
    };
    (step >= 1).then(|| Arc::new(Credentials::new(auth, Seed(*life))))
}

/// How far the operator has come with this life: not begun, or through step 1, 2 or 3.
fn step(seed: u64, life: &[u8; 32]) -> u64 {
    match mix(&[seed, PROOFS]) % 4 {
        0 => 0,
        under_way => under_way - u64::from(life[0] & 1),
    }
}

/// For this draw, which has a number of its own so that no other depends on it.
const PROOFS: u64 = 0x0070_726f_6f66;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_pair_of_neighbouring_steps_comes_up_and_no_other() {
        let pairs: BTreeSet<_> =
            (0..100).map(|seed| [1, 0].map(|life| step(seed, &[life; 32]))).collect();
        assert_eq!(pairs, [[0, 0], [0, 1], [1, 2], [2, 3]].into());
        for seed in 0..100 {
            let life = [0; 32];
            assert_eq!(draw(seed, &life).is_some(), step(seed, &life) > 0);
        }
    }
}
