//! Negotiation on offers that Chromium 156 made (`fixtures/chromium-156`), and on ones made from them.

use millrace_control::{Codec, DtlsRole, ExtensionKind, MediaKind, SignaledSsrc};
use millrace_signaling::sdp::{
    ForcedCodec, Formats, IceCredentials, Ids, KindIds, Negotiated, SdpError, Ssrcs, Terms, limits,
    negotiate_publish, negotiate_subscribe,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::net::SocketAddr;

const CAMERA: &str = include_str!("../fixtures/chromium-156/publish-camera.sdp");
const AUDIO: &str = include_str!("../fixtures/chromium-156/publish-audio.sdp");
const SCREEN: &str = include_str!("../fixtures/chromium-156/publish-screen.sdp");
const LOOPBACK: &str = include_str!("../fixtures/chromium-156/publish-loopback.sdp");
const SIMULCAST: &str = include_str!("../fixtures/chromium-156/publish-simulcast.sdp");
const FIRST_GENERATION: &str = include_str!("../fixtures/chromium-156/publish-first-generation.sdp");
const VIEW_BOTH: &str = include_str!("../fixtures/chromium-156/subscribe-both.sdp");
const VIEW_AUDIO: &str = include_str!("../fixtures/chromium-156/subscribe-audio.sdp");
const VIEW_VIDEO: &str = include_str!("../fixtures/chromium-156/subscribe-video.sdp");
const ALL: [&str; 9] =
    [CAMERA, AUDIO, SCREEN, LOOPBACK, SIMULCAST, FIRST_GENERATION, VIEW_BOTH, VIEW_AUDIO, VIEW_VIDEO];

const IDS: Ids = Ids {
    room: 10,
    peer: 20,
    audio: Some(KindIds { track: 31, subscription: 41 }),
    video: Some(KindIds { track: 32, subscription: 42 }),
};
const FORCED: [ForcedCodec; 5] =
    [ForcedCodec::Vp8, ForcedCodec::Vp9, ForcedCodec::H264, ForcedCodec::Av1, ForcedCodec::None];

fn with_terms<T>(change: impl FnOnce(&mut Terms<'_>), run: impl FnOnce(&Terms<'_>) -> T) -> T {
    let candidates: [SocketAddr; 2] =
        ["203.0.113.5:40000", "[2001:db8::5]:40000"].map(|text| text.parse().expect("an address"));
    let mut terms = Terms {
        ids: &IDS,
        ice: IceCredentials { ufrag: "ourUfrag".to_owned(), pwd: "ourPasswordOfTwentyFour+".to_owned() },
        fingerprint: [0xab; 32],
        candidates: &candidates,
        ice_tcp: false,
        forced_video_codec: ForcedCodec::Vp8,
        fall_back: false,
        family: None,
        formats: Formats::default(),
        receive_max_kbps: 1000,
        receive_min_kbps: 300,
        loopback: false,
        stream_id: "str_CAM_Xa1b_con_AAAAAAAAAA",
        cname: "con_AAAAAAAAAA",
        audio_ssrcs: Ssrcs { media: 1001, rtx: 1002 },
        video_ssrcs: Ssrcs { media: 2001, rtx: 2002 },
    };
    change(&mut terms);
    run(&terms)
}

fn publish(offer: &str) -> Result<Negotiated, SdpError> {
    with_terms(|_| (), |terms| negotiate_publish(offer, terms))
}

fn subscribe(offer: &str) -> Result<Negotiated, SdpError> {
    with_terms(|_| (), |terms| negotiate_subscribe(offer, terms))
}

fn publish_forced(offer: &str, forced: ForcedCodec) -> Result<Negotiated, SdpError> {
    with_terms(|terms| terms.forced_video_codec = forced, |terms| negotiate_publish(offer, terms))
}

fn subscribe_forced(offer: &str, forced: ForcedCodec) -> Result<Negotiated, SdpError> {
    with_terms(|terms| terms.forced_video_codec = forced, |terms| negotiate_subscribe(offer, terms))
}

/// The lines of an answer, checked to be lines.
fn lines(answer: &str) -> Vec<&str> {
    assert!(answer.ends_with("\r\n"));
    let lines: Vec<&str> = answer.trim_end_matches("\r\n").split("\r\n").collect();
    for line in &lines {
        assert!(line.get(1..2) == Some("=") && !line.contains(char::is_control), "{line:?}");
    }
    lines
}

/// The lines of the session (`sections(answer)[0]`) and of each section.
fn sections(answer: &str) -> Vec<Vec<&str>> {
    let mut sections = vec![Vec::new()];
    for line in lines(answer) {
        if line.starts_with("m=") {
            sections.push(Vec::new());
        }
        sections.last_mut().expect("begins with one").push(line);
    }
    sections
}

fn starting<'a>(section: &[&'a str], start: &str) -> Vec<&'a str> {
    section.iter().filter_map(|line| line.strip_prefix(start)).collect()
}

