//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
//!
//! Times are ticks of 250 µs on the receiver's clock, modulo 2³² (12 days): 256 ticks are the 64 ms of a reference time,
//! whose 24 bits wrap at the same moment.
//!
//! ```text
//!  | sender SSRC | media SSRC | base sequence | status count | reference time (24) | feedback count (8) |
//!  | chunk | chunk | …                 one symbol for each packet from the base on
//!  | delta | delta | …                 one or two bytes for each packet received, ticks since the one before
//! ```

use super::{FORMAT_TWCC, HEADER_LEN, Sink, TYPE_TRANSPORT_FEEDBACK, feedback_head};
use crate::discard::Discard;
use crate::time::Timestamp;

/// Packets one written feedback can be about.
pub const STATUSES_MAX: usize = 1024;

/// Length of a tick.
const NANOS_PER_TICK: u64 = 250_000;
/// Reference times count 64 ms.
const TICKS_PER_REFERENCE: u32 = 256;
/// SSRCs and the fixed fields.
const FIXED_LEN: usize = 8 + 8;
/// Run lengths have 13 bits.
const RUN_MAX: usize = 0x1fff;
/// Symbols in a vector of one bit or of two bits each.
const ONE_BIT_SYMBOLS: usize = 14;
const TWO_BIT_SYMBOLS: usize = 7;

const MISSING: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// `now` in ticks.
#[inline]
pub const fn ticks(now: Timestamp) -> u32 {
    (now.as_nanos() / NANOS_PER_TICK) as u32
}

/// One packet that arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Transport-wide sequence number.
    pub sequence: u16,
    /// When, see [`ticks`].
    pub ticks: u32,
}

/// What a feedback says beside the arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who reports.
    pub sender_ssrc: u32,
    /// Any media source of the transport.
    pub media_ssrc: u32,
    /// First packet reported on, arrived or not.
    pub base: u16,
    /// Number of this feedback, counting up by one.
    pub feedback_count: u8,
}

/// What [`write()`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes written; 0 when not even one arrival fits.
    pub len: usize,
    /// Arrivals reported, from the first on. The rest belongs into the next feedback.
    pub arrivals: usize,
}

/// Writes a feedback on `arrivals`, which ascend from `head.base` on by sequence number (with wrapping); what lies
/// between them is reported lost.
///
/// Ends early where the slice is full, the next arrival is more than [`STATUSES_MAX`] from the base, or its time is more
/// than 8 s from the one before.
pub fn write(out: &mut [u8], head: &Head, arrivals: &[Arrival]) -> Written {
    let mut symbols = [MISSING; STATUSES_MAX];
    let Some(plan) = Plan::new(out.len(), head.base, arrivals, &mut symbols) else {
        return Written::default();
    };
    let symbols = &symbols[..plan.statuses];
    let used_len = FIXED_LEN + 2 * chunks(symbols).count() + plan.deltas_len;
    let body_len = used_len.next_multiple_of(4);
    let Some(mut sink) = Sink::frame(out, TYPE_TRANSPORT_FEEDBACK, FORMAT_TWCC, body_len) else {
        return Written::default();
    };
    sink.put_u32(head.sender_ssrc);
    sink.put_u32(head.media_ssrc);
    sink.put_u16(head.base);
    sink.put_u16(plan.statuses as u16);
    sink.put_u32(plan.reference << 8 | u32::from(head.feedback_count));
    chunks(symbols).for_each(|chunk| sink.put_u16(chunk));
    let mut previous = plan.reference * TICKS_PER_REFERENCE;
    for arrival in &arrivals[..plan.arrivals] {
        let delta = arrival.ticks.wrapping_sub(previous).cast_signed();
        match u8::try_from(delta) {
            Ok(small) => sink.put(&[small]),
            Err(_) => sink.put(&(delta as i16).to_be_bytes()),
        }
        previous = arrival.ticks;
    }
    pad(out, sink_len(body_len), body_len - used_len);
    Written { len: sink_len(body_len), arrivals: plan.arrivals }
}

