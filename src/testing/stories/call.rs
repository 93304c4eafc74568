//! One publisher, three viewers.

use std::time::Duration;

use super::{assert_all_seen, heard, ms};
use crate::testing::browser::heard::{Heard, What};
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::net::Weather;
use crate::testing::world::{Camera, View, World};
use crate::wire::rtcp::report::ReportBlock;

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

#[test]
fn padding_vanishes_without_a_gap_even_when_it_comes_late() {
    let mut memory = Memory::new();
    let Call { mut world, camera, views, .. } = call(&mut memory, 3);
    world.stream(camera, ms(200));
    for round in 0..30 {
        let publisher = world.browser(camera.browser);
        let mut packets: Vec<_> = (0..4).map(|_| publisher.sources[camera.source].padding()).collect();
        packets.extend(publisher.sources[camera.source].frame());
        // Every third round in another order: media first, padding late; or one frame inside out.
        match round % 3 {
            1 => packets.rotate_left(4),
            2 => packets.swap(4, 6),
            _ => {}
        }
        packets.iter().for_each(|sent| publisher.send_packet(camera.source, sent));
        world.run(ms(40));
    }
    world.run(ms(500));
    for view in views {
        assert_all_seen(&world, view, camera);
        let fills = world.seen(view).packets.values().filter(|packet| packet.padding).count();
        assert_eq!(fills, 40, "only where media had gone ahead of its padding");
    }
    assert_eq!(world.counter("rtp_padding_in"), 80);
}

#[test]
fn the_publisher_is_asked_for_what_was_lost_on_its_way() {
    let mut memory = Memory::new();
    let Call { mut world, camera, views, .. } = call(&mut memory, 4);
    world.stream(camera, ms(200));
    let lost = world.source(camera).frame();
    world.stream(camera, ms(200));
    for view in views {
        assert_all_seen(&world, view, camera);
    }
    let asked = heard(&world, camera.browser, |what| match what {
        What::Nack(ssrc, sequences) => Some((*ssrc, sequences.clone())),
        _ => None,
    });
    let wanted: Vec<_> = lost.iter().map(|sent| sent.index as u16).collect();
    assert_eq!(asked, [(world.source(camera).ssrc, wanted)], "once, all three");
    assert_eq!(world.counter("rtp_repaired"), 3);
}

#[test]
fn a_viewer_who_lost_a_packet_gets_it_from_the_cache() {
    let mut memory = Memory::new();
    let Call { mut world, camera, views, .. } = call(&mut memory, 5);
    world.stream(camera, ms(400));
    let view = views[0];
    let (index, lost) =
        world.seen(view).packets.iter().nth(7).map(|(index, packet)| (*index, packet.clone())).unwrap();
    let viewer = world.browser(view.browser);
    viewer.sinks.get_mut(&view.ssrc).unwrap().packets.remove(&index);
    world.run(ms(200));
    let again = &world.seen(view).packets[&index];
    assert_eq!((again.rtp, again.marker, &again.payload), (lost.rtp, lost.marker, &lost.payload));
    assert_eq!((again.repaired, again.payload_type), (true, 111));
    assert_eq!((world.counter("rtx_out"), world.counter("rtx_missed")), (1, 0));
    // What was never sent is not made up, and another viewer's stream is nobody's business here.
    let other = views[1].ssrc;
    let viewer = world.browser(view.browser);
    viewer.nack(view.ssrc, &[(index as u16).wrapping_sub(300)]);
    viewer.nack(other, &[index as u16]);
    world.run(ms(100));
    assert_eq!((world.counter("rtx_out"), world.counter("rtx_missed")), (1, 1));
}

#[test]
fn a_viewer_far_away_is_sent_a_packet_once_in_its_round_trip() {
    let mut memory = Memory::new();
    let Call { mut world, camera, views, .. } = call(&mut memory, 10);
    world.rest.net.weather.delay = ms(100);
    let (now, view) = (world.rest.now, views[0]);
    world.browser(camera.browser).sender_report(now, camera.source, 0x1234_5678_9ABC);
    world.stream(camera, ms(2_000));
    let report = world.rest.browsers[view.browser]
        .heard
        .iter()
        .rfind(|heard| matches!(heard.what, What::SenderReport(info) if info.ssrc == view.ssrc));
    let Some(Heard { at, what: What::SenderReport(info) }) = report.cloned() else { panic!("no report") };
    let delay_since_last_sr = (world.rest.now.since(at).as_nanos() * 65_536 / 1_000_000_000) as u32;
    let last_sr = (info.ntp >> 16) as u32;
    let last = world.seen(view).last().unwrap() as u16;
    let viewer = world.browser(view.browser);
    viewer.receiver_report(ReportBlock {
        ssrc: view.ssrc,
        last_sr,
        delay_since_last_sr,
        ..Default::default()
    });
    for _ in 0..10 {
        world.browser(view.browser).nack(view.ssrc, &[last]);
        world.run(ms(50));
    }
    world.run(ms(200));
    // Asked for ten times in 450 ms, 200 ms away (or a little more, as the viewer's clock rounds).
    assert!((2..=3).contains(&world.counter("rtx_out")));
}

