//! What the engine's thread holds: every peer with its tracks and streams. Datagrams and time come in, datagrams to be
//! sent come out; no socket, no clock.

use std::net::SocketAddr;

use rtcp::reception_report::ReceptionReport;
use rtcp::sender_report::SenderReport;
use tokio::sync::mpsc;

use super::cast::Group;
use super::cipher::Cipher;
use super::payload::Template;
use super::source::{Source, SourceSpec, signature};
use super::track::{Glass, Samples, Taken, Track, TrackSpec};
use crate::clock::ntp_now;
use crate::feedback::{RtcpCounts, nack, receiver_report, sender_report};
use crate::peer::ice::{Agent, Outcome};
use crate::sdp::Kind;
use crate::twcc::Arrivals;

/// Reports of one compound: the five-bit count of an RR (RFC 3550 §6.4.2).
const REPORTS_MAX: usize = 31;
/// Most numbers asked for at once.
const NACK_MAX: u64 = 256;
/// Ticks between two consent checks of a peer: RFC 7675 §5.1 asks for every 5 s.
const TICKS_PER_CHECK: u64 = 5;

/// Where a peer's ICE and DTLS datagrams go.
pub struct Inlet {
    /// STUN messages.
    pub stun: mpsc::UnboundedSender<Vec<u8>>,
    /// DTLS records.
    pub dtls: mpsc::UnboundedSender<Vec<u8>>,
}

/// Totals of all peers.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Media packets of the streams that viewers expect.
    pub received: u64,
    /// Their bytes, as datagrams.
    pub received_bytes: u64,
    /// Packets on other SSRCs of viewers: retransmissions.
    pub repairs: u64,
    /// Packets of publishers.
    pub sent: u64,
    /// Tracks that have shown a packet.
    pub live: usize,
    /// Answers to connectivity checks that count as consent.
    pub consents: u64,
    /// Sequence numbers asked for.
    pub asked: u64,
    /// Datagrams of no known protocol.
    pub unknown: u64,
    /// RTCP that did not verify.
    pub rtcp_undecryptable: u64,
    /// RTCP by kind.
    pub rtcp: RtcpCounts,
}

/// What is needed of a peer for each packet it receives.
#[derive(Clone, Copy, Default)]
struct Hot {
    /// Its tracks in [`World::tracks`].
    first: u32,
    count: u32,
    /// Where its SSRCs follow one another: the first, and how many.
    ssrc_base: u32,
    ssrc_span: u32,
    /// Extension id of the transport-wide number it gives feedback on, or 0.
    transport_cc: u8,
}

struct PeerState {
    remote: SocketAddr,
    inlet: Inlet,
    agent: Option<Agent>,
    cipher: Option<Cipher>,
    sources: Vec<usize>,
    transport_number: u16,
    arrivals: Arrivals,
    ticks: u64,
    rtcp_ssrc: u32,
}

/// Every peer.
pub struct World {
    hot: Vec<Hot>,
    peers: Vec<Option<Box<PeerState>>>,
    tracks: Vec<Track>,
    /// Published streams.
    pub sources: Vec<Source>,
    templates: Vec<Option<Template>>,
    /// Totals.
    pub totals: Totals,
    /// By group.
    pub samples: [Samples; 2],
    sample: u32,
    until_sample: u32,
    random: u64,
    nacks: bool,
    scratch: Vec<u8>,
    /// Datagrams to be sent: peer and bytes.
    pub replies: Vec<(usize, Vec<u8>)>,
}

