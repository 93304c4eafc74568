//! Dialogues with a server, by a client that writes its own messages.

mod dialogue;
mod hostile;
mod model;
mod restore;
mod rfc8656;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use bytemuck::Zeroable;

use super::*;
use crate::{AttributeType, ErrorCode, IntegrityKey, IntegrityKeySha256, Writer};

pub(super) const MEDIA: &str = "203.0.113.5:7000";
pub(super) const MEDIA_V6: &str = "[2001:db8::5]:7000";
const SECRET: &[u8] = b"a secret of both";
const START: Now = Now { monotonic_ns: 1_000 * SECOND_NS, unix_s: 1_700_000_000 };

/// The sockets that were opened, and whether more may be.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) open: BTreeSet<(Slot, SocketAddr)>,
    pub(super) fails: bool,
}

impl Relay for Sockets {
    fn open(&mut self, allocation: Slot, relayed: SocketAddr) -> Result<(), OpenFailed> {
        if self.fails {
            return Err(OpenFailed);
        }
        assert!(self.open.insert((allocation, relayed)), "{relayed} was open already");
        Ok(())
    }

    fn close(&mut self, allocation: Slot, relayed: SocketAddr) {
        assert!(self.open.remove(&(allocation, relayed)), "{relayed} was not open");
    }
}

/// A realm, a secret, two static users, two media addresses.
pub(super) fn config() -> Config {
    let credentials = Credentials {
        realm: "example.org".into(),
        secrets: vec![SECRET.to_vec()],
        static_users: vec![("george".into(), "pa55".into()), ("martha".into(), "w0rd".into())],
    };
    let relayed = (Some([203, 0, 113, 5].into()), "2001:db8::5".parse().ok());
    let mut config = Config::new(credentials, relayed);
    config.ports = 50_000..=50_999;
    config.policy.media = vec![MEDIA.parse().unwrap(), MEDIA_V6.parse().unwrap()];
    config
}

/// Records of zeros for so many allocations.
pub(super) fn records(allocations: usize) -> (ServerRecord, Vec<AllocationRecord>) {
    (ServerRecord::zeroed(), vec![AllocationRecord::zeroed(); allocations])
}

/// A server, its sockets and the time.
pub(super) struct Host<'m> {
    pub(super) server: Server<'m>,
    pub(super) sockets: Sockets,
    pub(super) now: Now,
}

impl Host<'static> {
    pub(super) fn with(config: Config, allocations: usize) -> Self {
        let (record, allocations) = records(allocations);
        Self::on(config, Box::leak(Box::new(record)), allocations.leak(), START)
    }
}

impl<'m> Host<'m> {
    pub(super) fn on(
        config: Config,
        record: &'m mut ServerRecord,
        allocations: &'m mut [AllocationRecord],
        now: Now,
    ) -> Self {
        Self {
            server: Server::new(config, record, allocations, [9; 32], now),
            sockets: Sockets::default(),
            now,
        }
    }

    pub(super) fn sleep_s(&mut self, seconds: u64) {
        self.now.monotonic_ns += seconds * SECOND_NS;
        self.now.unix_s += seconds;
    }

    pub(super) fn timeout(&mut self) {
        self.server.handle_timeout(self.now, &mut self.sockets);
    }

    pub(super) fn handle(&mut self, client: &Client, message: &[u8]) -> (Outcome, Vec<u8>) {
        let mut answer = [0xee; 1500];
        let outcome = self.server.handle_client(self.now, client, message, &mut answer, &mut self.sockets);
        let len = if let Outcome::Answer(len) = outcome { len } else { 0 };
        assert!(answer[len..].iter().all(|byte| *byte == 0xee) || len == 0);
        (outcome, answer[..len].to_vec())
    }

