//! What the way through the server comes to, with clients and peers in memory.

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytemuck::Zeroable;
use millrace_turn::server::{AllocationRecord, Config, Credentials, ServerRecord};
use millrace_turn::{AttributeType, IntegrityKey, Message, Method, TransactionId, Writer};

use super::super::*;
use crate::egress::DATAGRAM_BYTES_MAX;

const NOW: ServerTime = ServerTime { monotonic_ns: 1, unix_s: 1_700_000_000 };
const HERE: &str = "127.0.0.1";
const CHANNEL: u16 = 0x4000;

/// Keeps what is sent, and opens every socket.
#[derive(Default)]
struct Sent {
    slot: Vec<u8>,
    reserved: Option<(RunKey, Path)>,
    datagrams: Vec<(RunKey, Path, Vec<u8>)>,
}

impl Egress for Sent {
    fn reserve(&mut self, key: RunKey, path: &Path) -> Option<&mut [u8]> {
        self.reserved = Some((key, *path));
        self.slot = vec![0xa5; DATAGRAM_BYTES_MAX];
        Some(&mut self.slot)
    }

    fn commit(&mut self, len: usize) {
        let (key, path) = self.reserved.take().expect("reserved before");
        self.datagrams.push((key, path, self.slot[..len].to_vec()));
    }

    fn reserved(&mut self) -> &mut [u8] {
        &mut self.slot
    }

    fn open(&mut self, _: Via, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    fn is_free(&self, _: SocketAddr) -> bool {
        true
    }
}

fn config() -> Config {
    let credentials = Credentials {
        realm: "example.org".into(),
        secrets: vec![],
        static_users: vec![("george".into(), "pa55".into())],
    };
    let mut config = Config::new(credentials, (Some(HERE.parse().unwrap()), None));
    config.policy.allow.push("127.0.0.0/8".parse().unwrap());
    config
}

fn path(port: u16) -> Path {
    Path {
        local: HERE.parse().unwrap(),
        remote: (HERE.parse::<IpAddr>().unwrap(), port).into(),
        via: Via::TURN,
    }
}

/// The server and its clients, each of whom is a port.
struct World<'m> {
    turn: Turn<'m>,
    sent: Sent,
    nonce: Vec<u8>,
}

impl World<'_> {
    /// What the server sends when a client says this.
    fn say(&mut self, port: u16, message: &[u8]) -> Vec<(RunKey, Path, Vec<u8>)> {
        let mut message = message.to_vec();
        let inside = self.turn.on_client(NOW, &path(port), &mut message, &mut self.sent);
        assert!(inside.is_none(), "nothing is for a media port");
        mem::take(&mut self.sent.datagrams)
    }

    fn ask(&mut self, port: u16, method: Method, more: impl Fn(&mut Writer<'_>)) -> Vec<u8> {
        let mut request = [0; 512];
        let mut writer = Writer::request(&mut request, method, TransactionId([port.to_be_bytes()[1]; 12]));
        more(&mut writer);
        if !self.nonce.is_empty() {
            writer.username(b"george");
            writer.realm(b"example.org");
            writer.nonce(&self.nonce);
            writer.integrity(&IntegrityKey::long_term(b"george", b"example.org", b"pa55"));
        }
        let len = writer.finish().unwrap();
        let mut answers = self.say(port, &request[..len]);
        assert_eq!(answers.len(), 1);
        answers.remove(0).2
    }

    fn allocate(&mut self, port: u16) -> SocketAddr {
        let udp = |writer: &mut Writer<'_>| writer.requested_transport(17);
        self.nonce.clear();
        let refused = self.ask(port, Method::ALLOCATE, udp);
        self.nonce = Message::parse(&refused).unwrap().nonce().unwrap().to_vec();
        let made = self.ask(port, Method::ALLOCATE, udp);
        Message::parse(&made).unwrap().xor_relayed_address().unwrap()
    }

    fn bind(&mut self, port: u16, nonce: &[u8], peer: SocketAddr) {
        self.nonce = nonce.to_vec();
        let answer = self.ask(port, Method::CHANNEL_BIND, |writer| {
            writer.channel_number(CHANNEL);
            writer.xor_peer_address(peer);
        });
        assert!(Message::parse(&answer).unwrap().find(AttributeType::ERROR_CODE).is_none());
    }
}

fn channel_data(data: &[u8]) -> Vec<u8> {
    [&CHANNEL.to_be_bytes()[..], &u16::try_from(data.len()).unwrap().to_be_bytes(), data].concat()
}

#[test]
fn clients_of_one_shard_reach_each_other_without_a_socket_and_by_leave_alone() {
    let (mut record, mut allocations) = (ServerRecord::zeroed(), vec![AllocationRecord::zeroed(); 4]);
    let records = TurnRecords { server: &mut record, allocations: &mut allocations };
    let media = MediaPorts { shard: 0, ports: vec![7000] };
    let turn = Turn::new(config(), records, [3; 32], NOW, media, 3478, None);
    let mut world = World { turn, sent: Sent::default(), nonce: Vec::new() };
    let one = world.allocate(1001);
    let nonce_of_one = world.nonce.clone();
    let other = world.allocate(1002);
    let nonce_of_other = world.nonce.clone();
    world.bind(1001, &nonce_of_one, other);

    let to_other = channel_data(b"are you there");
    assert_eq!(world.say(1001, &to_other), [], "the other one has not allowed it");
    world.bind(1002, &nonce_of_other, one);
    assert_eq!(world.say(1001, &to_other), [(to_client_key(Slot(1)), path(1002), to_other.clone())]);
    assert_eq!(world.say(1002, &to_other), [(to_client_key(Slot(0)), path(1001), to_other)]);

    world.allocate(1003);
    let nonce = world.nonce.clone();
    let outside: SocketAddr = "127.0.0.9:9000".parse().unwrap();
    world.bind(1003, &nonce, outside);
    let sent = world.say(1003, &channel_data(b"hello"));
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].1.via, sent[0].1.remote, &sent[0].2[..]), (Via::relayed(2), outside, &b"hello"[..]));
    assert!([sent[0].0, to_client_key(Slot(2))].iter().all(|key| (key.0 as usize) < crate::limits::RUN_KEYS));
}
