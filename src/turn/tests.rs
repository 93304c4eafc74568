//! Two shards with TURN around them, in one thread: what a client sends to either media port arrives there, and the
//! answer comes back to it.

mod between;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use millrace_turn::server::{AllocationRecord, Credentials, PeerPolicy};
use millrace_turn::{Class, IntegrityKey, Message, Method, TransactionId, Writer};

use super::*;
use crate::ingress::Train;
use crate::shard::ShardConfig;
use crate::testing::memory::Memory;
use crate::testing::outbox::Outbox;
use crate::testing::world;
use crate::wire::edge_hello::Hello;

const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const CLIENT: &str = "198.51.100.7:40000";
const LOOPBACK: &str = "127.0.0.1:50000";
const PORTS: [u16; 2] = [7000, 7001];
const NOW: ServerTime = ServerTime { monotonic_ns: 1_000_000_000, unix_s: 1_700_000_000 };
const EDGE_KEY: [u8; 32] = [9; 32];

/// One shard with TURN around it.
struct Side<'m> {
    shard: Shard<'m>,
    turn: Turn<'m>,
    outbox: Outbox,
    now: ServerTime,
}

fn config() -> Config {
    let credentials = Credentials {
        realm: "test".into(),
        secrets: Vec::new(),
        static_users: vec![("ann".into(), "secret".into())],
    };
    let mut config = Config::new(credentials, (Some([192, 0, 2, 1].into()), None));
    let media = PORTS.map(|port| SocketAddr::new(HOST, port));
    config.policy = PeerPolicy { media: media.to_vec(), ..PeerPolicy::default() };
    config
}

impl<'m> Side<'m> {
    fn new(memory: &'m mut Memory, id: u8) -> Self {
        let mut records = memory.records();
        let turn = records.turn.take().unwrap();
        let media = MediaPorts { shard: id, ports: PORTS.to_vec() };
        let key = Some(Arc::new(HmacSha256Key::new(&EDGE_KEY)));
        let turn = Turn::new(config(), turn, [id; 32], NOW, media, 3478, key);
        let shard_config = ShardConfig { id: id.into(), shards: 2, ..world::shard_config() };
        Self {
            shard: Shard::new(shard_config, records, Timestamp::from_nanos(NOW.monotonic_ns)),
            turn,
            outbox: Outbox::new(),
            now: NOW,
        }
    }

    /// Takes one datagram of a TURN client; gives what leaves.
    fn take(&mut self, from: &str, via: Via, datagram: &[u8]) -> Vec<(Path, Vec<u8>)> {
        let path = Path { local: HOST, remote: from.parse().unwrap(), via };
        let mut bytes = datagram.to_vec();
        let trains: Trains<'_> = [Train::single(path, &mut bytes)].into_iter().collect();
        let (media, others) = split(trains);
        assert!(media.is_empty() && others.len() == 1);
        self.turn.handle_datagrams(self.now, others, &mut self.shard, &mut self.outbox);
        self.sent()
    }

    fn sent(&mut self) -> Vec<(Path, Vec<u8>)> {
        let sent = self.outbox.datagrams().map(|(path, bytes)| (*path, bytes.to_vec())).collect();
        self.outbox.clear();
        sent
    }

    /// Hands over what is for the other shard.
    fn exchange(&mut self, other: &mut Self) -> usize {
        let mut parcels = Vec::new();
        self.turn.flush_parcels(|_, parcel| {
            parcels.push(parcel);
            Ok(())
        });
        let now = Timestamp::from_nanos(self.now.monotonic_ns);
        other.turn.handle_parcels(now, &mut parcels, &mut other.shard, &mut other.outbox);
        for parcel in parcels.drain(..) {
            let Content::Datagram(datagram) = parcel.content else { unreachable!() };
            self.turn.recycle(datagram);
        }
        other.outbox.len()
    }

    fn figure(&self, name: &str) -> u64 {
        self.turn.figures().find(|(known, _)| *known == name).unwrap().1
    }
}

fn request(method: Method, nonce: Option<&[u8]>, more: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut slot = [0; 512];
    let mut writer = Writer::request(&mut slot, method, TransactionId([7; 12]));
    more(&mut writer);
    if let Some(nonce) = nonce {
        writer.username(b"ann");
        writer.realm(b"test");
        writer.nonce(nonce);
        writer.integrity(&IntegrityKey::long_term(b"ann", b"test", b"secret"));
    }
    let len = writer.finish().unwrap();
    slot[..len].to_vec()
}

/// A plain Binding, which a media port answers to anybody.
fn binding() -> Vec<u8> {
    request(Method::BINDING, None, |_| {})
}

fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len()).unwrap();
    [&number.to_be_bytes()[..], &len.to_be_bytes(), data].concat()
}

