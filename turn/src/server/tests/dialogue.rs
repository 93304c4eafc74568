//! What a client does in its life.

use super::*;

const GEORGE: &str = "198.51.100.9:40000";

#[test]
fn a_stranger_learns_realm_and_nonce_and_no_more() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let reply = host.ask(&mut george, Method::ALLOCATE, |writer| writer.requested_transport(17));
    assert_eq!(reply.code(), Some(ErrorCode::UNAUTHENTICATED));
    assert_eq!(reply.message().realm(), Some(&b"example.org"[..]));
    assert_eq!(reply.message().nonce().map(<[u8]>::len), Some(24));
    assert_eq!(reply.0.len(), 20 + 8 + 16 + 28, "72 bytes");
    assert_eq!(host.server.gauges(), Gauges::default());
}

#[test]
fn an_allocation_is_made_refreshed_and_given_back() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let reply = host.allocate(&mut george, |_| {});
    let message = reply.message();
    assert_eq!((message.class(), message.method()), (Class::Success, Method::ALLOCATE));
    assert_eq!(message.lifetime_s(), Some(600));
    assert_eq!(message.xor_mapped_address(), GEORGE.parse().ok());
    let relayed = message.xor_relayed_address().unwrap();
    assert_eq!(relayed.ip().to_string(), "203.0.113.5");
    assert!((50_000..=50_999).contains(&relayed.port()));
    assert_eq!(host.server.slot_of(relayed), Some(Slot(0)));
    assert_eq!(host.server.allocation(Slot(0)).unwrap().client(), Some(george.client));

    host.sleep_s(599);
    assert_eq!(host.refresh(&mut george, 1200).message().lifetime_s(), Some(1200));
    host.sleep_s(1199);
    host.timeout();
    george.learn(&host.refresh(&mut george.clone(), 0));
    assert_eq!(host.refresh(&mut george, 0).message().lifetime_s(), Some(0));
    assert_eq!(host.server.gauges(), Gauges::default());
    assert_eq!(host.server.slot_of(relayed), None);
    assert_eq!(host.server.next_deadline_ns(), None);
    assert!(host.refresh(&mut george, 600).is_error(ErrorCode::ALLOCATION_MISMATCH));
    let counters = host.server.counters();
    assert_eq!((counters.allocations_opened, counters.allocations_refreshed), (1, 1));
    assert_eq!((counters.allocations_released, counters.allocations_expired), (1, 0));
}

#[test]
fn lifetimes_stay_within_bounds_and_end() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    for (asked, given) in [(1, 600), (600, 600), (601, 601), (3600, 3600), (3601, 3600), (u32::MAX, 3600)] {
        let reply = host.allocate(&mut george, |writer| writer.lifetime_s(asked));
        assert_eq!(reply.message().lifetime_s(), Some(given), "asked for {asked}");
        assert_eq!(host.refresh(&mut george, asked).message().lifetime_s(), Some(given));
        assert_eq!(host.refresh(&mut george, 0).message().lifetime_s(), Some(0));
    }
    host.allocated(&mut george);
    assert_eq!(host.server.next_deadline_ns(), Some(host.now.monotonic_ns + 600 * SECOND_NS));
    host.sleep_s(600);
    assert_eq!(host.channel_data(&george, 0x4000, b"x"), Outcome::Silence(Reason::NoAllocation));
    host.timeout();
    assert_eq!(host.server.gauges(), Gauges::default());
    assert_eq!(host.server.counters().allocations_expired, 1);
}

