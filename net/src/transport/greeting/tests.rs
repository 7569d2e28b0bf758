//! Every pairing of settings, every way to fail, and what somebody without a password can try.

use std::collections::BTreeMap;

use zokor_core::auth::Secret;

use super::super::codec::told;
use super::*;
use crate::wire::login::{LOGIN_LIMIT, TOKEN_LIMIT};

/// How a server may be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    /// No key of `quorum.auth`.
    Off,
    /// `enableSasl` alone.
    Enabled,
    /// And `learnerRequireSasl`.
    Asks,
    /// And `serverRequireSasl`.
    Demands,
}

use Setup::{Asks, Demands, Enabled, Off};

fn users(password: &str) -> BTreeMap<String, Secret> {
    [("peer".to_owned(), Secret::new(password))].into()
}

fn credentials(setup: Setup, own: &str, accepted: &str, seed: u8) -> Option<Credentials> {
    let settings = PeerAuth {
        users: users(accepted),
        user: "peer".to_owned(),
        password: Secret::new(own),
        asks: matches!(setup, Asks | Demands),
        demands: setup == Demands,
    };
    (setup != Off).then(|| Credentials::new(settings, Seed([seed; 32])))
}

fn identity(id: u64) -> Identity {
    Identity { id: ServerId(id), ensemble: 9 }
}