/// What the client learned: its relayed address and a nonce.
fn allocate(side: &mut Side<'_>, from: &str) -> (SocketAddr, Vec<u8>) {
    let udp = |writer: &mut Writer<'_>| writer.requested_transport(17);
    let ask = |side: &mut Side<'_>, nonce: Option<&[u8]>| {
        let [(_, answer)] =
            side.take(from, Via::TURN, &request(Method::ALLOCATE, nonce, udp)).try_into().unwrap();
        answer
    };
    let refused = ask(side, None);
    let nonce = Message::parse(&refused).unwrap().nonce().unwrap().to_vec();
    let made = ask(side, Some(&nonce));
    let made = Message::parse(&made).unwrap();
    assert_eq!(made.class(), Class::Success);
    (made.xor_relayed_address().unwrap(), nonce)
}

fn bind(side: &mut Side<'_>, from: &str, nonce: &[u8], number: u16, port: u16) {
    let message = request(Method::CHANNEL_BIND, Some(nonce), |writer| {
        writer.channel_number(number);
        writer.xor_peer_address(SocketAddr::new(HOST, port));
    });
    let [(_, answer)] = side.take(from, Via::TURN, &message).try_into().unwrap();
    assert_eq!(Message::parse(&answer).unwrap().class(), Class::Success);
}

/// What is in ChannelData on `number`.
fn unwrapped(bytes: &[u8], number: u16) -> &[u8] {
    assert_eq!(bytes[..2], number.to_be_bytes());
    let len = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
    &bytes[4..4 + len]
}

#[test]
fn what_is_for_the_own_media_port_never_leaves_the_shard() {
    let mut memory = Memory::new();
    let mut side = Side::new(&mut memory, 0);
    let (relayed, nonce) = allocate(&mut side, CLIENT);
    bind(&mut side, CLIENT, &nonce, 0x4000, PORTS[0]);
    let [(path, answer)] =
        side.take(CLIENT, Via::TURN, &channel_data(0x4000, &binding())).try_into().unwrap();
    assert_eq!(path, Path { local: HOST, remote: CLIENT.parse().unwrap(), via: Via::TURN });
    let answer = Message::parse(unwrapped(&answer, 0x4000)).unwrap();
    assert_eq!(answer.xor_mapped_address(), Some(relayed), "the shard sees the relayed address");
    assert_eq!((side.figure("turn_to_peer_packets"), side.figure("turn_to_client_packets")), (1, 1));
    assert_eq!(side.figure("turn_sockets"), 0);
}

#[test]
fn what_is_for_another_shard_crosses_and_the_answer_too() {
    let (mut first, mut second) = (Memory::new(), Memory::new());
    let (mut side, mut other) = (Side::new(&mut first, 0), Side::new(&mut second, 1));
    let (relayed, nonce) = allocate(&mut side, CLIENT);
    bind(&mut side, CLIENT, &nonce, 0x4001, PORTS[1]);
    // More often than there are buffers, and slower than strangers may ask a media port.
    for _ in 0..2 * crate::limits::TURN_DATAGRAMS_MAX {
        side.now.monotonic_ns += 50_000_000;
        other.now = side.now;
        assert!(side.take(CLIENT, Via::TURN, &channel_data(0x4001, &binding())).is_empty());
        assert_eq!(side.exchange(&mut other), 0, "the answer is for a client of the first shard");
        assert_eq!(other.exchange(&mut side), 1);
        let [(path, answer)] = side.sent().try_into().unwrap();
        assert_eq!(path.remote, CLIENT.parse().unwrap());
        let answer = Message::parse(unwrapped(&answer, 0x4001)).unwrap();
        assert_eq!(answer.xor_mapped_address(), Some(relayed));
    }
    assert_eq!(side.figure("turn_bridge_dropped") + other.figure("turn_bridge_dropped"), 0);
}

#[test]
fn without_a_channel_the_answer_is_an_indication_and_without_a_permission_nothing() {
    let mut memory = Memory::new();
    let mut side = Side::new(&mut memory, 0);
    let (relayed, nonce) = allocate(&mut side, CLIENT);
    let media = SocketAddr::new(HOST, PORTS[0]);
    let mut slot = [0; 512];
    let mut writer = Writer::new(&mut slot, Class::Indication, Method::SEND, TransactionId([1; 12]));
    writer.xor_peer_address(media);
    writer.attribute(millrace_turn::AttributeType::DATA, &binding());
    let len = writer.finish().unwrap();
    let send = slot[..len].to_vec();
    assert!(side.take(CLIENT, Via::TURN, &send).is_empty());
    let permit = request(Method::CREATE_PERMISSION, Some(&nonce), |writer| writer.xor_peer_address(media));
    side.take(CLIENT, Via::TURN, &permit);
    let [(_, answer)] = side.take(CLIENT, Via::TURN, &send).try_into().unwrap();
    let indication = Message::parse(&answer).unwrap();
    assert_eq!((indication.class(), indication.method()), (Class::Indication, Method::DATA));
    assert_eq!(indication.xor_peer_address(), Some(media));
    let data = indication.find(millrace_turn::AttributeType::DATA).unwrap();
    assert_eq!(Message::parse(data).unwrap().xor_mapped_address(), Some(relayed));
}