#[test]
fn data_passes_by_send_and_by_channel_both_ways() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let (slot, relayed) = host.allocated(&mut george);
    let media: SocketAddr = MEDIA.parse().unwrap();
    assert_eq!(host.send(&mut george, MEDIA, b"hello"), Outcome::Silence(Reason::NoPermission));
    assert_eq!(host.frame(slot, relayed, MEDIA), None);
    assert_eq!(host.permit(&mut george, &[MEDIA]), None);
    let Outcome::ToPeer(to) = host.send(&mut george, MEDIA, b"hello") else { panic!() };
    assert_eq!((to.allocation, to.relayed, to.peer, to.reach), (slot, relayed, media, Reach::Media));
    assert_eq!(to.data, 36..41, "the data where it lies");
    let Some(Framing::Indication { peer, .. }) = host.frame(slot, relayed, MEDIA) else { panic!() };
    assert_eq!(peer, media);

    assert_eq!(host.bind(&mut george, 0x4001, MEDIA), None);
    let Outcome::ToPeer(to) = host.channel_data(&george, 0x4001, b"hello") else { panic!() };
    assert_eq!((to.allocation, to.relayed, to.peer, to.reach), (slot, relayed, media, Reach::Media));
    assert_eq!((to.data, to.dont_fragment), (4..9, false));
    assert_eq!(host.frame(slot, relayed, MEDIA), Some(Framing::Channel { number: 0x4001, padded: false }));
    assert!(host.server.note_to_client(host.now, slot, 2, 100));
    let record = host.server.allocation(slot).unwrap();
    assert_eq!((record.to_peers(), record.to_client()), ((2, 10), (2, 100)));
    let counters = host.server.counters();
    assert_eq!((counters.to_peer_packets, counters.to_client_bytes), (2, 100));
    assert!(host.sockets.open.is_empty(), "towards our own media there is no socket");
}

#[test]
fn a_frame_is_for_the_allocation_that_has_the_address_now() {
    let mut host = Host::with(config(), 1);
    let mut george = Person::george(GEORGE);
    let (slot, relayed) = host.allocated(&mut george);
    host.permit(&mut george, &[MEDIA]);
    assert!(host.frame(slot, relayed, MEDIA).is_some());
    host.refresh(&mut george, 0);
    assert!(host.frame(slot, relayed, MEDIA).is_none());
    let mut martha = Person::new("198.51.100.10:40000", "martha", "w0rd");
    let (again, other) = host.allocated(&mut martha);
    host.permit(&mut martha, &[MEDIA]);
    assert_eq!(again, slot);
    assert_ne!(other, relayed, "a port that was given back comes last");
    assert!(host.frame(slot, relayed, MEDIA).is_none(), "what was meant for George");
    assert!(host.frame(slot, other, MEDIA).is_some());
    assert!(host.frame(Slot(9), other, MEDIA).is_none());
}

#[test]
fn permissions_and_channels_end_by_themselves() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let (slot, relayed) = host.allocated(&mut george);
    host.refresh(&mut george, 3600);
    host.bind(&mut george, 0x4000, MEDIA);
    let gauges = host.server.gauges();
    assert_eq!((gauges.allocations, gauges.permissions, gauges.channels, gauges.users), (1, 1, 1, 1));
    host.sleep_s(299);
    assert!(host.frame(slot, relayed, MEDIA).is_some());
    host.sleep_s(1);
    assert!(host.frame(slot, relayed, MEDIA).is_none(), "a permission lasts 300 s");
    assert_eq!(host.send(&mut george, MEDIA, b"x"), Outcome::Silence(Reason::NoPermission));
    assert!(matches!(host.channel_data(&george, 0x4000, b"x"), Outcome::ToPeer(_)));
    host.timeout();
    assert_eq!((host.server.gauges().permissions, host.server.gauges().channels), (0, 1));
    assert_eq!(host.permit(&mut george, &[MEDIA]), None);
    assert!(matches!(host.frame(slot, relayed, MEDIA), Some(Framing::Channel { .. })));
    host.sleep_s(300);
    assert_eq!(host.channel_data(&george, 0x4000, b"x"), Outcome::Silence(Reason::NoChannel));
    host.timeout();
    assert_eq!((host.server.gauges().permissions, host.server.gauges().channels), (0, 0));
    assert_eq!(host.server.gauges().allocations, 1);
}

