//! Sending: runs, refusals, full sockets.

use super::*;

pub(super) fn equal_datagrams_and_a_shorter_last_leave_in_one_send(kind: BackendKind) {
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let shard = Shard::start(kind, 64, ignore());
        let client = client(local);
        let path = loopback(&client);
        shard.command(move |egress| {
            for number in 0..10 {
                send(egress, RunKey(3), &path, &numbered(number, 1000));
            }
            send(egress, RunKey(3), &path, &numbered(10, 300));
        });
        for number in 0..10 {
            assert_eq!(receive(&client), numbered(number, 1000));
        }
        assert_eq!(receive(&client), numbered(10, 300));
        let counters = shard.stop();
        assert_eq!((counters.sends, counters.gso_runs, counters.datagrams_out), (1, 1, 11));
        assert_eq!((counters.gso_refused, counters.bytes_out), (0, 10_300));
    }
}

pub(super) fn the_longest_runs_leave_in_one_send(kind: BackendKind) {
    for local in ["127.0.0.1", "::1"].into_iter().take(1 + usize::from(has_ipv6())) {
        let shard = Shard::start(kind, 256, ignore());
        let client = client(local);
        let path = loopback(&client);
        // 64 of 1023 bytes and 44 of 1472: as near to 64 KiB as runs get.
        for (count, len) in [(64, 1023), (44, 1472), (64, 4)] {
            shard.command(move |egress| {
                (0..count).for_each(|number| send(egress, RunKey(3), &path, &numbered(number, len)));
            });
            (0..count).for_each(|number| assert_eq!(receive(&client), numbered(number, len)));
        }
        let counters = shard.stop();
        assert_eq!((counters.sends, counters.gso_runs, counters.gso_refused), (3, 3, 0));
    }
}

pub(super) fn unequal_datagrams_split_into_runs(kind: BackendKind) {
    let shard = Shard::start(kind, 64, ignore());
    let client = client("127.0.0.1");
    let path = loopback(&client);
    let lens = [100, 200, 200, 50, 50, 60];
    shard.command(move |egress| {
        for (number, len) in lens.into_iter().enumerate() {
            send(egress, RunKey(3), &path, &numbered(number as u32, len));
        }
    });
    for (number, len) in lens.into_iter().enumerate() {
        assert_eq!(receive(&client), numbered(number as u32, len));
    }
    let counters = shard.stop();
    // 100 | 200 200 50 | 50 | 60
    assert_eq!((counters.sends, counters.gso_runs, counters.datagrams_out), (4, 1, 6));
}

pub(super) fn more_datagrams_than_slots_lose_nothing(kind: BackendKind) {
    // Fewer than wait for an early flush.
    let slots = 32;
    let shard = Shard::start(kind, slots, ignore());
    let clients: Vec<UdpSocket> = (0..4).map(|_| client("127.0.0.1")).collect();
    let paths: Vec<Path> = clients.iter().map(loopback).collect();
    let each = 200;
    shard.command(move |egress| {
        for number in 0..each {
            for (key, path) in paths.iter().enumerate() {
                let len = 100 + (number as usize * 7) % 90;
                send(egress, RunKey(key as u32), path, &numbered(number, len));
            }
        }
    });
    for client in &clients {
        for expected in 0..each {
            assert_eq!(number(&receive(client)), expected);
        }
        assert_nothing_waits(client);
    }
    let counters = shard.stop();
    assert_eq!(counters.datagrams_out, 4 * u64::from(each));
    assert!(counters.slots_exhausted >= 4 * u64::from(each) / slots as u64 - 1);
    assert_eq!((counters.send_errors, counters.slots_refused), (0, 0));
}