#[test]
fn allocations_outlive_the_shard() {
    let mut memory = Memory::new();
    let mut side = Side::new(&mut memory, 0);
    let (_, nonce) = allocate(&mut side, CLIENT);
    bind(&mut side, CLIENT, &nonce, 0x4000, PORTS[0]);
    drop(side);
    let mut side = Side::new(&mut memory, 0);
    assert_eq!(side.take(CLIENT, Via::TURN, &channel_data(0x4000, &binding())).len(), 1);
}

#[test]
fn a_stream_behind_the_edge_is_its_own_client_and_ends_with_it() {
    let mut memory = Memory::new();
    let mut side = Side::new(&mut memory, 0);
    let key = HmacSha256Key::new(&EDGE_KEY);
    let hello = Hello {
        transport: edge_hello::Transport::Tls,
        remote: CLIENT.parse().unwrap(),
        local: "192.0.2.1:443".parse().unwrap(),
    };
    let forged = edge_hello::hello(&hello, &HmacSha256Key::new(&[8; 32]));
    for word in [forged, edge_hello::hello(&hello, &key)] {
        assert!(side.take(LOOPBACK, Via::TURN, &word).is_empty());
    }
    let (_, nonce) = allocate(&mut side, LOOPBACK);
    bind(&mut side, LOOPBACK, &nonce, 0x4000, PORTS[0]);
    let [(path, answer)] =
        side.take(LOOPBACK, Via::TURN, &channel_data(0x4000, &binding())).try_into().unwrap();
    assert_eq!(path.remote, LOOPBACK.parse().unwrap(), "it goes back by the edge");
    assert!(answer.len().is_multiple_of(4), "streams are padded");
    // The same address without the edge is somebody else, and so is who has the same port at another address.
    for other in [CLIENT, "127.0.0.2:50000", "[::1]:50000"] {
        assert!(side.take(other, Via::TURN, &channel_data(0x4000, &binding())).is_empty(), "{other}");
    }
    side.take(LOOPBACK, Via::TURN, &edge_hello::goodbye(&key));
    assert_eq!((side.figure("turn_allocations"), side.figure("turn_allocations_abandoned")), (0, 1));
}

#[test]
fn who_speaks_to_two_ports_from_one_socket_is_two_clients() {
    let mut memory = Memory::new();
    let mut side = Side::new(&mut memory, 0);
    let (relayed, nonce) = allocate(&mut side, CLIENT);
    bind(&mut side, CLIENT, &nonce, 0x4000, PORTS[0]);
    let udp = |writer: &mut Writer<'_>| writer.requested_transport(17);
    let request = request(Method::ALLOCATE, Some(&nonce), udp);
    let [(path, answer)] = side.take(CLIENT, Via::TURN_HTTPS, &request).try_into().unwrap();
    let made = Message::parse(&answer).unwrap();
    assert_eq!((made.class(), path.via), (Class::Success, Via::TURN_HTTPS));
    assert_ne!(made.xor_relayed_address(), Some(relayed));
    assert!(side.take(CLIENT, Via::TURN_HTTPS, &channel_data(0x4000, &binding())).is_empty());
}

#[test]
fn what_fits_no_slot_is_counted() {
    let mut memory = Memory::new();
    let mut side = Side::new(&mut memory, 0);
    let (relayed, nonce) = allocate(&mut side, CLIENT);
    bind(&mut side, CLIENT, &nonce, 0x4000, PORTS[0]);
    let Side { turn, outbox, now, .. } = &mut side;
    let media = SocketAddr::new(HOST, PORTS[0]);
    turn.send_to_client(*now, Slot(0), relayed, media, &[7; crate::egress::DATAGRAM_BYTES_MAX - 3], outbox);
    assert_eq!((side.outbox.len(), side.figure("turn_lost")), (0, 1));
}

#[test]
fn only_what_came_to_other_sockets_is_taken_out_of_a_batch() {
    let mut bytes = [[0u8; 4]; 3];
    let vias = [Via::MEDIA, Via::TURN, Via::relayed(3)];
    let path = |via| Path { local: HOST, remote: CLIENT.parse().unwrap(), via };
    let trains: Trains<'_> =
        bytes.iter_mut().zip(vias).map(|(bytes, via)| Train::single(path(via), bytes)).collect();
    let (media, others) = split(trains);
    assert_eq!((media.len(), others.len()), (1, 2));
    assert!(size_of::<AllocationRecord>() * ALLOCATIONS_MAX < 8 << 20);
}
