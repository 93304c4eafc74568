//! What is thrown at TURN servers, each case by the lesson it teaches.

use super::*;

const GEORGE: &str = "198.51.100.9:40000";

fn plain_allocate() -> Vec<u8> {
    written(Class::Request, Method::ALLOCATE, TransactionId([1; 12]), |writer| writer.requested_transport(17))
}

fn client(remote: SocketAddr) -> Client {
    Client { remote, ..Person::george(GEORGE).client }
}

/// A person with an allocation at a host of four.
fn allocated() -> (Host<'static>, Person, Slot, SocketAddr) {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let (slot, relayed) = host.allocated(&mut george);
    (host, george, slot, relayed)
}

// ------------------------------------------------------------------------------------------------ strangers

#[test]
fn a_binding_is_answered_with_the_address_and_nothing_else() {
    let mut host = Host::with(config(), 1);
    let binding = written(Class::Request, Method::BINDING, TransactionId([1; 12]), |_| {});
    for (remote, len) in [(GEORGE, 32), ("[2001:db8::9]:40000", 44)] {
        let (outcome, _) = host.handle(&client(remote.parse().unwrap()), &binding);
        assert_eq!(outcome, Outcome::Answer(len));
    }
    let answered = (0..1_000).filter(|port| {
        let remote = SocketAddr::new([192, 0, 2, 7].into(), 1_000 + port);
        host.handle(&client(remote), &binding).0 == Outcome::Answer(32)
    });
    assert_eq!(answered.count(), 100, "one allowance for all ports of a source");
    assert_eq!(host.server.counters().silent_for(Reason::RateLimited), 900);
}

#[test]
fn thirty_thousand_strangers_leave_nothing_behind() {
    let mut host = Host::with(config(), 4);
    let request = plain_allocate();
    let mut answers = 0;
    for source in 0..30_000_u32 {
        let remote = SocketAddr::new((0x0b00_0000 + source).to_be_bytes().into(), 4_000);
        let (outcome, answer) = host.handle(&client(remote), &request);
        if let Outcome::Answer(len) = outcome {
            assert!(len <= 72);
            assert!(Reply(answer).is_error(ErrorCode::UNAUTHENTICATED));
            answers += 1;
        }
    }
    assert!(answers > 29_000, "{answers}");
    assert_eq!((host.server.gauges(), host.server.next_deadline_ns()), (Gauges::default(), None));

    host.sleep_s(60);
    let mut one = 0;
    for port in 0..10_000 {
        let remote = SocketAddr::new([192, 0, 2, 7].into(), 1_000 + port);
        one += u32::from(matches!(host.handle(&client(remote), &request).0, Outcome::Answer(_)));
    }
    assert_eq!(one, 100, "past the allowance there is silence");
    host.sleep_s(1);
    let mut george = Person::george(GEORGE);
    host.allocated(&mut george);
}

#[test]
fn streams_of_one_address_do_not_silence_each_other() {
    let mut host = Host::with(config(), 4);
    let request = plain_allocate();
    let mut answers = |ports: std::ops::Range<u16>, transport| {
        let answered = ports.filter(|port| {
            let remote = SocketAddr::new([192, 0, 2, 7].into(), 1_000 + port % 2_000);
            let client = Client { transport, ..client(remote) };
            matches!(host.handle(&client, &request).0, Outcome::Answer(_))
        });
        answered.count()
    };
    assert_eq!(answers(0..2_000, Transport::Tls), 2_000, "an office comes back at once, and each asks once");
    assert_eq!(answers(0..2_000, Transport::Udp), 100, "a datagram proves no address");
    let mut one = client("192.0.2.8:1".parse().unwrap());
    one.transport = Transport::Tcp;
    let answered = (0..1_000).filter(|_| matches!(host.handle(&one, &request).0, Outcome::Answer(_)));
    assert_eq!(answered.count(), 100, "one stream has its allowance too");
}

#[test]
fn an_invented_nonce_is_answered_without_a_look_at_the_integrity() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    george.realm = b"example.org".to_vec();
    for nonce in [&b"x"[..], b"0123456789abcdef01234567", &[0; 128]] {
        george.nonce = nonce.to_vec();
        let reply = host.ask(&mut george, Method::ALLOCATE, |writer| writer.requested_transport(17));
        assert!(reply.is_error(ErrorCode::STALE_NONCE), "the right password is not even tried");
        assert!(reply.message().nonce().is_some());
    }
    let silent = (0..1_000).filter(|_| {
        let request = george.request(Method::ALLOCATE, |writer| writer.requested_transport(17));
        matches!(host.handle(&george.client, &request).0, Outcome::Silence(Reason::RateLimited))
    });
    assert!(silent.count() >= 900);
    assert_eq!(host.server.counters().bad_credentials, 0);
}

