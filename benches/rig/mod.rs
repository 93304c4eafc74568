//! A whole shard with live peers and memory for an egress: what one core does, without the kernel.
//!
//! Handshakes are left out: the peers' keys and paths are written into the records, and the shard is made from those, as
//! it is after a restart.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each bench uses its own part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use millrace::dtls::{Certificate, Settings, Version};
use millrace::egress::{DATAGRAM_BYTES_MAX, Egress, Path, RunKey};
use millrace::ingress::Train;
use millrace::io::clock;
use millrace::records::keys::{KeyRecord, Profile};
use millrace::records::path::PathRecord;
use millrace::records::peer::PeerState;
use millrace::records::{MAPPING_BYTES, Records};
use millrace::shard::{Shard, ShardConfig};
use millrace::srtp::SealKeys;
use millrace::time::Timestamp;
use millrace::wire::extension::{Entry, write_block};
use millrace::wire::rtp::{FIXED_LEN, FixedHeader};
use millrace_control as contract;
use millrace_control::Command;

/// What is published.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// VP8.
    Video,
    /// Opus.
    Audio,
}

/// Takes everything and keeps nothing, in as many slots as the send queue has.
pub struct Memory {
    slots: Vec<[u8; DATAGRAM_BYTES_MAX]>,
    next: usize,
    /// Datagrams taken.
    pub datagrams: u64,
}

impl Memory {
    /// As many as a cycle of the benches fills: the send queue takes the slot given back last first.
    const SLOTS: usize = 256;

    /// Slots whose pages are there.
    pub fn new() -> Self {
        Self { slots: vec![[1; DATAGRAM_BYTES_MAX]; Self::SLOTS], next: 0, datagrams: 0 }
    }
}

impl Egress for Memory {
    fn reserve(&mut self, _: RunKey, _: &Path) -> Option<&mut [u8]> {
        self.next = (self.next + 1) % Self::SLOTS;
        Some(&mut self.slots[self.next])
    }

    fn commit(&mut self, _: usize) {
        self.datagrams += 1;
    }

    fn reserved(&mut self) -> &mut [u8] {
        &mut self.slots[self.next]
    }
}

/// Somebody who sends.
struct Publisher {
    path: Path,
    seal: SealKeys,
    ssrc: u32,
    index: u64,
}

/// The shard and who sends to it.
pub struct Rig {
    /// The shard.
    pub shard: Shard<'static>,
    /// Where it sends.
    pub egress: Memory,
    /// Its time.
    pub now: Timestamp,
    publishers: Vec<Publisher>,
    media: Media,
}

const PROFILE: Profile = Profile::AeadAes128Gcm;
const VIDEO: (u32, contract::CodecKind, u32, u32) = (1, contract::CodecKind::Vp8, 96, 90_000);
const AUDIO: (u32, contract::CodecKind, u32, u32) = (2, contract::CodecKind::Opaque, 111, 48_000);
/// As Chromium numbers them.
const EXTENSIONS: [(contract::ExtensionKind, u32); 3] = [
    (contract::ExtensionKind::AbsSendTime, 2),
    (contract::ExtensionKind::TransportCc, 3),
    (contract::ExtensionKind::Mid, 4),
];

impl Rig {
    /// One room: every viewer watches every publisher.
    pub fn room(media: Media, publishers: usize, viewers: usize) -> Self {
        let start = Timestamp::from_nanos(1_000_000_000_000);
        // Records live as long as the bench.
        let words = vec![0_u64; MAPPING_BYTES / 8 + 16].leak();
        let memory: &'static mut [u8] = bytemuck::cast_slice_mut(words);
        let skip = memory.as_ptr().align_offset(64);
        let memory = &mut memory[skip..skip + MAPPING_BYTES];
        // The records are taken over one after the other; no two are used at a time.
        let config = config();
        let mut egress = Memory::new();
        {
            let records = Records::attach(memory).expect("memory of the right size");
            let mut shard = Shard::new(config.clone(), records, start);
            let peers = (publishers + viewers) as u64;
            for peer in 1..=peers {
                command(&mut shard, start, Command::PutPeer(put_peer(peer)));
            }
            for publisher in 1..=publishers as u64 {
                command(&mut shard, start, Command::PutTrack(put_track(publisher, media)));
            }
            let pairs = (1..=publishers as u64)
                .flat_map(|track| (publishers as u64 + 1..=peers).map(move |viewer| (track, viewer)));
            for (track, viewer) in pairs {
                command(&mut shard, start, Command::PutSubscription(put_subscription(track, viewer, media)));
            }
        }
        let publishers = make_live(memory, publishers, start);
        let records = Records::attach(memory).expect("the same memory");
        let mut shard = Shard::new(config, records, start);
        while shard.next_deadline() <= start {
            shard.handle_timeout(start, &mut egress);
        }
        egress.datagrams = 0;
        Self { shard, egress, now: start, publishers, media }
    }

    /// The next `count` packets of a publisher, sealed, each with `len` bytes of payload.
    pub fn packets(&mut self, publisher: usize, count: usize, len: usize) -> Vec<Vec<u8>> {
        let media = self.media;
        let publisher = &mut self.publishers[publisher];
        (0..count).map(|_| publisher.packet(media, len)).collect()
    }

