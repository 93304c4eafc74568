//! What TURN costs on the way of data: no memory.

#![allow(clippy::unwrap_used, reason = "a test")]
use std::net::SocketAddr;

use bytemuck::Zeroable;
use millrace::io::alloc::{CountingAllocator, allocations_of_this_thread};
use millrace_turn::server::{
    AllocationRecord, Client, Config, Credentials, Now, OpenFailed, Outcome, Relay, Server, ServerRecord,
    Slot, Transport,
};
use millrace_turn::{AttributeType, Class, IntegrityKey, Message, Method, TransactionId, Writer};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const MEDIA: &str = "203.0.113.5:7000";

struct NoSockets;

impl Relay for NoSockets {
    fn open(&mut self, _: Slot, _: SocketAddr) -> Result<(), OpenFailed> {
        Err(OpenFailed)
    }

    fn close(&mut self, _: Slot, _: SocketAddr) {}
}

fn client() -> Client {
    Client {
        transport: Transport::Udp,
        remote: "198.51.100.9:40000".parse().unwrap(),
        local: "203.0.113.5:3478".parse().unwrap(),
        via: 0,
    }
}

fn config() -> Config {
    let credentials = Credentials {
        realm: "example.org".into(),
        secrets: vec![],
        static_users: vec![("george".into(), "pa55".into())],
    };
    let mut config = Config::new(credentials, (Some([203, 0, 113, 5].into()), None));
    config.policy.media.push(MEDIA.parse().unwrap());
    config.limits.user.bandwidth_max_bytes_per_s = 1_000_000_000;
    config
}

/// A request with what proves it, answered.
fn ask(
    server: &mut Server<'_>,
    now: Now,
    method: Method,
    nonce: &[u8],
    more: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let (mut request, mut answer) = ([0; 512], [0; 512]);
    let mut writer = Writer::request(&mut request, method, TransactionId([method.0.to_be_bytes()[1]; 12]));
    more(&mut writer);
    if !nonce.is_empty() {
        writer.username(b"george");
        writer.realm(b"example.org");
        writer.nonce(nonce);
        writer.integrity(&IntegrityKey::long_term(b"george", b"example.org", b"pa55"));
    }
    let len = writer.finish().unwrap();
    let outcome = server.handle_client(now, &client(), &request[..len], &mut answer, &mut NoSockets);
    let Outcome::Answer(len) = outcome else { panic!("{outcome:?}") };
    answer[..len].to_vec()
}

#[test]
fn data_passes_both_ways_without_allocating() {
    let now = Now { monotonic_ns: 1, unix_s: 1_700_000_000 };
    let (mut record, mut allocations) = (ServerRecord::zeroed(), vec![AllocationRecord::zeroed(); 4]);
    let mut server = Server::new(config(), &mut record, &mut allocations, [3; 32], now);
    let udp = |writer: &mut Writer<'_>| writer.requested_transport(17);
    let refused = ask(&mut server, now, Method::ALLOCATE, b"", udp);
    let nonce = Message::parse(&refused).unwrap().nonce().unwrap().to_vec();
    let made = ask(&mut server, now, Method::ALLOCATE, &nonce, udp);
    let relayed = Message::parse(&made).unwrap().xor_relayed_address().unwrap();
    let bound = ask(&mut server, now, Method::CHANNEL_BIND, &nonce, |writer| {
        writer.channel_number(0x4000);
        writer.xor_peer_address(MEDIA.parse().unwrap());
    });
    assert_eq!(Message::parse(&bound).unwrap().class(), Class::Success);

    let channel_data = [&[0x40, 0, 0, 200][..], &[7; 200]].concat();
    let mut indication = [0; 512];
    let mut writer = Writer::new(&mut indication, Class::Indication, Method::SEND, TransactionId([9; 12]));
    writer.xor_peer_address(MEDIA.parse().unwrap());
    writer.attribute(AttributeType::DATA, &[7; 200]);
    let len = writer.finish().unwrap();
    let (peer, slot, mut out) = (MEDIA.parse().unwrap(), Slot(0), [0; 512]);
    let before = allocations_of_this_thread();
    assert!(before > 0, "it counts");
    for turn in 0..1_000 {
        let now = Now { monotonic_ns: 1 + turn * 1_000_000, ..now };
        for message in [&channel_data[..], &indication[..len]] {
            let outcome = server.handle_client(now, &client(), message, &mut out, &mut NoSockets);
            assert!(matches!(outcome, Outcome::ToPeer(to) if to.data.len() == 200));
        }
        let (_, framing) = server.frame(now, slot, relayed, peer).expect("a channel is bound");
        assert!(server.note_to_client(now, slot, 1, 200));
        assert_eq!(framing.finish(&mut out, 200), Ok(204));
    }
    assert_eq!(allocations_of_this_thread(), before);
}