#[test]
fn half_the_attributes_are_a_bad_request() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let refused = host.ask(&mut george, Method::ALLOCATE, |_| {});
    george.learn(&refused);
    for left_out in 0..3 {
        let bytes = written(Class::Request, Method::ALLOCATE, TransactionId([left_out; 12]), |writer| {
            if left_out != 0 {
                writer.username(b"george");
            }
            if left_out != 1 {
                writer.realm(&george.realm);
            }
            if left_out != 2 {
                writer.nonce(&george.nonce);
            }
            writer.integrity(&george.key());
        });
        let reply = host.ask_bytes(&george, &bytes);
        assert!(reply.is_error(ErrorCode::BAD_REQUEST));
        assert_eq!(reply.0.len(), 28);
    }
}

#[test]
fn rubbish_is_met_with_silence() {
    let (mut host, george, ..) = allocated();
    let silent = |host: &mut Host<'_>, bytes: &[u8]| match host.handle(&george.client, bytes).0 {
        Outcome::Silence(reason) => reason,
        outcome => panic!("{outcome:?} to {bytes:02x?}"),
    };
    let message = |class, method: u16| written(class, Method(method), TransactionId([1; 12]), |_| {});
    for method in [2, 5, 0x00a, 0x00b, 0x00c, 0x7ff, 0xfff] {
        assert_eq!(silent(&mut host, &message(Class::Request, method)), Reason::Method, "{method:#x}");
    }
    for method in [1, 3, 4, 6, 7, 8, 9, 0xfff] {
        for class in [Class::Success, Class::Error, Class::Indication] {
            if (class, method) != (Class::Indication, 6) {
                assert_eq!(silent(&mut host, &message(class, method)), Reason::Class, "{class:?} {method}");
            }
        }
    }
    let mut bytes = plain_allocate();
    bytes[4] ^= 1;
    assert_eq!(silent(&mut host, &bytes), Reason::Malformed, "no cookie");
    let mut bytes = plain_allocate();
    bytes.pop();
    assert_eq!(silent(&mut host, &bytes), Reason::Malformed, "cut");
    let mut bytes = plain_allocate();
    bytes[23] = 0xff;
    assert_eq!(silent(&mut host, &bytes), Reason::Malformed, "an attribute past the end");
    let mut bytes =
        written(Class::Request, Method::ALLOCATE, TransactionId([1; 12]), |writer| writer.fingerprint());
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(silent(&mut host, &bytes), Reason::Malformed, "a bad fingerprint");
    assert_eq!(silent(&mut host, b""), Reason::Foreign);
    assert_eq!(silent(&mut host, &[0x16, 3, 1, 0, 0]), Reason::Malformed, "TLS");
    assert_eq!(silent(&mut host, &[0x80, 0x60, 0, 0, 0]), Reason::Foreign, "RTP");
}

#[test]
fn thousands_of_attributes_and_empty_addresses() {
    let (mut host, mut george, ..) = allocated();
    let reply = host.ask(&mut george, Method::REFRESH, |writer| {
        for kind in 0..900 {
            writer.attribute(AttributeType(0x7000 + kind), &[]);
        }
    });
    assert!(reply.is_error(ErrorCode::UNKNOWN_ATTRIBUTE));
    assert_eq!(reply.message().unknown_attributes().count(), 8);
    let stranger =
        Person::george("198.51.100.77:1").request_as(TransactionId([3; 12]), Method::REFRESH, |writer| {
            writer.attribute(AttributeType(0x7000), &[]);
        });
    let reply = host.ask_bytes(&Person::george("198.51.100.77:1"), &stranger);
    assert!(reply.is_error(ErrorCode::UNAUTHENTICATED), "420 is for those who may ask");

    for value in [&[][..], &[0; 4], &[0, 1, 0, 0], &[0, 3, 0, 0, 1, 2, 3, 4], &[0, 2, 0, 0, 1, 2, 3, 4]] {
        for method in [Method::CREATE_PERMISSION, Method::CHANNEL_BIND] {
            let reply = host.ask(&mut george, method, |writer| {
                writer.channel_number(0x4000);
                writer.attribute(AttributeType::XOR_PEER_ADDRESS, value);
            });
            assert!(reply.is_error(ErrorCode::BAD_REQUEST), "{value:?}");
        }
        let send = george.indication(Method::SEND, |writer| {
            writer.attribute(AttributeType::XOR_PEER_ADDRESS, value);
            writer.attribute(AttributeType::DATA, b"x");
        });
        assert_eq!(host.handle(&george.client, &send).0, Outcome::Silence(Reason::BadIndication));
    }
    let reply = host.ask(&mut george, Method::CREATE_PERMISSION, |_| {});
    assert!(reply.is_error(ErrorCode::BAD_REQUEST), "no address at all");
    assert_eq!((host.server.gauges().permissions, host.server.gauges().channels), (0, 0));
}

