//! The first words of a connection between servers: who is there, and, where that is wished for,
//! the proof of it. Frames in, frames out, and a verdict; no sockets.
//!
//! ```text
//! who calls                          who is called
//! hello (asks to be authenticated?)
//!                                    challenge         if asked to, or if it demands a proof
//! answer
//!                                    proof in return
//!                                    hello             now the connection stands
//! ```
//!
//! Invariants: no hello is answered before all that is demanded is shown, so that nobody takes a
//! connection for standing that is not (one of a peer without an ensemble is, by a hello that it
//! cannot take for its own ensemble's); one exchange has one challenge and one answer; who asks for
//! a proof takes no less; whatever is out of turn is the end.

use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use zokor_core::auth::{Answer, Call, DigestMd5, Exchange, NonceBytes, Nonces, PeerAuth, Step};
use zokor_core::id::{Seed, ServerId};

use super::Identity;
use super::codec::{greeted, hello, newcomer};
use crate::wire::login::{Login, Refusal, decode_login, encode_login, is_login};

/// What this server can show its peers and wants to be shown.
pub struct Credentials {
    settings: PeerAuth,
    nonces: Mutex<Nonces>,
}

impl Credentials {
    /// With a seed that nobody else knows.
    pub fn new(settings: PeerAuth, seed: Seed) -> Self {
        Credentials { settings, nonces: Mutex::new(Nonces::new(seed)) }
    }

    fn draw(&self) -> NonceBytes {
        let mut nonces = self.nonces.lock().expect("no code that can panic runs under this lock");
        nonces.draw()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

/// Why somebody who has connected is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// He is no peer, or does not behave like one.
    Stranger(String),
    /// He says that he is a peer, and nothing shows it.
    Unproven {
        /// Which.
        peer: ServerId,
        /// What is missing, and what can be done.
        why: &'static str,
    },
}

impl From<String> for TurnedAway {
    fn from(why: String) -> Self {
        TurnedAway::Stranger(why)
    }
}

impl std::fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TurnedAway::Stranger(why) => f.write_str(why),
            TurnedAway::Unproven { peer, why } => {
                write!(f, "it says that it is server {peer}, which is not shown: {why}")
            }
        }
    }
}

/// What comes of a frame.
#[derive(Debug)]
pub(super) enum Move<E> {
    /// This is said, if anything, and another frame is to come.
    Go(BytesMut),
    /// This is said, and the connection stands.
    Stand {
        say: BytesMut,
        peer: ServerId,
        /// Whether who calls has shown who he is.
        is_proven: bool,
    },
    /// This is said, and the connection ends.
    End { say: BytesMut, why: E },
}

impl<E> Move<E> {
    fn end(why: impl Into<E>) -> Self {
        Move::End { say: BytesMut::new(), why: why.into() }
    }

    fn refuse(refusal: Refusal, why: impl Into<E>) -> Self {
        Move::End { say: frame(&Login::Refused(refusal)), why: why.into() }
    }
}

fn frame(login: &Login) -> BytesMut {
    let mut out = BytesMut::new();
    encode_login(login, &mut out);
    out
}

/// The side that calls.
pub(super) struct Caller<'a> {
    local: Identity,
    peer: ServerId,
    credentials: Option<&'a Credentials>,
    state: CallerState,
}

enum CallerState {
    /// The hello is out.
    Greeted,
    /// The answer to a challenge is out.
    Answered(Answer),
    /// The peer has shown that it knows the password.
    Satisfied,
}

impl<'a> Caller<'a> {
    pub(super) fn new(
        local: Identity,
        peer: ServerId,
        credentials: Option<&'a Credentials>,
    ) -> Self {
        Caller { local, peer, credentials, state: CallerState::Greeted }
    }

    fn asks(&self) -> bool {
        self.credentials.is_some_and(|it| it.settings.asks)
    }

    /// What is said first.
    pub(super) fn hello(&self) -> BytesMut {
        hello(self.local, self.peer, self.asks())
    }

    /// Takes what the peer says.
    pub(super) fn take(&mut self, frame: Bytes) -> Move<String> {
        if !is_login(&frame) {
            return self.take_hello(frame);
        }
        let login = match decode_login(&frame) {
            Ok(login) => login,
            Err(error) => return Move::end(error.to_string()),
        };
        match (&self.state, login) {
            (CallerState::Greeted, Login::Challenge(token)) => self.answer(&token),
            (CallerState::Answered(answer), Login::Proven(token)) => {
                if !answer.is_matched_by(&token) {
                    return Move::end(NOT_MATCHED);
                }
                self.state = CallerState::Satisfied;
                Move::Go(BytesMut::new())
            }
            (CallerState::Greeted, Login::Refused(Refusal::NotOffered)) => Move::end(NOT_OFFERED),
            (CallerState::Answered(_), Login::Refused(Refusal::Wrong)) => Move::end(NOT_ACCEPTED),
            _ => Move::end(OUT_OF_TURN),
        }
    }

