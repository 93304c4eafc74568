//! The worked example of RFC 8656 §20, with its addresses, names and numbers.

use super::*;

/// Realm, user, lifetime and relayed address as the example has them. Its addresses are of a range for documentation, which
/// the operator opens.
fn example() -> Host<'static> {
    let credentials = Credentials {
        realm: "example.com".into(),
        secrets: vec![],
        static_users: vec![("George".into(), "the example tells no password".into())],
    };
    let mut config = Config::new(credentials, (Some([192, 0, 2, 15].into()), None));
    config.ports = 50_000..=50_000;
    config.policy.allow = vec!["192.0.2.0/24".parse().unwrap()];
    config.lifetime_max_s = 1200;
    config.offer_sha256 = true;
    Host::with(config, 4)
}

fn transaction(hex: &str) -> TransactionId {
    let digits = u128::from_str_radix(hex, 16).unwrap().to_be_bytes();
    TransactionId(digits[4..].try_into().unwrap())
}

/// The request of this transaction, answered.
fn ask(
    host: &mut Host<'_>,
    george: &Person,
    id: &str,
    method: Method,
    more: impl FnOnce(&mut Writer<'_>),
) -> Reply {
    let request = george.request_as(transaction(id), method, more);
    host.ask_bytes(george, &request)
}

fn allocation(writer: &mut Writer<'_>) {
    writer.software(b"Example client, version 1.03");
    writer.lifetime_s(3600);
    writer.requested_transport(17);
    writer.attribute(AttributeType::DONT_FRAGMENT, &[]);
}

#[test]
fn the_worked_example() {
    let mut host = example();
    let mut george = Person::new("192.0.2.1:7000", "George", "the example tells no password");

    let refused = ask(&mut host, &george, "A56250D3F17ABE679422DE85", Method::ALLOCATE, allocation);
    assert!(refused.is_error(ErrorCode::UNAUTHENTICATED));
    assert_eq!(refused.message().realm(), Some(&b"example.com"[..]));
    let nonce = refused.message().nonce().unwrap();
    assert!(nonce.starts_with(b"obMatJos2"), "the nonce cookie");
    let offered = refused.message().find(AttributeType::PASSWORD_ALGORITHMS);
    assert_eq!(offered, Some(&[0, 1, 0, 0, 0, 2, 0, 0][..]), "MD5 and SHA256");
    george.learn(&refused);
    george.sha256 = true;

    let made = ask(&mut host, &george, "C271E932AD7446A32C234492", Method::ALLOCATE, allocation);
    assert_eq!(made.message().class(), Class::Success);
    assert_eq!(made.message().lifetime_s(), Some(1200));
    assert_eq!(made.message().xor_relayed_address(), "192.0.2.15:50000".parse().ok());
    assert_eq!(made.message().xor_mapped_address(), "192.0.2.1:7000".parse().ok());
    assert!(made.message().has_integrity_sha256());

    let permitted =
        ask(&mut host, &george, "E5913A8F460956CA277D3319", Method::CREATE_PERMISSION, |writer| {
            writer.xor_peer_address("192.0.2.150:0".parse().unwrap());
        });
    assert_eq!(permitted.message().class(), Class::Success);

    let send = written(Class::Indication, Method::SEND, transaction("1278E9ACA2711637EF7D3328"), |writer| {
        writer.xor_peer_address("192.0.2.150:32102".parse().unwrap());
        writer.attribute(AttributeType::DONT_FRAGMENT, &[]);
        writer.attribute(AttributeType::DATA, b"to A");
    });
    let (Outcome::ToPeer(to), _) = host.handle(&george.client, &send) else { panic!() };
    assert_eq!(to.relayed, "192.0.2.15:50000".parse().unwrap());
    assert_eq!(to.peer, "192.0.2.150:32102".parse().unwrap());
    assert_eq!((&send[to.data], to.dont_fragment), (&b"to A"[..], true));

    let (slot, relayed) = (to.allocation, to.relayed);
    let Some(Framing::Indication { peer, .. }) = host.frame(slot, relayed, "192.0.2.150:32102") else {
        panic!()
    };
    assert_eq!(peer, "192.0.2.150:32102".parse().unwrap());

    let bind = |writer: &mut Writer<'_>| {
        writer.channel_number(0x4000);
        writer.xor_peer_address("192.0.2.210:49191".parse().unwrap());
    };
    let bound = ask(&mut host, &george, "6490D3BC175AFF3D84513212", Method::CHANNEL_BIND, bind);
    assert_eq!(bound.message().class(), Class::Success);
    let Outcome::ToPeer(to) = host.channel_data(&george, 0x4000, b"to B") else { panic!() };
    assert_eq!((to.relayed, to.peer), (relayed, "192.0.2.210:49191".parse().unwrap()));
    let framing = host.frame(slot, relayed, "192.0.2.210:49191");
    assert_eq!(framing, Some(Framing::Channel { number: 0x4000, padded: false }));

    host.sleep_s(599);
    let again = ask(&mut host, &george, "E5913A8F46091637EF7D3328", Method::CHANNEL_BIND, bind);
    assert_eq!(again.message().class(), Class::Success);

    host.sleep_s(2);
    let refresh = |writer: &mut Writer<'_>| writer.lifetime_s(3600);
    let stale = ask(&mut host, &george, "0864B3C27ADE9354B4312414", Method::REFRESH, refresh);
    assert!(stale.is_error(ErrorCode::STALE_NONCE));
    george.learn(&stale);
    let refreshed = ask(&mut host, &george, "427BD3E625A85FC731DC4191", Method::REFRESH, refresh);
    assert_eq!(refreshed.message().lifetime_s(), Some(1200));
}

/// A client of this server that knows nothing of SHA-256 is served as ever (RFC 8489 §9.2.4).
#[test]
fn the_elder_client_passes_the_offer_over() {
    let mut host = example();
    let mut george = Person::new("192.0.2.1:7000", "George", "the example tells no password");
    let (_, relayed) = host.allocated(&mut george);
    assert_eq!(relayed, "192.0.2.15:50000".parse().unwrap());
}

/// The user by the digest of his name (RFC 8489 §14.4), which the nonce cookie offers.
#[test]
fn a_user_may_come_by_a_hash() {
    let mut host = example();
    let mut george = Person::new("192.0.2.1:7000", "George", "the example tells no password");
    let refused = ask(&mut host, &george, "A56250D3F17ABE679422DE85", Method::ALLOCATE, allocation);
    george.learn(&refused);
    let ask_by_hash = |host: &mut Host<'_>, name: &str, id: u8, method: Method| {
        let text = format!("{name}:example.com");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let bytes = written(Class::Request, method, TransactionId([id; 12]), |writer| {
            if method == Method::ALLOCATE {
                writer.requested_transport(17);
            }
            writer.attribute(AttributeType::USERHASH, hash.as_ref());
            writer.realm(&george.realm);
            writer.nonce(&george.nonce);
            writer.integrity(&george.key());
        });
        host.ask_bytes(&george, &bytes)
    };
    assert_eq!(ask_by_hash(&mut host, "George", 1, Method::ALLOCATE).code(), None);
    assert_eq!(ask_by_hash(&mut host, "George", 2, Method::REFRESH).code(), None);
    let nobody = ask_by_hash(&mut host, "Georgina", 3, Method::REFRESH);
    assert!(nobody.is_error(ErrorCode::UNAUTHENTICATED));
    assert_eq!(host.refresh(&mut george, 0).code(), None, "by name it is the same user");
}