/// The frames in `said`, without their lengths.
fn frames(said: &BytesMut) -> Vec<Bytes> {
    let mut said = said.clone();
    let mut found = Vec::new();
    while let Some(frame) = crate::wire::frame::split_frame(&mut said, LOGIN_LIMIT).unwrap() {
        found.push(frame);
    }
    assert!(said.is_empty(), "whole frames");
    found
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It stands for both; whether a proof was shown.
    Stands(bool),
    /// For whoever called it has failed, for whoever was called too.
    Fails { caller: String, host: Option<&'static str> },
}

/// Has server 1 call server 2. All that is said goes to the other side, frame by frame.
fn call(one: Option<&Credentials>, two: Option<&Credentials>) -> End {
    let mut caller = Caller::new(identity(1), ServerId(2), one);
    let mut host = Host::new(identity(2), |peer| peer == ServerId(1), two);
    let mut to_host = frames(&caller.hello());
    let mut hosts_end = None;
    for _ in 0..8 {
        let mut to_caller = Vec::new();
        for frame in to_host.drain(..) {
            match host.take(frame) {
                Move::Go(say) => to_caller.extend(frames(&say)),
                Move::Stand { say, peer, is_proven } => {
                    assert_eq!(peer, ServerId(1));
                    to_caller.extend(frames(&say));
                    hosts_end = Some(Ok(is_proven));
                }
                Move::End { say, why } => {
                    to_caller.extend(frames(&say));
                    let TurnedAway::Unproven { peer: ServerId(1), why } = why else {
                        panic!("{why}");
                    };
                    hosts_end = Some(Err(why));
                }
            }
        }
        for frame in to_caller {
            match caller.take(frame) {
                Move::Go(say) => to_host.extend(frames(&say)),
                Move::Stand { is_proven, .. } => {
                    assert_eq!(hosts_end, Some(Ok(is_proven)), "both know it alike");
                    return End::Stands(is_proven);
                }
                Move::End { say, why } => {
                    for frame in frames(&say) {
                        let Move::End { why, .. } = host.take(frame) else { panic!("it goes on") };
                        let TurnedAway::Unproven { why, .. } = why else { panic!("{why}") };
                        hosts_end = Some(Err(why));
                    }
                    return End::Fails { caller: why, host: hosts_end.and_then(Result::err) };
                }
            }
        }
    }
    panic!("they never come to an end");
}

#[test]
fn each_pairing_of_settings_comes_to_the_end_that_it_should() {
    let fails = |caller: &str, host| End::Fails { caller: caller.to_owned(), host: Some(host) };
    for caller in [Off, Enabled, Asks, Demands] {
        for host in [Off, Enabled, Asks, Demands] {
            let one = credentials(caller, "secret", "secret", 1);
            let two = credentials(host, "secret", "secret", 2);
            let expected = match (caller, host) {
                (Off, Demands) => fails(DEMANDED, NO_PROOF_THERE),
                (Off | Enabled, Off | Enabled | Asks) => End::Stands(false),
                (Asks | Demands, Off) => fails(NOT_OFFERED, WISH_REFUSED),
                (Enabled, Demands) | (Asks | Demands, Enabled | Asks | Demands) => {
                    End::Stands(true)
                }
            };
            let end = call(one.as_ref(), two.as_ref());
            assert_eq!(end, expected, "{caller:?} calls {host:?}");
        }
    }
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_refused_and_told_alike() {
    for (caller, host) in [(Asks, Enabled), (Asks, Demands), (Enabled, Demands)] {
        let two = credentials(host, "secret", "secret", 2);
        let wrong = credentials(caller, "Secret", "secret", 1);
        let mut stranger = credentials(caller, "secret", "secret", 1).unwrap();
        stranger.settings.user = "nobody".to_owned();
        for one in [wrong.unwrap(), stranger] {
            let end = call(Some(&one), two.as_ref());
            let expected =
                End::Fails { caller: NOT_ACCEPTED.to_owned(), host: Some(WRONG_PASSWORD) };
            assert_eq!(end, expected, "{caller:?} calls {host:?}");
        }
    }
}

/// A host that has heard a hello that asks, and its challenge.
fn challenged(credentials: &Credentials) -> (Host<'_, impl Fn(ServerId) -> bool + use<>>, Bytes) {
    let mut host = Host::new(identity(2), |peer| peer == ServerId(1), Some(credentials));
    let Move::Go(say) = host.take(frames(&hello(identity(1), ServerId(2), true)).remove(0)) else {
        panic!("no challenge");
    };
    (host, frames(&say).remove(0))
}

/// What server 1 answers to the challenge in `frame`, whole.
fn answer_to(credentials: &Credentials, challenge: Bytes) -> Bytes {
    let mut caller = Caller::new(identity(1), ServerId(2), Some(credentials));
    let Move::Go(say) = caller.take(challenge) else { panic!("no answer") };
    frames(&say).remove(0)
}

#[test]
fn an_answer_is_worth_nothing_on_another_connection() {
    let (one, two) = (credentials(Asks, "secret", "x", 1), credentials(Demands, "x", "secret", 2));
    let (one, two) = (one.unwrap(), two.unwrap());
    let (mut host, challenge) = challenged(&two);
    let answer = answer_to(&one, challenge);
    assert!(matches!(host.take(answer.clone()), Move::Stand { is_proven: true, .. }));
    let (mut again, second) = challenged(&two);
    assert!(matches!(again.take(answer), Move::End { .. }), "its nonce was used");
    let (mut third, _) = challenged(&two);
    let other = answer_to(&one, second);
    assert!(matches!(third.take(other), Move::End { .. }), "its nonce is another connection's");
}

#[test]
fn after_a_wrong_answer_no_right_one_helps() {
    let (one, two) = (credentials(Asks, "secret", "x", 1), credentials(Demands, "x", "secret", 2));
    let (one, two) = (one.unwrap(), two.unwrap());
    let (mut host, challenge) = challenged(&two);
    let wrong = credentials(Asks, "guess", "x", 1).unwrap();
    assert!(matches!(host.take(answer_to(&wrong, challenge.clone())), Move::End { .. }));
    assert!(matches!(host.take(answer_to(&one, challenge)), Move::End { .. }), "it is over");
}

#[test]
fn whatever_is_said_out_of_turn_is_the_end_and_proves_nothing() {
    let two = credentials(Demands, "x", "secret", 2).unwrap();
    let token = || Bytes::from_static(b"nonce=\"a\"");
    let logins = [
        Login::Challenge(token()),
        Login::Answer(token()),
        Login::Proven(token()),
        Login::Refused(Refusal::NotOffered),
        Login::Refused(Refusal::Wrong),
        Login::Answer(Bytes::new()),
        Login::Answer(Bytes::from(vec![b'a'; TOKEN_LIMIT])),
    ];
    let mut said: Vec<Bytes> = logins.iter().map(|login| frames(&frame(login)).remove(0)).collect();
    said.push(Bytes::new());
    said.push(Bytes::from_static(b"zkpl"));
    for frame in &said {
        let mut quiet = Host::new(identity(2), |_| true, Some(&two));
        assert!(matches!(quiet.take(frame.clone()), Move::End { .. }), "before a hello: {frame:?}");
        let (mut host, _) = challenged(&two);
        assert!(matches!(host.take(frame.clone()), Move::End { .. }), "as an answer: {frame:?}");
    }
    let (mut host, _) = challenged(&two);
    let again = frames(&hello(identity(1), ServerId(2), true)).remove(0);
    assert!(matches!(host.take(again), Move::End { .. }), "a second hello");
}

#[test]
fn who_asks_is_satisfied_by_no_less_than_the_right_proof() {
    let one = credentials(Asks, "secret", "x", 1).unwrap();
    let other = Login::Proven(Bytes::from_static(b"rspauth=00000000000000000000000000000000"));
    let proven = frames(&frame(&other)).remove(0);
    let greeting = frames(&hello(identity(2), ServerId(1), false)).remove(0);
    let asking = frames(&hello(identity(2), ServerId(1), true)).remove(0);
    let two = credentials(Demands, "x", "secret", 2).unwrap();
    let caller = || Caller::new(identity(1), ServerId(2), Some(&one));
    let end = |caller: &mut Caller<'_>, frame: &Bytes| match caller.take(frame.clone()) {
        Move::End { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(end(&mut caller(), &greeting), NOTHING_SHOWN);
    assert_eq!(end(&mut caller(), &asking), OUT_OF_TURN);
    assert_eq!(end(&mut caller(), &proven), OUT_OF_TURN, "it has shown nothing yet itself");
    for (frame, why) in
        [(&proven, NOT_MATCHED), (&greeting, NOTHING_SHOWN), (&challenged(&two).1, OUT_OF_TURN)]
    {
        let mut caller = caller();
        assert!(matches!(caller.take(challenged(&two).1), Move::Go(_)));
        assert_eq!(end(&mut caller, frame), why);
    }
    let nonsense = frames(&frame(&Login::Challenge(Bytes::from_static(b"nonce=1")))).remove(0);
    assert_eq!(end(&mut caller(), &nonsense), "what it challenges us with makes no sense");
}

#[test]
fn a_challenge_of_one_server_that_another_passes_on_is_answered_in_vain() {
    // Server 3, at whose address somebody else answers, is called by 1 and passes on what 2 asks.
    let one = credentials(Asks, "secret", "secret", 1).unwrap();
    let two = credentials(Demands, "secret", "secret", 2).unwrap();
    let (mut host, challenge) = challenged(&two);
    let mut caller = Caller::new(identity(1), ServerId(3), Some(&one));
    let Move::Go(say) = caller.take(challenge) else { panic!("no answer") };
    let passed_on = host.take(frames(&say).remove(0));
    assert!(matches!(passed_on, Move::End { .. }), "{passed_on:?}");
}

#[test]
fn what_hangs_up_is_told_by_how_far_it_came() {
    let two = credentials(Demands, "x", "secret", 2).unwrap();
    let unproven = |why| TurnedAway::Unproven { peer: ServerId(1), why };
    let (asked, _) = challenged(&two);
    let why = "it asked to be authenticated and gave it up";
    assert_eq!(asked.lost("it hung up"), unproven(why));
    let mut host = Host::new(identity(2), |_| true, Some(&two));
    assert_eq!(host.lost("it hung up"), TurnedAway::Stranger("it hung up".to_owned()));
    let plain = frames(&hello(identity(1), ServerId(2), false)).remove(0);
    assert!(matches!(host.take(plain), Move::Go(_)));
    assert_eq!(host.lost("it hung up"), unproven(GONE_WITHOUT_PROOF));
    let told = unproven(GONE_WITHOUT_PROOF).to_string();
    assert!(told.starts_with("it says that it is server 1, which is not shown: it went away"));

    let one = credentials(Asks, "secret", "x", 1).unwrap();
    assert_eq!(Caller::new(identity(1), ServerId(2), None).hung_up(), "it hung up on our hello");
    let mut caller = Caller::new(identity(1), ServerId(2), Some(&one));
    assert_eq!(caller.hung_up(), HUNG_UP_ON_WISH);
    assert!(matches!(caller.take(challenged(&two).1), Move::Go(_)));
    assert!(caller.hung_up().contains("before this server was authenticated"));
    assert!(!format!("{one:?}").contains("secret"), "{one:?}");
}

#[test]
fn a_peer_that_belongs_to_no_ensemble_is_turned_away_and_told_the_number() {
    let greet = |from: Identity| {
        let mut host = Host::new(identity(2), |peer| peer == ServerId(1), None);
        let caller = Caller::new(from, ServerId(2), None);
        match host.take(frames(&caller.hello()).remove(0)) {
            Move::End { say, why } => (frames(&say), why.to_string()),
            Move::Go(_) | Move::Stand { .. } => panic!("it does not belong here"),
        }
    };
    let newcomer = Identity { ensemble: 0, ..identity(1) };
    let (mut said, why) = greet(newcomer);
    assert!(why.contains("another ensemble"), "{why}");
    let frame = said.remove(0);
    assert_eq!(told(ServerId(1), ServerId(2), frame.clone()), Some(9));
    assert_eq!(told(ServerId(3), ServerId(2), frame.clone()), None, "it is meant for another");
    // The connection does not stand for it.
    let mut caller = Caller::new(newcomer, ServerId(2), None);
    assert!(matches!(caller.take(frame), Move::End { .. }));
    for stranger in
        [Identity { ensemble: 0, ..identity(3) }, Identity { ensemble: 5, ..identity(1) }]
    {
        assert!(greet(stranger).0.is_empty(), "{stranger:?}");
    }
}
