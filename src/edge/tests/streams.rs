//! TURN and ICE-TCP: what comes as a stream arrives as datagrams, and back.

use super::*;
use crate::wire::edge_hello::Transport;

fn turn_over_tcp(shard: &FakeShard) -> Edge {
    start(Config { turn: Some(shard.address()), turn_tcp_port: Some(0), ..Config::default() })
}

#[test]
fn a_client_is_announced_heard_answered_and_taken_leave_of() {
    let shard = FakeShard::new();
    let edge = turn_over_tcp(&shard);
    let mut client = tcp(edge.turn_tcp_port);
    say(&mut client, &stun(8));
    let (hello, from) = shard.hello();
    assert_eq!(hello.transport, Transport::Tcp);
    assert_eq!((hello.remote, hello.local), (client.local_addr().unwrap(), client.peer_addr().unwrap()));
    assert_eq!(shard.receive(), (stun(8), from));

    // ChannelData of 5 bytes comes back padded to 8, as a stream wants it.
    shard.send(b"\x40\x01\x00\x05hello", from);
    shard.send(&stun(0), from);
    assert_eq!(read(&mut client, 12), b"\x40\x01\x00\x05hello\0\0\0");
    assert_eq!(read(&mut client, 20), stun(0));

    // A message comes whole, however many pieces it was in.
    let mut stream = b"\x40\x01\x00\x05hello\xff\xff\xff".to_vec();
    stream.extend(stun(4));
    for byte in &stream {
        say(&mut client, &[*byte]);
    }
    assert_eq!(shard.message(), b"\x40\x01\x00\x05hello\xff\xff\xff", "with its padding");
    assert_eq!(shard.message(), stun(4));

    drop(client);
    shard.goodbye();
    wait_for(&edge, Count::ClosedByClient, 1);
    assert_eq!(edge.counters().get(Count::TurnTcp), 1);
}

#[test]
fn turn_over_tls_is_the_same() {
    let (shard, files) = (FakeShard::new(), certificate("turn-tls"));
    let config = Config {
        turn: Some(shard.address()),
        turn_tls_port: Some(0),
        certificate: Some(files.clone()),
        ..Config::default()
    };
    let edge = start(config);
    let mut client = tls(edge.turn_tls_port, &files);
    say(&mut client, &stun(1200));
    let (hello, from) = shard.hello();
    assert_eq!(hello.transport, Transport::Tls);
    assert_eq!(shard.message(), stun(1200));
    // More than one record.
    let long: Vec<u8> = stun(40_000);
    shard.send(&long, from);
    assert_eq!(read(&mut client, long.len()), long);

    // On its own port there is nothing else: no plain TURN, no HTTP.
    let mut plain = tcp(edge.turn_tls_port);
    say(&mut plain, &stun(0));
    assert!(is_closed(&mut plain));
    let mut http = tls(edge.turn_tls_port, &files);
    say(&mut http, b"GET / HTTP/1.1\r\n\r\n");
    assert!(is_closed(&mut http));
    wait_for(&edge, Count::Strange, 2);
}

#[test]
fn two_clients_do_not_hear_each_other() {
    let shard = FakeShard::new();
    let edge = turn_over_tcp(&shard);
    let mut clients = [(); 2].map(|()| tcp(edge.turn_tcp_port));
    let mut ways = Vec::new();
    for client in &mut clients {
        say(client, &stun(0));
        let (hello, from) = shard.hello();
        assert_eq!(hello.remote, client.local_addr().unwrap());
        assert_eq!(shard.receive(), (stun(0), from));
        ways.push(from);
    }
    for (way, len) in ways.iter().zip([4, 8]) {
        shard.send(&stun(len), *way);
    }
    for (client, len) in clients.iter_mut().zip([4, 8]) {
        assert_eq!(read(client, 20 + usize::from(len)), stun(len));
    }
}

