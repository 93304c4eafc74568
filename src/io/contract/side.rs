//! Sockets besides the one for media: listeners, and those that come and go.

use super::*;

/// A side socket beside the media socket, as TURN's listener is.
fn with_listener() -> (Sockets, u16) {
    let mut sockets = Sockets::bind(0).unwrap();
    let port = sockets.listen(Via::TURN, 0, true).unwrap();
    (sockets, port)
}

pub(super) fn each_socket_tells_itself_and_answers_from_itself(kind: BackendKind) {
    let (sockets, port) = with_listener();
    let echo: Handler = Box::new(|path, datagram, egress| {
        datagram[0] = u8::from(path.via == Via::TURN);
        send(egress, RunKey(0), path, datagram);
    });
    let shard = Shard::start_on(sockets, kind, 64, Timestamp::NEVER, None, echo);
    for address in ["127.0.0.1", "::1"].into_iter().filter(|address| has_ipv6() || !address.contains(':')) {
        let media = shard.client(address, address);
        let turn = client(address);
        turn.connect(SocketAddr::new(address.parse().unwrap(), port)).unwrap();
        for round in 0..100 {
            media.send(&[9, round]).unwrap();
            turn.send(&[9, round]).unwrap();
            // Connected sockets take answers from where they asked alone.
            assert_eq!((receive(&media), receive(&turn)), (vec![0, round], vec![1, round]));
        }
    }
    assert_eq!(shard.stop().send_errors, 0);
}

const LAST_ROUND: u8 = 2;

pub(super) fn an_opened_socket_sends_and_receives_until_it_is_closed(kind: BackendKind) {
    let far = client("127.0.0.1");
    let far_path = loopback(&far);
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |path, datagram, _| {
        tell.send((path.via, datagram.to_vec())).unwrap();
    });
    let shard = Shard::start(kind, 64, handler);
    let via = Via::relayed(5);
    let (opened, opening) = channel();
    for round in 0..=LAST_ROUND {
        let (first, second) = (opened.clone(), opened.clone());
        shard.command(move |egress| {
            egress.open(via, "127.0.0.1:0".parse().unwrap()).unwrap();
            send(egress, RunKey(3), &Path { via, ..far_path }, &[round; 30]);
            first.send(()).unwrap();
        });
        opening.recv_timeout(PATIENCE).unwrap();
        let mut buffer = [0; 64];
        let (len, address) = far.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], [round; 30]);
        assert_ne!(address.port(), shard.port, "it left from a socket of its own");
        far.send_to(&[round + 100], address).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok((via, vec![round + 100])));
        shard.command(move |egress| {
            send(egress, RunKey(3), &Path { via, ..far_path }, &[round + 1; 10]);
            egress.close(via, far_path.remote);
            if round == LAST_ROUND {
                // Nobody has that socket any more.
                send(egress, RunKey(3), &Path { via, ..far_path }, &[77]);
            }
            second.send(()).unwrap();
        });
        opening.recv_timeout(PATIENCE).unwrap();
        assert_eq!(receive(&far), [round + 1; 10], "what was queued before the end still leaves");
        // The kernel lets go of it in one of the next cycles.
        let free = (0..100).any(|_| {
            shard.hold();
            UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], address.port()))).is_ok()
        });
        assert!(free, "port {} comes back", address.port());
    }
    assert_eq!(shard.stop().send_errors, 1);
    assert_nothing_waits(&far);
}

pub(super) fn many_opened_sockets_are_all_heard(kind: BackendKind) {
    const SOCKETS: u16 = 200;
    let far = client("127.0.0.1");
    let far_path = loopback(&far);
    let (tell, told) = channel();
    let handler: Handler = Box::new(move |path, datagram, _| {
        let slot = path.via.relayed_slot().unwrap();
        assert_eq!(datagram, slot.to_be_bytes());
        tell.send(slot).unwrap();
    });
    let shard = Shard::start(kind, 64, handler);
    shard.command(move |egress| {
        for slot in 0..SOCKETS {
            let via = Via::relayed(slot);
            egress.open(via, "127.0.0.1:0".parse().unwrap()).unwrap();
            send(egress, RunKey::NONE, &Path { via, ..far_path }, &slot.to_be_bytes());
        }
    });
    let mut buffer = [0; 64];
    // Each introduces itself and is answered.
    for _ in 0..SOCKETS {
        let (len, address) = far.recv_from(&mut buffer).unwrap();
        far.send_to(&buffer[..len], address).unwrap();
    }
    let mut heard: Vec<u16> = (0..SOCKETS).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
    heard.sort_unstable();
    assert!(heard.into_iter().eq(0..SOCKETS));
    assert_eq!(shard.stop().send_errors, 0);
}

pub(super) fn one_family_of_an_opened_socket_ends_without_the_other_and_a_second_opening_keeps_it(
    kind: BackendKind,
) {
    if !has_ipv6() {
        return;
    }
    let far = [client("127.0.0.1"), client("::1")];
    let paths = far.each_ref().map(loopback);
    let shard = Shard::start(kind, 64, ignore());
    let via = Via::relayed(9);
    // Free a moment ago; on both families, as the sockets are.
    let port = UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let address = move |path: &Path| SocketAddr::new(path.remote.ip(), port);
    shard.command(move |egress| {
        for path in &paths {
            egress.open(via, address(path)).unwrap();
            egress.open(via, address(path)).expect("it is open already");
            send(egress, RunKey(3), &Path { via, ..*path }, &[1]);
        }
        egress.close(via, address(&paths[1]));
        send(egress, RunKey(3), &Path { via, ..paths[0] }, &[2]);
        // Another allocation stands there now, at another port.
        egress.open(via, SocketAddr::new(paths[0].remote.ip(), 0)).unwrap();
        send(egress, RunKey(3), &Path { via, ..paths[0] }, &[3]);
    });
    let mut from = [0; 8];
    let mut heard = |far: &UdpSocket| {
        let (_, address) = far.recv_from(&mut from).unwrap();
        (from[0], address.port() == port)
    };
    assert_eq!([heard(&far[0]), heard(&far[0]), heard(&far[0])], [(1, true), (2, true), (3, false)]);
    assert_eq!(heard(&far[1]), (1, true));
    assert_eq!(shard.stop().send_errors, 0);
}
