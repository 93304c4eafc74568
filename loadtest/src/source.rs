//! One sent track: numbered packets with headers, frames and key frames like an encoder's, and a history to repeat from.

use bytes::Bytes;
use rtp::header::{EXTENSION_PROFILE_ONE_BYTE, Extension, Header};
use webrtc_util::Marshal;

use crate::clock::abs_send_time;
use crate::options::Plan;
use crate::sdp::Kind;
use crate::sdp::answer::TrackNumbers;
use crate::sdp::offer::SentSsrcs;
use crate::stamp::{Phase, Stamp};

/// Packets kept for retransmission, about a second of a fast run.
const HISTORY: usize = 1024;
/// Level of the audio level extension: voice at -30 dBov.
const AUDIO_LEVEL: u8 = 0x80 | 30;

/// A track that makes its own packets.
pub struct Source {
    plan: Plan,
    id: u16,
    ssrcs: SentSsrcs,
    numbers: TrackNumbers,
    keyframe_every: u64,
    sequence: u16,
    rtx_sequence: u16,
    timestamp_base: u32,
    timestamp: u32,
    picture_id: u16,
    frame: u32,
    in_frame: u64,
    since_key: u64,
    key_wanted: bool,
    key_frame: bool,
    history: Vec<Option<(u16, Vec<u8>)>>,
    /// Packets sent, repeats not counted.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
    /// Key frames begun.
    pub key_frames: u64,
    /// Packets repeated on request.
    pub resent: u64,
}

impl Source {
    /// A track of publisher and kind `id`, with numbers the server accepted.
    #[must_use]
    pub fn new(plan: Plan, id: u16, ssrcs: SentSsrcs, numbers: TrackNumbers, keyframe_every: u64) -> Self {
        Self {
            plan,
            id,
            ssrcs,
            numbers,
            keyframe_every,
            // Below 2^15, so that the first loss cannot hide a roll-over (RFC 3711 §3.3.1).
            sequence: rand::random::<u16>() >> 1,
            rtx_sequence: rand::random::<u16>() >> 1,
            timestamp_base: rand::random(),
            timestamp: 0,
            picture_id: rand::random::<u16>() >> 1,
            frame: 0,
            in_frame: 0,
            since_key: 0,
            key_wanted: true,
            key_frame: false,
            history: vec![None; HISTORY],
            packets: 0,
            octets: 0,
            key_frames: 0,
            resent: 0,
        }
    }

