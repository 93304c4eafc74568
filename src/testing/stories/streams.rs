//! Which stream is which: several sections on one transport, SSRCs latched by MID, codecs and their key frames.

use super::{assert_all_seen, heard, ms};
use crate::testing::browser::heard::What;
use crate::testing::browser::sink::Received;
use crate::testing::browser::source::Source;
use crate::testing::media::Codec;
use crate::testing::memory::Memory;
use crate::testing::net::Weather;
use crate::testing::world::World;
use crate::wire::extension::Kind;
use crate::wire::rtcp::twcc;

/// Id of transport-wide numbers in every browser here.
const NUMBER_ID: u8 = 3;

#[test]
fn two_browsers_publish_and_watch_several_streams_on_one_transport_each() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 31);
    let browsers = [world.join(), world.join()];
    let mut pairs = Vec::new();
    for (own, other) in [(0, 1), (1, 0)] {
        for codec in [Codec::Vp8, Codec::Opus, Codec::H264, Codec::Opus] {
            let camera = world.publish(browsers[own], codec);
            pairs.push((camera, world.watch(browsers[other], camera)));
        }
    }
    world.connect();
    world.rest.net.weather = Weather { loss_percent: 0, duplicates_percent: 3, ..Weather::FOUL };
    pairs.iter().for_each(|(camera, _)| world.start(*camera));
    world.run(ms(4_000));
    pairs.iter().for_each(|(camera, _)| world.stop(*camera));
    world.run(ms(500));
    for (camera, view) in pairs {
        let seen = world.seen(view);
        assert_eq!(seen.missing(), Vec::<u64>::new());
        let (sent, payloads) = (world.sent(camera), seen.payloads());
        // A first packet that was overtaken comes too late for a stream that has begun.
        let start = sent.len() - payloads.len();
        assert!(start < 10, "{start} missing at the beginning");
        assert!(sent[start..].iter().map(|sent| &sent.payload[..]).eq(payloads));
    }
}

#[test]
fn streams_that_were_not_signaled_are_known_by_their_mid() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 32);
    let publisher = world.join();
    let cameras = [Codec::Vp8, Codec::Vp8].map(|codec| {
        let track = world.make();
        let camera = world.install_source(publisher, codec, track, 96);
        world.source(camera).mid = format!("mid{}", camera.source);
        world.put_track(camera, |put| {
            put.ssrcs.clear();
            put.mid = format!("mid{}", camera.source);
        });
        camera
    });
    let viewer = world.join();
    let views = cameras.map(|camera| world.watch(viewer, camera));
    world.connect();
    cameras.iter().for_each(|camera| world.start(*camera));
    world.run(ms(500));
    // Lost on the way; RTX is latched by MID too.
    cameras.iter().for_each(|camera| drop(world.source(*camera).frame()));
    world.run(ms(1_000));
    cameras.iter().for_each(|camera| world.stop(*camera));
    world.run(ms(500));
    for (camera, view) in cameras.into_iter().zip(views) {
        assert_all_seen(&world, view, camera);
    }
    assert_eq!((world.counter("streams_in"), world.counter("rtp_repaired")), (4, 6));
}

#[test]
fn sixteen_ssrcs_are_latched_and_no_more() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 33);
    let publisher = world.join();
    let camera = world.install_source(publisher, Codec::Opus, 5, 96);
    world.source(camera).mid = "a".into();
    world.put_track(camera, |put| {
        put.ssrcs.clear();
        put.mid = "a".into();
    });
    let viewer = world.join();
    let view = world.watch(viewer, camera);
    world.connect();
    // While one stream of a track is fed from, no other takes its place.
    world.start(camera);
    world.run(ms(200));
    for ssrc in 0..40 {
        let browser = world.browser(publisher);
        let mut source = Source::new(Codec::Opus, ssrc, 96);
        source.mid = if ssrc % 2 == 0 { "a" } else { "b" }.into();
        browser.sources.push(source);
        let place = browser.sources.len() - 1;
        browser.send_frame(place);
        world.run(ms(20));
    }
    assert_eq!(world.counter("streams_in"), 16);
    assert_eq!(world.counter("discard_peer_unknown_ssrc"), 14, "a MID that names no track latches nothing");
    assert_eq!(world.counter("discard_peer_too_many_ssrcs"), 11);
    world.stop(camera);
    world.run(ms(500));
    assert_all_seen(&world, view, camera);
}