/// `offer` without the lines that start so.
fn without(offer: &str, start: &str) -> String {
    offer.split_inclusive('\n').filter(|line| !line.starts_with(start)).collect()
}

const FINGERPRINT: &str =
    "AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB";

#[test]
fn a_camera_gets_this_answer() {
    let negotiated = publish(CAMERA).unwrap();
    let fingerprint = format!("a=fingerprint:sha-256 {FINGERPRINT}");
    let [session, audio, video] = &sections(&negotiated.answer)[..] else { panic!("two sections") };
    let expected_session = [
        "v=0",
        "o=- 20 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=ice-lite",
        "a=extmap-allow-mixed",
    ];
    assert_eq!(session[..], expected_session);
    let expected_audio = [
        "m=audio 40000 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
        "c=IN IP4 203.0.113.5",
        "a=ice-ufrag:ourUfrag",
        "a=ice-pwd:ourPasswordOfTwentyFour+",
        &fingerprint,
        "a=setup:passive",
        "a=candidate:1 1 udp 2130706431 203.0.113.5 40000 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::5 40000 typ host",
        "a=end-of-candidates",
        "a=mid:0",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:111 opus/48000/2",
        "a=rtcp-fb:111 transport-cc",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=rtpmap:63 red/48000/2",
        "a=fmtp:63 111/111",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:13 CN/8000",
        "a=rtpmap:110 telephone-event/48000",
        "a=rtpmap:126 telephone-event/8000",
    ];
    assert_eq!(audio[..], expected_audio);
    let expected_video = [
        "m=video 40000 UDP/TLS/RTP/SAVPF 96 97",
        "c=IN IP4 203.0.113.5",
        "b=AS:1000",
        "b=TIAS:1000000",
        "a=ice-ufrag:ourUfrag",
        "a=ice-pwd:ourPasswordOfTwentyFour+",
        &fingerprint,
        "a=setup:passive",
        "a=mid:1",
        "a=extmap:14 urn:ietf:params:rtp-hdrext:toffset",
        "a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
        "a=extmap:13 urn:3gpp:video-orientation",
        "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        "a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        "a=extmap:6 http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
        "a=extmap:7 http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
        "a=extmap:8 http://www.webrtc.org/experiments/rtp-hdrext/color-space",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
        "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp-rsize",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 goog-remb",
        "a=rtcp-fb:96 transport-cc",
        "a=rtcp-fb:96 ccm fir",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=fmtp:96 x-google-start-bitrate=1000",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
    ];
    assert_eq!(video[..], expected_video);
}

#[test]
fn the_relay_hears_the_same_of_a_camera() {
    let negotiated = publish(CAMERA).unwrap();
    let peer = &negotiated.peer;
    assert_eq!((peer.room, peer.peer), (10, 20));
    assert_eq!((&*peer.local_ufrag, &*peer.remote_ufrag), ("ourUfrag", "bPZM"));
    assert_eq!(
        (&*peer.local_pwd, &*peer.remote_pwd),
        ("ourPasswordOfTwentyFour+", "9tTqoK9kDrXfEDKImENR69Hz")
    );
    assert_eq!(peer.dtls_role(), DtlsRole::Server);
    assert_eq!((peer.remote_fingerprint.len(), peer.remote_fingerprint[0]), (32, 0xfd));
    assert_eq!(peer.receive_max_bps, 1_000_000);
    assert!(peer.transport_cc && peer.remb);
    let extensions: Vec<_> = peer.extensions.iter().map(|it| (it.id, it.kind())).collect();
    assert_eq!(extensions.len(), 12);
    assert_eq!(extensions[0], (1, ExtensionKind::AudioLevel));
    assert!(extensions.contains(&(3, ExtensionKind::TransportCc)));
    let [audio, video] = &negotiated.tracks[..] else { panic!("two tracks") };
    assert_eq!((audio.track, audio.peer, &*audio.mid, audio.kind()), (31, 20, "0", MediaKind::Audio));
    assert_eq!((video.track, video.peer, &*video.mid, video.kind()), (32, 20, "1", MediaKind::Video));
    assert_eq!((audio.nack, audio.pli, audio.fir), (false, false, false));
    assert_eq!((video.nack, video.pli, video.fir), (true, true, true));
    assert_eq!(audio.ssrcs, [SignaledSsrc { ssrc: 4_283_542_158, rtx_ssrc: None }]);
    assert_eq!(video.ssrcs, [SignaledSsrc { ssrc: 1_845_282_764, rtx_ssrc: Some(2_744_184_462) }]);
    let vp8 =
        Codec { format: 1, kind: 1, payload_type: 96, clock_rate_hz: 90_000, rtx_payload_type: Some(97) };
    assert_eq!(video.codecs, [vp8]);
    let audio: Vec<_> = audio.codecs.iter().map(|codec| (codec.payload_type, codec.format)).collect();
    assert_eq!(audio[..3], [(111, 100), (63, 1111), (9, 101)]);
    assert!(negotiated.subscriptions.is_empty());
}