    /// A request of this person, which has to be answered; the integrity of what is granted is checked.
    pub(super) fn ask(
        &mut self,
        person: &mut Person,
        method: Method,
        more: impl FnOnce(&mut Writer<'_>),
    ) -> Reply {
        let request = person.request(method, more);
        self.ask_bytes(person, &request)
    }

    pub(super) fn ask_bytes(&mut self, person: &Person, request: &[u8]) -> Reply {
        let (outcome, answer) = self.handle(&person.client, request);
        assert!(matches!(outcome, Outcome::Answer(_)), "{outcome:?}");
        let reply = Reply(answer);
        assert_eq!(reply.message().transaction(), Message::parse(request).unwrap().transaction());
        if reply.message().class() == Class::Success {
            assert_eq!(person.verify(&reply.message()), Verdict::Valid, "a success is signed");
        }
        reply
    }

    /// As a client does it: the first Allocate teaches it realm and nonce.
    pub(super) fn allocate(&mut self, person: &mut Person, more: impl Fn(&mut Writer<'_>)) -> Reply {
        let ask = |writer: &mut Writer<'_>| {
            writer.requested_transport(17);
            more(writer);
        };
        let reply = self.ask(person, Method::ALLOCATE, ask);
        if !reply.is_error(ErrorCode::UNAUTHENTICATED) && !reply.is_error(ErrorCode::STALE_NONCE) {
            return reply;
        }
        person.learn(&reply);
        self.ask(person, Method::ALLOCATE, ask)
    }

    /// An allocation, and where it is.
    pub(super) fn allocated(&mut self, person: &mut Person) -> (Slot, SocketAddr) {
        let reply = self.allocate(person, |_| {});
        let relayed = reply.message().xor_relayed_address().unwrap_or_else(|| panic!("{:?}", reply.code()));
        (self.server.slot_of(relayed).unwrap(), relayed)
    }

    pub(super) fn permit(&mut self, person: &mut Person, peers: &[&str]) -> Option<ErrorCode> {
        let reply = self.ask(person, Method::CREATE_PERMISSION, |writer| {
            for peer in peers {
                person_writes_peer(writer, peer);
            }
        });
        reply.code()
    }

    pub(super) fn bind(&mut self, person: &mut Person, number: u16, peer: &str) -> Option<ErrorCode> {
        let reply = self.ask(person, Method::CHANNEL_BIND, |writer| {
            writer.channel_number(number);
            person_writes_peer(writer, peer);
        });
        reply.code()
    }

    pub(super) fn refresh(&mut self, person: &mut Person, lifetime_s: u32) -> Reply {
        self.ask(person, Method::REFRESH, |writer| writer.lifetime_s(lifetime_s))
    }

    pub(super) fn send(&mut self, person: &mut Person, peer: &str, data: &[u8]) -> Outcome {
        let bytes = person.indication(Method::SEND, |writer| {
            person_writes_peer(writer, peer);
            writer.attribute(AttributeType::DATA, data);
        });
        self.handle(&person.client, &bytes).0
    }

    pub(super) fn channel_data(&mut self, person: &Person, number: u16, data: &[u8]) -> Outcome {
        self.handle(&person.client, &channel_data(number, data)).0
    }

    pub(super) fn frame(&mut self, slot: Slot, relayed: SocketAddr, peer: &str) -> Option<Framing> {
        self.server.frame(self.now, slot, relayed, peer.parse().unwrap()).map(|(_, framing)| framing)
    }
}

/// XOR-PEER-ADDRESS as it is spelled: the writer would tidy up a mapped address.
fn person_writes_peer(writer: &mut Writer<'_>, peer: &str) {
    let peer: SocketAddr = peer.parse().unwrap();
    match peer.ip() {
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            let mut mask = [0; 16];
            mask[..4].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
            mask[4..].copy_from_slice(&writer.transaction().0);
            let port = peer.port() ^ 0x2112;
            let mut value = vec![0, 2, port.to_be_bytes()[0], port.to_be_bytes()[1]];
            value.extend(ip.octets().iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            writer.attribute(AttributeType::XOR_PEER_ADDRESS, &value);
        }
        _ => writer.xor_peer_address(peer),
    }
}

pub(super) fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
    bytes
}

/// An answer.
pub(super) struct Reply(pub(super) Vec<u8>);

