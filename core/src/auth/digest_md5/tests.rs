//! Tests of the mechanism: the examples of the RFC, what Java's client sends, and every way to be
//! refused.

use super::*;

fn mechanism(users: &[(&str, &str)]) -> DigestMd5 {
    let users = users.iter().map(|(user, word)| ((*user).to_owned(), Secret::new(*word)));
    DigestMd5::of_zookeeper(users.collect())
}

/// An exchange with bob, whose password is secret, and the nonce of its challenge.
fn challenged(mechanism: &DigestMd5) -> (Exchange, String) {
    let mut exchange = Exchange::default();
    let step = exchange.take(mechanism, b"", || [7; 30]).expect("a challenge");
    let Step::Challenge(challenge) = step else { panic!("{step:?}") };
    let nonce = STANDARD.encode([7; 30]);
    let expected =
        format!("realm=\"zk-sasl-md5\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
    assert_eq!(String::from_utf8(challenge).as_deref(), Ok(&*expected));
    (exchange, nonce)
}

/// What Java's client answers, but for the directives in `instead`.
fn answer(nonce: &str, user: &str, password: &str, instead: &[(&str, &str)]) -> String {
    let proof = Proof {
        user,
        realm: "zk-sasl-md5",
        password,
        nonce,
        cnonce: b"qY06odoM5Dl0svxYnZ/ECeSAFqd3b2ljp4Plnr8w",
        authzid: Some(user.as_bytes()),
        uri: "zookeeper/zk-sasl-md5",
    };
    let response = proof.value("AUTHENTICATE");
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let usual = [
        ("charset", "utf-8".to_owned()),
        ("username", quoted(user)),
        ("realm", quoted("zk-sasl-md5")),
        ("nonce", quoted(nonce)),
        ("nc", "00000001".to_owned()),
        ("cnonce", quoted("qY06odoM5Dl0svxYnZ/ECeSAFqd3b2ljp4Plnr8w")),
        ("digest-uri", quoted("zookeeper/zk-sasl-md5")),
        ("maxbuf", "65536".to_owned()),
        ("response", response),
        ("qop", "auth".to_owned()),
        ("authzid", quoted(user)),
    ];
    let replaced = usual.into_iter().filter_map(|(name, value)| {
        match instead.iter().find(|(other, _)| *other == name) {
            None => Some(format!("{name}={value}")),
            Some((_, "")) => None,
            Some((_, other)) => Some(format!("{name}={other}")),
        }
    });
    replaced.collect::<Vec<_>>().join(",")
}

#[test]
fn the_examples_of_the_rfc_come_out() {
    let imap = Proof {
        user: "chris",
        realm: "elwood.innosoft.com",
        password: "secret",
        nonce: "OA6MG9tEQGm2hh",
        cnonce: b"OA6MHXh6VqTrRk",
        authzid: None,
        uri: "imap/elwood.innosoft.com",
    };
    assert_eq!(imap.value("AUTHENTICATE"), "d388dad90d4bbd760a152321f2143af7");
    assert_eq!(imap.value(""), "ea40f60335c427b5527b84dbabcdfffd");
    let acap = Proof {
        nonce: "OA9BSXrbuRhWay",
        cnonce: b"OA9BSuZWMSpW8m",
        uri: "acap/elwood.innosoft.com",
        ..imap
    };
    assert_eq!(acap.value("AUTHENTICATE"), "6084c6db3fede7352c551284490fd0fc");
    assert_eq!(acap.value(""), "2f0b3d7c3c2e486600ef710726aa2eae");
}

#[test]
fn the_rfcs_conversation_is_accepted_to_the_letter() {
    let mechanism = DigestMd5 {
        realm: "elwood.innosoft.com".to_owned(),
        uri: "imap/elwood.innosoft.com".to_owned(),
        users: [("chris".to_owned(), Secret::new("secret"))].into(),
    };
    let token = b"charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",\
        nonce=\"OA6MG9tEQGm2hh\",nc=00000001,cnonce=\"OA6MHXh6VqTrRk\",\
        digest-uri=\"imap/elwood.innosoft.com\",\
        response=d388dad90d4bbd760a152321f2143af7,qop=auth";
    let mut exchange = Exchange::Challenged { nonce: "OA6MG9tEQGm2hh".to_owned() };
    let step = exchange.take(&mechanism, token, || unreachable!("there is a challenge"));
    let rspauth = b"rspauth=ea40f60335c427b5527b84dbabcdfffd".to_vec();
    assert_eq!(step, Ok(Step::Proven { token: rspauth, user: "chris".to_owned() }));
}

#[test]
fn what_javas_client_computed_is_accepted() {
    // Recorded from Java 17 with a name and a password that are not ASCII and need escapes.
    let mechanism = mechanism(&[("böb\"\\x", "sécret")]);
    let nonce = "QkcQuQW071uLQRCbS61FArsPrxCQjXmW1D1JBpFj".to_owned();
    let token = "charset=utf-8,username=\"böb\\\"\\\\x\",realm=\"zk-sasl-md5\",\
        nonce=\"QkcQuQW071uLQRCbS61FArsPrxCQjXmW1D1JBpFj\",nc=00000001,\
        cnonce=\"qY06odoM5Dl0svxYnZ/ECeSAFqd3b2ljp4Plnr8w\",\
        digest-uri=\"zookeeper/zk-sasl-md5\",maxbuf=65536,\
        response=540c6362727748f28d0326f7d6d9cdfc,qop=auth,authzid=\"böb\"";
    let mut exchange = Exchange::Challenged { nonce };
    let step = exchange.take(&mechanism, token.as_bytes(), || [0; 30]);
    let rspauth = b"rspauth=9791aa77b79c44baa3a161a55cf2a648".to_vec();
    assert_eq!(step, Ok(Step::Proven { token: rspauth, user: "böb\"\\x".to_owned() }));
}

#[test]
fn a_right_answer_is_accepted_however_it_is_written() {
    let mechanism = mechanism(&[("bob", "secret")]);
    let rows: [&[(&str, &str)]; 10] = [
        &[],
        &[("charset", "")],
        &[("charset", "\"utf-8\"")],
        &[("charset", " utf-8 \t")],
        &[("nc", "")],
        &[("nc", "1")],
        &[("qop", "")],
        &[("qop", "\"auth\"")],
        &[("maxbuf", "")],
        &[("charset", "utf-8,,,unheard=of")],
    ];
    for instead in rows {
        let (mut exchange, nonce) = challenged(&mechanism);
        let token = answer(&nonce, "bob", "secret", instead);
        let step = exchange.take(&mechanism, token.as_bytes(), || [0; 30]);
        let is_bob = matches!(&step, Ok(Step::Proven { user, .. }) if user == "bob");
        assert!(is_bob, "{token}: {step:?}");
    }
}

#[test]
fn every_wrong_answer_is_refused_for_good() {
    let mechanism = mechanism(&[("bob", "secret"), ("eve", "")]);
    let rows: [&[(&str, &str)]; 22] = [
        &[("charset", "iso-8859-1")],
        &[("username", "")],
        &[("username", "\"\"")],
        &[("username", "\"eve\"")],
        &[("username", "\"nobody\"")],
        &[("username", "\"bob\",username=\"bob\"")],
        &[("realm", "")],
        &[("realm", "\"other\"")],
        &[("nonce", "")],
        &[("nonce", "\"AAAA\"")],
        &[("cnonce", "")],
        &[("cnonce", "\"other\"")],
        &[("nc", "00000002")],
        &[("nc", "x")],
        &[("qop", "auth-int")],
        &[("digest-uri", "")],
        &[("digest-uri", "\"zookeeper/elsewhere\"")],
        &[("digest-uri", "\"ZOOKEEPER/zk-sasl-md5\"")],
        &[("response", "")],
        &[("response", "00000000000000000000000000000000")],
        &[("authzid", "\"eve\"")],
        &[("realm", "\"zk-sasl-md5")],
    ];
    for instead in rows {
        let (mut exchange, nonce) = challenged(&mechanism);
        let token = answer(&nonce, "bob", "secret", instead);
        let mut take = |token: &str| exchange.take(&mechanism, token.as_bytes(), || [0; 30]);
        assert_eq!(take(&token), Err(Rejected), "{token}");
        assert_eq!(take(&answer(&nonce, "bob", "secret", &[])), Err(Rejected), "a second try");
    }
    for (user, password) in [("bob", "Secret"), ("bob", ""), ("nobody", ""), ("nobody", "x")] {
        let (mut exchange, nonce) = challenged(&mechanism);
        let token = answer(&nonce, user, password, &[]);
        let step = exchange.take(&mechanism, token.as_bytes(), || [0; 30]);
        assert_eq!(step, Err(Rejected), "{user} {password}");
    }
}

#[test]
fn what_is_out_of_place_is_refused() {
    let mechanism = mechanism(&[("bob", "secret")]);
    let mut exchange = Exchange::default();
    let early = exchange.take(&mechanism, b"early", || [0; 30]);
    assert!(matches!(early, Ok(Step::Challenge(_))), "what comes before is overlooked");
    assert_eq!(exchange.take(&mechanism, b"early", || [0; 30]), Err(Rejected));
    let (mut exchange, _) = challenged(&mechanism);
    assert_eq!(exchange.take(&mechanism, b"", || [0; 30]), Err(Rejected));
    let (mut exchange, nonce) = challenged(&mechanism);
    let token = answer(&nonce, "bob", "secret", &[]);
    assert!(exchange.take(&mechanism, token.as_bytes(), || [0; 30]).is_ok());
    assert_eq!(exchange.take(&mechanism, b"", || [0; 30]), Err(Rejected), "it is over");
    let (mut exchange, nonce) = challenged(&mechanism);
    let long = answer(&nonce, "bob", "secret", &[("maxbuf", &"9".repeat(5_000))]);
    assert_eq!(exchange.take(&mechanism, long.as_bytes(), || [0; 30]), Err(Rejected));
}

#[test]
fn directives_are_read_as_they_are_written() {
    let read = |token: &str| {
        let found = directives(token.as_bytes()).ok()?;
        let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
        let found = found.into_iter().map(|(name, value)| format!("{name}={}", text(value)));
        Some(found.collect::<Vec<_>>().join(";"))
    };
    let table = [
        ("", Some("")),
        (" , ,", Some("")),
        ("A=b", Some("a=b")),
        ("a=\"b,\\\"c\\\\\" , d = e", Some("a=b,\"c\\;d=e")),
        ("a=", Some("a=")),
        ("a", None),
        ("a b=c", None),
        ("a=\"b", None),
        ("a=\"b\\", None),
        ("a=\"b\"c", None),
        ("a=b c", None),
        ("a=1,a=2", None),
    ];
    for (token, expected) in table {
        assert_eq!(read(token).as_deref(), expected, "{token}");
    }
}

#[test]
fn steps_show_no_tokens() {
    let step = Step::Proven { token: b"rspauth=1".to_vec(), user: "bob".to_owned() };
    assert_eq!(format!("{step:?}"), "Proven(\"bob\")");
    assert_eq!(format!("{:?}", Step::Challenge(b"x".to_vec())), "Challenge");
    let mechanism = mechanism(&[("bob", "secret")]);
    assert!(!format!("{mechanism:?}").contains("secret"));
}

fn login(secret: &Secret) -> Login<'_> {
    Login { user: "chris", password: secret, realm: "elwood.innosoft.com", uri: "imap/elwood" }
}

