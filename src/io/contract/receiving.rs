//! Receiving: order, trains, what is too much.

use super::*;

pub(super) fn echoes_arrive_once_and_in_order(kind: BackendKind) {
    let handler: Handler = Box::new(|path, datagram, egress| {
        send(egress, RunKey(u32::from(path.remote.port()) % 16), path, datagram);
    });
    let shard = Shard::start(kind, 512, handler);
    let mut clients: Vec<UdpSocket> = (0..6).map(|_| shard.client("127.0.0.1", "127.0.0.1")).collect();
    if has_ipv6() {
        clients.extend((0..6).map(|_| shard.client("::1", "::1")));
    }
    let (rounds, burst) = (50, 20);
    for round in 0..rounds {
        for number in 0..burst {
            for client in &clients {
                let number = round * burst + number;
                client.send(&numbered(number, 100 + 200 * (number as usize % 3))).unwrap();
            }
        }
        for number in 0..burst {
            let number = round * burst + number;
            for client in &clients {
                assert_eq!(receive(client), numbered(number, 100 + 200 * (number as usize % 3)));
            }
        }
    }
    clients.iter().for_each(assert_nothing_waits);
    let counters = shard.stop();
    let count = u64::from(rounds * burst) * clients.len() as u64;
    assert_eq!((counters.datagrams_in, counters.datagrams_out), (count, count));
    assert_eq!(counters.bytes_in, counters.bytes_out);
}

pub(super) fn an_answer_leaves_from_the_address_asked_at(kind: BackendKind) {
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |path, datagram, egress| {
        tell.send(path.local).unwrap();
        send(egress, RunKey::NONE, path, datagram);
    });
    let shard = Shard::start(kind, 16, handler);
    let mut pairs = vec![("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "127.0.0.3"), ("127.0.0.2", "127.0.0.1")];
    if has_ipv6() {
        pairs.push(("::1", "::1"));
    }
    for (from, to) in pairs {
        // A connected socket takes datagrams from the address it is connected to alone.
        let client = shard.client(from, to);
        client.send(b"hello").unwrap();
        assert_eq!(receive(&client), b"hello");
        assert_eq!(told.recv().unwrap(), to.parse::<IpAddr>().unwrap());
    }
    shard.stop();
}

pub(super) fn more_datagrams_than_receive_buffers_lose_nothing(kind: BackendKind) {
    let shard = Shard::start(kind, 64, echo());
    let client = shard.client("127.0.0.1", "127.0.0.1");
    let count = 300;
    for _ in 0..3 {
        let release = shard.hold();
        for number in 0..count {
            client.send(&numbered(number, 50)).unwrap();
        }
        drop(release);
        for expected in 0..count {
            assert_eq!(number(&receive(&client)), expected);
        }
    }
    let counters = shard.stop();
    assert_eq!(counters.datagrams_in, 3 * u64::from(count));
}

pub(super) fn long_and_empty_datagrams_are_counted_and_dropped(kind: BackendKind) {
    let handler: Handler = Box::new(|path, datagram, egress| {
        send(egress, RunKey::NONE, path, &(datagram.len() as u32).to_be_bytes());
    });
    let shard = Shard::start(kind, 16, handler);
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let client = shard.client(local, local);
        for len in [1, 0, RECEIVED_BYTES_MAX + 1, 60_000, RECEIVED_BYTES_MAX, 0, 2] {
            client.send(&vec![7; len]).unwrap();
        }
        for len in [1, RECEIVED_BYTES_MAX, 2] {
            assert_eq!(number(&receive(&client)) as usize, len);
        }
    }
    let families = 1 + u64::from(has_ipv6());
    let counters = shard.stop();
    assert_eq!((counters.truncated, counters.unusable), (2 * families, 2 * families));
    assert_eq!(counters.datagrams_in, 3 * families);
}

