//! A TURN client: an allocation and a channel (RFC 8656), on webrtc-rs' messages.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME,
    ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS,
};
use stun::error_code::ErrorCodeAttribute;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_REFRESH,
    Message, MessageType, Method, Setter, is_message,
};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;

use super::HERE;
use super::server::{PASSWORD, USER};
use crate::failure::Failure;
use crate::kernel::receive::{GRO_BUFFER_BYTES, ReceiveBatch};
use crate::kernel::send::{Route, SendBatch};
use crate::kernel::socket::{SocketOptions, UdpSocket, wait_readable};

/// The channel of every client: each has one.
pub const CHANNEL: u16 = 0x4000;

/// REQUESTED-TRANSPORT: UDP (RFC 8656 §18.8).
const UDP: [u8; 4] = [17, 0, 0, 0];
/// 401 and 438: the request is repeated with what the answer says.
const UNAUTHORIZED: u16 = 401;
const STALE_NONCE: u16 = 438;
const TRIES: usize = 5;
const TRY_TIME: Duration = Duration::from_millis(500);

/// A client with an allocation, or about to have one.
pub struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    realm: String,
    nonce: String,
    receive: ReceiveBatch,
}

/// A socket of a measurement.
pub(super) fn bind() -> io::Result<UdpSocket> {
    let options =
        SocketOptions { pktinfo: false, gro: true, buffer_bytes: 16 << 20, ..SocketOptions::default() };
    UdpSocket::bind((HERE, 0).into(), &options)
}

impl Client {
    /// Makes an allocation; gives its relayed address.
    ///
    /// # Errors
    /// [`Failure::Turn`] when the server refuses it or does not answer.
    pub fn allocate(server: SocketAddr) -> Result<(Self, SocketAddr), Failure> {
        let receive = ReceiveBatch::new(1, GRO_BUFFER_BYTES);
        let mut client =
            Self { socket: bind()?, server, realm: String::new(), nonce: String::new(), receive };
        let answer = client.ask(METHOD_ALLOCATE, |message| {
            message.add(ATTR_REQUESTED_TRANSPORT, &UDP);
            Ok(())
        })?;
        let mut relayed = XorMappedAddress::default();
        relayed.get_from_as(&answer, ATTR_XOR_RELAYED_ADDRESS).map_err(failed)?;
        Ok((client, SocketAddr::new(relayed.ip, relayed.port)))
    }

    /// Binds [`CHANNEL`] to `peer`.
    ///
    /// # Errors
    /// As [`Client::allocate`].
    pub fn bind_channel(&mut self, peer: SocketAddr) -> Result<(), Failure> {
        let answer = self.ask(METHOD_CHANNEL_BIND, |message| {
            let [high, low] = CHANNEL.to_be_bytes();
            message.add(ATTR_CHANNEL_NUMBER, &[high, low, 0, 0]);
            XorMappedAddress { ip: peer.ip(), port: peer.port() }.add_to_as(message, ATTR_XOR_PEER_ADDRESS)
        });
        answer.map(drop)
    }

    /// Ends the allocation; gives the socket when somebody else is to have it, and no answer is waited for.
    ///
    /// # Errors
    /// When no request can be written.
    pub fn release(&mut self, socket: &UdpSocket) -> Result<(), Failure> {
        let (request, _) = self.request(METHOD_REFRESH, &|message: &mut Message| {
            message.add(ATTR_LIFETIME, &[0; 4]);
            Ok(())
        })?;
        send(socket, self.server, &request);
        Ok(())
    }

    /// The socket; another takes its place here, for [`Client::release`] names its own.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn take_socket(&mut self) -> Result<UdpSocket, Failure> {
        Ok(std::mem::replace(&mut self.socket, bind()?))
    }

    /// Sends a request until it is answered, with the credentials that the server asks for; gives the answer.
    fn ask(
        &mut self,
        method: Method,
        write: impl Fn(&mut Message) -> Result<(), stun::Error>,
    ) -> Result<Message, Failure> {
        for _ in 0..TRIES {
            let (request, id) = self.request(method, &write)?;
            send(&self.socket, self.server, &request);
            let Some(answer) = self.answer(&id)? else { continue };
            if answer.typ.class == CLASS_SUCCESS_RESPONSE {
                return Ok(answer);
            }
            let mut code = ErrorCodeAttribute::default();
            code.get_from(&answer).map_err(failed)?;
            let is_challenge =
                code.code.0 == STALE_NONCE || code.code.0 == UNAUTHORIZED && self.nonce.is_empty();
            if !is_challenge {
                return Err(Failure::Turn(format!("{method} is refused with {}", code.code.0)));
            }
            let text = |kind| TextAttribute::get_from_as(&answer, kind).map_err(failed);
            (self.realm, self.nonce) = (text(ATTR_REALM)?.text, text(ATTR_NONCE)?.text);
        }
        Err(Failure::Turn(format!("{method} is not answered")))
    }

    fn request(
        &self,
        method: Method,
        write: &impl Fn(&mut Message) -> Result<(), stun::Error>,
    ) -> Result<(Vec<u8>, stun::agent::TransactionId), Failure> {
        let mut message = Message::new();
        message.typ = MessageType::new(method, CLASS_REQUEST);
        message.new_transaction_id().map_err(failed)?;
        message.write_header();
        write(&mut message).map_err(failed)?;
        if !self.nonce.is_empty() {
            let texts = [(ATTR_USERNAME, USER), (ATTR_REALM, &self.realm), (ATTR_NONCE, &self.nonce)];
            for (kind, text) in texts {
                message.add(kind, text.as_bytes());
            }
            let [user, realm, password] = [USER, &self.realm, PASSWORD].map(str::to_owned);
            let integrity = MessageIntegrity::new_long_term_integrity(user, realm, password);
            integrity.add_to(&mut message).map_err(failed)?;
        }
        Ok((message.raw, message.transaction_id))
    }

    fn answer(&mut self, id: &stun::agent::TransactionId) -> Result<Option<Message>, Failure> {
        let deadline = Instant::now() + TRY_TIME;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            wait_readable(&[&self.socket], Some(left))?;
            // An error is of an earlier send; the next try tells.
            while let Ok(1..) = self.receive.receive(&self.socket) {
                for datagram in self.receive.iter().flat_map(|received| received.datagrams()) {
                    let mut message = Message::new();
                    let is_it = is_message(datagram)
                        && message.unmarshal_binary(datagram).is_ok()
                        && message.transaction_id == *id;
                    if is_it {
                        return Ok(Some(message));
                    }
                }
            }
        }
    }
}

/// Whether the kernel takes it shows in the answer.
fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    let mut batch = SendBatch::new(1, bytes.len());
    batch.push_slices(&Route::from(to), None, &[bytes]);
    batch.send(socket);
}

fn failed(error: stun::Error) -> Failure {
    Failure::Turn(error.to_string())
}
