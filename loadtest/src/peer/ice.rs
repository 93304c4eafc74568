//! The controlling side of ICE (RFC 8445) towards a lite agent: authenticated checks, nomination, consent (RFC 7675).
//! No socket in here; the transport sends what [`Agent::check`] writes.

use stun::agent::TransactionId;
use stun::attributes::{
    ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType, RawAttribute,
};
use stun::error_code::ErrorCodeAttribute;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, MessageType, Setter};
use stun::xoraddr::XorMappedAddress;

use std::net::SocketAddr;

use crate::failure::Failure;
use crate::sdp::IceCredentials;

/// Priority of a peer-reflexive host candidate, as Chromium computes it (RFC 8445 §5.1.2).
const PRIORITY: u32 = (110 << 24) | (32_542 << 8) | 255;
/// Chromium's GOOG-NETWORK-INFO, comprehension-optional: network 1, cost 10.
const ATTR_NETWORK_INFO: AttrType = AttrType(0xC057);
/// We stay the controlling side also towards a full agent that begins as one: the larger number wins the conflict
/// (RFC 8445 §7.3.1.1).
const TIE_BREAKER: u64 = u64::MAX;
/// Open checks we remember; an answer to an older one is stale.
const PENDING_MAX: usize = 64;
/// Consent ends this long after the last valid response (RFC 7675 §5.1).
const CONSENT_US: u64 = 30_000_000;

/// What a received STUN message meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A valid response to one of our checks.
    Success {
        /// Whether that check carried USE-CANDIDATE.
        nominated: bool,
    },
    /// The far side refused a check with this code.
    Refused(u16),
    /// A valid request; send this response back to where it came from.
    Reply(Vec<u8>),
    /// Not ours, not valid, or too late.
    Ignored(&'static str),
}

/// Both sides' credentials and the state of our checks.
#[derive(Debug)]
pub struct Agent {
    local: IceCredentials,
    remote: IceCredentials,
    pending: Vec<(TransactionId, bool)>,
    last_success_us: u64,
    /// Checks sent so far.
    pub checks: u64,
    /// Valid responses so far.
    pub successes: u64,
}

impl Agent {
    /// A controlling agent; consent starts to run at `now_us`.
    #[must_use]
    pub fn new(local: IceCredentials, remote: IceCredentials, now_us: u64) -> Self {
        Self { local, remote, pending: Vec::new(), last_success_us: now_us, checks: 0, successes: 0 }
    }