const fn sink_len(body_len: usize) -> usize {
    HEADER_LEN + body_len
}

/// Ends the packet of `len` bytes in `padding` bytes as RFC 3550 §6.4.1 wants them, and says so in the header.
fn pad(out: &mut [u8], len: usize, padding: usize) {
    if padding > 0 {
        out[0] |= super::PADDING_BIT;
        out[len - padding..len].fill(0);
        out[len - 1] = padding as u8;
    }
}

/// How much of the arrivals goes into one feedback.
struct Plan {
    /// Reference time, 24 bits.
    reference: u32,
    statuses: usize,
    arrivals: usize,
    deltas_len: usize,
}

impl Plan {
    /// Takes arrivals as long as they fit into `room` bytes, and notes their symbols.
    fn new(room: usize, base: u16, arrivals: &[Arrival], symbols: &mut [u8; STATUSES_MAX]) -> Option<Self> {
        let reference = arrivals.first()?.ticks / TICKS_PER_REFERENCE;
        let mut plan = Self { reference, statuses: 0, arrivals: 0, deltas_len: 0 };
        let mut previous = reference * TICKS_PER_REFERENCE;
        for arrival in arrivals {
            let offset = usize::from(arrival.sequence.wrapping_sub(base));
            let delta = arrival.ticks.wrapping_sub(previous).cast_signed();
            let (symbol, delta_len) = match delta {
                0..=0xff => (SMALL_DELTA, 1),
                -0x8000..=0x7fff => (LARGE_DELTA, 2),
                _ => break,
            };
            // Every chunk but the last takes seven symbols or more.
            let chunks_len_max = 2 * (offset + 1).div_ceil(TWO_BIT_SYMBOLS);
            let len_max = (FIXED_LEN + chunks_len_max + plan.deltas_len + delta_len).next_multiple_of(4);
            if offset >= STATUSES_MAX || offset < plan.statuses || HEADER_LEN + len_max > room {
                break;
            }
            symbols[offset] = symbol;
            plan.statuses = offset + 1;
            plan.arrivals += 1;
            plan.deltas_len += delta_len;
            previous = arrival.ticks;
        }
        (plan.arrivals > 0).then_some(plan)
    }
}

/// Packs symbols into chunks, each time the kind that takes most of them.
fn chunks(mut symbols: &[u8]) -> impl Iterator<Item = u16> {
    std::iter::from_fn(move || {
        let first = *symbols.first()?;
        let run = symbols.iter().take(RUN_MAX).take_while(|symbol| **symbol == first).count();
        let large_at = symbols.iter().take(ONE_BIT_SYMBOLS).position(|symbol| *symbol == LARGE_DELTA);
        let vector = if large_at.is_some() { TWO_BIT_SYMBOLS } else { ONE_BIT_SYMBOLS };
        let (taken, chunk) = if run >= vector.min(symbols.len()) {
            (run, u16::from(first) << 13 | run as u16)
        } else if large_at.is_some() {
            (vector, 0xc000 | pack(symbols, vector, 2))
        } else {
            (vector, 0x8000 | pack(symbols, vector, 1))
        };
        symbols = symbols.get(taken..).unwrap_or(&[]);
        Some(chunk)
    })
}

/// The first `count` symbols (missing ones are 0) in `bits` bits each, the first uppermost of the low 14 bits.
fn pack(symbols: &[u8], count: usize, bits: usize) -> u16 {
    (0..count).fold(0, |packed, at| packed << bits | u16::from(symbols.get(at).copied().unwrap_or(MISSING)))
}