#[test]
fn the_forced_family_alone_is_left_and_to_a_publisher_one_format_of_it() {
    for (forced, publisher, viewer) in [
        (ForcedCodec::Vp8, "96 97", "96 97"),
        (ForcedCodec::Vp9, "98 99", "98 99 100 101 35 36 37 38"),
        (ForcedCodec::H264, "108 109", "108 109 102 103 104 107 114 115 116 117 39 40 41 42 43 44"),
        (ForcedCodec::Av1, "45 46", "45 46 47 48"),
    ] {
        for (offer, expected) in [(CAMERA, publisher), (SCREEN, publisher), (VIEW_BOTH, viewer)] {
            let negotiated = if offer == VIEW_BOTH {
                subscribe_forced(offer, forced).unwrap()
            } else {
                publish_forced(offer, forced).unwrap()
            };
            let media =
                lines(&negotiated.answer).into_iter().find_map(|line| line.strip_prefix("m=video 40000 "));
            assert_eq!(media, Some(&*format!("UDP/TLS/RTP/SAVPF {expected}")), "{forced:?}");
        }
    }
}

#[test]
fn without_a_forced_family_a_publisher_sends_what_it_likes_best() {
    let negotiated = publish_forced(CAMERA, ForcedCodec::None).unwrap();
    let codecs = &negotiated.tracks[1].codecs;
    let payload_types: Vec<u32> = codecs.iter().map(|codec| codec.payload_type).collect();
    assert_eq!(payload_types, [96]);
    let firefox_like = CAMERA.replace("SAVPF 96 97", "SAVPF 98 99 96 97");
    let negotiated = publish_forced(&firefox_like, ForcedCodec::None).unwrap();
    assert_eq!(negotiated.tracks[1].codecs[0].payload_type, 98);
    assert!(!negotiated.answer.contains("ulpfec") && !negotiated.answer.contains("red/90000"));
}

#[test]
fn a_viewer_has_every_format_that_a_publisher_may_send() {
    for forced in FORCED {
        let publisher = publish_forced(CAMERA, forced).unwrap();
        let viewer = subscribe_forced(VIEW_BOTH, forced).unwrap();
        for (track, subscription) in publisher.tracks.iter().zip(&viewer.subscriptions) {
            assert_eq!(track.kind, subscription.kind);
            for codec in &track.codecs {
                let same = |other: &&Codec| other.format == codec.format;
                let matches: Vec<_> = subscription.codecs.iter().filter(same).collect();
                assert_eq!(matches.len(), 1, "{forced:?} {codec:?}");
                assert_eq!((matches[0].kind, matches[0].clock_rate_hz), (codec.kind, codec.clock_rate_hz));
            }
        }
    }
}

#[test]
fn a_cap_of_zero_leaves_no_trace() {
    let negotiated =
        with_terms(|terms| terms.receive_max_kbps = 0, |terms| negotiate_publish(CAMERA, terms)).unwrap();
    assert!(!negotiated.answer.contains("\nb="));
    assert_eq!(negotiated.peer.receive_max_bps, 0);
    let largest =
        with_terms(|terms| terms.receive_max_kbps = u32::MAX, |terms| negotiate_publish(CAMERA, terms));
    assert_eq!(largest.unwrap().peer.receive_max_bps, 4_294_967_295_000);
}