#[test]
fn of_duplicates_the_first_counts() {
    let (mut host, mut george, ..) = allocated();
    let reply = host.ask(&mut george, Method::CHANNEL_BIND, |writer| {
        writer.channel_number(0x4000);
        writer.channel_number(0x4001);
        writer.xor_peer_address(MEDIA.parse().unwrap());
        writer.xor_peer_address("192.0.2.1:5".parse().unwrap());
    });
    assert_eq!(reply.code(), None);
    assert!(
        matches!(host.channel_data(&george, 0x4000, b"x"), Outcome::ToPeer(to) if to.peer == MEDIA.parse().unwrap())
    );
    assert_eq!(host.channel_data(&george, 0x4001, b"x"), Outcome::Silence(Reason::NoChannel));
}

// ------------------------------------------------------------------------------------------------ credentials

#[test]
fn what_follows_the_integrity_does_not_count() {
    let (mut host, mut george, slot, _) = allocated();
    let signed = george.request(Method::REFRESH, |writer| writer.lifetime_s(1_200));
    let mut slot_bytes = vec![0; 2_000];
    let message = Message::parse(&signed).unwrap();
    let mut writer = Writer::request(&mut slot_bytes, Method::REFRESH, message.transaction());
    for attribute in message.attributes() {
        writer.attribute(attribute.kind, attribute.value);
    }
    writer.integrity(&george.key());
    writer.lifetime_s(0);
    writer.xor_peer_address("192.0.2.1:5".parse().unwrap());
    writer.fingerprint();
    let len = writer.finish().unwrap();
    let reply = host.ask_bytes(&george, &slot_bytes[..len]);
    assert_eq!(reply.message().lifetime_s(), Some(1_200));
    assert!(host.server.allocation(slot).is_some());
}

#[test]
fn a_captured_request_is_worth_nothing_elsewhere_or_later() {
    let (mut host, mut george, slot, _) = allocated();
    let captured = george.request(Method::REFRESH, |writer| writer.lifetime_s(0));
    for remote in ["198.51.100.9:40001", "198.51.100.10:40000", "[2001:db8::1]:40000"] {
        let thief = Person::george(remote);
        assert!(host.ask_bytes(&thief, &captured).is_error(ErrorCode::STALE_NONCE), "{remote}");
    }
    let mut by_tcp = george.clone();
    by_tcp.client.transport = Transport::Tcp;
    assert!(host.ask_bytes(&by_tcp, &captured).is_error(ErrorCode::STALE_NONCE));
    host.refresh(&mut george, 3_600);
    host.sleep_s(NONCE_LIFETIME_S + 1);
    assert!(host.ask_bytes(&george, &captured).is_error(ErrorCode::STALE_NONCE));
    assert!(host.server.allocation(slot).is_some(), "nothing changed");
}

#[test]
fn guesses_are_counted_and_met_with_silence() {
    let mut host = Host::with(config(), 4);
    let mut guesser = Person::new(GEORGE, "george", "guess");
    let refused = host.ask(&mut guesser, Method::ALLOCATE, |_| {});
    guesser.learn(&refused);
    let mut answers = 0;
    for guess in 0..1_000 {
        guesser.password = format!("guess {guess}");
        let request = guesser.request(Method::ALLOCATE, |writer| writer.requested_transport(17));
        match host.handle(&guesser.client, &request) {
            (Outcome::Answer(_), answer) => {
                assert!(Reply(answer).is_error(ErrorCode::UNAUTHENTICATED));
                answers += 1;
            }
            (outcome, _) => assert_eq!(outcome, Outcome::Silence(Reason::RateLimited)),
        }
    }
    assert!(answers <= 100, "{answers}");
    assert!(host.server.counters().bad_credentials <= 100, "past the allowance nothing is even tried");
    let mut george = Person::george("198.51.100.10:1");
    host.allocated(&mut george);
    assert_eq!(host.server.gauges().allocations, 1, "whoever knows the password is not kept out");
}

