//! The same seed and the same inputs give the same run, byte for byte; and no order comes from a hash.

use super::ms;
use crate::egress::Path;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::net::Weather;
use crate::testing::world::{Rest, World};
use crate::time::Timestamp;

/// Everything that a shard sends in some seconds of bad weather.
fn output(memory: &mut Memory, rest: Rest) -> Vec<(Timestamp, Path, Vec<u8>)> {
    let mut world = World::resume(memory, rest);
    world.log = Some(Vec::new());
    world.rest.net.weather = Weather::FOUL;
    world.run(ms(3_000));
    world.log.take().unwrap()
}

#[test]
fn two_runs_are_the_same_byte_for_byte_under_any_hash_seed() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 51);
    let browsers: Vec<_> = (0..5).map(|_| world.join()).collect();
    let mut cameras = Vec::new();
    for &publisher in &browsers {
        for codec in [Codec::Vp8, Codec::Opus] {
            let camera = world.publish(publisher, codec);
            browsers.iter().filter(|viewer| **viewer != publisher).for_each(|&viewer| {
                world.watch(viewer, camera);
            });
            cameras.push(camera);
        }
    }
    // Handshakes draw keys from the system, so the two lives part after them.
    world.connect();
    cameras.iter().for_each(|camera| world.start(*camera));
    world.run(ms(500));
    let rest = world.freeze();
    let [mut second, mut third] = [memory.copy(), memory.copy()];
    let (same, mut other) = (rest.clone(), rest.clone());
    other.seed += 1;
    let first = output(&mut memory, rest);
    assert!(first.len() > 5_000, "{} datagrams", first.len());
    assert!(first == output(&mut second, same), "the same seed");
    assert!(first == output(&mut third, other), "another hash seed");
}