#[test]
fn key_frame_requests_are_merged_to_two_a_second() {
    let mut memory = Memory::new();
    let Call { mut world, camera, views, .. } = call(&mut memory, 6);
    world.source(camera).obeys = false;
    world.stream(camera, ms(2_000));
    let plis = |world: &World<'_>| {
        heard(world, camera.browser, |what| matches!(what, What::Pli(_)).then_some(())).len()
    };
    let before = plis(&world);
    world.start(camera);
    for _ in 0..100 {
        for view in &views {
            world.browser(view.browser).pli(view.ssrc);
        }
        world.run(ms(100));
    }
    let asked = plis(&world) - before;
    assert!((19..=21).contains(&asked), "{asked} in 10 s");
    assert_eq!(world.counter("keyframe_requests_in"), 300);
}

#[test]
fn a_late_viewer_starts_at_a_key_frame_that_was_asked_for() {
    let mut memory = Memory::new();
    let Call { mut world, camera, .. } = call(&mut memory, 7);
    world.start(camera);
    world.run(ms(5_000));
    let joined = world.rest.now;
    let viewer = world.join();
    let late = world.watch(viewer, camera);
    world.run(ms(1_000));
    world.stop(camera);
    world.run(ms(500));
    assert_all_seen(&world, late, camera);
    let first = world.seen(late).packets.values().next().unwrap();
    assert!(first.at.since(joined) < ms(300), "{:?}", first.at.since(joined));
}

#[test]
fn sender_reports_carry_the_publishers_time_and_the_viewers_timestamps() {
    let mut memory = Memory::new();
    let Call { mut world, camera, microphone, views, listens } = call(&mut memory, 8);
    world.start(microphone);
    world.start(camera);
    world.run(ms(1_000));
    // What time it is, the publisher alone knows.
    let (then, ntp) = (world.rest.now, 0x1234_0000_0000);
    for media in [camera, microphone] {
        world.browser(media.browser).sender_report(then, media.source, ntp);
    }
    let clocks = [camera, microphone].map(|media| world.source(media).clock_at(then));
    world.run(ms(3_000));
    for (view, media, clock) in [(views[1], camera, clocks[0]), (listens[1], microphone, clocks[1])] {
        let offset = offset_of(&world, view, media);
        let reports = heard(&world, view.browser, |what| match what {
            What::SenderReport(info) if info.ssrc == view.ssrc => Some(*info),
            _ => None,
        });
        assert!((2..=4).contains(&reports.len()), "once a second: {}", reports.len());
        for report in reports {
            let elapsed_nanos = (u128::from(report.ntp - ntp) * 1_000_000_000) >> 32;
            let elapsed = Duration::from_nanos(elapsed_nanos as u64);
            assert!(elapsed < ms(3_000));
            let wanted = clock.wrapping_add(offset).wrapping_add(world.source(media).ticks(elapsed));
            assert!(
                report.rtp_time.wrapping_sub(wanted).wrapping_add(1) <= 2,
                "{} {wanted}",
                report.rtp_time
            );
        }
        let cname = heard(&world, view.browser, |what| match what {
            What::Cname(ssrc, name) if *ssrc == view.ssrc => Some(name.clone()),
            _ => None,
        });
        assert_eq!(cname[0], format!("cname{}", media.track).into_bytes());
    }
}

/// What was added to the timestamps of a camera for a viewer.
fn offset_of(world: &World<'_>, view: View, camera: Camera) -> u32 {
    let seen = world.seen(view).packets.values().next().unwrap();
    let sent = world.sent(camera).into_iter().find(|sent| sent.payload == seen.payload).unwrap();
    seen.rtp.wrapping_sub(sent.rtp)
}

#[test]
fn the_publisher_hears_of_every_arrival_and_of_losses() {
    let mut memory = Memory::new();
    let Call { mut world, camera, .. } = call(&mut memory, 9);
    world.stream(camera, ms(1_000));
    let lost = world.source(camera).frame();
    assert_eq!(lost.len(), 3);
    world.source(camera).obeys = false;
    world.stream(camera, ms(2_000));
    let told = heard(&world, camera.browser, |what| match what {
        What::Arrivals(statuses) => Some(statuses.clone()),
        _ => None,
    });
    assert!(told.len() > 10, "{} feedbacks in 3 s", told.len());
    let told: std::collections::BTreeMap<u16, bool> = told.into_iter().flatten().collect();
    assert_eq!(told.len() as u64, world.counter("rtp_in"), "every packet with a number, across the wrap");
    assert!(told.values().all(|arrived| *arrived));
    let ssrc = world.source(camera).ssrc;
    let blocks: Vec<_> = heard(&world, camera.browser, |what| match what {
        What::ReceiverReport(blocks) => Some(blocks.clone()),
        _ => None,
    });
    assert!((3..=5).contains(&blocks.len()), "once a second: {}", blocks.len());
    let last = blocks.concat().into_iter().rfind(|block| block.ssrc == ssrc).unwrap();
    assert_eq!(last.cumulative_lost, 3);
}