    /// Writes the next Binding request.
    ///
    /// # Errors
    /// [`Failure::Ice`] when the credentials do not fit into STUN attributes.
    pub fn check(&mut self, nominate: bool) -> Result<Vec<u8>, Failure> {
        let id = TransactionId::new();
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        let mut setters: Vec<Box<dyn Setter>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(id),
            raw(ATTR_USERNAME, username.into_bytes()),
            raw(ATTR_NETWORK_INFO, vec![0, 1, 0, 10]),
            raw(ATTR_ICE_CONTROLLING, TIE_BREAKER.to_be_bytes().to_vec()),
            raw(ATTR_PRIORITY, PRIORITY.to_be_bytes().to_vec()),
        ];
        if nominate {
            setters.push(raw(ATTR_USE_CANDIDATE, Vec::new()));
        }
        setters.push(Box::new(MessageIntegrity::new_short_term_integrity(self.remote.pwd.clone())));
        setters.push(Box::new(FINGERPRINT));
        if self.pending.len() == PENDING_MAX {
            self.pending.remove(0);
        }
        self.pending.push((id, nominate));
        self.checks += 1;
        build(&setters)
    }

    /// Takes one received STUN message.
    pub fn handle(&mut self, now_us: u64, from: SocketAddr, datagram: &[u8]) -> Outcome {
        let mut message = Message::new();
        if message.unmarshal_binary(datagram).is_err() {
            return Outcome::Ignored("not a STUN message");
        }
        match message.typ {
            BINDING_REQUEST => self.handle_request(from, &mut message),
            BINDING_SUCCESS | BINDING_ERROR => self.handle_response(now_us, &mut message),
            _ => Outcome::Ignored("not Binding"),
        }
    }

    fn handle_response(&mut self, now_us: u64, message: &mut Message) -> Outcome {
        let Some(position) = self.pending.iter().position(|(id, _)| *id == message.transaction_id) else {
            return Outcome::Ignored("no such check");
        };
        if message.typ == BINDING_ERROR {
            self.pending.remove(position);
            let mut code = ErrorCodeAttribute::default();
            return match code.get_from(message) {
                Ok(()) => Outcome::Refused(code.code.0),
                Err(_) => Outcome::Ignored("error response without code"),
            };
        }
        // A response is authenticated with the password of whoever answers (RFC 8445 §7.2.5).
        let integrity = MessageIntegrity::new_short_term_integrity(self.remote.pwd.clone());
        if integrity.check(message).is_err() {
            return Outcome::Ignored("response integrity");
        }
        if XorMappedAddress::default().get_from(message).is_err() {
            return Outcome::Ignored("no mapped address");
        }
        let (_, nominated) = self.pending.remove(position);
        self.last_success_us = now_us;
        self.successes += 1;
        Outcome::Success { nominated }
    }

    /// Answers a check of the far side, as RFC 8445 §7.3 asks of every agent.
    fn handle_request(&self, from: SocketAddr, message: &mut Message) -> Outcome {
        let expected = format!("{}:{}", self.local.ufrag, self.remote.ufrag);
        if message.get(ATTR_USERNAME).ok().as_deref() != Some(expected.as_bytes()) {
            return Outcome::Ignored("foreign username");
        }
        let integrity = MessageIntegrity::new_short_term_integrity(self.local.pwd.clone());
        if integrity.check(message).is_err() {
            return Outcome::Ignored("request integrity");
        }
        let response: MessageType = BINDING_SUCCESS;
        let setters: Vec<Box<dyn Setter>> = vec![
            Box::new(response),
            Box::new(message.transaction_id),
            Box::new(XorMappedAddress { ip: from.ip(), port: from.port() }),
            Box::new(integrity),
            Box::new(FINGERPRINT),
        ];
        build(&setters).map_or(Outcome::Ignored("response not writable"), Outcome::Reply)
    }

    /// Whether consent has run out at `now_us`.
    #[must_use]
    pub fn consent_lost(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.last_success_us) > CONSENT_US
    }
}

fn raw(typ: AttrType, value: Vec<u8>) -> Box<dyn Setter> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    Box::new(RawAttribute { typ, length, value })
}

fn build(setters: &[Box<dyn Setter>]) -> Result<Vec<u8>, Failure> {
    let mut message = Message::new();
    message.build(setters).map_err(|error| Failure::Ice(error.to_string()))?;
    Ok(message.raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Agent, Agent) {
        let (a, b) = (IceCredentials::generate(), IceCredentials::generate());
        (Agent::new(a.clone(), b.clone(), 0), Agent::new(b, a, 0))
    }

    const FROM: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 9));

    #[test]
    fn a_check_is_answered_and_the_answer_believed_once() {
        let (mut ours, mut theirs) = pair();
        let request = ours.check(true).unwrap();
        let mut parsed = Message::new();
        parsed.unmarshal_binary(&request).unwrap();
        assert!(parsed.contains(ATTR_USE_CANDIDATE) && parsed.contains(ATTR_ICE_CONTROLLING));
        FINGERPRINT.check(&parsed).unwrap();
        let Outcome::Reply(reply) = theirs.handle(0, FROM, &request) else { panic!("no reply") };
        assert_eq!(ours.handle(7, FROM, &reply), Outcome::Success { nominated: true });
        assert_eq!(ours.handle(8, FROM, &reply), Outcome::Ignored("no such check"));
        assert!(!ours.consent_lost(CONSENT_US + 7) && ours.consent_lost(CONSENT_US + 8));
    }

    #[test]
    fn a_forged_response_is_not_believed() {
        let (mut ours, mut theirs) = pair();
        let request = ours.check(false).unwrap();
        let Outcome::Reply(mut reply) = theirs.handle(0, FROM, &request) else { panic!("no reply") };
        let last_of_mapped_address = 31;
        reply[last_of_mapped_address] ^= 1;
        assert_eq!(ours.handle(0, FROM, &reply), Outcome::Ignored("response integrity"));
        let (_, mut stranger) = pair();
        assert_eq!(stranger.handle(0, FROM, &request), Outcome::Ignored("foreign username"));
    }
}