    /// Why it hung up, as far as can be told from here.
    pub(super) fn hung_up(&self) -> &'static str {
        match self.state {
            CallerState::Greeted if self.asks() => HUNG_UP_ON_WISH,
            CallerState::Greeted => "it hung up on our hello",
            CallerState::Answered(_) | CallerState::Satisfied => {
                "it hung up before this server was authenticated; its log may say why"
            }
        }
    }

    fn answer(&mut self, challenge: &[u8]) -> Move<String> {
        let Some(credentials) = self.credentials else {
            return Move::refuse(Refusal::NotOffered, DEMANDED);
        };
        let Identity { id: from, ensemble } = self.local;
        let call = Call { from, to: self.peer, ensemble };
        match credentials.settings.answer(&call, challenge, credentials.draw()) {
            Ok(answer) => {
                let said = frame(&Login::Answer(Bytes::copy_from_slice(&answer.token)));
                self.state = CallerState::Answered(answer);
                Move::Go(said)
            }
            Err(_) => Move::refuse(Refusal::Wrong, "what it challenges us with makes no sense"),
        }
    }

    fn take_hello(&self, frame: Bytes) -> Move<String> {
        let from = match greeted(self.local, frame) {
            Ok((from, false)) => from,
            Ok((_, true)) => return Move::end(OUT_OF_TURN),
            Err(why) => return Move::end(why),
        };
        if from != self.peer {
            return Move::end(format!("server {from} answers at its address"));
        }
        let is_proven = match self.state {
            CallerState::Greeted if self.asks() => return Move::end(NOTHING_SHOWN),
            CallerState::Answered(_) => return Move::end(NOTHING_SHOWN),
            CallerState::Greeted => false,
            CallerState::Satisfied => true,
        };
        Move::Stand { say: BytesMut::new(), peer: from, is_proven }
    }
}

/// The side that is called.
pub(super) struct Host<'a, P> {
    local: Identity,
    is_peer: P,
    credentials: Option<&'a Credentials>,
    state: HostState,
}

enum HostState {
    /// Nothing was said.
    Quiet,
    /// The challenge is out.
    Challenged { peer: ServerId, asked: bool, mechanism: DigestMd5, exchange: Exchange },
    /// There is nothing to come.
    Over,
}

impl<'a, P: Fn(ServerId) -> bool> Host<'a, P> {
    pub(super) fn new(local: Identity, is_peer: P, credentials: Option<&'a Credentials>) -> Self {
        Host { local, is_peer, credentials, state: HostState::Quiet }
    }

    /// Takes what he who calls says.
    pub(super) fn take(&mut self, frame: Bytes) -> Move<TurnedAway> {
        match std::mem::replace(&mut self.state, HostState::Over) {
            HostState::Quiet => self.take_hello(frame),
            HostState::Challenged { peer, mechanism, exchange, .. } => {
                self.judge(peer, &mechanism, exchange, &frame)
            }
            HostState::Over => Move::end(OUT_OF_TURN.to_owned()),
        }
    }

    /// Why he hung up or fell silent, as far as can be told from here: `how` says which.
    pub(super) fn lost(&self, how: &'static str) -> TurnedAway {
        match self.state {
            HostState::Challenged { peer, asked: true, .. } => {
                TurnedAway::Unproven { peer, why: "it asked to be authenticated and gave it up" }
            }
            HostState::Challenged { peer, asked: false, .. } => {
                TurnedAway::Unproven { peer, why: GONE_WITHOUT_PROOF }
            }
            HostState::Quiet | HostState::Over => TurnedAway::Stranger(how.to_owned()),
        }
    }