impl World {
    /// A world of `peers` places. One packet in `sample` is looked into; viewers ask for what is missing if `nacks`.
    #[must_use]
    pub fn new(peers: usize, sample: u32, nacks: bool, seed: u64) -> Self {
        Self {
            hot: vec![Hot::default(); peers],
            peers: (0..peers).map(|_| None).collect(),
            tracks: Vec::new(),
            sources: Vec::new(),
            templates: Vec::new(),
            totals: Totals::default(),
            samples: Default::default(),
            sample,
            until_sample: 1,
            random: seed | 1,
            nacks,
            scratch: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// A peer begins to come up.
    pub fn open(&mut self, peer: usize, remote: SocketAddr, inlet: Inlet, tracks: Vec<TrackSpec>) {
        let first = self.tracks.len();
        let in_a_row = tracks.windows(2).all(|pair| pair[1].ssrc == pair[0].ssrc.wrapping_add(1));
        let count = tracks.len() as u32;
        self.hot[peer] = Hot {
            first: first as u32,
            count,
            ssrc_base: tracks.first().map_or(0, |track| track.ssrc),
            ssrc_span: if in_a_row { count } else { 0 },
            transport_cc: 0,
        };
        self.tracks.extend(tracks.into_iter().map(Track::new));
        self.peers[peer] = Some(Box::new(PeerState {
            remote,
            inlet,
            agent: None,
            cipher: None,
            sources: Vec::new(),
            transport_number: 0,
            arrivals: Arrivals::default(),
            ticks: peer as u64,
            rtcp_ssrc: 0x7000_0000 | peer as u32,
        }));
    }

    /// What a viewer's stream is checked against. To be told before its first packet.
    pub fn expect(&mut self, stream: usize, kind: Kind, len_max: usize) {
        if self.templates.len() <= stream {
            self.templates.resize(stream + 1, None);
        }
        self.templates[stream].get_or_insert_with(|| Template::new(kind, signature(stream), len_max));
    }

    /// A peer is up; gives the places of its streams in [`World::sources`].
    pub fn ready(
        &mut self,
        peer: usize,
        cipher: Cipher,
        agent: Agent,
        transport_cc: Option<u8>,
        sources: Vec<SourceSpec>,
    ) -> std::ops::Range<usize> {
        let first = self.sources.len();
        let seed = self.random;
        self.sources.extend(sources.into_iter().map(|spec| Source::new(spec, seed)));
        if let Some(state) = &mut self.peers[peer] {
            state.cipher = Some(cipher);
            state.agent = Some(agent);
            self.hot[peer].transport_cc = transport_cc.unwrap_or(0);
            state.sources = (first..self.sources.len()).collect();
        }
        first..self.sources.len()
    }

    /// Takes one datagram (RFC 7983; RFC 5761 for RTCP).
    #[inline]
    pub fn handle(&mut self, peer: usize, datagram: &[u8], now_ns: u64) {
        match (datagram.first(), datagram.get(1)) {
            (Some(128..=191), Some(192..=223)) => self.handle_rtcp(peer, datagram),
            (Some(128..=191), Some(_)) if datagram.len() >= 12 => self.handle_rtp(peer, datagram, now_ns),
            (Some(0..=3), _) => self.handle_stun(peer, datagram, now_ns),
            (Some(20..=63), _) => {
                if let Some(state) = self.state(peer) {
                    let _ = state.inlet.dtls.send(datagram.to_vec());
                }
            }
            _ => self.totals.unknown += 1,
        }
    }

    #[inline]
    fn handle_rtp(&mut self, peer: usize, packet: &[u8], now_ns: u64) {
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let Some(&hot) = self.hot.get(peer) else { return };
        let at = ssrc.wrapping_sub(hot.ssrc_base);
        let place = if at < hot.ssrc_span { Some((hot.first + at) as usize) } else { self.find(hot, ssrc) };
        let Some(place) = place else {
            self.totals.repairs += 1;
            return;
        };
        let track = &mut self.tracks[place];
        let before = track.account.newest();
        let number = track.account.take(sequence);
        // A storm is over in a second, so of those beside it every packet counts.
        let always = track.spec.group == Group::Bystander;
        self.totals.received += 1;
        self.totals.received_bytes += packet.len() as u64;
        if track.first_ns == 0 {
            track.first_ns = now_ns;
            self.totals.live += 1;
        } else if self.nacks && number > before + 1 {
            self.ask(peer, ssrc, before + 1, number);
        }
        if hot.transport_cc != 0 {
            self.note_arrival(peer, hot.transport_cc, packet, now_ns);
        }
        self.until_sample -= 1;
        if self.until_sample == 0 || always {
            self.look_into(peer, place, number, packet, now_ns);
        }
    }

    /// The place of a track whose peer's SSRCs are not in a row.
    /// The place of a track whose peer's SSRCs do not follow one another.
    #[cold]
    fn find(&self, hot: Hot, ssrc: u32) -> Option<usize> {
        let mut places = (hot.first..hot.first + hot.count).map(|place| place as usize);
        places.find(|place| self.tracks[*place].spec.ssrc == ssrc)
    }

    #[cold]
    fn look_into(&mut self, peer: usize, place: usize, number: u64, packet: &[u8], now_ns: u64) {
        // At random distances, so that no viewer is passed over for ever.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.until_sample = 1 + (self.random % u64::from(2 * self.sample - 1)) as u32;
        let track = &mut self.tracks[place];
        let template = self.templates.get(track.spec.stream).and_then(Option::as_ref);
        let cipher = self.peers[peer].as_ref().and_then(|state| state.cipher.as_ref());
        if let (Some(template), Some(cipher)) = (template, cipher) {
            let samples = &mut self.samples[track.spec.group as usize];
            let mut glass = Glass { template, cipher, scratch: &mut self.scratch, samples };
            track.sample(&Taken { number, now_ns, packet }, &mut glass);
        }
    }

    fn note_arrival(&mut self, peer: usize, id: u8, packet: &[u8], now_ns: u64) {
        let Some([high, low]) = extension(packet, id) else { return };
        if let Some(state) = &mut self.peers[peer] {
            state.arrivals.record(u16::from_be_bytes([*high, *low]), now_ns / 1000);
        }
    }

    #[cold]
    fn ask(&mut self, peer: usize, ssrc: u32, from: u64, to: u64) {
        let missing: Vec<u16> =
            (from.max(to.saturating_sub(NACK_MAX))..to).map(|number| number as u16).collect();
        self.totals.asked += missing.len() as u64;
        let Some(state) = &mut self.peers[peer] else { return };
        let message = nack(state.rtcp_ssrc, ssrc, &missing);
        if let Some(sealed) = state.cipher.as_mut().and_then(|cipher| cipher.seal_rtcp(&message)) {
            self.replies.push((peer, sealed));
        }
    }

    #[cold]
    fn handle_stun(&mut self, peer: usize, datagram: &[u8], now_ns: u64) {
        let Some(state) = self.peers.get_mut(peer).and_then(Option::as_mut) else { return };
        let Some(agent) = &mut state.agent else {
            let _ = state.inlet.stun.send(datagram.to_vec());
            return;
        };
        match agent.handle(now_ns / 1000, state.remote, datagram) {
            Outcome::Reply(reply) => self.replies.push((peer, reply)),
            Outcome::Success { .. } => self.totals.consents += 1,
            Outcome::Refused(_) | Outcome::Ignored(_) => {}
        }
    }

    #[cold]
    fn handle_rtcp(&mut self, peer: usize, datagram: &[u8]) {
        let Some(state) = self.peers.get_mut(peer).and_then(Option::as_mut) else { return };
        let Some(cipher) = &state.cipher else { return };
        let Some(compound) = cipher.open_rtcp(datagram) else {
            self.totals.rtcp_undecryptable += 1;
            return;
        };
        let requests = self.totals.rtcp.handle(&compound);
        for &source in &state.sources {
            let source = &mut self.sources[source];
            if requests.key_frames.contains(&source.spec.ssrc) {
                source.request_key_frame();
            }
        }
    }

    fn state(&self, peer: usize) -> Option<&PeerState> {
        self.peers.get(peer)?.as_deref()
    }

    /// The cipher of the peer that sends a stream, the stream, and the peer's next transport-wide number.
    pub fn sender(&mut self, source: usize) -> Option<(&mut Source, &Cipher, &mut u16)> {
        let source = &mut self.sources[source];
        let state = self.peers[source.spec.peer].as_mut()?;
        Some((source, state.cipher.as_ref()?, &mut state.transport_number))
    }

    /// What a peer does each second: consent, reports.
    pub fn tick(&mut self, peer: usize, now_ns: u64) {
        let Some(state) = self.peers.get_mut(peer).and_then(Option::as_mut) else { return };
        state.ticks += 1;
        if state.ticks.is_multiple_of(TICKS_PER_CHECK)
            && let Some(Ok(check)) = state.agent.as_mut().map(|agent| agent.check(true))
        {
            self.replies.push((peer, check));
        }
        let Some(cipher) = &mut state.cipher else { return };
        let mut compounds = Vec::new();
        for &source in &state.sources {
            let source = &self.sources[source];
            let report = SenderReport {
                ssrc: source.spec.ssrc,
                ntp_time: ntp_now(),
                rtp_time: source.timestamp_at(now_ns),
                packet_count: source.packets,
                octet_count: source.octets,
                ..SenderReport::default()
            };
            compounds.push(sender_report(report, "loadtest"));
        }
        let hot = self.hot[peer];
        let tracks = &mut self.tracks[hot.first as usize..][..hot.count as usize];
        let reports: Vec<_> = tracks.iter_mut().take(REPORTS_MAX).filter_map(reception_report).collect();
        if !reports.is_empty() {
            compounds.push(receiver_report(state.rtcp_ssrc, reports, "loadtest"));
        }
        let sealed = compounds.iter().filter_map(|compound| cipher.seal_rtcp(compound));
        self.replies.extend(sealed.map(|bytes| (peer, bytes)));
    }

    /// What a peer with transport-wide numbers does ten times a second.
    pub fn feedback(&mut self, peer: usize) {
        let Some(hot) = self.hot.get(peer).filter(|hot| hot.transport_cc != 0) else { return };
        let Some(state) = &mut self.peers[peer] else { return };
        let Some(message) = state.arrivals.feedback(state.rtcp_ssrc, hot.ssrc_base) else { return };
        if let Some(sealed) = state.cipher.as_mut().and_then(|cipher| cipher.seal_rtcp(&message)) {
            self.replies.push((peer, sealed));
        }
    }

    /// From now on is counted. To be called when nothing is under way.
    pub fn begin(&mut self) {
        self.tracks.iter_mut().for_each(Track::begin);
        self.sources.iter_mut().for_each(|source| source.counted = 0);
        self.samples = Default::default();
        let Totals { live, .. } = self.totals;
        self.totals = Totals { live, ..Totals::default() };
    }

    /// Every track, in the order of opening.
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    /// When the first packet of any of a peer's tracks came.
    #[must_use]
    pub fn first_packet_ns(&self, peer: usize) -> Option<u64> {
        let hot = self.hot[peer];
        let tracks = &self.tracks[hot.first as usize..][..hot.count as usize];
        tracks.iter().map(|track| track.first_ns).filter(|first| *first > 0).min()
    }

    /// Packets that a stream sent since the counting began.
    #[must_use]
    pub fn sent_of(&self, stream: usize) -> Option<u64> {
        self.sources.iter().find(|source| source.spec.stream == stream).map(|source| source.counted)
    }

    /// The samples of a group.
    pub fn samples_of(&mut self, group: Group) -> &mut Samples {
        &mut self.samples[group as usize]
    }
}

/// The value of a one-byte header extension (RFC 8285 §4.2).
fn extension(packet: &[u8], id: u8) -> Option<&[u8]> {
    let start = 12 + 4 * usize::from(packet.first()? & 0x0f);
    let words = packet.get(start..start + 4)?;
    if packet[0] & 0x10 == 0 || words[..2] != [0xbe, 0xde] {
        return None;
    }
    let len = 4 * usize::from(u16::from_be_bytes([words[2], words[3]]));
    let mut block = packet.get(start + 4..start + 4 + len)?;
    while let [head, rest @ ..] = block {
        if *head == 0 {
            block = rest;
            continue;
        }
        let value = rest.get(..usize::from(head & 0x0f) + 1)?;
        if head >> 4 == id {
            return Some(value);
        }
        block = &rest[value.len()..];
    }
    None
}

fn reception_report(track: &mut Track) -> Option<ReceptionReport> {
    let (last_sequence_number, total_lost, fraction_lost) = track.report()?;
    let ssrc = track.spec.ssrc;
    Some(ReceptionReport {
        ssrc,
        fraction_lost,
        total_lost,
        last_sequence_number,
        ..ReceptionReport::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Frames;
    use crate::load::cipher::tests::pair;
    use crate::load::payload::{Place, Stamp};
    use crate::load::source::ExtensionIds;
    use crate::sdp::IceCredentials;
    use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
    use rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
    use rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;
    use std::sync::Arc;
    use webrtc_util::Marshal;

    const SSRC: u32 = 0x1000_0000;

    /// A viewer of two tracks that is up, and the relay's end of its cipher.
    struct Stage {
        world: World,
        relay: Cipher,
        stun: mpsc::UnboundedReceiver<Vec<u8>>,
        dtls: mpsc::UnboundedReceiver<Vec<u8>>,
    }

    impl Stage {
        fn new(tracks: Vec<TrackSpec>, sources: Vec<SourceSpec>) -> Self {
            let mut world = World::new(2, 1, true, 1);
            let (stun_sender, stun) = mpsc::unbounded_channel();
            let (dtls_sender, dtls) = mpsc::unbounded_channel();
            let inlet = Inlet { stun: stun_sender, dtls: dtls_sender };
            world.open(1, ([127, 0, 0, 1], 9).into(), inlet, tracks);
            world.handle(1, &[0, 1, 2], 1);
            world.handle(1, &[22, 1, 2], 1);
            let (near, relay) = pair();
            let agent = Agent::new(IceCredentials::generate(), IceCredentials::generate(), 0);
            world.ready(1, near, agent, Some(3), sources);
            Self { world, relay, stun, dtls }
        }

        fn viewer(ssrcs: &[u32]) -> Self {
            let track =
                |(stream, ssrc): (usize, &u32)| TrackSpec { ssrc: *ssrc, stream, group: Group::Crowd };
            let mut stage = Self::new(ssrcs.iter().enumerate().map(track).collect(), Vec::new());
            for stream in 0..ssrcs.len() {
                stage.world.expect(stream, Kind::Video, 200);
            }
            stage
        }

        /// A packet of a stream with a transport-wide number, sealed by the relay.
        fn packet(&self, ssrc: u32, stream: usize, index: u64) -> Vec<u8> {
            let mut packet = vec![0x90, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
            packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
            packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x31, (index >> 8) as u8, index as u8, 0]);
            let header_len = packet.len();
            packet.resize(header_len + 100 + 16, 0);
            let template = Template::new(Kind::Video, signature(stream), 200);
            let stamp = Stamp { number: index as u32, sent_ns: 1_000 };
            template.write(stamp, Place::Start, 1, &mut packet[header_len..header_len + 100]);
            self.relay.seal_rtp(ssrc, index, header_len, &mut packet);
            packet
        }

        fn take(&mut self, ssrc: u32, stream: usize, index: u64) {
            let packet = self.packet(ssrc, stream, index);
            self.world.handle(1, &packet, 51_000);
        }

        /// What the viewer sent by RTCP, opened.
        fn replies(&mut self) -> Vec<bytes::Bytes> {
            let replies = std::mem::take(&mut self.world.replies);
            replies
                .iter()
                .map(|(peer, bytes)| {
                    assert_eq!(*peer, 1);
                    self.relay.open_rtcp(bytes).expect("sealed for the relay")
                })
                .collect()
        }
    }

    #[test]
    fn every_track_has_its_account_wherever_its_ssrc_lies() {
        for ssrcs in [[SSRC, SSRC + 1], [SSRC, SSRC + 77]] {
            let mut stage = Stage::viewer(&ssrcs);
            for (stream, ssrc) in ssrcs.into_iter().enumerate() {
                (0..10).for_each(|index| stage.take(ssrc, stream, index));
            }
            stage.take(999, 0, 0);
            let totals = &stage.world.totals;
            assert_eq!((totals.received, totals.repairs, totals.live), (20, 1, 2));
            for track in stage.world.tracks() {
                assert_eq!(track.account.counts(Some(10)).lost, 0);
            }
            let samples = stage.world.samples_of(Group::Crowd);
            assert_eq!((samples.opened, samples.corrupt, samples.undecryptable), (20, 0, 0));
            assert_eq!(samples.delay_us.quantile(0.5), 50);
            assert_eq!(stage.world.first_packet_ns(1), Some(51_000));
        }
    }

    #[test]
    fn a_viewer_asks_for_what_is_missing_and_tells_what_came() {
        let mut stage = Stage::viewer(&[SSRC]);
        for index in [5, 6, 9] {
            stage.take(SSRC, 0, index);
        }
        let compound = stage.replies().remove(0);
        let packets = rtcp::packet::unmarshal(&mut compound.clone()).unwrap();
        let nack = packets[0].as_any().downcast_ref::<TransportLayerNack>().unwrap();
        let asked: Vec<u16> = nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
        assert_eq!((nack.media_ssrc, asked), (SSRC, vec![7, 8]));
        stage.world.feedback(1);
        let compound = stage.replies().remove(0);
        let packets = rtcp::packet::unmarshal(&mut compound.clone()).unwrap();
        let feedback = packets[0].as_any().downcast_ref::<TransportLayerCc>().unwrap();
        assert_eq!((feedback.base_sequence_number, feedback.packet_status_count), (5, 5));
        stage.world.tick(1, 1_000_000_000);
        let mut counts = RtcpCounts::default();
        stage.replies().iter().for_each(|compound| drop(counts.handle(compound)));
        assert_eq!((counts.rr, counts.sr), (1, 0));
    }

    #[test]
    fn consent_is_asked_for_every_fifth_second() {
        let mut stage = Stage::viewer(&[SSRC]);
        for second in 0..10 {
            stage.world.tick(1, second);
        }
        let checks = stage.world.replies.iter().filter(|(_, bytes)| bytes[0] < 4).count();
        assert_eq!(checks, 2);
    }

    #[test]
    fn a_publisher_answers_a_picture_loss_with_a_key_frame_and_reports_what_it_sent() {
        let spec = SourceSpec {
            peer: 1,
            stream: 0,
            kind: Kind::Video,
            frames: Arc::new(Frames::steady(100.0, 1, 100)),
            ssrc: 7,
            payload_type: 96,
            extensions: ExtensionIds::default(),
            mid: String::new(),
            offset: 0.0,
        };
        let mut stage = Stage::new(Vec::new(), vec![spec]);
        let mut key_frames = Vec::new();
        for _ in 0..3 {
            let (source, cipher, _) = stage.world.sender(0).unwrap();
            let mut packet = vec![0; source.packet_len(100, cipher)];
            source.write(0, 1, 1, 0, cipher, &mut packet);
            source.end_frame();
            key_frames.push(source.key_frames);
            if key_frames.len() == 2 {
                let pli = PictureLossIndication { sender_ssrc: 1, media_ssrc: 7 }.marshal().unwrap();
                let sealed = stage.relay.seal_rtcp(&pli).unwrap();
                stage.world.handle(1, &sealed, 5);
            }
        }
        assert_eq!(key_frames, [1, 1, 2], "the first, and the one asked for");
        stage.world.tick(1, 1_000_000_000);
        let mut counts = RtcpCounts::default();
        stage.replies().iter().for_each(|compound| drop(counts.handle(compound)));
        assert_eq!((counts.sr, stage.world.totals.rtcp.pli), (1, 1));
    }

    #[test]
    fn handshakes_go_to_who_comes_up_and_strangers_nowhere() {
        let mut stage = Stage::viewer(&[SSRC]);
        assert_eq!(stage.stun.try_recv().unwrap(), [0, 1, 2]);
        assert_eq!(stage.dtls.try_recv().unwrap(), [22, 1, 2]);
        stage.world.handle(1, &[0, 1, 2], 1);
        assert!(stage.stun.try_recv().is_err(), "up: its agent keeps consent");
        for peer in [0, 7] {
            for first in [0, 22, 128, 200] {
                stage.world.handle(peer, &[first; 40], 1);
            }
        }
        assert_eq!(stage.world.totals.unknown, 2);
        assert_eq!(extension(&[0x90; 15], 3), None);
    }
}