#[test]
fn where_the_relay_takes_tcp_the_browser_may_connect() {
    let answer = |ice_tcp| {
        with_terms(|terms| terms.ice_tcp = ice_tcp, |terms| negotiate_publish(CAMERA, terms)).unwrap().answer
    };
    let both = answer(true);
    let tcp: Vec<&str> = lines(&both).into_iter().filter(|line| line.contains(" tcp ")).collect();
    assert_eq!(
        tcp,
        [
            "a=candidate:3 1 tcp 1520435199 203.0.113.5 40000 typ host tcptype passive",
            "a=candidate:4 1 tcp 1520434943 2001:db8::5 40000 typ host tcptype passive",
        ]
    );
    let rest = without(&without(&both, "a=candidate:3"), "a=candidate:4");
    assert_eq!(rest, answer(false), "nothing else changes");
}

#[test]
fn single_kinds_work() {
    let audio = publish(AUDIO).unwrap();
    assert_eq!(audio.tracks.len(), 1);
    assert!(!audio.answer.contains("\nb=") && audio.answer.contains("a=group:BUNDLE 0\r\n"));
    assert!(audio.peer.transport_cc && !audio.peer.remb);
    let screen = publish(SCREEN).unwrap();
    assert_eq!((screen.tracks.len(), screen.tracks[0].kind()), (1, MediaKind::Video));
    assert!(screen.answer.contains("a=candidate:1 "));
    let heard = subscribe(VIEW_AUDIO).unwrap();
    assert_eq!((heard.subscriptions.len(), heard.subscriptions[0].rtx_ssrc), (1, None));
    let seen = subscribe(VIEW_VIDEO).unwrap();
    assert_eq!((seen.subscriptions.len(), seen.subscriptions[0].rtx_ssrc), (1, Some(2002)));
}

#[test]
fn a_viewer_gets_sources_and_the_stamps_of_its_own_hop() {
    let negotiated = subscribe(VIEW_BOTH).unwrap();
    let [session, audio, video] = &sections(&negotiated.answer)[..] else { panic!("two sections") };
    assert!(session.contains(&"a=msid-semantic: WMS str_CAM_Xa1b_con_AAAAAAAAAA"));
    let expected_audio = ["1001 cname:con_AAAAAAAAAA", "1001 msid:str_CAM_Xa1b_con_AAAAAAAAAA audio-29"];
    assert_eq!(starting(audio, "a=ssrc:"), expected_audio);
    let expected_video = [
        "2001 cname:con_AAAAAAAAAA",
        "2001 msid:str_CAM_Xa1b_con_AAAAAAAAAA video-2a",
        "2002 cname:con_AAAAAAAAAA",
        "2002 msid:str_CAM_Xa1b_con_AAAAAAAAAA video-2a",
    ];
    assert_eq!(starting(video, "a=ssrc:"), expected_video);
    assert_eq!(starting(video, "a=ssrc-group:"), ["FID 2001 2002"]);
    assert_eq!(starting(video, "a=msid:"), ["str_CAM_Xa1b_con_AAAAAAAAAA video-2a"]);
    assert_eq!(starting(video, "a=rtcp-fb:"), ["96 transport-cc", "96 ccm fir", "96 nack", "96 nack pli"]);
    assert!(audio.contains(&"a=sendonly") && video.contains(&"a=sendonly"));
    assert!(starting(audio, "b=").is_empty() && starting(video, "b=").is_empty());
    let ids = |section: &[&str]| -> Vec<String> {
        starting(section, "a=extmap:").iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(audio), ["1", "2", "3", "4"]);
    assert_eq!(ids(video), ["2", "13", "3", "5", "6", "7", "8", "4"]);
    assert!(negotiated.tracks.is_empty());
    let peer = &negotiated.peer;
    assert_eq!((peer.transport_cc, peer.remb, peer.receive_max_bps), (false, false, 0));
    let [audio, video] = &negotiated.subscriptions[..] else { panic!("two subscriptions") };
    assert_eq!((audio.subscription, audio.track, audio.ssrc, audio.kind()), (41, 31, 1001, MediaKind::Audio));
    assert_eq!((video.subscription, video.track, video.ssrc, video.kind()), (42, 32, 2001, MediaKind::Video));
    assert_eq!((&*video.cname, &*video.mid, video.peer), ("con_AAAAAAAAAA", "1", 20));
}