#[test]
fn names_and_passwords_that_are_not_right() {
    let mut host = Host::with(config(), 4);
    let until = START.unix_s + 100;
    let mut wrong_secret = Person::expiring(GEORGE, until, "alice");
    wrong_secret.password = shared_secret_password(b"another", &wrong_secret.name);
    let people = [
        Person::new(GEORGE, "george", "w0rd"),
        Person::new(GEORGE, "nobody", "pa55"),
        Person::new(GEORGE, "", ""),
        Person::new(GEORGE, ":", ""),
        Person::expiring(GEORGE, START.unix_s, "alice"),
        Person::expiring(GEORGE, START.unix_s - 1, "alice"),
        Person::expiring(GEORGE, 0, "alice"),
        wrong_secret,
    ];
    for mut person in people {
        let reply = host.allocate(&mut person, |_| {});
        assert!(reply.is_error(ErrorCode::UNAUTHENTICATED), "{}", person.name);
    }
    let mut long = Person::new(GEORGE, &"x".repeat(600), "");
    assert!(host.allocate(&mut long, |_| {}).is_error(ErrorCode::BAD_REQUEST));
    let mut elsewhere = Person::george(GEORGE);
    let refused = host.ask(&mut elsewhere, Method::ALLOCATE, |_| {});
    elsewhere.learn(&refused);
    elsewhere.realm = b"example.net".to_vec();
    let reply = host.ask(&mut elsewhere, Method::ALLOCATE, |writer| writer.requested_transport(17));
    assert!(reply.is_error(ErrorCode::UNAUTHENTICATED), "another realm");
    host.allocated(&mut Person::expiring(GEORGE, until, "alice"));
}

#[test]
fn an_expired_credential_refreshes_nothing() {
    let mut host = Host::with(config(), 4);
    let mut alice = Person::expiring(GEORGE, START.unix_s + 500, "alice");
    let (slot, _) = host.allocated(&mut alice);
    host.sleep_s(499);
    assert_eq!(host.refresh(&mut alice, 600).code(), None);
    host.sleep_s(1);
    assert!(host.refresh(&mut alice, 600).is_error(ErrorCode::UNAUTHENTICATED));
    assert!(host.server.allocation(slot).is_some(), "it ends at its own time");
    assert_eq!(host.permit(&mut alice, &[MEDIA]), None);
    assert_eq!(host.refresh(&mut alice, 0).code(), None, "giving back is always possible");
    assert!(host.allocate(&mut alice, |_| {}).is_error(ErrorCode::UNAUTHENTICATED));
}

#[test]
fn an_allocation_is_its_owners() {
    let (mut host, george, slot, _) = allocated();
    let mut martha = Person::new(GEORGE, "martha", "w0rd");
    (martha.realm, martha.nonce) = (george.realm.clone(), george.nonce.clone());
    assert!(host.refresh(&mut martha, 0).is_error(ErrorCode::WRONG_CREDENTIALS));
    assert_eq!(host.permit(&mut martha, &[MEDIA]), Some(ErrorCode::WRONG_CREDENTIALS));
    assert_eq!(host.bind(&mut martha, 0x4000, MEDIA), Some(ErrorCode::WRONG_CREDENTIALS));
    assert!(host.allocate(&mut martha, |_| {}).is_error(ErrorCode::ALLOCATION_MISMATCH));
    assert!(host.server.allocation(slot).is_some());
}

#[test]
fn both_secrets_are_good_while_one_replaces_the_other() {
    let mut config = config();
    config.credentials.secrets.insert(0, b"the new one".to_vec());
    let mut host = Host::with(config, 4);
    let until = START.unix_s + 100;
    host.allocated(&mut Person::expiring(GEORGE, until, "alice"));
    let mut bob = Person::expiring("198.51.100.10:1", until, "bob");
    bob.password = shared_secret_password(b"the new one", &bob.name);
    host.allocated(&mut bob);
}

// ------------------------------------------------------------------------------------------------ peers

