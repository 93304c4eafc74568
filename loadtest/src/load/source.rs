//! One published stream of the load: what is due when, and its packets, made with a copy and a seal each.

use std::sync::Arc;

use super::cipher::Cipher;
use super::payload::{Place, Stamp, Template};
use crate::clock::abs_send_time;
use crate::frames::Frames;
use crate::sdp::Kind;

const FIXED_HEADER_LEN: usize = 12;
/// One-byte header extensions (RFC 8285 §4.2).
const ONE_BYTE_PROFILE: [u8; 2] = [0xbe, 0xde];
/// Voice at -30 dBov.
const AUDIO_LEVEL: u8 = 0x80 | 30;

/// Header extension ids of a publisher's transport; `None` where one was not negotiated. Ids are 1 to 14.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// `sdes:mid`.
    pub mid: Option<u8>,
    /// `abs-send-time`.
    pub abs_send_time: Option<u8>,
    /// Transport-wide sequence number.
    pub transport_cc: Option<u8>,
    /// `ssrc-audio-level`.
    pub audio_level: Option<u8>,
}

/// What a stream is made of.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The peer that sends it.
    pub peer: usize,
    /// Number among all streams of the run.
    pub stream: usize,
    /// Audio or video.
    pub kind: Kind,
    /// What it sends when.
    pub frames: Arc<Frames>,
    /// SSRC.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Extension ids.
    pub extensions: ExtensionIds,
    /// Value of `a=mid`.
    pub mid: String,
    /// Where in its frame interval it sends, 0 to 1, so that publishers do not all send at once.
    pub offset: f64,
}

/// A stream that is being sent.
pub struct Source {
    /// What it is made of.
    pub spec: SourceSpec,
    template: Template,
    /// The header as it leaves, but for what changes.
    header: Vec<u8>,
    time_at: Option<usize>,
    transport_at: Option<usize>,
    index: u64,
    number: u32,
    picture_id: u16,
    frame: usize,
    key_wanted: bool,
    /// When the schedule began, and how many frames of it were sent.
    began_ns: u64,
    frames_sent: u64,
    /// Packets since the counting began.
    pub counted: u64,
    /// Packets.
    pub packets: u32,
    /// Payload bytes.
    pub octets: u32,
    /// Key frames begun.
    pub key_frames: u64,
}

/// Where in its frame interval a publisher sends. The golden ratio spreads any number of publishers evenly; the seed
/// turns the whole.
#[must_use]
pub fn turn(publisher: usize, seed: u64) -> f64 {
    (publisher as f64 * 0.618_033_988_749_895 + (seed % 997) as f64 / 997.0).fract()
}

/// Number by which a stream signs its payloads.
#[must_use]
pub fn signature(stream: usize) -> u16 {
    (stream & 0xffff) as u16
}