#[test]
fn loopback_is_both_at_once_and_only_on_request() {
    let echoed =
        with_terms(|terms| terms.loopback = true, |terms| negotiate_publish(LOOPBACK, terms)).unwrap();
    assert_eq!(echoed.answer.matches("a=sendrecv\r\n").count(), 2);
    assert_eq!((echoed.tracks.len(), echoed.subscriptions.len()), (2, 2));
    assert_eq!(echoed.subscriptions[1].track, echoed.tracks[1].track);
    let plain = publish(LOOPBACK).unwrap();
    assert_eq!(plain.answer.matches("a=recvonly\r\n").count(), 2);
    assert!(plain.subscriptions.is_empty() && !plain.answer.contains("a=ssrc"));
}

#[test]
fn of_simulcast_the_largest_layer_is_answered_and_latched_by_rid() {
    let negotiated = publish(SIMULCAST).unwrap();
    let video = &sections(&negotiated.answer)[2];
    assert_eq!(starting(video, "a=rid:"), ["rdiv1 recv"]);
    assert_eq!(starting(video, "a=simulcast:"), ["recv rdiv1"]);
    assert!(negotiated.tracks[1].ssrcs.is_empty());
    let kinds: Vec<_> = negotiated.peer.extensions.iter().map(|it| it.kind()).collect();
    for kind in [ExtensionKind::Rid, ExtensionKind::RepairedRid, ExtensionKind::DependencyDescriptor] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}

#[test]
fn data_channels_and_second_sections_are_declined() {
    let negotiated = publish(FIRST_GENERATION).unwrap();
    let parts = sections(&negotiated.answer);
    assert!(parts[0].contains(&"a=group:BUNDLE 0 1"));
    assert_eq!(parts[3], ["m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=mid:2"]);
    let second = CAMERA[CAMERA.find("m=video").unwrap()..].replace("a=mid:1", "a=mid:2");
    let offer = format!("{CAMERA}{second}").replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    let negotiated = publish(&offer).unwrap();
    assert_eq!(sections(&negotiated.answer)[3][0], "m=video 0 UDP/TLS/RTP/SAVPF 96");
    assert_eq!(negotiated.tracks.len(), 2);
}

#[test]
fn kinds_without_ids_are_declined() {
    let ids = Ids { audio: None, ..IDS };
    let negotiated =
        with_terms(|_| (), |terms| negotiate_subscribe(VIEW_BOTH, &Terms { ids: &ids, ..terms.clone() }))
            .unwrap();
    let parts = sections(&negotiated.answer);
    assert_eq!(parts[1][0], "m=audio 0 UDP/TLS/RTP/SAVPF 111");
    assert!(parts[0].contains(&"a=group:BUNDLE 1"));
    assert_eq!(starting(&parts[2], "a=candidate:").len(), 2);
    assert_eq!(negotiated.subscriptions.len(), 1);
}

#[test]
fn one_direction_of_two_may_be_off() {
    let offer = VIEW_BOTH.replacen("a=recvonly", "a=inactive", 1);
    let negotiated = subscribe(&offer).unwrap();
    let parts = sections(&negotiated.answer);
    assert!(parts[1].contains(&"a=inactive") && starting(&parts[1], "a=ssrc:").is_empty());
    assert_eq!(negotiated.subscriptions.len(), 1);
    assert_eq!(subscribe(CAMERA).unwrap_err(), SdpError::NoMedia);
    assert_eq!(publish(VIEW_BOTH).unwrap_err(), SdpError::NoMedia);
}

#[test]
fn a_browser_that_waits_for_the_handshake_gets_one() {
    let negotiated = publish(&CAMERA.replace("a=setup:actpass", "a=setup:passive")).unwrap();
    assert_eq!(negotiated.answer.matches("a=setup:active\r\n").count(), 2);
    assert_eq!(negotiated.peer.dtls_role(), DtlsRole::Client);
}

#[test]
fn attributes_of_the_session_count_for_its_sections() {
    let transport = |start: &str| CAMERA.split_inclusive('\n').find(|line| line.starts_with(start)).unwrap();
    let keys = ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup"];
    let session: String = keys.iter().map(|key| transport(key)).collect();
    let stripped = keys.iter().fold(CAMERA.to_owned(), |offer, key| without(&offer, key));
    let offer = stripped.replacen("m=audio", &format!("{session}m=audio"), 1);
    // A section that waits for its bundle has port 0 (RFC 9143 §6).
    let offer = offer.replace("m=video 9 ", "m=video 0 ").replace("a=mid:1", "a=bundle-only\r\na=mid:1");
    assert_eq!(publish(&offer).unwrap(), publish(CAMERA).unwrap());
}