#[test]
fn every_video_codec_starts_at_its_key_frames() {
    for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
        let mut memory = Memory::new();
        let mut world = World::new(&mut memory, 34);
        let publisher = world.join();
        let camera = world.publish(publisher, codec);
        world.connect();
        world.start(camera);
        world.run(ms(1_000));
        let viewer = world.join();
        let view = world.watch(viewer, camera);
        world.connect();
        world.run(ms(500));
        world.stop(camera);
        world.run(ms(500));
        assert_all_seen(&world, view, camera);
    }
}

#[test]
fn fir_is_sent_where_pli_was_not_negotiated() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 35);
    let publisher = world.join();
    let camera = world.install_source(publisher, Codec::Vp8, 5, 96);
    world.put_track(camera, |put| (put.pli, put.fir) = (false, true));
    world.connect();
    world.source(camera).key_due = false;
    world.start(camera);
    let viewer = world.join();
    let view = world.watch(viewer, camera);
    world.run(ms(1_500));
    world.stop(camera);
    world.run(ms(500));
    assert_all_seen(&world, view, camera);
    let firs = heard(&world, publisher, |what| match what {
        What::Fir(_, sequence) => Some(*sequence),
        _ => None,
    });
    assert!(!firs.is_empty() && firs.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{firs:?}");
}

#[test]
fn a_viewer_gets_its_own_names_and_ids() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 36);
    let publisher = world.join();
    let camera = world.publish(publisher, Codec::Opus);
    world.source(camera).mid = "theirs".into();
    let viewer = world.newcomer();
    let extensions = &mut world.browser(viewer).extensions;
    assert!(extensions.insert(Kind::Mid, 7) && extensions.insert(Kind::AudioLevel, 9));
    world.introduce(viewer);
    let view = world.watch(viewer, camera);
    world.connect();
    world.stream(camera, ms(200));
    for (packet, number) in world.seen(view).packets.values().zip(0_u16..) {
        assert_eq!(packet.payload_type, 110);
        let number = (NUMBER_ID, number.to_be_bytes().to_vec());
        assert_eq!(packet.extensions, [number, (7, format!("v{viewer}").into_bytes()), (9, vec![0x85])]);
    }
    assert_all_seen(&world, view, camera);
}

#[test]
fn a_viewers_feedback_tells_what_it_got_of_all_its_streams() {
    let mut memory = Memory::new();
    let mut world = World::new(&mut memory, 37);
    let publisher = world.join();
    let (camera, microphone) = (world.publish(publisher, Codec::Vp8), world.publish(publisher, Codec::Opus));
    let viewer = world.join();
    let (video, audio) = (world.watch(viewer, camera), world.watch(viewer, microphone));
    world.connect();
    world.start(microphone);
    world.stream(camera, ms(300));
    let (video, audio) = (world.seen(video).packets.values(), world.seen(audio).packets.values());
    let mut numbers: Vec<u16> = video.chain(audio).map(number_of).collect();
    numbers.sort_unstable();
    // One count for the whole transport, whatever stream a packet belongs to.
    assert!(numbers.len() > 20 && numbers.iter().zip(0..).all(|(number, expected)| *number == expected));

    let lost = [numbers[3], numbers[7]];
    let arrivals: Vec<_> = numbers
        .iter()
        .filter(|number| !lost.contains(number))
        .map(|&sequence| twcc::Arrival { sequence, ticks: twcc::ticks(world.rest.now) })
        .collect();
    let now = world.rest.now;
    world.browser(viewer).send_rtcp(|out, own| {
        let head = twcc::Head { sender_ssrc: own, media_ssrc: 1, base: 0, feedback_count: 0 };
        twcc::write(out, &head, &arrivals).len
    });
    world.run(ms(50));
    assert!(world.rest.now > now);
    assert_eq!(world.counter("packets_delivered"), arrivals.len() as u64);
    assert_eq!(world.counter("packets_lost"), lost.len() as u64);
}

fn number_of(packet: &Received) -> u16 {
    let (_, value) = packet.extensions.iter().find(|(id, _)| *id == NUMBER_ID).unwrap();
    u16::from_be_bytes(value[..].try_into().unwrap())
}