    fn take_hello(&mut self, frame: Bytes) -> Move<TurnedAway> {
        let (peer, asks) = match greeted(self.local, frame.clone()) {
            Ok(found) => found,
            Err(why) => {
                // It has nothing yet, or does not belong here: it learns the number at most.
                let newcomer = newcomer(self.local, frame).filter(|peer| (self.is_peer)(*peer));
                let say = newcomer.map_or_else(BytesMut::new, |it| hello(self.local, it, false));
                return Move::End { say, why: why.into() };
            }
        };
        if peer == self.local.id || !(self.is_peer)(peer) {
            return Move::end(format!("it says that it is server {peer}, which is not a peer"));
        }
        match self.credentials {
            None if asks => {
                let why = TurnedAway::Unproven { peer, why: WISH_REFUSED };
                Move::refuse(Refusal::NotOffered, why)
            }
            Some(it) if asks || it.settings.demands => self.challenge(peer, asks, it),
            _ => Move::Stand { say: hello(self.local, peer, false), peer, is_proven: false },
        }
    }

    fn challenge(
        &mut self,
        peer: ServerId,
        asked: bool,
        credentials: &Credentials,
    ) -> Move<TurnedAway> {
        let Identity { id: to, ensemble } = self.local;
        let mechanism = credentials.settings.mechanism(&Call { from: peer, to, ensemble });
        let mut exchange = Exchange::default();
        match exchange.take(&mechanism, b"", || credentials.draw()) {
            Ok(Step::Challenge(token)) => {
                self.state = HostState::Challenged { peer, asked, mechanism, exchange };
                Move::Go(frame(&Login::Challenge(token.into())))
            }
            Ok(Step::Proven { .. }) | Err(_) => unreachable!("an exchange begins by a challenge"),
        }
    }

    fn judge(
        &mut self,
        peer: ServerId,
        mechanism: &DigestMd5,
        mut exchange: Exchange,
        said: &Bytes,
    ) -> Move<TurnedAway> {
        let unproven = |why| TurnedAway::Unproven { peer, why };
        let token = match decode_login(said) {
            Ok(Login::Answer(token)) => token,
            Ok(Login::Refused(Refusal::NotOffered)) => return Move::end(unproven(NO_PROOF_THERE)),
            Ok(_) => return Move::end(unproven(OUT_OF_TURN)),
            Err(_) => return Move::end(unproven("what it answers makes no sense")),
        };
        // There is no second challenge, for which this would be drawn.
        match exchange.take(mechanism, &token, || [0; 30]) {
            Ok(Step::Proven { token, .. }) => {
                let mut say = frame(&Login::Proven(token.into()));
                say.extend_from_slice(&hello(self.local, peer, false));
                Move::Stand { say, peer, is_proven: true }
            }
            Ok(Step::Challenge(_)) | Err(_) => {
                Move::refuse(Refusal::Wrong, unproven(WRONG_PASSWORD))
            }
        }
    }
}

const OUT_OF_TURN: &str = "it said something out of turn";

// What the log of the side that calls says.
const DEMANDED: &str = "it lets in only servers that show who they are \
    (quorum.auth.serverRequireSasl is true there); set quorum.auth.enableSasl=true and \
    quorum.auth.learnerRequireSasl=true here";
const NOT_OFFERED: &str = "it authenticates no servers, and this one wants it to \
    (quorum.auth.learnerRequireSasl is true here); set quorum.auth.enableSasl=true there";
const NOT_ACCEPTED: &str = "it does not accept our user and password; compare the section of \
    quorum.auth.learner.loginContext here (QuorumLearner) with that of \
    quorum.auth.server.loginContext there (QuorumServer)";
const NOT_MATCHED: &str = "it does not know our password: whatever is there, it is not our peer";
const NOTHING_SHOWN: &str = "it takes us in without having shown that it knows our password: \
    whatever is there, it is not our peer";
const HUNG_UP_ON_WISH: &str = "it hung up when this server asked to be authenticated \
    (quorum.auth.learnerRequireSasl is true here); its log may say why, or its version is too old";

// What the log of the side that is called says.
const WISH_REFUSED: &str = "it wants to be authenticated (quorum.auth.learnerRequireSasl is true \
    there); set quorum.auth.enableSasl=true here";
const NO_PROOF_THERE: &str = "it is not set up to show who it is, and \
    quorum.auth.serverRequireSasl is true here; set quorum.auth.enableSasl=true and \
    quorum.auth.learnerRequireSasl=true there";
const GONE_WITHOUT_PROOF: &str = "it went away without a proof, and quorum.auth.serverRequireSasl \
    is true here; is quorum.auth.learnerRequireSasl=true there, and its version no older one?";
pub(super) const WRONG_PASSWORD: &str = "its user or password is not right; compare the section of \
    quorum.auth.learner.loginContext there (QuorumLearner) with that of \
    quorum.auth.server.loginContext here (QuorumServer)";

#[cfg(test)]
mod tests;
