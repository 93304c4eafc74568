//! Two shards with browsers of their own that hand each other packets, in one thread and one time.

use std::time::Duration;

use super::memory::Memory;
use super::world::{Camera, View, World};
use crate::control::bridge::Port;
use crate::io::alloc;
use crate::router::fanout::BURST_MAX;
use crate::router::parcel::{Content, Parcel};

/// The shard of the publishers, and another one.
pub(crate) struct Pair<'h, 'f> {
    pub(crate) home: World<'h>,
    pub(crate) far: World<'f>,
    pub(crate) between: Between,
}

/// What connects the two, and outlives both.
pub(crate) struct Between {
    ports: Vec<Port>,
    /// Says of what a shard sends whether it is lost on the way.
    pub(crate) loses: fn(&Parcel) -> bool,
    /// The far shard does not come to look at what it is sent.
    pub(crate) far_is_busy: bool,
    /// Packets that crossed.
    pub(crate) packets: u64,
}

impl Between {
    /// What a shard's cycle does: takes what came, hands over what goes. Gives whether anything did.
    fn exchange(&mut self, world: &mut World<'_>, busy: bool) -> bool {
        let port = &mut self.ports[world.rest.shard.0 as usize];
        let mut came = false;
        while let Some(buffer) = port.returned() {
            let Content::Packet(packet) = buffer else { unreachable!("nobody speaks TURN here") };
            world.shard.recycle(packet);
        }
        while let Some(mut parcels) = (!busy).then(|| port.receive().take(BURST_MAX).collect::<Vec<_>>()) {
            if parcels.is_empty() {
                break;
            }
            came = true;
            let packets =
                parcels.iter().filter(|parcel| matches!(parcel.content, Content::Packet(_))).count();
            self.packets += packets as u64;
            let before = alloc::allocations_of_this_thread();
            world.shard.handle_parcels(world.rest.now, &mut parcels, &mut world.outbox);
            let allocated = alloc::allocations_of_this_thread() - before;
            world.media_allocations += if packets == parcels.len() { allocated } else { 0 };
            parcels.into_iter().for_each(|parcel| port.give_back(parcel));
        }
        let loses = self.loses;
        let mut went = false;
        world.shard.flush_parcels(|to, parcel| {
            went = true;
            if loses(&parcel) { Ok(()) } else { port.post(to, parcel) }
        });
        world.gather();
        came || went
    }
}

impl<'h, 'f> Pair<'h, 'f> {
    pub(crate) fn new(home: &'h mut Memory, far: &'f mut Memory, seed: u64) -> Self {
        let home = World::member(home, seed, (0, 2));
        let mut far = World::member(far, seed + 1_000, (1, 2));
        far.rest.home = Some(0);
        let ports = Port::connect([None, None]);
        let between = Between { ports, loses: |_| false, far_is_busy: false, packets: 0 };
        Self { home, far, between }
    }

    /// As many viewers on the other shard.
    pub(crate) fn watch_afar(&mut self, camera: Camera, count: usize) -> Vec<View> {
        let viewers: Vec<_> = (0..count).map(|_| self.far.join()).collect();
        viewers.into_iter().map(|viewer| self.far.watch(viewer, camera)).collect()
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.home.rest.now + time;
        loop {
            self.exchange();
            let now = self.home.rest.now;
            let next = self.home.next_moment().min(self.far.next_moment()).max(now);
            let step = next.min(until).since(now);
            self.home.run(step);
            self.far.run(step);
            if next > until {
                return self.exchange();
            }
        }
    }

    fn exchange(&mut self) {
        let Self { home, far, between } = self;
        for _ in 0..100 {
            let moved = [between.exchange(home, false), between.exchange(far, between.far_is_busy)];
            if moved == [false; 2] {
                return;
            }
        }
        panic!("the shards never cease to answer each other");
    }

    /// Runs until everybody is connected.
    pub(crate) fn connect(&mut self) {
        for _ in 0..100 {
            self.run(Duration::from_millis(50));
            let browsers = self.home.rest.browsers.iter().chain(&self.far.rest.browsers);
            if browsers.into_iter().all(super::browser::Browser::is_live) {
                return self.run(Duration::from_millis(50));
            }
        }
        panic!("not everybody is connected after 5 s");
    }

    /// Sends for that long, then rests until all has arrived.
    pub(crate) fn stream(&mut self, camera: Camera, time: Duration) {
        self.home.start(camera);
        self.run(time);
        self.home.stop(camera);
        self.run(Duration::from_millis(500));
    }
}
