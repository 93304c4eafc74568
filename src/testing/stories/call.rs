//! One publisher, three viewers.

use super::{assert_all_seen, heard, ms};
use crate::testing::browser::heard::What;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::net::Weather;
use crate::testing::world::{Camera, View, World};

struct Call<'m> {
    world: World<'m>,
    camera: Camera,
    microphone: Camera,
    views: Vec<View>,
    listens: Vec<View>,
}

/// Everybody is connected; nothing was sent yet.
fn call(memory: &mut Memory, seed: u64) -> Call<'_> {
    let mut world = World::new(memory, seed);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Vp8);
    let microphone = world.publish(publisher, Codec::Opus);
    let (mut views, mut listens) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let viewer = world.join();
        views.push(world.watch(viewer, camera));
        listens.push(world.watch(viewer, microphone));
    }
    world.connect();
    Call { world, camera, microphone, views, listens }
}

#[test]
fn three_viewers_see_and_hear_everything_once_and_in_order() {
    let mut memory = Memory::new();
    let Call { mut world, camera, microphone, views, listens } = call(&mut memory, 1);
    world.start(microphone);
    world.stream(camera, ms(2_000));
    world.stop(microphone);
    world.run(ms(500));
    for (view, listen) in views.into_iter().zip(listens) {
        assert_all_seen(&world, view, camera);
        assert_all_seen(&world, listen, microphone);
        assert_eq!(world.seen(view).packets.len(), world.sent(camera).len());
        assert_eq!(world.seen(view).repeats, 0);
    }
}

#[test]
fn a_foul_network_is_repaired_on_both_sides() {
    let mut memory = Memory::new();
    let Call { mut world, camera, views, .. } = call(&mut memory, 2);
    world.rest.net.weather = Weather::FOUL;
    world.stream(camera, ms(8_000));
    world.rest.net.weather = Weather::FAIR;
    world.stream(camera, ms(500));
    for view in views {
        assert_all_seen(&world, view, camera);
        let repaired = world.seen(view).packets.values().filter(|packet| packet.repaired).count();
        assert!(repaired > 10, "{repaired}");
    }
    let asked = heard(&world, camera.browser, |what| matches!(what, What::Nack(..)).then_some(()));
    assert!(!asked.is_empty());
    assert!(world.counter("rtp_repaired") > 10 && world.counter("rtx_out") > 30);
}