#[test]
fn the_first_of_the_group_carries_the_transport() {
    let offer = CAMERA.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0");
    let parts_of = publish(&offer).unwrap().answer;
    let parts = sections(&parts_of);
    assert!(parts[0].contains(&"a=group:BUNDLE 1 0"));
    assert!(starting(&parts[1], "a=candidate:").is_empty());
    assert_eq!(starting(&parts[2], "a=candidate:").len(), 2);
}

#[test]
fn what_is_missing_is_named() {
    let sha1 = CAMERA.replace("a=fingerprint:sha-256", "a=fingerprint:sha-1");
    let no_video = SdpError::NoCodec { kind: MediaKind::Video };
    for (offer, error, code) in [
        (without(CAMERA, "a=ice-ufrag"), SdpError::NoIceCredentials, 302),
        (without(CAMERA, "a=ice-pwd"), SdpError::NoIceCredentials, 302),
        (without(CAMERA, "a=fingerprint"), SdpError::NoFingerprint, 302),
        (sha1, SdpError::UnsupportedFingerprint, 302),
        (without(CAMERA, "a=setup"), SdpError::NoSetup, 302),
        (without(CAMERA, "a=group"), SdpError::NotBundled, 302),
        (CAMERA.replace("BUNDLE 0 1", "BUNDLE 0"), SdpError::NotBundled, 302),
        (without(CAMERA, "a=mid"), SdpError::NotBundled, 302),
        (without(CAMERA, "a=rtcp-mux"), SdpError::NoRtcpMux, 302),
        (CAMERA.replace("VP8/90000", "VP7/90000"), no_video, 800),
        (CAMERA.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), SdpError::NoMedia, 302),
    ] {
        let refused = publish(&offer).unwrap_err();
        assert_eq!((refused, refused.code()), (error, code));
        assert!(!refused.to_string().is_empty());
    }
    let without_av1 = VIEW_BOTH.replace(" AV1/", " AV2/");
    assert_eq!(subscribe_forced(&without_av1, ForcedCodec::Av1), Err(no_video));
    assert!(subscribe_forced(&without_av1, ForcedCodec::Vp9).is_ok());
}

#[test]
fn nonsense_is_refused() {
    let huge = format!("{CAMERA}a={}\r\n", "x".repeat(1 << 20));
    let many_sections = format!("{CAMERA}{}", "m=audio 9 X 0\r\n".repeat(10_000));
    let long_section = format!("{AUDIO}{}", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(1_000));
    let payload_type = CAMERA.replace("SAVPF 96 97", "SAVPF 200 97");
    let same_mid = CAMERA.replace("a=mid:1", "a=mid:0");
    let long_mid = CAMERA.replace("a=mid:1", "a=mid:seventeen-letters");
    let same_ssrc = CAMERA.replace("4283542158", "1845282764");
    let with_nul = CAMERA.replacen("minptime", "min\0time", 1);
    for offer in [huge, many_sections, long_section] {
        assert!(matches!(publish(&offer), Err(SdpError::TooLarge { .. })));
    }
    for offer in [payload_type, same_mid, long_mid, same_ssrc, with_nul] {
        assert!(matches!(publish(&offer), Err(SdpError::Malformed { .. })));
    }
}

#[test]
fn names_from_outside_cannot_add_lines() {
    let negotiated = with_terms(
        |terms| {
            terms.stream_id = "str\r\na=setup:active";
            terms.cname = "a name\nof more than thirty-two bytes, really";
        },
        |terms| negotiate_subscribe(VIEW_BOTH, terms),
    )
    .unwrap();
    assert!(lines(&negotiated.answer).contains(&"a=msid:str__a_setup_active video-2a"));
    assert!(negotiated.subscriptions.iter().all(|it| it.cname.len() <= limits::CNAME_LEN_MAX));
}

