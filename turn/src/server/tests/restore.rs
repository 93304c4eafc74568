//! A server made anew on the same records goes on.

use super::*;

const GEORGE: &str = "198.51.100.9:40000";

fn open_config() -> Config {
    let mut config = config();
    config.policy.allow = vec!["192.0.2.0/24".parse().unwrap()];
    config
}

#[test]
fn another_server_goes_on_where_the_first_stopped() {
    let (mut record, mut allocations) = records(4);
    let mut host = Host::on(open_config(), &mut record, &mut allocations, START);
    let (mut george, mut martha) = (Person::george(GEORGE), Person::new("198.51.100.10:1", "martha", "w0rd"));
    let (slot, relayed) = host.allocated(&mut george);
    assert_eq!(host.bind(&mut george, 0x4000, MEDIA), None);
    assert_eq!(host.bind(&mut george, 0x4001, "192.0.2.1:9"), None);
    let (other, other_relayed) = host.allocated(&mut martha);
    assert!(matches!(host.channel_data(&george, 0x4000, b"hello"), Outcome::ToPeer(_)));
    let (gauges, deadline) = (host.server.gauges(), host.server.next_deadline_ns());
    let now = host.now;
    drop(host);

    let mut host = Host::on(open_config(), &mut record, &mut allocations, now);
    assert_eq!((host.server.gauges(), host.server.next_deadline_ns()), (gauges, deadline));
    host.server.reopen(&mut host.sockets);
    assert_eq!(host.sockets.open, BTreeSet::from([(slot, relayed)]));
    assert!(matches!(host.channel_data(&george, 0x4000, b"x"), Outcome::ToPeer(to) if to.relayed == relayed));
    assert!(
        matches!(host.channel_data(&george, 0x4001, b"x"), Outcome::ToPeer(to) if to.reach == Reach::Outside)
    );
    assert_eq!(host.frame(slot, relayed, MEDIA), Some(Framing::Channel { number: 0x4000, padded: false }));
    assert_eq!(host.server.slot_of(other_relayed), Some(other));
    assert_eq!(host.refresh(&mut george, 1_200).code(), None, "the nonce of before is good");
    assert_eq!(host.server.counters().to_peer_packets, 3, "counters go on");
    assert_eq!(host.server.allocation(slot).unwrap().to_peers(), (3, 7));

    let mut third = Person::george("198.51.100.11:1");
    let (slot, relayed) = host.allocated(&mut third);
    assert_eq!(slot, Slot(2));
    assert!(relayed.port() != other_relayed.port());
    for person in [&mut george, &mut martha, &mut third] {
        assert_eq!(host.refresh(person, 0).code(), None);
    }
    assert_eq!(host.server.gauges(), Gauges::default());
    assert!(host.sockets.open.is_empty());
    drop(host);
    assert!(
        allocations.iter().all(|record| bytemuck::bytes_of(record).iter().all(|byte| *byte == 0)),
        "no keys stay"
    );
}

#[test]
fn what_ended_meanwhile_or_is_no_more_given_out_is_freed() {
    let (mut record, mut allocations) = records(4);
    let mut host = Host::on(config(), &mut record, &mut allocations, START);
    let mut george = Person::george(GEORGE);
    host.allocated(&mut george);
    let mut now = host.now;
    drop(host);
    let saved = allocations.clone();

    now.monotonic_ns += 600 * SECOND_NS;
    let host = Host::on(config(), &mut record, &mut allocations, now);
    assert_eq!(host.server.gauges(), Gauges::default());
    drop(host);

    let changes: [fn(&mut Config); 3] = [
        |config| config.relayed.0 = Some([203, 0, 113, 6].into()),
        |config| config.ports = 40_000..=40_100,
        |config| config.relayed.0 = None,
    ];
    for change in changes {
        allocations.copy_from_slice(&saved);
        let mut config = config();
        change(&mut config);
        let host = Host::on(config, &mut record, &mut allocations, START);
        assert_eq!(host.server.gauges(), Gauges::default());
        drop(host);
    }
}

#[test]
fn a_stricter_policy_holds_for_what_is_there() {
    let (mut record, mut allocations) = records(4);
    let mut host = Host::on(open_config(), &mut record, &mut allocations, START);
    let mut george = Person::george(GEORGE);
    let (slot, relayed) = host.allocated(&mut george);
    host.bind(&mut george, 0x4000, "192.0.2.1:9");
    host.bind(&mut george, 0x4001, MEDIA);
    drop(host);
    let mut host = Host::on(config(), &mut record, &mut allocations, START);
    assert_eq!((host.server.gauges().permissions, host.server.gauges().channels), (1, 1));
    assert_eq!(host.channel_data(&george, 0x4000, b"x"), Outcome::Silence(Reason::NoChannel));
    assert!(host.frame(slot, relayed, "192.0.2.1:9").is_none());
    assert!(matches!(host.channel_data(&george, 0x4001, b"x"), Outcome::ToPeer(_)));
}

#[test]
fn a_static_user_who_is_removed_ends_with_the_allocation() {
    let (mut record, mut allocations) = records(4);
    let mut host = Host::on(config(), &mut record, &mut allocations, START);
    let mut george = Person::george(GEORGE);
    host.allocated(&mut george);
    drop(host);
    let mut without = config();
    without.credentials.static_users.remove(0);
    let mut host = Host::on(without, &mut record, &mut allocations, START);
    assert!(host.refresh(&mut george, 600).is_error(ErrorCode::UNAUTHENTICATED));
    assert_eq!(host.refresh(&mut george, 0).code(), None);
}

/// Records are memory that a panic may have left half written, or another program: whatever they say, nothing breaks.
#[test]
fn records_of_rubbish_break_nothing() {
    let mut dice = Dice::new(5);
    for round in 0..200 {
        let (mut record, mut allocations) = records(4);
        let mut host = Host::on(open_config(), &mut record, &mut allocations, START);
        let mut george = Person::george(GEORGE);
        host.allocated(&mut george);
        host.bind(&mut george, 0x4000, MEDIA);
        host.allocated(&mut Person::new("198.51.100.10:1", "martha", "w0rd"));
        drop(host);
        if round % 2 == 0 {
            allocations[2] = allocations[0];
        }
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut allocations[..]);
        for _ in 0..round {
            let at = dice.below(bytes.len());
            bytes[at] = dice.roll().to_be_bytes()[0];
        }
        let mut host = Host::on(open_config(), &mut record, &mut allocations, START);
        host.server.reopen(&mut host.sockets);
        let _ = host.channel_data(&george, 0x4000, b"x");
        let _ = host.send(&mut george, MEDIA, b"x");
        let request = george.request(Method::REFRESH, |writer| writer.lifetime_s(0));
        let _ = host.handle(&george.client, &request);
        host.sleep_s(1 << 33);
        host.now.monotonic_ns = u64::MAX;
        host.timeout();
        assert_eq!(host.server.gauges(), Gauges::default());
        assert!(host.sockets.open.is_empty());
    }
}
