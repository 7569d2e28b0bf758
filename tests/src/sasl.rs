//! A client's part of a login by SASL with DIGEST-MD5 (RFC 2831), as Java's client plays it.

use md5::{Digest, Md5};

use crate::client::{Answer, Client, Reply};
use crate::jute::{Reader, Writer};
use crate::records::{ErrorCode, op};

/// One step: what the server says to `token`, and its error.
pub fn step(client: &mut Client, token: &[u8]) -> Answer<(ErrorCode, Option<Vec<u8>>)> {
    let reply: Reply = client.ask(op::SASL, Writer::new().buffer(token))?;
    assert_eq!(reply.zxid, 0, "it is answered before the tree is asked");
    let mut r = Reader::new(reply.body);
    let token = r.buffer();
    r.finish();
    Ok((reply.error, token))
}

/// Logs in, and checks that the server knows the password as well. `AUTH_FAILED` or another code if
/// it is refused; a null token in place of an answer is `UNIMPLEMENTED`.
pub fn log_in(client: &mut Client, user: &str, password: &str) -> Answer<()> {
    let (error, challenge) = step(client, b"")?;
    if error != ErrorCode(0) {
        return Err(error);
    }
    let challenge = challenge.ok_or(ErrorCode::UNIMPLEMENTED)?;
    let challenge = String::from_utf8(challenge).expect("a challenge is text");
    let (answer, proof) = answer(&challenge, user, password);
    let (error, token) = step(client, answer.as_bytes())?;
    if error != ErrorCode(0) {
        assert_eq!(token, None, "a failure has a null token");
        return Err(error);
    }
    let token = token.ok_or(ErrorCode::UNIMPLEMENTED)?;
    assert_eq!(String::from_utf8(token).as_deref(), Ok(&*format!("rspauth={proof}")));
    Ok(())
}

/// The answer to a challenge, and what the server proves itself by.
pub fn answer(challenge: &str, user: &str, password: &str) -> (String, String) {
    let directive = |name: &str| {
        let at = challenge.find(&format!("{name}=")).expect("it is in the challenge");
        let value = &challenge[at + name.len() + 1..];
        let value = value.strip_prefix('"').unwrap_or(value);
        value.split(['"', ',']).next().unwrap_or_default().to_owned()
    };
    let (realm, nonce) = (directive("realm"), directive("nonce"));
    assert_eq!((&*directive("charset"), &*directive("algorithm")), ("utf-8", "md5-sess"));
    let (cnonce, uri) = ("b2xkIGZyaWVuZHM", "zookeeper/zk-sasl-md5");
    let secret = Md5::digest(format!("{user}:{realm}:{password}"));
    let rest = format!(":{nonce}:{cnonce}:{user}");
    let a1 = hex(&Md5::digest([&secret[..], rest.as_bytes()].concat()));
    let proof = |method: &str| {
        let a2 = hex(&Md5::digest(format!("{method}:{uri}")));
        hex(&Md5::digest(format!("{a1}:{nonce}:00000001:{cnonce}:auth:{a2}")))
    };
    let answer = format!(
        "charset=utf-8,username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",nc=00000001,\
         cnonce=\"{cnonce}\",digest-uri=\"{uri}\",maxbuf=65536,response={},qop=auth,\
         authzid=\"{user}\"",
        proof("AUTHENTICATE")
    );
    (answer, proof(""))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