    /// What it sends.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its media SSRC.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        self.ssrcs.media
    }

    /// The next frame will be a key frame.
    pub fn request_key_frame(&mut self) {
        self.key_wanted = true;
    }

    /// The RTP timestamp of an instant.
    #[must_use]
    pub fn timestamp_at(&self, now_us: u64) -> u32 {
        let ticks = u128::from(now_us) * u128::from(self.plan.kind.clock_hz()) / 1_000_000;
        self.timestamp_base.wrapping_add(ticks as u32)
    }

    /// Writes the next packet; `transport_number` is the transport-wide sequence number, `last` ends the frame early.
    pub fn next(
        &mut self,
        phase: Phase,
        number: u64,
        last: bool,
        now_us: u64,
        transport_number: u16,
    ) -> &[u8] {
        let frame_start = self.in_frame == 0;
        if frame_start {
            self.begin_frame(now_us);
        }
        let marker = match self.plan.kind {
            Kind::Video => last || self.in_frame + 1 == self.plan.frame_packets,
            // Opus marks only the start of a talkspurt (RFC 7587 §4.1).
            Kind::Audio => self.packets == 0,
        };
        let stamp = Stamp {
            phase,
            source: self.id,
            number,
            sent_us: now_us,
            timestamp: self.timestamp,
            frame: self.frame,
            marker,
            key: self.key_frame,
            frame_start,
        };
        let header = self.header(marker, now_us, transport_number);
        let mut packet = header.marshal().map(Vec::from).unwrap_or_default();
        stamp.write(self.plan.kind, self.picture_id, self.plan.payload_len, &mut packet);
        let ends = last || self.in_frame + 1 == self.plan.frame_packets;
        self.in_frame = if ends { 0 } else { self.in_frame + 1 };
        self.since_key += 1;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(self.plan.payload_len as u32);
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let slot = &mut self.history[usize::from(sequence) % HISTORY];
        &slot.insert((sequence, packet)).1
    }

    fn begin_frame(&mut self, now_us: u64) {
        self.timestamp = self.timestamp_at(now_us);
        self.frame = self.frame.wrapping_add(1);
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.key_frame =
            self.plan.kind == Kind::Audio || self.key_wanted || self.since_key >= self.keyframe_every;
        if self.key_frame {
            self.key_wanted = false;
            self.since_key = 0;
            self.key_frames += 1;
        }
    }

    fn header(&self, marker: bool, now_us: u64, transport_number: u16) -> Header {
        let mut extensions = Vec::with_capacity(4);
        let mut add = |id: Option<u8>, payload: Bytes| {
            if let Some(id) = id {
                extensions.push(Extension { id, payload });
            }
        };
        add(self.numbers.abs_send_time, Bytes::copy_from_slice(&abs_send_time(now_us)));
        add(self.numbers.transport_cc, Bytes::copy_from_slice(&transport_number.to_be_bytes()));
        add(self.numbers.mid_extension, Bytes::copy_from_slice(self.numbers.mid.as_bytes()));
        if self.plan.kind == Kind::Audio {
            add(self.numbers.audio_level, Bytes::from_static(&[AUDIO_LEVEL]));
        }
        let extensions_len: usize = extensions.iter().map(|extension| 1 + extension.payload.len()).sum();
        Header {
            version: 2,
            extension: !extensions.is_empty(),
            extension_profile: EXTENSION_PROFILE_ONE_BYTE,
            extensions_padding: extensions_len.next_multiple_of(4) - extensions_len,
            extensions,
            marker,
            payload_type: self.numbers.payload_type,
            sequence_number: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrcs.media,
            ..Header::default()
        }
    }

    /// Writes a packet again that was asked for: on the retransmission stream where that was negotiated
    /// (RFC 4588 §4), else unchanged. `None` if it is too old or never was.
    pub fn resend(&mut self, sequence: u16, now_us: u64, transport_number: u16) -> Option<Vec<u8>> {
        let (_, packet) = self.history[usize::from(sequence) % HISTORY]
            .as_ref()
            .filter(|(number, _)| *number == sequence)?;
        let (Some(ssrc), Some(payload_type)) = (self.ssrcs.rtx, self.numbers.rtx_payload_type) else {
            self.resent += 1;
            return Some(packet.clone());
        };
        let payload = &packet[packet.len() - self.plan.payload_len..];
        let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let marker = packet[1] & 0x80 != 0;
        let header = Header {
            ssrc,
            payload_type,
            timestamp,
            sequence_number: self.rtx_sequence,
            ..self.header(marker, now_us, transport_number)
        };
        let mut repeat = header.marshal().ok()?.to_vec();
        repeat.extend_from_slice(&sequence.to_be_bytes());
        repeat.extend_from_slice(payload);
        self.rtx_sequence = self.rtx_sequence.wrapping_add(1);
        self.resent += 1;
        Some(repeat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use webrtc_util::Unmarshal;

    fn source(kind: Kind) -> Source {
        let plan = Plan { kind, packets: 100, rate: 90.0, payload_len: 200, frame_packets: 3 };
        let numbers = TrackNumbers {
            mid: "1".into(),
            payload_type: 96,
            rtx_payload_type: Some(97),
            mid_extension: Some(4),
            abs_send_time: Some(2),
            transport_cc: Some(3),
            ..TrackNumbers::default()
        };
        Source::new(plan, 1, SentSsrcs { media: 7, rtx: Some(8) }, numbers, 9)
    }

    fn read(packet: &[u8]) -> (Header, Stamp) {
        let mut rest = packet;
        let header = Header::unmarshal(&mut rest).unwrap();
        let stamp = Stamp::read(Kind::Video, rest).unwrap();
        (header, stamp)
    }

    #[test]
    fn frames_markers_and_key_frames() {
        let mut source = source(Kind::Video);
        let sent: Vec<_> = (0..12)
            .map(|number| {
                if number == 4 {
                    source.request_key_frame();
                }
                read(source.next(Phase::Measured, number, false, number * 1000, number as u16))
            })
            .collect();
        let marks: Vec<bool> = sent.iter().map(|(header, _)| header.marker).collect();
        assert_eq!(marks, [false, false, true].repeat(4));
        let keys: Vec<bool> = sent.iter().step_by(3).map(|(_, stamp)| stamp.key).collect();
        assert_eq!(keys, [true, false, true, false], "first, and the one asked for at the next frame");
        for ((first, _), (second, _)) in sent.iter().zip(&sent[1..]) {
            assert_eq!(second.sequence_number, first.sequence_number.wrapping_add(1));
            assert_eq!(first.timestamp == second.timestamp, !first.marker);
        }
        let (header, _) = &sent[5];
        assert_eq!(header.get_extension(3).unwrap().as_ref(), [0, 5]);
        assert_eq!(header.get_extension(4).unwrap().as_ref(), b"1");
        assert_eq!(source.key_frames, 2);
    }

    #[test]
    fn a_repeat_carries_the_original_on_the_rtx_stream() {
        let mut source = source(Kind::Video);
        let original = source.next(Phase::Measured, 0, false, 0, 0).to_vec();
        let (header, stamp) = read(&original);
        let repeat = source.resend(header.sequence_number, 9, 1).unwrap();
        let mut rest = &repeat[..];
        let rtx = Header::unmarshal(&mut rest).unwrap();
        assert_eq!((rtx.ssrc, rtx.payload_type, rtx.timestamp), (8, 97, header.timestamp));
        assert_eq!(rest[..2], header.sequence_number.to_be_bytes());
        assert_eq!(Stamp::read(Kind::Video, &rest[2..]), Ok(stamp));
        assert!(source.resend(header.sequence_number.wrapping_add(1), 9, 2).is_none());
    }
}