const CHALLENGE: &str = "realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",qop=\"auth\",\
    algorithm=md5-sess,charset=utf-8";

#[test]
fn the_clients_part_computes_what_the_rfc_does() {
    let secret = Secret::new("secret");
    let login = Login { uri: "imap/elwood.innosoft.com", ..login(&secret) };
    let answer = login.answer(CHALLENGE.as_bytes(), [5; 30]).expect("a challenge");
    let cnonce = STANDARD.encode([5; 30]);
    let proof = Proof {
        user: "chris",
        realm: "elwood.innosoft.com",
        password: "secret",
        nonce: "OA6MG9tEQGm2hh",
        cnonce: cnonce.as_bytes(),
        authzid: None,
        uri: "imap/elwood.innosoft.com",
    };
    let expected = format!(
        "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"OA6MG9tEQGm2hh\",\
         nc=00000001,cnonce=\"{cnonce}\",digest-uri=\"imap/elwood.innosoft.com\",response={},\
         qop=auth",
        proof.value("AUTHENTICATE")
    );
    assert_eq!(String::from_utf8(answer.token.clone()).as_deref(), Ok(&*expected));
    assert!(answer.is_matched_by(format!("rspauth={}", proof.value("")).as_bytes()));
    for wrong in ["", "rspauth=", "rspauth=00000000000000000000000000000000"] {
        assert!(!answer.is_matched_by(wrong.as_bytes()), "{wrong}");
    }
    assert_eq!(format!("{answer:?}"), "Answer");
}

