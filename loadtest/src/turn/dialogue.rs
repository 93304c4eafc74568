//! What a TURN client and its server say to each other, without a socket.

use std::net::SocketAddr;

use stun::agent::TransactionId;
use stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME,
    ATTR_XOR_PEER_ADDRESS, ATTR_XOR_RELAYED_ADDRESS,
};
use stun::error_code::ErrorCodeAttribute;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_REFRESH,
    Message, MessageType, Setter, is_message,
};
use stun::textattrs::TextAttribute;
use stun::xoraddr::XorMappedAddress;

use super::server::{PASSWORD, USER};
use crate::failure::Failure;

/// The channel of every client: each has one.
pub const CHANNEL: u16 = 0x4000;
/// Number and length before the data of a channel (RFC 8656 §12.4).
pub const CHANNEL_HEADER_BYTES: usize = 4;

/// REQUESTED-TRANSPORT: UDP (RFC 8656 §18.8).
const UDP: [u8; 4] = [17, 0, 0, 0];
/// The request is repeated with what the answer says.
const UNAUTHORIZED: u16 = 401;
const STALE_NONCE: u16 = 438;
/// The server knows this address as somebody else's, who went a moment ago: another one is taken (RFC 8656 §7.4).
pub const ALLOCATION_MISMATCH: u16 = 437;

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// An allocation.
    Allocate,
    /// [`CHANNEL`] for this peer.
    BindChannel(SocketAddr),
    /// The end of the allocation.
    Release,
}

impl Ask {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allocate => "Allocate",
            Self::BindChannel(_) => "ChannelBind",
            Self::Release => "Refresh",
        }
    }

    /// That it is refused.
    #[must_use]
    pub fn refused(self, code: u16) -> Failure {
        Failure::Turn(format!("{} is refused with {code}", self.name()))
    }

    const fn method(self) -> stun::message::Method {
        match self {
            Self::Allocate => METHOD_ALLOCATE,
            Self::BindChannel(_) => METHOD_CHANNEL_BIND,
            Self::Release => METHOD_REFRESH,
        }
    }

    fn write(self, message: &mut Message) -> Result<(), stun::Error> {
        match self {
            Self::Allocate => message.add(ATTR_REQUESTED_TRANSPORT, &UDP),
            Self::Release => message.add(ATTR_LIFETIME, &[0; 4]),
            Self::BindChannel(peer) => {
                let [high, low] = CHANNEL.to_be_bytes();
                message.add(ATTR_CHANNEL_NUMBER, &[high, low, 0, 0]);
                let peer = XorMappedAddress { ip: peer.ip(), port: peer.port() };
                return peer.add_to_as(message, ATTR_XOR_PEER_ADDRESS);
            }
        }
        Ok(())
    }
}

/// What a datagram meant.
#[derive(Debug)]
pub enum Heard {
    /// Not an answer to this request.
    Foreign,
    /// The request is to be made again, with what the server has just said.
    Again,
    /// An answer that refuses it, with its code.
    Refused(u16),
    /// The answer.
    Answer(Box<Message>),
}

/// One client's side: what the server has told of its credentials.
#[derive(Debug, Default)]
pub struct Dialogue {
    realm: String,
    nonce: String,
}