    /// Hands packets of a publisher to the shard as they come together.
    #[inline]
    pub fn deliver(&mut self, publisher: usize, packets: &mut [Vec<u8>]) {
        let path = self.publishers[publisher].path;
        let trains = packets.iter_mut().map(|packet| Train::single(path, packet)).collect();
        self.shard.handle_datagrams(self.now, trains, &mut self.egress);
    }
}

impl Publisher {
    fn packet(&mut self, media: Media, payload_len: usize) -> Vec<u8> {
        self.index += 1;
        let (_, _, payload_type, _) = if media == Media::Video { VIDEO } else { AUDIO };
        let mut slot = vec![0; DATAGRAM_BYTES_MAX];
        let number = (self.index as u16).to_be_bytes();
        let entries = [Entry { id: 2, value: &[1, 2, 3] }, Entry { id: 3, value: &number }];
        let block = write_block(&mut slot[FIXED_LEN..], &entries);
        let header = FixedHeader {
            padding: false,
            extension: true,
            marker: false,
            payload_type: payload_type as u8,
            sequence: self.index as u16,
            timestamp: self.index as u32 * 90,
            ssrc: self.ssrc,
        };
        header.write(&mut slot);
        let mut payload = vec![7; payload_len];
        // A VP8 descriptor and the first byte of a key frame (RFC 7741): any packet is a place to start.
        payload[..4].copy_from_slice(&[0x10, 0x00, 0x9d, 0x01]);
        let len = self.seal.seal_rtp(self.ssrc, self.index, FIXED_LEN + block, &payload, &mut slot);
        slot.truncate(len.expect("the packet fits"));
        slot
    }
}

fn config() -> ShardConfig {
    let certificate = Certificate::generate();
    ShardConfig {
        id: 0,
        shards: 1,
        seed: 1,
        epoch: clock::epoch(),
        dtls: Arc::new(Settings::new(&certificate, Version::Dtls12)),
        allow_fault_injection: false,
    }
}

fn command(shard: &mut Shard<'_>, now: Timestamp, command: Command) {
    if let Err(refusal) = shard.handle_command(now, &command) {
        panic!("the command is refused: {}", refusal.message);
    }
}

fn put_peer(peer: u64) -> contract::PutPeer {
    contract::PutPeer {
        room: 1,
        peer,
        local_ufrag: format!("ours{peer}"),
        local_pwd: "p".repeat(24),
        remote_ufrag: format!("theirs{peer}"),
        remote_pwd: "q".repeat(24),
        remote_fingerprint: vec![1; 32],
        extensions: EXTENSIONS.map(|(kind, id)| contract::Extension { kind: kind as i32, id }).to_vec(),
        transport_cc: true,
        ..contract::PutPeer::default()
    }
}

fn codec(media: Media) -> contract::Codec {
    let (format, kind, payload_type, clock_rate_hz) = if media == Media::Video { VIDEO } else { AUDIO };
    let rtx_payload_type = (media == Media::Video).then_some(97);
    contract::Codec { format, kind: kind as i32, payload_type, clock_rate_hz, rtx_payload_type }
}

fn kind(media: Media) -> i32 {
    if media == Media::Video { contract::MediaKind::Video as i32 } else { contract::MediaKind::Audio as i32 }
}

fn put_track(publisher: u64, media: Media) -> contract::PutTrack {
    let ssrc = publisher as u32;
    contract::PutTrack {
        track: publisher,
        peer: publisher,
        mid: "0".into(),
        kind: kind(media),
        codecs: vec![codec(media)],
        ssrcs: vec![contract::SignaledSsrc { ssrc, rtx_ssrc: None }],
        nack: media == Media::Video,
        pli: media == Media::Video,
        ..contract::PutTrack::default()
    }
}

fn put_subscription(track: u64, viewer: u64, media: Media) -> contract::PutSubscription {
    contract::PutSubscription {
        subscription: viewer << 20 | track,
        peer: viewer,
        track,
        mid: "0".into(),
        ssrc: 0x1_0000 + track as u32,
        rtx_ssrc: (media == Media::Video).then_some(0x2_0000 + track as u32),
        codecs: vec![codec(media)],
        cname: "room".into(),
        kind: kind(media),
        ..contract::PutSubscription::default()
    }
}

/// Gives every peer keys and a path. Returns those who publish.
fn make_live(memory: &mut [u8], publishers: usize, now: Timestamp) -> Vec<Publisher> {
    let mut records = Records::attach(memory).expect("the same memory");
    let peers: Vec<_> = records.peers.iter().map(|(slot, record)| (slot, record.id.0)).collect();
    let mut sending = Vec::new();
    for (slot, id) in peers {
        let path = Path {
            local: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            remote: SocketAddr::from(([10, 1, (id >> 8) as u8, id as u8], 40_000)),
            ..Path::NONE
        };
        let mut key = [0; 32];
        key[..PROFILE.key_len()].fill(id as u8);
        let keys =
            KeyRecord { profile: PROFILE.code(), inbound_key: key, outbound_key: key, ..KeyRecord::NONE };
        let record = &mut records.peers[slot];
        record.keys = keys;
        record.ice.selected = PathRecord::from(&path);
        record.ice.paths[0].path = PathRecord::from(&path);
        record.ice.paths[0].last_check = now;
        record.ice.last_check = now;
        record.set_state(PeerState::Live);
        if id <= publishers as u64 {
            let seal = SealKeys::new(PROFILE, &key[..PROFILE.key_len()], &[0; 12]);
            sending.push(Publisher { path, seal, ssrc: id as u32, index: 0 });
        }
    }
    sending
}