impl Source {
    /// A stream that has sent nothing; `seed` decides its first numbers.
    #[must_use]
    pub fn new(spec: SourceSpec, seed: u64) -> Self {
        let (_, len_max) = spec.frames.len_range();
        let template = Template::new(spec.kind, signature(spec.stream), usize::from(len_max));
        let mut header = vec![0; FIXED_HEADER_LEN];
        header[0] = 0x80;
        header[8..12].copy_from_slice(&spec.ssrc.to_be_bytes());
        let (time_at, transport_at) = write_extensions(&spec, &mut header);
        let mixed = (seed ^ (spec.stream as u64 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Self {
            template,
            header,
            time_at,
            transport_at,
            // Below 2^15, so that a loss at the beginning cannot hide a roll-over (RFC 3711 §3.3.1).
            index: mixed & 0x7fff,
            number: 0,
            picture_id: (mixed >> 16) as u16 & 0x7fff,
            frame: 0,
            key_wanted: true,
            began_ns: 0,
            frames_sent: 0,
            counted: 0,
            packets: 0,
            octets: 0,
            key_frames: 0,
            spec,
        }
    }

    /// Starts the schedule anew: the first frame is due within one interval of `now_ns`.
    pub fn restart(&mut self, now_ns: u64) {
        self.began_ns = now_ns + (self.spec.offset * self.interval_ns()) as u64;
        self.frames_sent = 0;
    }

    fn interval_ns(&self) -> f64 {
        1e9 / self.spec.frames.per_second
    }

    /// When the next frame is due; with `stretch` above 1 frames come that much slower.
    #[must_use]
    pub fn due_ns(&self, stretch: f64) -> u64 {
        self.began_ns + (self.frames_sent as f64 * self.interval_ns() * stretch) as u64
    }

    /// The next frame opens with a key frame.
    pub fn request_key_frame(&mut self) {
        self.key_wanted = true;
    }

    /// Payload lengths of the next frame.
    #[must_use]
    pub fn frame(&self) -> Arc<Frames> {
        Arc::clone(&self.spec.frames)
    }

    /// Where in its recording the next frame stands.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.frame
    }

    /// Length of a sealed packet with this payload.
    #[must_use]
    pub fn packet_len(&self, payload_len: u16, cipher: &Cipher) -> usize {
        self.header.len() + usize::from(payload_len) + cipher.rtp_overhead()
    }

    /// The RTP timestamp of an instant.
    #[must_use]
    pub fn timestamp_at(&self, now_ns: u64) -> u32 {
        (u128::from(now_ns) * u128::from(self.spec.kind.clock_hz()) / 1_000_000_000) as u32
    }

    /// Writes and seals packet `at` of the current frame into `packet`, which has the length that
    /// [`Source::packet_len`] gave.
    pub fn write(
        &mut self,
        at: usize,
        now_ns: u64,
        frame_ns: u64,
        transport_number: u16,
        cipher: &Cipher,
        packet: &mut [u8],
    ) {
        let frame_len = self.spec.frames.frames[self.frame].len();
        let header_len = self.header.len();
        let payload_len = packet.len() - header_len - cipher.rtp_overhead();
        let marker = match self.spec.kind {
            Kind::Video => at + 1 == frame_len,
            // Opus marks only the start of a talkspurt (RFC 7587 §4.1).
            Kind::Audio => self.packets == 0,
        };
        let place = match at {
            0 if self.key_wanted => Place::KeyStart,
            0 => Place::Start,
            _ => Place::Within,
        };
        if place == Place::KeyStart {
            self.key_wanted = false;
            self.key_frames += 1;
        }
        let header = &mut self.header;
        header[1] = self.spec.payload_type | if marker { 0x80 } else { 0 };
        header[2..4].copy_from_slice(&(self.index as u16).to_be_bytes());
        let timestamp = (u128::from(frame_ns) * u128::from(self.spec.kind.clock_hz()) / 1_000_000_000) as u32;
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        if let Some(time_at) = self.time_at {
            header[time_at..time_at + 3].copy_from_slice(&abs_send_time(now_ns / 1000));
        }
        if let Some(transport_at) = self.transport_at {
            header[transport_at..transport_at + 2].copy_from_slice(&transport_number.to_be_bytes());
        }
        packet[..header_len].copy_from_slice(header);
        let stamp = Stamp { number: self.number, sent_ns: now_ns };
        let payload = &mut packet[header_len..header_len + payload_len];
        self.template.write(stamp, place, self.picture_id, payload);
        cipher.seal_rtp(self.spec.ssrc, self.index, header_len, packet);
        self.index += 1;
        self.number = self.number.wrapping_add(1);
        self.counted += 1;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
    }

    /// The frame has been sent.
    pub fn end_frame(&mut self) {
        self.frame = (self.frame + 1) % self.spec.frames.frames.len();
        self.frames_sent += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
    }
}

/// Appends the extension block; gives where the time and the transport-wide number stand.
fn write_extensions(spec: &SourceSpec, header: &mut Vec<u8>) -> (Option<usize>, Option<usize>) {
    let ids = spec.extensions;
    let mut block: Vec<u8> = Vec::new();
    let mut add = |id: Option<u8>, value: &[u8]| {
        let id = id.filter(|id| (1..15).contains(id) && (1..=16).contains(&value.len()))?;
        block.push((id << 4) | (value.len() - 1) as u8);
        block.extend_from_slice(value);
        Some(FIXED_HEADER_LEN + 4 + block.len() - value.len())
    };
    let time_at = add(ids.abs_send_time, &[0; 3]);
    let transport_at = add(ids.transport_cc, &[0; 2]);
    add(ids.mid, spec.mid.as_bytes());
    if spec.kind == Kind::Audio {
        add(ids.audio_level, &[AUDIO_LEVEL]);
    }
    if block.is_empty() {
        return (None, None);
    }
    block.resize(block.len().next_multiple_of(4), 0);
    header[0] |= 0x10;
    header.extend_from_slice(&ONE_BYTE_PROFILE);
    header.extend_from_slice(&((block.len() / 4) as u16).to_be_bytes());
    header.extend_from_slice(&block);
    (time_at, transport_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::cipher::tests::pair;
    use rtp::header::Header;
    use webrtc_util::Unmarshal;

    fn source(kind: Kind) -> Source {
        let frames = Frames { per_second: 25.0, frames: vec![vec![100, 60], vec![200]] };
        let extensions = ExtensionIds {
            mid: Some(4),
            abs_send_time: Some(2),
            transport_cc: Some(3),
            audio_level: Some(1),
        };
        let spec = SourceSpec {
            peer: 0,
            stream: 3,
            kind,
            frames: Arc::new(frames),
            ssrc: 7,
            payload_type: 96,
            extensions,
            mid: "0".into(),
            offset: 0.5,
        };
        Source::new(spec, 1)
    }

    /// Sends the next frame; its packets opened: header, stamp, payload length.
    fn send(source: &mut Source, now_ns: u64) -> Vec<(Header, Stamp, usize)> {
        let (near, far) = pair();
        let sizes = source.frame().frames[source.position()].clone();
        let mut sent = Vec::new();
        for (at, size) in sizes.into_iter().enumerate() {
            let mut packet = vec![0; source.packet_len(size, &near)];
            source.write(at, now_ns, now_ns, 500 + at as u16, &near, &mut packet);
            let mut rest = &packet[..];
            let header = Header::unmarshal(&mut rest).unwrap();
            let header_len = packet.len() - rest.len();
            let mut payload = Vec::new();
            far.open_rtp(7, header_len, [0], &packet, &mut payload).unwrap();
            let template = Template::new(source.spec.kind, signature(3), 1500);
            sent.push((header, template.read(&payload).unwrap(), payload.len()));
        }
        source.end_frame();
        sent
    }

    #[test]
    fn frames_follow_the_recording_and_begin_again() {
        let mut source = source(Kind::Video);
        let frames: Vec<_> = (1..=3).map(|frame| send(&mut source, frame * 1_000_000_000)).collect();
        let lens: Vec<_> = frames.iter().flatten().map(|(_, _, len)| *len).collect();
        assert_eq!(lens, [100, 60, 200, 100, 60]);
        let all: Vec<_> = frames.iter().flatten().collect();
        for (at, (header, stamp, _)) in all.iter().enumerate() {
            assert_eq!(stamp.number, at as u32);
            assert_eq!(header.sequence_number, all[0].0.sequence_number + at as u16);
        }
        let marks: Vec<_> = all.iter().map(|(header, ..)| header.marker).collect();
        assert_eq!(marks, [false, true, true, false, true]);
        assert_eq!(frames[1][0].0.timestamp - frames[0][0].0.timestamp, 90_000);
        assert_eq!((source.packets, source.octets, source.key_frames), (5, 520, 1));
        source.request_key_frame();
        send(&mut source, 9);
        assert_eq!(source.key_frames, 2);
    }

    #[test]
    fn the_extensions_that_were_negotiated_are_there() {
        let (header, ..) = send(&mut source(Kind::Audio), 1_000_000_000).remove(0);
        assert_eq!(header.get_extension(2).unwrap().as_ref(), abs_send_time(1_000_000));
        assert_eq!(header.get_extension(3).unwrap().as_ref(), 500_u16.to_be_bytes());
        assert_eq!(header.get_extension(4).unwrap().as_ref(), b"0");
        assert_eq!(header.get_extension(1).unwrap().as_ref(), [AUDIO_LEVEL]);
    }

    #[test]
    fn frames_are_due_at_their_rate_however_late_the_last_one_was() {
        let mut source = source(Kind::Video);
        source.restart(1_000_000_000);
        assert_eq!(source.due_ns(1.0), 1_020_000_000);
        send(&mut source, 1_500_000_000);
        assert_eq!((source.due_ns(1.0), source.due_ns(3.0)), (1_060_000_000, 1_140_000_000));
    }
}
