//! Clients that take too long, send too much, or open too many connections.

use super::*;

/// Short enough to wait for, long enough for a machine that has other things to do.
const SOON: Duration = Duration::from_secs(3);

fn hurried(shard: &FakeShard, timing: Timing) -> Edge {
    start(Config { turn: Some(shard.address()), turn_tcp_port: Some(0), timing, ..Config::default() })
}

#[test]
fn a_reader_who_does_not_read_is_dropped() {
    let shard = FakeShard::new();
    let edge = hurried(&shard, Timing::default());
    let mut client = tcp(edge.turn_tcp_port);
    say(&mut client, &stun(0));
    let (_, from) = shard.hello();
    let datagram = stun(60_000);
    let start = std::time::Instant::now();
    // The kernel takes some megabytes for both ends; then it is the queue's turn.
    while edge.counters().get(Count::ClosedSlow) == 0 {
        assert!(start.elapsed() < PATIENCE, "it is never enough");
        let _ = shard.0.send_to(&datagram, from);
    }
    shard.goodbye();
    assert!(is_closed(&mut client));
    // The slow client does not disturb another client.
    let mut other = tcp(edge.turn_tcp_port);
    say(&mut other, &stun(4));
    assert_eq!(shard.message(), stun(4));
}

#[test]
fn who_says_nothing_is_closed() {
    let (shard, files) = (FakeShard::new(), certificate("silent"));
    let config = Config {
        turn: Some(shard.address()),
        turn_tcp_port: Some(0),
        turn_tls_port: Some(0),
        certificate: Some(files.clone()),
        timing: Timing { handshake: SOON, first_request: SOON, ..Timing::default() },
        ..Config::default()
    };
    let edge = start(config);
    // Nothing at all; a message that never becomes whole; a handshake that stops; one without a request.
    let mut nothing = tcp(edge.turn_tcp_port);
    let mut half = tcp(edge.turn_tcp_port);
    say(&mut half, &stun(4)[..21]);
    let mut handshake = tcp(edge.turn_tls_port);
    say(&mut handshake, b"\x16\x03\x01");
    let mut idle = tls(edge.turn_tls_port, &files);
    idle.conn.complete_io(&mut idle.sock).unwrap();
    for stream in [&mut nothing, &mut half, &mut handshake, &mut idle.sock] {
        assert!(is_closed(stream));
    }
    wait_for(&edge, Count::Silent, 3);
    wait_for(&edge, Count::TlsFailed, 1);
}

#[test]
fn a_byte_now_and_then_does_not_keep_a_place() {
    let shard = FakeShard::new();
    let edge = hurried(&shard, Timing { first_request: SOON, ..Timing::default() });
    let mut client = tcp(edge.turn_tcp_port);
    let start = std::time::Instant::now();
    for byte in stun(65_000) {
        if client.write_all(&[byte]).is_err() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it goes on for ever");
        std::thread::sleep(SOON / 50);
    }
    wait_for(&edge, Count::Silent, 1);
}

#[test]
fn a_client_that_no_shard_accepted_is_idle_sooner() {
    let shard = FakeShard::new();
    let edge =
        hurried(&shard, Timing { stranger_idle: SOON, check_interval: SOON / 10, ..Timing::default() });
    let mut accepted = tcp(edge.turn_tcp_port);
    say(&mut accepted, &stun(0));
    let (_, from) = shard.hello();
    let answer = [&[1, 3][..], &stun(0)[2..]].concat();
    shard.send(&answer, from);
    assert_eq!(read(&mut accepted, answer.len()), answer);
    let mut stranger = tcp(edge.turn_tcp_port);
    say(&mut stranger, &stun(0));
    assert!(is_closed(&mut stranger));
    wait_for(&edge, Count::ClosedIdle, 1);
    say(&mut accepted, &stun(12));
    while shard.message() != stun(12) {}
    assert_eq!(edge.counters().get(Count::ClosedIdle), 1, "the accepted one is still there");
}

#[test]
fn hellos_are_said_again() {
    let shard = FakeShard::new();
    let edge = hurried(&shard, Timing { check_interval: SOON / 100, ..Timing::default() });
    let mut client = tcp(edge.turn_tcp_port);
    say(&mut client, &stun(0));
    let first = shard.hello();
    assert_eq!(shard.message(), stun(0));
    assert_eq!(shard.hello(), first);
    assert_eq!(shard.hello(), first);
}

#[test]
fn one_more_takes_the_place_of_the_oldest() {
    let shard = FakeShard::new();
    let config = Config {
        turn: Some(shard.address()),
        turn_tcp_port: Some(0),
        limits: PortLimits {
            turn_tcp: ConnectionLimits { grace: Duration::ZERO, ..ConnectionLimits::new(2, 0) },
            ..PortLimits::default()
        },
        ..Config::default()
    };
    let edge = start(config);
    let mut accepted = tcp(edge.turn_tcp_port);
    say(&mut accepted, &stun(0));
    let (_, from) = shard.hello();
    let answer = [&[1, 3][..], &stun(0)[2..]].concat();
    shard.send(&answer, from);
    assert_eq!(read(&mut accepted, answer.len()), answer);
    // Idle connects by the hundred: each takes the place of the one before.
    let mut idle: Vec<_> = (0..200).map(|_| tcp(edge.turn_tcp_port)).collect();
    wait_for(&edge, Count::Displaced, 199);
    idle.drain(..199).for_each(|mut old| assert!(is_closed(&mut old)));
    say(&mut accepted, &stun(16));
    while shard.message() != stun(16) {}
    assert_eq!(edge.counters().get(Count::Refused), 0);
}
