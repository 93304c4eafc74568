//! A viewer's transport-wide congestion feedback, so that a relay that measures its way to the viewer has something
//! to measure.

use rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc, SymbolTypeTcc,
    TransportLayerCc,
};
use webrtc_util::Marshal;

/// Unit of the reference time: 64 ms.
const REFERENCE_US: u64 = 64_000;
/// Unit of a delta: 250 µs.
const DELTA_US: u64 = 250;
/// Two-bit symbols of one chunk.
const CHUNK_SYMBOLS: usize = 7;
/// Numbers one message reports on at most.
const SPAN_MAX: u64 = 512;

/// Arrivals since the last message.
#[derive(Debug, Default)]
pub struct Arrivals {
    highest: Option<u64>,
    next_base: Option<u64>,
    pending: Vec<(u64, u64)>,
    messages: u8,
}

impl Arrivals {
    /// Takes the number of a packet that came at `now_us`.
    pub fn record(&mut self, number: u16, now_us: u64) {
        let extended = match self.highest {
            None => (1 << 16) | u64::from(number),
            Some(highest) => {
                let ahead = number.wrapping_sub(highest as u16).cast_signed();
                highest.saturating_add_signed(i64::from(ahead))
            }
        };
        self.highest = self.highest.max(Some(extended));
        self.pending.push((extended, now_us));
    }

    /// The next message about everything since the last; `None` if there is nothing to say.
    pub fn feedback(&mut self, sender_ssrc: u32, media_ssrc: u32) -> Option<Vec<u8>> {
        let base = self.next_base;
        self.pending.retain(|(number, _)| base.is_none_or(|base| *number >= base));
        self.pending.sort_unstable();
        self.pending.dedup_by_key(|(number, _)| *number);
        let first = self.pending.first()?.0;
        let base = base.filter(|base| first - base < SPAN_MAX).unwrap_or(first);
        let end = self.pending.partition_point(|(number, _)| *number < base + SPAN_MAX);
        let reported: Vec<(u64, u64)> = self.pending.drain(..end).collect();
        let last = reported.last()?.0;
        self.next_base = Some(last + 1);
        let message = message(base, &reported, (sender_ssrc, media_ssrc), self.messages);
        self.messages = self.messages.wrapping_add(1);
        message.marshal().ok().map(Vec::from)
    }
}

fn message(base: u64, reported: &[(u64, u64)], ssrcs: (u32, u32), fb_pkt_count: u8) -> TransportLayerCc {
    let last = reported.last().map_or(base, |(number, _)| *number);
    let reference = reported.first().map_or(0, |(_, at)| at / REFERENCE_US);
    let mut symbols = vec![SymbolTypeTcc::PacketNotReceived; (last - base + 1) as usize];
    let mut recv_deltas = Vec::with_capacity(reported.len());
    let mut ticks = reference * (REFERENCE_US / DELTA_US);
    for (number, at) in reported {
        let delta = (at / DELTA_US).cast_signed() - ticks.cast_signed();
        let delta = delta.clamp(i64::from(i16::MIN), i64::from(i16::MAX));
        ticks = ticks.saturating_add_signed(delta);
        let type_tcc_packet = match delta {
            0..=255 => SymbolTypeTcc::PacketReceivedSmallDelta,
            _ => SymbolTypeTcc::PacketReceivedLargeDelta,
        };
        symbols[(number - base) as usize] = type_tcc_packet;
        recv_deltas.push(RecvDelta { type_tcc_packet, delta: delta * DELTA_US.cast_signed() });
    }
    let chunk = |symbols: &[SymbolTypeTcc]| {
        PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
            symbol_size: SymbolSizeTypeTcc::TwoBit,
            symbol_list: symbols.to_vec(),
        })
    };
    TransportLayerCc {
        sender_ssrc: ssrcs.0,
        media_ssrc: ssrcs.1,
        base_sequence_number: base as u16,
        packet_status_count: symbols.len() as u16,
        reference_time: (reference & 0x00ff_ffff) as u32,
        fb_pkt_count,
        packet_chunks: symbols.chunks(CHUNK_SYMBOLS).map(chunk).collect(),
        recv_deltas,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use webrtc_util::Unmarshal;

    #[test]
    fn a_message_tells_what_came_and_when() {
        let mut arrivals = Arrivals::default();
        for (number, at) in [(65_534, 64_000), (65_535, 65_000), (1, 66_000), (2, 200_000)] {
            arrivals.record(number, at);
        }
        let bytes = arrivals.feedback(1, 7).unwrap();
        let read = TransportLayerCc::unmarshal(&mut &bytes[..]).unwrap();
        assert_eq!(
            (read.base_sequence_number, read.packet_status_count, read.reference_time),
            (65_534, 5, 1)
        );
        let deltas: Vec<i64> = read.recv_deltas.iter().map(|delta| delta.delta).collect();
        assert_eq!(deltas, [0, 1000, 1000, 134_000]);
        assert!(arrivals.feedback(1, 7).is_none());
        arrivals.record(5, 201_000);
        let bytes = arrivals.feedback(1, 7).unwrap();
        let read = TransportLayerCc::unmarshal(&mut &bytes[..]).unwrap();
        assert_eq!((read.base_sequence_number, read.packet_status_count, read.fb_pkt_count), (3, 3, 1));
    }
}