#[test]
fn forbidden_peers_are_refused_by_every_method() {
    let (mut host, mut george, ..) = allocated();
    // With a permission for the media address, what else is at that address stays out of reach.
    assert_eq!(host.permit(&mut george, &[MEDIA]), None);
    let forbidden = Some(ErrorCode::FORBIDDEN);
    for port in [0, 22, 3478, 6_999, 7_001, 9_090, 50_000] {
        let peer = format!("203.0.113.5:{port}");
        assert_eq!(host.bind(&mut george, 0x4000, &peer), forbidden, "{peer}");
        assert_eq!(host.send(&mut george, &peer, b"x"), Outcome::Silence(Reason::Forbidden), "{peer}");
    }
    for ip in
        ["0.0.0.0", "127.0.0.1", "10.0.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "8.8.8.8"]
    {
        let peer = format!("{ip}:7000");
        assert_eq!(host.permit(&mut george, &[&peer]), forbidden, "{peer}");
        assert_eq!(host.permit(&mut george, &[MEDIA, &peer]), forbidden, "one of two");
        assert_eq!(host.bind(&mut george, 0x4000, &peer), forbidden, "{peer}");
        assert_eq!(host.send(&mut george, &peer, b"x"), Outcome::Silence(Reason::NoPermission), "{peer}");
    }
    assert_eq!((host.server.gauges().permissions, host.server.gauges().channels), (1, 0));
    assert!(host.sockets.open.is_empty());
}

#[test]
fn forbidden_peers_in_ipv6_are_refused_too() {
    let mut config = config();
    config.policy.allow = vec!["::/0".parse().unwrap(), "0.0.0.0/0".parse().unwrap()];
    let mut host = Host::with(config, 4);
    let mut george = Person::george(GEORGE);
    let reply = host.allocate(&mut george, |writer| {
        writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(reply.code(), None);
    for ip in [
        "::",
        "::1",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::6",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::",
        "2001:0:808:808:0:ffff:80ff:fffe",
        "2620:0:2d0:200::5efe:127.0.0.1",
        "2001:db8::5",
    ] {
        let peer = format!("[{ip}]:80");
        assert_eq!(host.bind(&mut george, 0x4000, &peer), Some(ErrorCode::FORBIDDEN), "{peer}");
        assert!(matches!(host.send(&mut george, &peer, b"x"), Outcome::Silence(_)), "{peer}");
    }
    for peer in ["[::ffff:127.0.0.1]:80", "[::ffff:8.8.8.8]:80", "127.0.0.1:80", "8.8.8.8:80", MEDIA] {
        let mismatch = Some(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
        assert_eq!(host.permit(&mut george, &[peer]), mismatch, "{peer}");
        assert_eq!(host.bind(&mut george, 0x4000, peer), mismatch, "{peer}");
        assert_eq!(host.send(&mut george, peer, b"x"), Outcome::Silence(Reason::Family), "{peer}");
    }
    assert!(host.sockets.open.is_empty(), "nothing leaves the host");
    assert_eq!(host.bind(&mut george, 0x4000, "[2606:4700::1111]:80"), None);
}

#[test]
fn own_services_and_others_relayed_addresses_are_out_of_reach() {
    let mut config = config();
    config.policy.own = vec!["0.0.0.0:3478".parse().unwrap(), "203.0.113.5:9090".parse().unwrap()];
    config.policy.allow = vec!["0.0.0.0/0".parse().unwrap(), "203.0.113.0/24".parse().unwrap()];
    let mut host = Host::with(config.clone(), 4);
    let mut george = Person::george(GEORGE);
    host.allocated(&mut george);
    for peer in ["203.0.113.5:3478", "203.0.113.5:9090"] {
        assert_eq!(
            host.bind(&mut george, 0x4000, peer),
            Some(ErrorCode::FORBIDDEN),
            "{peer}, allowed or not"
        );
    }
    let (_, other) = host.allocated(&mut Person::new("198.51.100.10:1", "martha", "w0rd"));
    assert_eq!(host.bind(&mut george, 0x4000, &other.to_string()), None, "opened by name");

    config.policy.allow = vec!["0.0.0.0/0".parse().unwrap()];
    let mut host = Host::with(config, 4);
    let (_, own) = host.allocated(&mut george);
    let (_, other) = host.allocated(&mut Person::new("198.51.100.10:1", "martha", "w0rd"));
    for peer in [own, other] {
        assert_eq!(host.bind(&mut george, 0x4000, &peer.to_string()), Some(ErrorCode::FORBIDDEN));
    }
}

// ------------------------------------------------------------------------------------------------ limits

#[test]
fn a_user_allocates_until_refused_and_every_port_comes_back() {
    let mut config = config();
    config.ports = 50_000..=50_009;
    config.limits.user.allocations_max = 6;
    let mut host = Host::with(config, 8);
    let people = |name: &'static str, password: &'static str| {
        (0..9).map(move |at| Person::new(&format!("198.51.100.9:{}", 40_000 + at), name, password))
    };
    for round in 0..20 {
        let mut georges: Vec<_> = people("george", "pa55").collect();
        for (at, george) in georges.iter_mut().enumerate() {
            let code = host.allocate(george, |_| {}).code();
            assert_eq!(code, (at >= 6).then_some(ErrorCode::ALLOCATION_QUOTA_REACHED), "round {round}");
        }
        let mut marthas: Vec<_> = people("martha", "w0rd").collect();
        for (at, martha) in marthas.iter_mut().enumerate() {
            martha.client.remote.set_port(50_000 + martha.client.remote.port() % 100);
            let code = host.allocate(martha, |_| {}).code();
            let expected = match at {
                0..2 => None,
                2..6 => Some(ErrorCode::INSUFFICIENT_CAPACITY),
                // With two of six she is below her quota still.
                _ => Some(ErrorCode::INSUFFICIENT_CAPACITY),
            };
            assert_eq!(code, expected, "round {round}");
        }
        // Half of them vanish, the others say good-bye.
        for george in georges.iter_mut().take(3) {
            assert_eq!(host.refresh(george, 0).code(), None);
        }
        host.sleep_s(601);
        host.timeout();
        assert_eq!(host.server.gauges(), Gauges::default());
    }
    assert_eq!(host.server.counters().allocations_opened, 160);
}

#[test]
fn what_is_left_out_is_refused_by_the_right_code() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let (full, bad) = (ErrorCode::INSUFFICIENT_CAPACITY, ErrorCode::BAD_REQUEST);
    type Attributes = &'static [(AttributeType, &'static [u8])];
    const EVEN: (AttributeType, &[u8]) = (AttributeType::EVEN_PORT, &[0x80]);
    const TOKEN: (AttributeType, &[u8]) = (AttributeType::RESERVATION_TOKEN, &[1; 8]);
    const V6: (AttributeType, &[u8]) = (AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    const BOTH: (AttributeType, &[u8]) = (AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let cases: [(Attributes, ErrorCode); 11] = [
        (&[(AttributeType::EVEN_PORT, &[])], bad),
        (&[EVEN], full),
        (&[TOKEN], full),
        (&[EVEN, TOKEN], bad),
        (&[TOKEN, V6], bad),
        (&[EVEN, BOTH], bad),
        (&[V6, BOTH], bad),
        (&[(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[1, 0, 0, 0])], bad),
        (
            &[(AttributeType::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0])],
            ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED,
        ),
        (&[(AttributeType::REQUESTED_ADDRESS_FAMILY, &[1])], bad),
        (&[(AttributeType::LIFETIME, &[1])], bad),
    ];
    for (attributes, code) in cases {
        let reply = host.allocate(&mut george, |writer| {
            for (kind, value) in attributes {
                writer.attribute(*kind, value);
            }
        });
        assert_eq!(reply.code(), Some(code), "{attributes:?}");
    }
    for (protocol, code) in [(6, ErrorCode::UNSUPPORTED_TRANSPORT), (0, ErrorCode::UNSUPPORTED_TRANSPORT)] {
        let reply = host.ask(&mut george, Method::ALLOCATE, |writer| writer.requested_transport(protocol));
        assert_eq!(reply.code(), Some(code));
    }
    let reply = host.ask(&mut george, Method::ALLOCATE, |_| {});
    assert!(reply.is_error(bad), "no transport at all");
    for method in [Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND] {
        let reply = host.ask(&mut george, method, |writer| writer.lifetime_s(600));
        assert!(reply.is_error(ErrorCode::ALLOCATION_MISMATCH), "no allocation yet");
    }
    for _ in 0..8 {
        let reply = host.allocate(&mut george, |writer| writer.attribute(AttributeType::EVEN_PORT, &[0]));
        let relayed = reply.message().xor_relayed_address().unwrap();
        assert_eq!(relayed.port() % 2, 0, "an even port alone is no trouble");
        host.refresh(&mut george, 0);
    }
    // Mobility is optional: it is passed over, and the answer shows that there is none.
    let reply = host.allocate(&mut george, |writer| writer.attribute(AttributeType(0x8030), &[]));
    assert_eq!((reply.code(), reply.message().find(AttributeType(0x8030))), (None, None));
    let reply = host.ask(&mut george, Method::REFRESH, |writer| {
        writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert!(reply.is_error(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH));
}

#[test]
fn permissions_and_channels_have_their_room_and_quotas() {
    let open = |change: fn(&mut Limits)| {
        let mut config = config();
        config.policy.allow = vec!["192.0.2.0/24".parse().unwrap()];
        change(&mut config.limits);
        let mut host = Host::with(config, 4);
        let mut george = Person::george(GEORGE);
        host.allocated(&mut george);
        (host, george)
    };
    let peer = |at: usize| format!("192.0.2.{}:9", at + 1);
    let full = Some(ErrorCode::INSUFFICIENT_CAPACITY);

    let (mut host, mut george) = open(|_| {});
    for at in 0..CHANNELS_MAX {
        assert_eq!(host.bind(&mut george, 0x4000 + u16::try_from(at).unwrap(), &peer(at)), None);
    }
    assert_eq!(host.bind(&mut george, 0x4100, &peer(16)), full);
    assert_eq!(host.permit(&mut george, &[&peer(16)]), full);
    assert_eq!(host.permit(&mut george, &[&peer(3), &peer(3), &peer(4)]), None, "these are there");
    assert_eq!(host.bind(&mut george, 0x4003, &peer(3)), None);
    let bad = Some(ErrorCode::BAD_REQUEST);
    assert_eq!(host.bind(&mut george, 0x4003, &peer(4)), bad, "both are bound, but not to each other");
    assert_eq!(host.bind(&mut george, 0x4100, &peer(4)), bad);
    assert_eq!(host.bind(&mut george, 0x4003, &peer(16)), bad);
    for number in [0, 0x3fff, 0x8000, 0xffff] {
        assert_eq!(host.bind(&mut george, number, &peer(3)), bad, "{number:#x}");
    }
    let gauges = host.server.gauges();
    assert_eq!((gauges.permissions, gauges.channels, gauges.sockets), (16, 16, 1));

    let (mut host, mut george) = open(|_| {});
    let peers: Vec<_> = (0..17).map(peer).collect();
    let peers: Vec<_> = peers.iter().map(String::as_str).collect();
    assert_eq!(host.permit(&mut george, &peers), full, "all or none");
    assert_eq!(host.server.gauges().permissions, 0);
    assert_eq!(host.permit(&mut george, &peers[1..]), None);
    assert_eq!(host.server.gauges().permissions, 16);

    for change in [(|limits| limits.user.permissions_max = 2) as fn(&mut Limits), |limits| {
        limits.total.permissions_max = 2
    }] {
        let (mut host, mut george) = open(change);
        assert_eq!(host.permit(&mut george, &peers[..3]), full);
        assert_eq!(host.permit(&mut george, &peers[..2]), None);
        assert_eq!(host.bind(&mut george, 0x4000, &peer(0)), None);
        assert_eq!(host.bind(&mut george, 0x4001, &peer(2)), full);
        assert_eq!((host.server.gauges().permissions, host.server.gauges().channels), (2, 1));
        host.sleep_s(300);
        assert_eq!(host.bind(&mut george, 0x4001, &peer(2)), None, "what ended makes room");
    }
    for change in
        [(|limits| limits.user.channels_max = 1) as fn(&mut Limits), |limits| limits.total.channels_max = 1]
    {
        let (mut host, mut george) = open(change);
        assert_eq!(host.bind(&mut george, 0x4000, &peer(0)), None);
        assert_eq!(host.bind(&mut george, 0x4001, &peer(1)), full);
        assert_eq!(host.server.gauges().permissions, 1, "and no permission either");
    }
}

#[test]
fn bandwidth_is_held_in_both_directions() {
    let mut config = config();
    config.limits.user.bandwidth_max_bytes_per_s = 10_000;
    let mut host = Host::with(config, 4);
    let mut george = Person::george(GEORGE);
    let (slot, _) = host.allocated(&mut george);
    host.bind(&mut george, 0x4000, MEDIA);
    let mut relayed = 0;
    for _ in 0..100 {
        relayed += u64::from(matches!(host.channel_data(&george, 0x4000, &[7; 100]), Outcome::ToPeer(_)));
        relayed += u64::from(matches!(host.send(&mut george, MEDIA, &[7; 100]), Outcome::ToPeer(_)));
        relayed += u64::from(host.server.note_to_client(host.now, slot, 1, 100));
    }
    assert!((50..=52).contains(&relayed), "{relayed} of 300: half a second's worth");
    let counters = host.server.counters();
    assert_eq!(counters.to_peer_packets + counters.to_client_packets, relayed);
    assert_eq!(counters.silent_for(Reason::OverBandwidth), 300 - relayed);
    host.sleep_s(1);
    assert!(host.server.note_to_client(host.now, slot, 1, 100));
}

// ------------------------------------------------------------------------------------------------ channel data

#[test]
fn channel_data_that_is_not_right_is_dropped() {
    let (mut host, mut george, ..) = allocated();
    host.bind(&mut george, 0x4000, MEDIA);
    let outcome = |host: &mut Host<'_>, bytes: &[u8]| host.handle(&george.client, bytes).0;
    let silence = |reason| Outcome::Silence(reason);
    let long = [&channel_data(0x4000, &[7; 100])[..103]].concat();
    assert_eq!(outcome(&mut host, &long), silence(Reason::Framing), "longer than its datagram");
    assert_eq!(outcome(&mut host, b"\x40\0\0\0"), silence(Reason::Empty));
    for len in 1..4 {
        assert_eq!(outcome(&mut host, &b"\x40\0\0\x01"[..len]), silence(Reason::Framing));
    }
    assert_eq!(outcome(&mut host, &channel_data(0x4001, b"x")), silence(Reason::NoChannel), "unbound");
    assert_eq!(outcome(&mut host, &channel_data(0x5000, b"x")), silence(Reason::NoChannel));
    assert_eq!(outcome(&mut host, &channel_data(0x7fff, b"x")), silence(Reason::NoChannel));
    assert_eq!(outcome(&mut host, &channel_data(0x8000, b"x")), silence(Reason::Foreign));
    let mut padded = channel_data(0x4000, b"hello");
    for _ in 0..3 {
        padded.push(0);
        assert!(matches!(outcome(&mut host, &padded), Outcome::ToPeer(to) if to.data == (4..9)));
    }
    padded.push(0);
    assert_eq!(outcome(&mut host, &padded), silence(Reason::Framing), "more than padding");
    let stranger = Person::george("198.51.100.10:1");
    let (other, _) = host.handle(&stranger.client, &channel_data(0x4000, b"x"));
    assert_eq!(other, silence(Reason::NoAllocation));
}

// ------------------------------------------------------------------------------------------------ anything

#[test]
fn every_length_with_every_first_byte() {
    let (mut host, mut george, slot, relayed) = allocated();
    host.bind(&mut george, 0x4000, MEDIA);
    let wholes = [
        george.request(Method::REFRESH, |writer| writer.lifetime_s(700)),
        george.request(Method::CREATE_PERMISSION, |writer| writer.xor_peer_address(MEDIA.parse().unwrap())),
        george.indication(Method::SEND, |writer| {
            writer.xor_peer_address(MEDIA.parse().unwrap());
            writer.attribute(AttributeType::DATA, &[7; 40]);
        }),
        channel_data(0x4000, &[7; 100]),
        vec![0; 1_600],
    ];
    for whole in &wholes {
        for first in 0..=u8::MAX {
            for len in 0..=whole.len() {
                let mut bytes = whole[..len].to_vec();
                if let Some(byte) = bytes.first_mut() {
                    *byte = first;
                }
                if whole.len() == 1_600 && len > 40 && len % 97 != 0 {
                    continue;
                }
                let _ = host.handle(&george.client, &bytes);
                // A header that is right about its length lets the attributes be cut anywhere.
                if len >= 20 && first < 0x40 {
                    bytes[2..4].copy_from_slice(&u16::try_from(len - 20).unwrap().to_be_bytes());
                    let _ = host.handle(&george.client, &bytes);
                }
            }
        }
    }
    assert!(host.server.allocation(slot).is_some_and(|record| record.relayed().eq([relayed])));
}

#[test]
fn every_answer_fits_or_is_silence() {
    let (mut host, mut george, ..) = allocated();
    let requests = [
        plain_allocate(),
        george.request(Method::REFRESH, |_| {}),
        george.request(Method::CREATE_PERMISSION, |_| {}),
        written(Class::Request, Method::BINDING, TransactionId([1; 12]), |_| {}),
    ];
    for request in requests {
        let (outcome, _) = host.handle(&george.client, &request);
        let Outcome::Answer(len) = outcome else { panic!() };
        for room in 0..len {
            let mut answer = vec![0; room];
            host.sleep_s(1);
            let (now, sockets) = (host.now, &mut host.sockets);
            let outcome = host.server.handle_client(now, &george.client, &request, &mut answer, sockets);
            assert!(matches!(outcome, Outcome::Silence(Reason::NoRoom | Reason::Malformed)), "{outcome:?}");
        }
    }
}