#[test]
fn ice_over_tcp_reaches_the_media_port() {
    // As a shard's port: free for UDP; that it is for TCP too is likely, and tried again otherwise.
    let (shard, edge) = loop {
        let shard = FakeShard::new();
        let edge = start(Config { ice_tcp_ports: vec![shard.address().port()], ..Config::default() });
        if !edge.ice_tcp_ports.is_empty() {
            break (shard, edge);
        }
    };
    let mut client = tcp(edge.ice_tcp_ports.first().copied());
    let framed = |message: &[u8]| {
        let len = u16::try_from(message.len()).unwrap();
        [&len.to_be_bytes()[..], message].concat()
    };
    say(&mut client, &framed(&stun(8)));
    let (hello, from) = shard.hello();
    assert_eq!((hello.transport, hello.remote), (Transport::Tcp, client.local_addr().unwrap()));
    assert_eq!(shard.message(), stun(8));
    for packet in [&b"\x80\x60rtp"[..], b"\x16\xfe\xfddtls"] {
        say(&mut client, &framed(packet));
        assert_eq!(shard.message(), packet);
        shard.send(packet, from);
        assert_eq!(read(&mut client, packet.len() + 2), framed(packet));
    }
    // A client that does not begin with a connectivity check is no browser.
    let mut stranger = tcp(edge.ice_tcp_ports.first().copied());
    say(&mut stranger, &framed(b"\x80\x60rtp"));
    assert!(is_closed(&mut stranger));
    wait_for(&edge, Count::Strange, 1);
    assert_eq!(edge.counters().get(Count::IceTcp), 2);
}

#[test]
fn a_broken_stream_is_closed() {
    let shard = FakeShard::new();
    let edge = turn_over_tcp(&shard);
    let mut client = tcp(edge.turn_tcp_port);
    say(&mut client, &stun(0));
    say(&mut client, b"\x80 this is none");
    assert_eq!(shard.message(), stun(0), "what was right before arrives");
    assert!(is_closed(&mut client));
    shard.goodbye();
    wait_for(&edge, Count::ClosedBroken, 1);
}

#[test]
fn a_reset_in_the_middle_of_a_message_is_an_end() {
    let shard = FakeShard::new();
    let edge = turn_over_tcp(&shard);
    let mut client = tcp(edge.turn_tcp_port);
    say(&mut client, &stun(4));
    assert_eq!(shard.message(), stun(4));
    say(&mut client, &stun(400)[..100]);
    // Closing without lingering is a reset.
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    shard.goodbye();
    wait_for(&edge, Count::ClosedByClient, 1);
    assert_eq!(edge.counters().get(Count::MessagesIn), 1);
}

#[test]
fn every_first_byte_and_every_short_begin_is_survived() {
    let shard = FakeShard::new();
    let edge = turn_over_tcp(&shard);
    for first in 0..=255u8 {
        let mut client = tcp(edge.turn_tcp_port);
        let _ = client.write_all(&[first, 0, 0]);
        let _ = client.shutdown(std::net::Shutdown::Write);
        assert!(is_closed(&mut client), "{first}");
    }
    let whole = stun(4);
    for len in 0..whole.len() {
        let mut client = tcp(edge.turn_tcp_port);
        let _ = client.write_all(&whole[..len]);
        let _ = client.shutdown(std::net::Shutdown::Write);
        assert!(is_closed(&mut client), "{len} bytes");
    }
    let mut client = tcp(edge.turn_tcp_port);
    say(&mut client, &whole);
    assert_eq!(shard.message(), whole);
    assert_eq!(edge.counters().get(Count::MessagesIn), 1);
}

#[test]
fn without_a_shard_there_is_no_stream() {
    let shard = FakeShard::new();
    let nobody = shard.address();
    drop(shard);
    let edge = start(Config { turn: Some(nobody), turn_tcp_port: Some(0), ..Config::default() });
    let mut client = tcp(edge.turn_tcp_port);
    say(&mut client, &stun(0));
    assert!(is_closed(&mut client));
    wait_for(&edge, Count::ClosedUnserved, 1);
}
