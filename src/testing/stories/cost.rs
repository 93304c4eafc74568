//! What a packet costs: no allocation, however many watch.

use std::time::Duration;

use super::ms;
use crate::ingress::Train;
use crate::io::alloc::allocations_of_this_thread;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::world::World;

const VIEWERS: usize = 50;
const PACKETS: usize = 10_000;

/// One publisher, 50 viewers, a packet a millisecond; some are lost on the way in, viewers ask for some again, and all
/// reports and requests leave by the clock.
#[test]
fn the_media_path_allocates_nothing() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 61);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let views: Vec<_> = (0..VIEWERS)
        .map(|_| {
            let viewer = world.join();
            world.watch(viewer, camera)
        })
        .collect();
    world.connect();
    world.stream(camera, ms(1_000));
    world.source(camera).packets_per_frame = 1;

    let path = world.browser(publisher).path;
    let (mut allocations, mut fanned_out) = (0, 0);
    let last_seen: Vec<_> = views.iter().map(|view| world.seen(*view).last().unwrap()).collect();
    for packet in 0..PACKETS {
        world.rest.now = world.rest.now + Duration::from_millis(1);
        let sent = world.source(camera).frame().remove(0);
        let mut datagrams = Vec::new();
        if packet % 100 != 50 {
            datagrams.push((path, world.browser(publisher).seal_packet(0, &sent).unwrap()));
        }
        if packet % 10 == 3 {
            let (view, last) = (views[packet % VIEWERS], last_seen[packet % VIEWERS]);
            let viewer = world.browser(view.browser);
            viewer.nack(view.ssrc, &[(last + packet as u64) as u16]);
            datagrams.extend(viewer.out.drain(..).map(|nack| (viewer.path, nack)));
        }
        let now = world.rest.now;
        let before = allocations_of_this_thread();
        let trains = datagrams.iter_mut().map(|(path, datagram)| Train::single(*path, datagram)).collect();
        world.shard.handle_datagrams(now, trains, &mut world.outbox);
        if world.shard.next_deadline() <= now {
            world.shard.handle_timeout(now, &mut world.outbox);
        }
        allocations += allocations_of_this_thread() - before;
        fanned_out += world.outbox.len();
        world.outbox.clear();
    }
    assert!(fanned_out > PACKETS * VIEWERS * 98 / 100, "{fanned_out}");
    assert!(world.counter("rtx_out") > 100, "{}", world.counter("rtx_out"));
    assert!(world.counter("nack_out") >= 100);
    assert_eq!(allocations, 0);
}