/// A feedback read from the wire, checked as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Feedback<'a> {
    /// Who reports.
    pub sender_ssrc: u32,
    /// A media source of the transport.
    pub media_ssrc: u32,
    /// First packet reported on.
    pub base: u16,
    /// Number of packets reported on, at least 1.
    pub status_count: u16,
    /// Start of the receiver's time line in units of 64 ms, 24 bits.
    pub reference: u32,
    /// Number of the feedback, modulo 256.
    pub feedback_count: u8,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Transport-wide sequence number.
    pub sequence: u16,
    /// Arrival in ticks of 250 µs on the receiver's clock, modulo 2³²; `None` for a packet that did not arrive.
    pub ticks: Option<u32>,
}

impl<'a> Feedback<'a> {
    /// # Errors
    /// [`Discard::PeerRtcpMalformed`] when it reports on nothing, uses the reserved symbol, or chunks or deltas are cut.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Discard> {
        let (sender_ssrc, media_ssrc, fields) = feedback_head(body)?;
        let Some((&[b0, b1, n0, n1, r0, r1, r2, feedback_count], rest)) = fields.split_first_chunk::<8>()
        else {
            return Err(Discard::PeerRtcpMalformed);
        };
        let status_count = u16::from_be_bytes([n0, n1]);
        let (all_chunks, _) = rest.as_chunks::<2>();
        let (chunk_count, deltas_len) = measure(all_chunks, usize::from(status_count))?;
        let deltas = rest.get(2 * chunk_count..).and_then(|deltas| deltas.get(..deltas_len));
        Ok(Self {
            sender_ssrc,
            media_ssrc,
            base: u16::from_be_bytes([b0, b1]),
            status_count,
            reference: u32::from_be_bytes([0, r0, r1, r2]),
            feedback_count,
            chunks: &all_chunks[..chunk_count],
            deltas: deltas.ok_or(Discard::PeerRtcpMalformed)?,
        })
    }

    /// What became of each packet, [`Feedback::status_count`] of them.
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            chunks: self.chunks.iter(),
            symbols: Symbols { kind: 0, rest: 0, left: 0 },
            deltas: self.deltas,
            sequence: self.base,
            left: self.status_count,
            ticks: self.reference * TICKS_PER_REFERENCE,
        }
    }
}

/// Chunks needed for `count` symbols, and the length of the deltas these announce.
fn measure(chunks: &[[u8; 2]], count: usize) -> Result<(usize, usize), Discard> {
    let mut left = count;
    let mut deltas_len = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        let mut symbols = Symbols::new(u16::from_be_bytes(*chunk));
        symbols.left = symbols.left.min(left as u16);
        left -= usize::from(symbols.left);
        deltas_len += symbols.deltas_len()?;
        if left == 0 && count > 0 {
            return Ok((index + 1, deltas_len));
        }
    }
    Err(Discard::PeerRtcpMalformed)
}

/// Symbols of one chunk.
#[derive(Clone, Copy, Debug)]
struct Symbols {
    /// Bits a symbol takes; 0 for a run, whose one symbol is `rest`.
    kind: u8,
    /// Symbols to come, the next one uppermost of the low 14 bits.
    rest: u16,
    left: u16,
}

impl Symbols {
    const fn new(chunk: u16) -> Self {
        match chunk >> 14 {
            0 | 1 => Self { kind: 0, rest: chunk >> 13, left: chunk & RUN_MAX as u16 },
            2 => Self { kind: 1, rest: chunk & 0x3fff, left: ONE_BIT_SYMBOLS as u16 },
            _ => Self { kind: 2, rest: chunk & 0x3fff, left: TWO_BIT_SYMBOLS as u16 },
        }
    }

    const fn next(&mut self) -> Option<u8> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let symbol = match self.kind {
            0 => self.rest,
            bits => {
                let symbol = self.rest >> (14 - bits);
                self.rest = self.rest << bits & 0x3fff;
                symbol
            }
        };
        Some(symbol as u8)
    }

    /// Bytes of deltas that belong to these symbols. A run is not walked, it may be long.
    fn deltas_len(mut self) -> Result<usize, Discard> {
        if self.kind == 0 {
            return Ok(usize::from(self.left) * delta_len(self.rest as u8)?);
        }
        let mut len = 0;
        while let Some(symbol) = self.next() {
            len += delta_len(symbol)?;
        }
        Ok(len)
    }
}