pub(super) fn a_train_falls_into_its_datagrams(kind: BackendKind) {
    // What one backend sends in a run, another gets in one piece.
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |_, datagram, _| tell.send(datagram.to_vec()).unwrap());
    let receiver = Shard::start(kind, 64, handler);
    let sender = Shard::start(kind, 64, ignore());
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let local: IpAddr = local.parse().unwrap();
        let path = Path { local, remote: SocketAddr::new(local, receiver.port), via: Via::MEDIA };
        sender.command(move |egress| {
            for number in 0..20 {
                send(egress, RunKey(1), &path, &numbered(number, 1100));
            }
            send(egress, RunKey(1), &path, &numbered(20, 90));
        });
    }
    let families = 1 + u64::from(has_ipv6());
    sender.stop();
    for _ in 0..families {
        for number in 0..21 {
            let expected = numbered(number, if number < 20 { 1100 } else { 90 });
            assert_eq!(told.recv_timeout(PATIENCE), Ok(expected));
        }
    }
    let counters = receiver.stop();
    assert_eq!((counters.receives, counters.datagrams_in), (families, 21 * families));
    assert_eq!(counters.bytes_in, (20 * 1100 + 90) * families);
}

pub(super) fn without_gathering_each_datagram_comes_alone(kind: BackendKind) {
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |_, datagram, _| tell.send(number(datagram)).unwrap());
    let sockets = Sockets::bind(0).unwrap();
    sockets.set_gathering(false).unwrap();
    let receiver = Shard::start_on(sockets, kind, 64, Timestamp::NEVER, None, handler);
    let sender = Shard::start(kind, 64, ignore());
    let local = IpAddr::from([127, 0, 0, 1]);
    let path = Path { local, remote: SocketAddr::new(local, receiver.port), via: Via::MEDIA };
    sender.command(move |egress| {
        for number in 0..20 {
            send(egress, RunKey(1), &path, &numbered(number, 1100));
        }
    });
    assert_eq!(sender.stop().sends, 1);
    for expected in 0..20 {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(expected));
    }
    let counters = receiver.stop();
    assert_eq!((counters.receives, counters.datagrams_in), (20, 20));
}

pub(super) fn more_trains_than_a_cycle_delivers_lose_nothing(kind: BackendKind) {
    let (trains, each) = (40, 10);
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |_, datagram, _| tell.send(number(datagram)).unwrap());
    let receiver = Shard::start(kind, 64, handler);
    let sender = Shard::start(kind, 512, ignore());
    let local = IpAddr::from([127, 0, 0, 1]);
    let path = Path { local, remote: SocketAddr::new(local, receiver.port), via: Via::MEDIA };
    // They come while the shard is busy, so that it finds them all at once; a longer one begins each run.
    let release = receiver.hold();
    sender.command(move |egress| {
        for number in 0..trains * each {
            send(egress, RunKey(1), &path, &numbered(number, 100 + (number / each) as usize));
        }
    });
    let sent = sender.stop();
    assert_eq!(sent.sends, u64::from(trains));
    drop(release);
    for expected in 0..trains * each {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(expected));
    }
    let counters = receiver.stop();
    assert_eq!((counters.receives, counters.datagrams_in), (u64::from(trains), u64::from(trains * each)));
}

pub(super) fn reports_are_read_in_passing(kind: BackendKind) {
    const REPORT: [u8; 2] = [0x8F, 205];
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |_, datagram, _| {
        let kind = if datagram[..2] == REPORT { "report" } else { "other" };
        tell.send((kind, number(&datagram[4..]))).unwrap();
    });
    let shard = Shard::start(kind, 64, handler);
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let client = shard.client(local, local);
        let release = shard.hold();
        // More than are read at once, and before them all what wakes the shard.
        let reports: u32 = 200;
        for number in 0..reports {
            let mut report = numbered(u32::from_be_bytes([REPORT[0], REPORT[1], 0, 0]), 60);
            report[4..8].copy_from_slice(&number.to_be_bytes());
            client.send(&report).unwrap();
        }
        client.send(&[0; 8]).unwrap();
        drop(release);
        let told = |_| told.recv_timeout(PATIENCE).unwrap();
        let (reported, others): (Vec<_>, Vec<_>) =
            (0..=reports).map(told).partition(|(kind, _)| *kind == "report");
        assert_eq!(
            reported.into_iter().map(|(_, number)| number).collect::<Vec<_>>(),
            Vec::from_iter(0..reports)
        );
        assert_eq!(others, [("other", 0)]);
    }
    shard.stop();
}