#[test]
fn outside_peers_have_a_socket_while_the_allocation_lives() {
    let mut config = config();
    config.policy.allow = vec!["192.0.2.0/24".parse().unwrap()];
    let mut host = Host::with(config, 4);
    let mut george = Person::george(GEORGE);
    let (slot, relayed) = host.allocated(&mut george);
    host.permit(&mut george, &[MEDIA]);
    assert!(host.sockets.open.is_empty());
    assert_eq!(host.permit(&mut george, &["192.0.2.1:0", "192.0.2.2:0"]), None);
    assert_eq!(host.bind(&mut george, 0x4000, "192.0.2.3:9"), None);
    assert_eq!(host.sockets.open, BTreeSet::from([(slot, relayed)]), "one for all of them");
    assert_eq!(host.server.gauges().sockets, 1);
    let Outcome::ToPeer(to) = host.send(&mut george, "192.0.2.2:5", b"x") else { panic!() };
    assert_eq!(to.reach, Reach::Outside);
    host.refresh(&mut george, 0);
    assert!(host.sockets.open.is_empty());
    assert_eq!(host.server.gauges(), Gauges::default());
}

#[test]
fn a_socket_that_does_not_open_is_508_and_its_port_rests() {
    let mut config = config();
    config.policy.allow = vec!["192.0.2.0/24".parse().unwrap()];
    config.ports = 50_000..=50_001;
    let mut host = Host::with(config, 4);
    host.sockets.fails = true;
    let mut george = Person::george(GEORGE);
    let (_, bad) = host.allocated(&mut george);
    let full = Some(ErrorCode::INSUFFICIENT_CAPACITY);
    assert_eq!(host.permit(&mut george, &["192.0.2.1:0"]), full);
    assert_eq!(host.bind(&mut george, 0x4000, "192.0.2.1:9"), full);
    assert_eq!((host.server.gauges().permissions, host.server.gauges().channels), (0, 0));
    for _ in 0..4 {
        host.refresh(&mut george, 0);
        let (_, relayed) = host.allocated(&mut george);
        assert_ne!(relayed, bad);
    }
}

