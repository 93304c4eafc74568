//! A shard's thread: sleep, wake, panic, memory.

use super::*;

pub(super) fn another_thread_wakes_a_sleeping_shard(kind: BackendKind) {
    let shard = Shard::start(kind, 16, ignore());
    for round in 0..200 {
        let (tell, told) = channel();
        shard.command(move |_| tell.send(round).unwrap());
        assert_eq!(told.recv_timeout(PATIENCE), Ok(round));
    }
    // Many at once, from many threads, to a shard that may be about to sleep.
    let (tell, told) = channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (commands, waker, tell) = (shard.commands.clone(), shard.waker.clone(), tell.clone());
            thread::spawn(move || {
                for _ in 0..500 {
                    let tell = tell.clone();
                    commands.send(Some(Box::new(move |_| tell.send(()).unwrap()))).unwrap();
                    waker.wake();
                }
            })
        })
        .collect();
    for _ in 0..2000 {
        told.recv_timeout(PATIENCE).unwrap();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let counters = shard.stop();
    assert!((1..=2201).contains(&counters.wakeups), "{}", counters.wakeups);
}

pub(super) fn a_deadline_ends_the_sleep(kind: BackendKind) {
    let client = client("127.0.0.1");
    let path = loopback(&client);
    let deadline = clock::now() + Duration::from_millis(30);
    let say: Order = Box::new(move |egress| send(egress, RunKey::NONE, &path, b"now"));
    let sockets = Sockets::bind(0).unwrap();
    let shard = Shard::start_on(sockets, kind, 16, deadline, Some(say), ignore());
    assert_eq!(receive(&client), b"now");
    assert!(clock::now() >= deadline);
    shard.stop();
}

pub(super) fn a_panic_costs_what_is_in_hand_and_no_buffer(kind: BackendKind) {
    let handler: Handler = Box::new(|path, datagram, egress| {
        let slot = egress.reserve(RunKey(0), path).unwrap();
        if datagram == b"panic" {
            slot.fill(0xff);
            // Unwinds without the hook's message.
            resume_unwind(Box::new("a bug in the core"));
        }
        slot[..datagram.len()].copy_from_slice(datagram);
        egress.commit(datagram.len());
    });
    let shard = Shard::start(kind, 8, handler);
    let client = shard.client("127.0.0.1", "127.0.0.1");
    // More often than there are buffers and slots: none may leak.
    for round in 0..300_u32 {
        let release = shard.hold();
        client.send(&numbered(round, 10)).unwrap();
        client.send(b"panic").unwrap();
        // The rest of the batch is lost with it; the next batch is not.
        for _ in 2..TRAINS_MAX {
            client.send(b"panic").unwrap();
        }
        client.send(&numbered(round, 12)).unwrap();
        drop(release);
        for len in [10, 12] {
            assert_eq!(receive(&client), numbered(round, len));
        }
    }
    assert_nothing_waits(&client);
    let counters = shard.stop();
    assert_eq!((counters.datagrams_in, counters.datagrams_out), (300 * (TRAINS_MAX as u64 + 1), 600));
}

pub(super) fn the_steady_state_allocates_nothing(kind: BackendKind) {
    let (tell, told) = channel();
    let mut before = 0;
    let handler: Handler = Box::new(move |path, datagram, egress| {
        match number(datagram) {
            500 => before = allocations_of_this_thread(),
            4500 => tell.send(allocations_of_this_thread() - before).unwrap(),
            _ => {}
        }
        for _ in 0..4 {
            send(egress, RunKey(0), path, datagram);
        }
    });
    let shard = Shard::start(kind, 64, handler);
    let client = shard.client("127.0.0.1", "127.0.0.1");
    for round in 0..46 {
        for number in 0..100 {
            client.send(&numbered(round * 100 + number, 300)).unwrap();
        }
        for number in 0..400 {
            assert_eq!(receive(&client), numbered(round * 100 + number / 4, 300));
        }
    }
    assert_eq!(told.recv_timeout(PATIENCE), Ok(0));
    shard.stop();
}