#[test]
fn the_servers_part_accepts_the_clients_whatever_the_name() {
    for (user, password) in [("bob", "secret"), ("böb\"\\x", "sécret"), ("a,b=c", "\"\\,日")] {
        let (mechanism, secret) = (mechanism(&[(user, password)]), Secret::new(password));
        let mut exchange = Exchange::default();
        let challenge = match exchange.take(&mechanism, b"", || [1; 30]) {
            Ok(Step::Challenge(challenge)) => challenge,
            other => panic!("{other:?}"),
        };
        let (realm, uri) = (&*mechanism.realm, &*mechanism.uri);
        let login = Login { user, password: &secret, realm, uri };
        let answer = login.answer(&challenge, [2; 30]).expect("it is a challenge");
        match exchange.take(&mechanism, &answer.token, || [3; 30]) {
            Ok(Step::Proven { token, user: named }) => {
                assert!(answer.is_matched_by(&token));
                assert_eq!(named, user);
            }
            other => panic!("{user}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_challenge_is_not_answered() {
    let secret = Secret::new("secret");
    let take = |challenge: &str| login(&secret).answer(challenge.as_bytes(), [5; 30]).is_ok();
    assert!(take(CHALLENGE));
    assert!(take(&CHALLENGE.replace("qop=\"auth\"", "qop=\"auth-conf, auth\"")));
    assert!(take(&CHALLENGE.replace(",qop=\"auth\"", "")));
    for (what, instead) in [
        ("realm=\"elwood.innosoft.com\",", ""),
        ("elwood", "Elwood"),
        ("nonce=\"OA6MG9tEQGm2hh\",", ""),
        ("OA6MG9tEQGm2hh", ""),
        ("OA6MG9tEQGm2hh", "a\\\"b"),
        ("OA6MG9tEQGm2hh", "a b"),
        ("OA6MG9tEQGm2hh", "ä"),
        ("OA6MG9tEQGm2hh\"", "a\",nonce=\"b\""),
        ("\"auth\"", "\"auth-int\""),
        ("md5-sess", "md5"),
        ("algorithm=md5-sess,", ""),
        ("utf-8", "iso-8859-1"),
        ("utf-8", "utf-8,x"),
    ] {
        assert!(!take(&CHALLENGE.replace(what, instead)), "{what} {instead}");
    }
    assert!(!take("") && !take(&format!("{CHALLENGE},x={}", "9".repeat(5_000))));
}