#[test]
fn both_families_are_had_with_one_allocation() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let reply = host.allocate(&mut george, |writer| {
        writer.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    let record = host.server.allocation(Slot(0)).unwrap();
    let relayed: Vec<_> = record.relayed().collect();
    assert_eq!(relayed.len(), 2);
    assert!(relayed[0].is_ipv4() && relayed[1].is_ipv6());
    let written =
        reply.message().attributes().filter(|attribute| attribute.kind == AttributeType::XOR_RELAYED_ADDRESS);
    assert_eq!(written.count(), 2);
    assert_eq!(host.permit(&mut george, &[MEDIA, MEDIA_V6]), None);
    assert_eq!(host.bind(&mut george, 0x4000, MEDIA_V6), None);
    let Outcome::ToPeer(to) = host.channel_data(&george, 0x4000, b"x") else { panic!() };
    assert_eq!(to.relayed, relayed[1]);
    assert!(host.frame(Slot(0), relayed[0], MEDIA).is_some());
    assert!(host.frame(Slot(0), relayed[1], MEDIA_V6).is_some());
    assert!(host.frame(Slot(0), relayed[0], MEDIA_V6).is_none(), "the wrong one of the two");

    let reply = host.ask(&mut george, Method::REFRESH, |writer| {
        writer.lifetime_s(0);
        writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(reply.message().lifetime_s(), Some(0));
    assert!(host.frame(Slot(0), relayed[1], MEDIA_V6).is_none(), "one of them was given back");
    assert!(host.frame(Slot(0), relayed[0], MEDIA).is_some());
    assert_eq!((host.server.gauges().permissions, host.server.gauges().channels), (1, 0));
    let mismatch = Some(ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH);
    assert_eq!(host.permit(&mut george, &[MEDIA_V6]), mismatch);
}

#[test]
fn a_family_that_is_not_to_be_had() {
    let mut config = config();
    config.relayed.1 = None;
    let mut host = Host::with(config, 4);
    let mut george = Person::george(GEORGE);
    let reply = host.allocate(&mut george, |writer| {
        writer.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert!(reply.is_error(ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED));
    let reply = host.allocate(&mut george, |writer| {
        writer.attribute(AttributeType::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!(reply.message().find(AttributeType::ADDRESS_ERROR_CODE), Some(&[2, 0, 4, 40][..]));
    assert!(reply.message().xor_relayed_address().unwrap().is_ipv4());
}

#[test]
fn a_connection_that_ends_takes_its_allocation_along() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    george.client.transport = Transport::Tcp;
    let (slot, relayed) = host.allocated(&mut george);
    host.bind(&mut george, 0x4000, MEDIA);
    assert_eq!(host.frame(slot, relayed, MEDIA), Some(Framing::Channel { number: 0x4000, padded: true }));
    let earlier = Client { via: 6, ..george.client };
    assert!(!host.server.close_client(host.now, &earlier, &mut host.sockets), "a good-bye that comes late");
    assert!(host.server.close_client(host.now, &george.client, &mut host.sockets));
    assert!(!host.server.close_client(host.now, &george.client, &mut host.sockets));
    assert_eq!(host.server.gauges(), Gauges::default());
    assert_eq!(host.server.counters().allocations_abandoned, 1);
}

#[test]
fn the_same_allocate_once_more_is_answered_once_more() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let refused = host.ask(&mut george, Method::ALLOCATE, |writer| writer.requested_transport(17));
    george.learn(&refused);
    let request = george.request(Method::ALLOCATE, |writer| writer.requested_transport(17));
    let [first, second] = [(); 2].map(|()| host.ask_bytes(&george, &request));
    assert_eq!(first.0, second.0);
    assert_eq!(host.server.gauges().allocations, 1);
    let other = host.ask(&mut george, Method::ALLOCATE, |writer| writer.requested_transport(17));
    assert!(other.is_error(ErrorCode::ALLOCATION_MISMATCH));
}

#[test]
fn a_new_connection_from_the_same_address_begins_anew() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    george.client.transport = Transport::Tls;
    let (_, earlier) = host.allocated(&mut george);
    george.client.via += 1;
    let (slot, relayed) = host.allocated(&mut george);
    assert_ne!(relayed, earlier);
    assert_eq!(host.server.slot_of(earlier), None);
    assert_eq!(host.server.allocation(slot).unwrap().client(), Some(george.client));

    let mut by_udp = Person::george("198.51.100.9:40001");
    let (stays, _) = host.allocated(&mut by_udp);
    by_udp.client.via += 1;
    assert!(host.allocate(&mut by_udp, |_| {}).is_error(ErrorCode::ALLOCATION_MISMATCH));
    host.server.close_streams(host.now, &mut host.sockets);
    assert!(host.server.allocation(slot).is_none() && host.server.allocation(stays).is_some());
    assert_eq!(host.server.counters().allocations_abandoned, 2);
}

#[test]
fn elder_clients_bind_higher_channels() {
    let mut host = Host::with(config(), 4);
    let mut george = Person::george(GEORGE);
    let (slot, relayed) = host.allocated(&mut george);
    assert_eq!(host.bind(&mut george, 0x7fff, MEDIA), None);
    assert!(matches!(host.channel_data(&george, 0x7fff, b"x"), Outcome::ToPeer(_)));
    assert_eq!(host.frame(slot, relayed, MEDIA), Some(Framing::Channel { number: 0x7fff, padded: false }));
    assert_eq!(host.bind(&mut george, 0x8000, MEDIA), Some(ErrorCode::BAD_REQUEST));
}
