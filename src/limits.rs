//! Every limit of the relay in one place, with the relations between them checked when it compiles.

use std::time::Duration;

/// Peers a shard holds.
pub const PEERS_MAX: usize = 4096;
/// Published streams a shard holds: on average one a peer, and each peer may have several.
pub const TRACKS_MAX: usize = 8192;
/// Incoming SSRCs a shard holds: media and its RTX for each track.
pub const INBOUND_MAX: usize = 2 * TRACKS_MAX;
/// Subscriptions a shard holds.
pub const SUBSCRIPTIONS_MAX: usize = 16384;

/// Payload types of one track or one subscription.
pub const CODECS_MAX: usize = 16;
/// Signaled SSRCs of one track (three simulcast layers and room for one more).
pub const TRACK_SSRCS_MAX: usize = 4;
/// SSRCs that a transport may bring without having signaled them (threats: a new SSRC in each packet).
pub const LATCHED_SSRCS_MAX: u32 = 16;
/// Bytes of `a=mid` and `a=rid` values kept.
pub const MID_BYTES_MAX: usize = 16;
/// Bytes of what signaling notes with a peer.
pub const MEMO_BYTES_MAX: usize = millrace_control::MEMO_BYTES_MAX;
/// Bytes of a CNAME kept.
pub const CNAME_BYTES_MAX: usize = 31;

/// Packets of one video track kept for retransmission: at 2.5 Mbit/s and 1 100 bytes nearly two seconds.
pub const CACHE_PACKETS: usize = 512;
/// Bytes of one kept packet: everything after its header.
pub const CACHE_PAYLOAD_BYTES: usize = 1280;

/// Bytes of the extension block that a viewer's packet may have: what is carried, the MID, and their heads.
pub const HEADER_EXTENSION_BYTES_MAX: usize = 160;

/// Commands a shard takes in one cycle, after its datagrams.
pub const COMMANDS_PER_CYCLE: usize = 32;
/// Commands that may wait for one shard; one more is refused as busy.
pub const MAILBOX_COMMANDS_MAX: usize = 4096;
/// Shards that can hand packets to each other: a bit each in a track's record.
pub const BRIDGED_SHARDS_MAX: usize = 64;
/// Packets of a shard that may be on their way to others. At 1 000 packets/s a second: whoever is further behind is better
/// served by a key frame.
pub const BRIDGE_PACKETS_MAX: usize = 1024;
/// Datagrams of TURN clients that may be on their way from one shard to others.
pub const TURN_DATAGRAMS_MAX: usize = 512;
/// TURN clients by TCP and TLS that a shard knows of: as many as there are ports.
pub const STREAM_CLIENTS_MAX: usize = 65_536;
/// TURN allocations a shard holds. A browser makes some for each PeerConnection, whether it needs them or not.
pub const ALLOCATIONS_MAX: usize = 4096;
/// Destinations whose datagrams leave in runs: peers, clients of allocations, and what those allocations speak to.
pub const RUN_KEYS: usize = PEERS_MAX + 2 * ALLOCATIONS_MAX;
/// Packets and words from other shards that may wait for one.
pub const PARCELS_WAITING_MAX: usize = 2 * BRIDGE_PACKETS_MAX;
/// Packets and words from other shards that a shard takes in one cycle, as many as datagrams.
pub const PARCELS_PER_CYCLE: usize = 128;
/// How often a shard repeats which tracks of others it wants: what was lost between two shards is made good by then.
pub const DEMAND_INTERVAL: Duration = Duration::from_millis(1000);

/// Handshake datagrams a shard works on in one cycle, after media: at 0.2 to 0.6 ms each (reference measurements)
/// this bounds what a reconnect storm can add to a media packet's delay.
pub const HANDSHAKES_PER_CYCLE: usize = 2;
/// Handshake datagrams that may wait.
pub const HANDSHAKE_QUEUE_MAX: usize = 512;

/// Handshake datagrams of one peer that may wait: two flights. One that sends more must not take the others' places.
pub const HANDSHAKES_BY_PEER_MAX: u8 = 16;

/// How often a viewer gets a sender report.
pub const SENDER_REPORT_INTERVAL: Duration = Duration::from_millis(1000);
/// How often a publisher gets a receiver report.
pub const RECEIVER_REPORT_INTERVAL: Duration = Duration::from_millis(1000);
/// How often a shard looks at each of its peers, and says what it has to do.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(1000);
/// Places of the peers' table that are looked at in one go: a shard that is full looks eight times in the interval, so
/// that media never waits for all of it.
pub const WATCHED_AT_ONCE: usize = 512;
/// Age of a peer's last check from which its path counts as disconnected. Browsers check every 2 to 3 s, so two checks in
/// a row were lost.
pub const DISCONNECTED_AFTER: Duration = Duration::from_secs(7);

/// Shortest time between two copies of one packet to one viewer, whatever it asks.
pub const RESEND_INTERVAL_MIN: Duration = Duration::from_millis(20);

const _: () = assert!(RUN_KEYS < u32::MAX as usize, "run keys are slots of peers and allocations");
const _: () = assert!(ALLOCATIONS_MAX <= u16::MAX as usize, "a path names an allocation by 16 bits");
const _: () = assert!(CACHE_PACKETS.is_power_of_two(), "the cache is indexed by masking");
const _: () = assert!(
    CACHE_PAYLOAD_BYTES + 12 + HEADER_EXTENSION_BYTES_MAX + 2 + 16 <= crate::egress::DATAGRAM_BYTES_MAX,
    "a kept packet fits a datagram with header, extensions, original sequence number and tag"
);
const _: () = assert!(BRIDGED_SHARDS_MAX <= u64::BITS as usize);
const _: () = assert!(HANDSHAKES_PER_CYCLE <= HANDSHAKE_QUEUE_MAX);
const _: () = assert!(
    millrace_control::REMOVED_PEERS_MAX <= COMMANDS_PER_CYCLE,
    "one command removes no more peers than one cycle may"
);