impl Dialogue {
    /// Writes a request.
    ///
    /// # Errors
    /// [`Failure::Turn`] when it cannot be written.
    pub fn request(&self, ask: Ask) -> Result<(Vec<u8>, TransactionId), Failure> {
        let mut message = Message::new();
        message.typ = MessageType::new(ask.method(), CLASS_REQUEST);
        message.new_transaction_id().map_err(failed)?;
        message.write_header();
        ask.write(&mut message).map_err(failed)?;
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

    /// Takes a datagram that came after a request.
    ///
    /// # Errors
    /// [`Failure::Turn`] when the answer lacks what it must have.
    pub fn hear(&mut self, id: &TransactionId, datagram: &[u8]) -> Result<Heard, Failure> {
        let mut message = Message::new();
        let is_it = is_message(datagram)
            && message.unmarshal_binary(datagram).is_ok()
            && message.transaction_id == *id;
        if !is_it {
            return Ok(Heard::Foreign);
        }
        if message.typ.class == CLASS_SUCCESS_RESPONSE {
            return Ok(Heard::Answer(Box::new(message)));
        }
        let mut code = ErrorCodeAttribute::default();
        code.get_from(&message).map_err(failed)?;
        let is_challenge = code.code.0 == STALE_NONCE || code.code.0 == UNAUTHORIZED && self.nonce.is_empty();
        if !is_challenge {
            return Ok(Heard::Refused(code.code.0));
        }
        let text = |kind| TextAttribute::get_from_as(&message, kind).map_err(failed);
        (self.realm, self.nonce) = (text(ATTR_REALM)?.text, text(ATTR_NONCE)?.text);
        Ok(Heard::Again)
    }

    /// The relayed address in the answer to [`Ask::Allocate`].
    ///
    /// # Errors
    /// [`Failure::Turn`] when there is none.
    pub fn relayed(answer: &Message) -> Result<SocketAddr, Failure> {
        let mut relayed = XorMappedAddress::default();
        relayed.get_from_as(answer, ATTR_XOR_RELAYED_ADDRESS).map_err(failed)?;
        Ok(SocketAddr::new(relayed.ip, relayed.port))
    }
}

/// The head of a datagram with so many bytes of data in [`CHANNEL`].
#[must_use]
pub const fn channel_header(data_len: u16) -> [u8; CHANNEL_HEADER_BYTES] {
    let ([a, b], [c, d]) = (CHANNEL.to_be_bytes(), data_len.to_be_bytes());
    [a, b, c, d]
}

/// The data of a datagram in [`CHANNEL`].
#[must_use]
pub fn channel_data(datagram: &[u8]) -> Option<&[u8]> {
    let (header, data) = datagram.split_first_chunk()?;
    (*header == channel_header(u16::try_from(data.len()).ok()?)).then_some(data)
}

fn failed(error: stun::Error) -> Failure {
    Failure::Turn(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stun::error_code::{CODE_FORBIDDEN, CODE_UNAUTHORIZED, ErrorCode};
    use stun::message::CLASS_ERROR_RESPONSE;

    fn answer(request: &[u8], refused: Option<ErrorCode>) -> Vec<u8> {
        let mut asked = Message::new();
        asked.unmarshal_binary(request).unwrap();
        let mut answer = Message::new();
        let class = if refused.is_some() { CLASS_ERROR_RESPONSE } else { CLASS_SUCCESS_RESPONSE };
        answer.typ = MessageType::new(asked.typ.method, class);
        answer.transaction_id = asked.transaction_id;
        answer.write_header();
        if let Some(code) = refused {
            ErrorCodeAttribute { code, reason: Vec::new() }.add_to(&mut answer).unwrap();
            answer.add(ATTR_REALM, b"here");
            answer.add(ATTR_NONCE, b"once");
        }
        answer.raw
    }

    #[test]
    fn a_challenge_is_met_once_and_a_refusal_said() {
        let mut dialogue = Dialogue::default();
        let (request, id) = dialogue.request(Ask::Allocate).unwrap();
        assert!(matches!(dialogue.hear(&id, &request[..10]).unwrap(), Heard::Foreign));
        let challenge = answer(&request, Some(CODE_UNAUTHORIZED));
        assert!(matches!(dialogue.hear(&id, &challenge).unwrap(), Heard::Again));
        let (request, id) = dialogue.request(Ask::Allocate).unwrap();
        let mut proven = Message::new();
        proven.unmarshal_binary(&request).unwrap();
        let [user, realm, password] = [USER, "here", PASSWORD].map(str::to_owned);
        MessageIntegrity::new_long_term_integrity(user, realm, password).check(&mut proven).unwrap();
        assert!(matches!(dialogue.hear(&id, &answer(&request, None)).unwrap(), Heard::Answer(_)));
        for code in [CODE_UNAUTHORIZED, CODE_FORBIDDEN] {
            let heard = dialogue.hear(&id, &answer(&request, Some(code))).unwrap();
            assert!(matches!(heard, Heard::Refused(number) if number == code.0), "{heard:?}");
        }
    }

    #[test]
    fn what_is_in_the_channel_comes_out_of_it() {
        let framed = [&channel_header(3)[..], b"abc"].concat();
        assert_eq!(channel_data(&framed), Some(&b"abc"[..]));
        assert_eq!(channel_data(&framed[..6]), None);
        assert_eq!(channel_data(b"\x40"), None);
    }
}