/// Every outcome that is no error must suit the browser and the relay.
fn check(offer: &str, forced: ForcedCodec, loopback: bool) {
    let change = |terms: &mut Terms<'_>| {
        terms.forced_video_codec = forced;
        terms.loopback = loopback;
    };
    let outcomes =
        with_terms(change, |terms| [negotiate_publish(offer, terms), negotiate_subscribe(offer, terms)]);
    for negotiated in outcomes.into_iter().flatten() {
        let offered = offer.split('\n').filter(|line| line.starts_with("m=")).count();
        assert_eq!(starting(&lines(&negotiated.answer), "m=").len(), offered);
        assert_eq!(negotiated.peer.remote_fingerprint.len(), 32);
        let ids: Vec<u32> = negotiated.peer.extensions.iter().map(|it| it.id).collect();
        assert!(ids.iter().all(|id| (1..=255).contains(id) && *id != 15), "{ids:?}");
        assert!(ids.iter().all(|id| ids.iter().filter(|other| *other == id).count() == 1), "{ids:?}");
        let tracks = negotiated.tracks.iter().map(|it| (&it.mid, &it.codecs));
        for (mid, codecs) in tracks.chain(negotiated.subscriptions.iter().map(|it| (&it.mid, &it.codecs))) {
            assert!((1..=limits::MID_LEN_MAX).contains(&mid.len()));
            assert!((1..=limits::CODECS_MAX).contains(&codecs.len()));
            let numbers = codecs.iter().flat_map(|it| [Some(it.payload_type), it.rtx_payload_type]).flatten();
            assert!(numbers.into_iter().all(|number| number <= 127 && !(64..=95).contains(&number)));
        }
        assert!(negotiated.tracks.iter().all(|it| it.ssrcs.len() <= limits::SSRCS_MAX));
    }
}

#[test]
fn any_line_may_be_missing_or_doubled() {
    for offer in ALL {
        let lines: Vec<&str> = offer.split_inclusive('\n').collect();
        for index in 0..lines.len() {
            let missing: String = [&lines[..index], &lines[index + 1..]].concat().concat();
            check(&missing, ForcedCodec::None, false);
            let doubled: String = [&lines[..=index], &lines[index..]].concat().concat();
            check(&doubled, ForcedCodec::Vp8, true);
        }
    }
}

#[test]
fn no_mutation_panics() {
    let mut random = StdRng::seed_from_u64(0x5d9);
    for round in 0..4000 {
        let offer = ALL[round % ALL.len()];
        let mut bytes = offer.as_bytes().to_vec();
        for _ in 0..random.random_range(1..8) {
            let at = random.random_range(0..bytes.len());
            let end = (at + random.random_range(0..64)).min(bytes.len());
            match random.random_range(0..6) {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes[at] = random.random(),
                2 => drop(bytes.drain(at..end)),
                3 => bytes.truncate(at.max(1)),
                4 => {
                    let piece = bytes[at..end].to_vec();
                    let to = random.random_range(0..=bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let words: [&[u8]; 8] =
                        [b"-1", b"4294967296", b"\r\n", b" ", b":", b"/", b"\xc3\xa9", b"m=audio 9 X 0\r\n"];
                    bytes.splice(at..at, words[random.random_range(0..words.len())].iter().copied());
                }
            }
            if bytes.is_empty() {
                bytes.push(b'v');
            }
        }
        check(&String::from_utf8_lossy(&bytes), FORCED[round % FORCED.len()], round % 2 == 0);
    }
}

#[test]
fn the_longest_lists_are_harmless() {
    let formats = "96 ".repeat(20_000);
    check(&CAMERA.replace("SAVPF 96", &format!("SAVPF {formats}96")), ForcedCodec::None, false);
    let members = "0 1 ".repeat(14_000);
    check(&CAMERA.replace("BUNDLE 0 1", &format!("BUNDLE {members}0 1")), ForcedCodec::None, false);
    let layers = "rdiv4;rdiv2,".repeat(5_000);
    check(
        &SIMULCAST.replace("a=simulcast:send ", &format!("a=simulcast:send {layers}")),
        ForcedCodec::None,
        false,
    );
    let answer = publish(&SIMULCAST.replace("a=simulcast:send ", &format!("a=simulcast:send {layers}")))
        .unwrap()
        .answer;
    assert!(answer.contains("a=simulcast:recv rdiv1\r\n"));
    let ssrcs: String = (0..800).map(|number| format!("a=ssrc:{number} cname:x\r\n")).collect();
    check(&format!("{CAMERA}{ssrcs}"), ForcedCodec::None, false);
}
