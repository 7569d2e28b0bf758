//! The password that ZooKeeper gives to a session: it follows from the id.

use zokor_core::id::SessionId;

/// The sixteen bytes with which a client resumes a session that a ZooKeeper server began: four
/// numbers of Java's generator (`java.util.Random`), seeded with the id and a constant
/// (`ZooKeeperServer.generatePasswd`).
pub fn password_of(session: SessionId) -> [u8; 16] {
    let mut state = ((session.0 as u64) ^ SECRET ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for place in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        place.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    password
}

const SECRET: u64 = 0xb341_5c00;
const MULTIPLIER: u64 = 0x5_deec_e66d;
const MASK: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_those_that_a_zookeeper_server_gave() {
        let captured = [
            (0x0100_0040_f6a9_0000_u64, "fda2104d46e55536a34e1807ff35e649"),
            (0x0100_002c_cc2a_0000, "c41ac5b901af3da042356b80b241f9e9"),
            (0x0100_0040_f6a9_0001, "10c40a4de630357b98917f32d3befa16"),
            (1, "054cc74a37327db215e702e20c73f005"),
            (0xff00_0000_0000_0001, "054cc74a37327db215e702e20c73f005"),
        ];
        for (session, expected) in captured {
            let password = password_of(SessionId(session as i64));
            let shown: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(shown, expected, "{session:x}");
        }
    }
}