impl Reply {
    pub(super) fn message(&self) -> Message<'_> {
        Message::parse(&self.0).unwrap()
    }

    /// The code it refuses with.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        self.message().error_code().map(|(code, _)| code)
    }

    pub(super) fn is_error(&self, code: ErrorCode) -> bool {
        self.code() == Some(code)
    }
}

/// One who speaks TURN.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) password: String,
    pub(super) realm: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    /// Whether it speaks SHA-256, once it has been offered.
    pub(super) sha256: bool,
    transactions: u64,
}

impl Person {
    pub(super) fn new(remote: &str, name: &str, password: &str) -> Self {
        let client = Client {
            transport: Transport::Udp,
            remote: remote.parse().unwrap(),
            local: "203.0.113.5:3478".parse().unwrap(),
            via: 7,
        };
        Self {
            client,
            name: name.into(),
            password: password.into(),
            realm: vec![],
            nonce: vec![],
            sha256: false,
            transactions: 0,
        }
    }

    pub(super) fn george(remote: &str) -> Self {
        Self::new(remote, "george", "pa55")
    }

    /// With credentials of the shared secret.
    pub(super) fn expiring(remote: &str, until_unix_s: u64, user: &str) -> Self {
        let name = format!("{until_unix_s}:{user}");
        Self::new(remote, &name, &shared_secret_password(SECRET, &name))
    }

    pub(super) fn learn(&mut self, reply: &Reply) {
        let message = reply.message();
        self.realm = message.realm().expect("a refusal that teaches has a realm").to_vec();
        self.nonce = message.nonce().expect("a refusal that teaches has a nonce").to_vec();
    }

    fn transaction(&mut self) -> TransactionId {
        self.transactions += 1;
        let mut id = [0x55; 12];
        id[..8].copy_from_slice(&self.transactions.to_be_bytes());
        TransactionId(id)
    }

    fn key_sha256(&self) -> IntegrityKeySha256 {
        let text = [self.name.as_bytes(), b":", &self.realm, b":", self.password.as_bytes()].concat();
        IntegrityKeySha256::new(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text).as_ref())
    }

    fn key(&self) -> IntegrityKey {
        IntegrityKey::long_term(self.name.as_bytes(), &self.realm, self.password.as_bytes())
    }

    pub(super) fn verify(&self, message: &Message<'_>) -> Verdict {
        if self.sha256 {
            message.integrity_sha256(&self.key_sha256())
        } else {
            message.integrity(&self.key())
        }
    }

    /// Adds what proves it; nothing before a nonce was learnt.
    pub(super) fn sign(&self, writer: &mut Writer<'_>) {
        if self.nonce.is_empty() {
            return;
        }
        writer.username(self.name.as_bytes());
        writer.realm(&self.realm);
        writer.nonce(&self.nonce);
        if self.sha256 {
            writer.attribute(AttributeType::PASSWORD_ALGORITHMS, &authenticate::OFFERED_ALGORITHMS);
            writer.attribute(AttributeType::PASSWORD_ALGORITHM, &[0, 2, 0, 0]);
            writer.integrity_sha256(&self.key_sha256());
        } else {
            writer.integrity(&self.key());
        }
    }

    pub(super) fn request(&mut self, method: Method, more: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let transaction = self.transaction();
        self.request_as(transaction, method, more)
    }

    pub(super) fn request_as(
        &self,
        transaction: TransactionId,
        method: Method,
        more: impl FnOnce(&mut Writer<'_>),
    ) -> Vec<u8> {
        written(Class::Request, method, transaction, |writer| {
            more(writer);
            self.sign(writer);
        })
    }

    pub(super) fn indication(&mut self, method: Method, more: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        written(Class::Indication, method, self.transaction(), more)
    }
}

pub(super) fn written(
    class: Class,
    method: Method,
    transaction: TransactionId,
    more: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let mut slot = vec![0; 4096];
    let mut writer = Writer::new(&mut slot, class, method, transaction);
    more(&mut writer);
    let len = writer.finish().unwrap();
    slot.truncate(len);
    slot
}