/// Length of the delta behind a symbol.
const fn delta_len(symbol: u8) -> Result<usize, Discard> {
    match symbol {
        MISSING | SMALL_DELTA | LARGE_DELTA => Ok(symbol as usize),
        _ => Err(Discard::PeerRtcpMalformed),
    }
}

/// See [`Feedback::statuses`].
#[derive(Clone, Debug)]
pub struct Statuses<'a> {
    chunks: std::slice::Iter<'a, [u8; 2]>,
    symbols: Symbols,
    deltas: &'a [u8],
    sequence: u16,
    left: u16,
    ticks: u32,
}

impl Statuses<'_> {
    fn next_symbol(&mut self) -> Option<u8> {
        loop {
            if let Some(symbol) = self.symbols.next() {
                return Some(symbol);
            }
            self.symbols = Symbols::new(u16::from_be_bytes(*self.chunks.next()?));
        }
    }

    fn next_delta(&mut self, symbol: u8) -> Option<i16> {
        if symbol == SMALL_DELTA {
            let (&delta, rest) = self.deltas.split_first()?;
            self.deltas = rest;
            return Some(i16::from(delta));
        }
        let (&delta, rest) = self.deltas.split_first_chunk::<2>()?;
        self.deltas = rest;
        Some(i16::from_be_bytes(delta))
    }
}

impl Iterator for Statuses<'_> {
    type Item = Status;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let symbol = self.next_symbol()?;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        if symbol == MISSING {
            return Some(Status { sequence, ticks: None });
        }
        self.ticks = self.ticks.wrapping_add_signed(self.next_delta(symbol)?.into());
        Some(Status { sequence, ticks: Some(self.ticks) })
    }
}

#[cfg(test)]
mod tests {
    use rtcp::transport_feedbacks::transport_layer_cc as oracle;

    use super::super::{Packet, packets};
    use super::*;
    use crate::wire::testing::Random;

    const HEAD: Head = Head { sender_ssrc: 1, media_ssrc: 2, base: 0, feedback_count: 0 };