pub(super) fn a_refused_run_is_repeated_one_by_one(kind: BackendKind) {
    let sockets = Sockets::bind(0).unwrap();
    // The kernel cuts runs only when it may fill in checksums: udp_send_skb() answers EINVAL to a run on this socket.
    let fd = sockets.get(Family::Ipv4).unwrap();
    set_option(fd, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let shard = Shard::start_on(sockets, kind, 64, Timestamp::NEVER, None, ignore());
    let client = client("127.0.0.1");
    let path = loopback(&client);
    for round in 0..3 {
        shard.command(move |egress| {
            for number in 0..5 {
                send(egress, RunKey(1), &path, &numbered(round * 5 + number, 500));
            }
        });
        // Nothing else comes to wake the shard: the repeat must not wait for it.
        for number in 0..5 {
            assert_eq!(receive(&client), numbered(round * 5 + number, 500));
        }
    }
    let counters = shard.stop();
    // The first run taught it; the others went one by one from the start.
    assert_eq!((counters.gso_refused, counters.gso_runs), (1, 0));
    assert_eq!((counters.sends, counters.datagrams_out, counters.send_errors), (15, 15, 0));
}

/// A network of its own, with a neighbour that never answers: what is sent there waits in the kernel, and fills the
/// socket, until the neighbour is given up. False where the process may not make one.
fn enter_a_network_with_a_dead_neighbour() -> bool {
    // SAFETY: a plain call; it moves this thread alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return false;
    }
    let ip =
        |args: &str| Command::new("ip").args(args.split(' ')).status().is_ok_and(|status| status.success());
    ip("link set lo up")
        && ip("link add near type veth peer name far")
        && ip("addr add 10.9.0.1/24 dev near")
        && ip("link set near up")
        && ip("link set far up")
        // Given up after 20 ms instead of 3 s.
        && fs::write("/proc/sys/net/ipv4/neigh/near/retrans_time_ms", "20").is_ok()
        && fs::write("/proc/sys/net/ipv4/neigh/near/mcast_solicit", "1").is_ok()
}

pub(super) fn a_full_socket_is_waited_for_and_stops_nobody_for_ever(kind: BackendKind) {
    let test = move || {
        if !enter_a_network_with_a_dead_neighbour() {
            skip("needs the right to make network namespaces, and ip(8)");
            return;
        }
        fill_the_socket(kind);
    };
    thread::spawn(test).join().unwrap();
}

fn fill_the_socket(kind: BackendKind) {
    let sockets = Sockets::bind(0).unwrap();
    set_option(sockets.get(Family::Ipv4).unwrap(), libc::SOL_SOCKET, libc::SO_SNDBUF, 1).unwrap();
    let shard = Shard::start_on(sockets, kind, 256, Timestamp::NEVER, None, ignore());
    let dead = Path { remote: "10.9.0.2:9".parse().unwrap(), ..Path::NONE };
    let count = 50;
    shard.command(move |egress| {
        (0..count).for_each(|number| send(egress, RunKey::NONE, &dead, &numbered(number, 1000)));
    });
    // The socket is one for all, so others wait too, but not for ever.
    let client = client("127.0.0.1");
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let path = loopback(&client);
    let mut asked = 0;
    let answered = (0..1000).any(|_| {
        let (tell, told) = channel();
        shard.command(move |egress| {
            let slot = egress.reserve(RunKey::NONE, &path).map(|slot| slot[..4].fill(1));
            slot.inspect(|()| egress.commit(4));
            tell.send(slot.is_some()).unwrap();
        });
        asked += u64::from(told.recv_timeout(PATIENCE).unwrap());
        client.recv(&mut [0; 8]).is_ok()
    });
    assert!(answered);
    let counters = shard.stop();
    assert!(counters.send_retries > 0);
    assert!(counters.datagrams_out + counters.send_errors <= u64::from(count) + asked);
    if kind == BackendKind::Uring {
        // It loses none, and the one that was answered had to stand behind all that came before it.
        assert_eq!(counters.send_errors, 0);
        assert!(counters.datagrams_out > u64::from(count), "{counters:?}");
    }
}

pub(super) fn a_datagram_nobody_can_send_is_counted_and_harms_no_other(kind: BackendKind) {
    let shard = Shard::start(kind, 64, ignore());
    let client = client("127.0.0.1");
    let path = loopback(&client);
    // EACCES, for the socket may not broadcast; EINVAL, for there is no port 0.
    let broadcast = Path { remote: "255.255.255.255:9".parse().unwrap(), ..Path::NONE };
    let portless = Path { remote: "127.0.0.1:0".parse().unwrap(), ..Path::NONE };
    shard.command(move |egress| {
        send(egress, RunKey(1), &path, &numbered(0, 100));
        send(egress, RunKey(2), &broadcast, &numbered(1, 100));
        send(egress, RunKey(1), &path, &numbered(2, 100));
        send(egress, RunKey(3), &portless, &numbered(3, 100));
        send(egress, RunKey(3), &portless, &numbered(4, 100));
        send(egress, RunKey(1), &path, &numbered(5, 200));
    });
    for expected in [0, 2, 5] {
        assert_eq!(number(&receive(&client)), expected);
    }
    let counters = shard.stop();
    assert_eq!((counters.send_errors, counters.datagrams_out, counters.gso_refused), (3, 3, 1));
}