    fn parse(bytes: &[u8]) -> Option<Feedback<'_>> {
        match packets(bytes).next() {
            Some(Ok(Packet::TransportFeedback(feedback))) => Some(feedback),
            _ => None,
        }
    }

    /// Arrivals of a random stretch: lossy or not, smooth or jumpy, in order of time or not.
    fn random_arrivals(random: &mut Random, base: u16) -> Vec<Arrival> {
        let loss = [0, 0, 2, 10, 50][random.below(5) as usize];
        let jitter = [1, 3, 300, 30_000][random.below(4) as usize];
        let mut sequence = base;
        let mut ticks = random.u32();
        let mut arrivals = Vec::new();
        for _ in 0..random.below(300) + 1 {
            if loss > 0 && random.one_in(loss) {
                sequence = sequence.wrapping_add(random.below(30) as u16);
            }
            ticks = ticks.wrapping_add(random.below(jitter) as u32).wrapping_sub((jitter / 4) as u32);
            arrivals.push(Arrival { sequence, ticks });
            sequence = sequence.wrapping_add(1);
        }
        arrivals
    }

    /// What the other implementation understands of `bytes`: sequence numbers with their times in ticks.
    fn oracle_reads(bytes: &[u8]) -> Vec<Arrival> {
        let read = rtcp::packet::unmarshal(&mut &bytes[..]).unwrap();
        let read = read[0].as_any().downcast_ref::<oracle::TransportLayerCc>().unwrap();
        let mut symbols = Vec::new();
        for chunk in &read.packet_chunks {
            match chunk {
                oracle::PacketStatusChunk::RunLengthChunk(run) => {
                    symbols.extend(std::iter::repeat_n(run.packet_status_symbol, run.run_length.into()));
                }
                oracle::PacketStatusChunk::StatusVectorChunk(vector) => symbols.extend(&vector.symbol_list),
            }
        }
        symbols.truncate(read.packet_status_count.into());
        let mut ticks = read.reference_time * 256;
        let mut deltas = read.recv_deltas.iter();
        let mut arrivals = Vec::new();
        for (offset, symbol) in symbols.iter().enumerate() {
            if *symbol != oracle::SymbolTypeTcc::PacketNotReceived {
                let delta = deltas.next().unwrap();
                assert_eq!(delta.type_tcc_packet, *symbol);
                ticks = ticks.wrapping_add_signed((delta.delta / 250) as i32);
                arrivals
                    .push(Arrival { sequence: read.base_sequence_number.wrapping_add(offset as u16), ticks });
            }
        }
        arrivals
    }

    fn we_read(bytes: &[u8]) -> Vec<Arrival> {
        let statuses = parse(bytes).expect("a feedback").statuses();
        statuses
            .filter_map(|status| Some(Arrival { sequence: status.sequence, ticks: status.ticks? }))
            .collect()
    }

    #[test]
    fn another_implementation_reads_what_we_write_and_so_do_we() {
        let mut random = Random::new(61);
        for _ in 0..2_000 {
            let base = random.u16();
            let arrivals = random_arrivals(&mut random, base);
            let mut out = vec![0xff; 100 + random.below(1400) as usize];
            let head = Head { base, feedback_count: random.u8(), ..HEAD };
            let written = write(&mut out, &head, &arrivals);
            assert!(written.arrivals > 0 && written.len.is_multiple_of(4) && written.len <= out.len());
            let bytes = &out[..written.len];
            assert_eq!(oracle_reads(bytes), arrivals[..written.arrivals]);
            assert_eq!(we_read(bytes), arrivals[..written.arrivals]);
            let feedback = parse(bytes).unwrap();
            assert_eq!((feedback.sender_ssrc, feedback.media_ssrc), (1, 2));
            assert_eq!((feedback.base, feedback.feedback_count), (base, head.feedback_count));
            assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
        }
    }

    #[test]
    fn we_read_what_another_implementation_writes() {
        let mut random = Random::new(62);
        for _ in 0..1_000 {
            let symbols_of = |count: u64, kinds: u64, random: &mut Random| -> Vec<oracle::SymbolTypeTcc> {
                (0..count).map(|_| (random.below(kinds) as u16).into()).collect()
            };
            let mut packet_chunks = Vec::new();
            let mut symbols = Vec::new();
            for _ in 0..random.below(12) + 1 {
                if random.one_in(2) {
                    let symbol = symbols_of(1, 3, &mut random)[0];
                    let run_length = random.below(40) as u16 + 1;
                    symbols.extend(std::iter::repeat_n(symbol, run_length.into()));
                    packet_chunks.push(oracle::PacketStatusChunk::RunLengthChunk(oracle::RunLengthChunk {
                        packet_status_symbol: symbol,
                        run_length,
                        ..Default::default()
                    }));
                } else {
                    let (symbol_size, list) = if random.one_in(2) {
                        (oracle::SymbolSizeTypeTcc::OneBit, symbols_of(14, 2, &mut random))
                    } else {
                        (oracle::SymbolSizeTypeTcc::TwoBit, symbols_of(7, 3, &mut random))
                    };
                    symbols.extend(&list);
                    packet_chunks.push(oracle::PacketStatusChunk::StatusVectorChunk(
                        oracle::StatusVectorChunk {
                            type_tcc: oracle::StatusChunkTypeTcc::StatusVectorChunk,
                            symbol_size,
                            symbol_list: list,
                        },
                    ));
                }
            }
            let recv_deltas: Vec<_> = symbols
                .iter()
                .filter(|symbol| **symbol != oracle::SymbolTypeTcc::PacketNotReceived)
                .map(|&type_tcc_packet| {
                    let small = type_tcc_packet == oracle::SymbolTypeTcc::PacketReceivedSmallDelta;
                    let ticks =
                        if small { i64::from(random.u8()) } else { i64::from(random.u16().cast_signed()) };
                    oracle::RecvDelta { type_tcc_packet, delta: ticks * 250 }
                })
                .collect();
            if recv_deltas.is_empty() {
                continue; // the other implementation does not read those back
            }
            let theirs = oracle::TransportLayerCc {
                sender_ssrc: 1,
                media_ssrc: 2,
                base_sequence_number: random.u16(),
                packet_status_count: symbols.len() as u16,
                reference_time: random.u32() >> 8,
                fb_pkt_count: random.u8(),
                packet_chunks,
                recv_deltas,
            };
            let bytes = rtcp::packet::marshal(&[Box::new(theirs)]).unwrap();
            assert_eq!(we_read(&bytes), oracle_reads(&bytes));
        }
    }

    #[test]
    fn a_smooth_second_takes_one_chunk_and_a_byte_a_packet() {
        let arrivals: Vec<_> = (0..500)
            .map(|n| Arrival {
                sequence: 65_000_u16.wrapping_add(n),
                ticks: (u32::MAX - 700).wrapping_add(u32::from(n) * 8),
            })
            .collect();
        let mut out = [0; 1472];
        let written = write(&mut out, &Head { base: 65_000, ..HEAD }, &arrivals);
        assert_eq!(written, Written { len: (20 + 2 + 500_usize).next_multiple_of(4), arrivals: 500 });
        assert_eq!(oracle_reads(&out[..written.len]), arrivals, "across the wraps of number and time");
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_next_feedback() {
        let arrival = |sequence, ticks| Arrival { sequence, ticks };
        let mut out = [0; 1472];
        let far_in_time = [arrival(0, 0), arrival(1, 40_000), arrival(2, 40_001)];
        assert_eq!(write(&mut out, &HEAD, &far_in_time).arrivals, 1);
        let far_in_number = [arrival(0, 0), arrival(1023, 1), arrival(1024, 2)];
        assert_eq!(write(&mut out, &HEAD, &far_in_number).arrivals, 2);
        assert_eq!(write(&mut out, &HEAD, &[]), Written::default());
        assert_eq!(write(&mut out[..23], &HEAD, &far_in_time), Written::default());
        assert_eq!(write(&mut out[..24], &HEAD, &far_in_time), Written { len: 24, arrivals: 1 });
        let unordered = [arrival(5, 0), arrival(4, 1)];
        assert_eq!(write(&mut out, &HEAD, &unordered).arrivals, 1, "a caller's slip is no panic");
    }

    #[test]
    fn lies_are_refused() {
        let feedback = |count: u16, body: &[u8]| {
            let mut bytes = vec![0x8f, 205, 0, 4 + body.len() as u8 / 4];
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0, 9]);
            bytes.extend(count.to_be_bytes());
            bytes.extend([0, 0, 1, 0]);
            bytes.extend(body);
            parse(&bytes).map(|feedback| feedback.statuses().count())
        };
        assert_eq!(feedback(3, &[0x20, 3, 1, 1, 1, 0, 0, 0]), Some(3));
        assert_eq!(feedback(0, &[0x20, 3, 1, 1]), None, "about nothing");
        assert_eq!(feedback(3, &[0x20, 3, 1, 1]), None, "a delta short");
        assert_eq!(feedback(65_535, &[0x20, 3, 1, 1]), None, "65 535 of 3");
        assert_eq!(feedback(65_535, &[0, 0, 0, 0]), None, "runs of none");
        assert_eq!(feedback(1, &[0x60, 1, 1, 1]), None, "the reserved symbol in a run");
        assert_eq!(feedback(1, &[0xf0, 0, 1, 1]), None, "the reserved symbol in a vector");
        assert_eq!(feedback(1, &[0xcc, 0, 0, 0]), Some(1), "behind the count it does no harm");
        assert_eq!(feedback(8191, &[0x1f, 0xff, 0, 0]), Some(8191), "a long run of losses");
    }
}
