//! One simulated browser transport: a UDP socket with ICE, DTLS and SRTP on it, in the order a browser brings them up.

pub mod dtls;
pub mod ice;
pub mod srtp;

mod setup;

#[cfg(test)]
pub(crate) mod responder;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use rtp::header::Header;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use webrtc_util::Unmarshal;

use self::dtls::Association;
use self::ice::{Agent, Outcome};
use self::srtp::Srtp;
use crate::clock::now_us;
use crate::failure::Failure;

pub use self::dtls::Identity;
pub use self::setup::connect;
pub use self::srtp::Profile;

/// Largest datagram we expect.
pub const DATAGRAM_LEN_MAX: usize = 2048;
/// Between two consent checks; RFC 7675 allows 4 to 6 s, Chromium checks a stable pair every 2.5 s.
const CONSENT_INTERVAL_US: u64 = 2_500_000;

/// How long the steps of coming up took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct SetupTimes {
    /// From the first check to the answered nomination.
    pub ice: f64,
    /// From the ClientHello to the keys.
    pub dtls: f64,
}

/// Things that must stay at zero on a clean path.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Anomalies {
    /// Media or RTCP that did not verify.
    pub undecryptable: u64,
    /// Datagrams of no known protocol.
    pub unknown: u64,
    /// Our checks that were refused.
    pub ice_refused: u64,
}

/// What came in besides ICE and DTLS.
pub enum Incoming {
    /// An opened RTP packet: its header, and header plus payload in the clear.
    Rtp {
        /// Parsed header.
        header: Header,
        /// Length of the header in `packet`.
        header_len: usize,
        /// The whole packet, opened, without its padding.
        packet: Bytes,
    },
    /// An opened compound RTCP packet.
    Rtcp(Bytes),
    /// Something this module handled itself.
    Handled,
}

/// A transport whose keys are known.
pub struct Peer {
    socket: Arc<UdpSocket>,
    remote: SocketAddr,
    agent: Agent,
    srtp: Srtp,
    association: Association,
    feed: mpsc::Sender<Vec<u8>>,
    next_consent_us: u64,
    early: VecDeque<Vec<u8>>,
    /// Durations of the set-up.
    pub times: SetupTimes,
    /// Counters of what must not happen.
    pub anomalies: Anomalies,
}

impl Peer {
    /// The negotiated SRTP profile's IANA name.
    #[must_use]
    pub fn profile(&self) -> &'static str {
        self.srtp.profile
    }

    /// Where the far side is.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Whether the far side ended the DTLS association.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.association.is_closed()
    }

    /// Waits until something may be received.
    ///
    /// # Errors
    /// As the socket gives them.
    pub async fn readable(&self) -> io::Result<()> {
        if !self.early.is_empty() {
            return Ok(());
        }
        self.socket.readable().await
    }

    /// Takes one datagram if there is one. `buffer` should hold [`DATAGRAM_LEN_MAX`] bytes.
    pub fn try_receive(&mut self, buffer: &mut [u8]) -> Option<Incoming> {
        if let Some(early) = self.early.pop_front() {
            return Some(self.sort(&early));
        }
        match self.socket.try_recv(buffer) {
            Ok(len) => Some(self.sort(&buffer[..len])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // A connected socket reports the far side's closed port here; consent decides what that means.
            Err(_) => Some(Incoming::Handled),
        }
    }

    /// RFC 7983, and RFC 5761 for RTCP.
    fn sort(&mut self, datagram: &[u8]) -> Incoming {
        match Protocol::of(datagram) {
            Protocol::Stun => self.handle_stun(datagram),
            Protocol::Dtls => {
                // A full queue is like a lost datagram; DTLS repeats what matters.
                let _ = self.feed.try_send(datagram.to_vec());
            }
            Protocol::Rtp => return self.open_rtp(datagram),
            Protocol::Rtcp => match self.srtp.open_rtcp(datagram) {
                Some(packet) => return Incoming::Rtcp(packet),
                None => self.anomalies.undecryptable += 1,
            },
            Protocol::Unknown => self.anomalies.unknown += 1,
        }
        Incoming::Handled
    }

    fn open_rtp(&mut self, datagram: &[u8]) -> Incoming {
        let mut rest = datagram;
        let header = Header::unmarshal(&mut rest).ok();
        let header_len = datagram.len() - rest.len();
        let opened = header.and_then(|header| Some((self.srtp.open_rtp(datagram, &header)?, header)));
        if let Some((mut packet, header)) = opened {
            if header.padding {
                let padding = packet.last().map_or(0, |len| usize::from(*len));
                packet.truncate(packet.len().saturating_sub(padding).max(header_len));
            }
            return Incoming::Rtp { header, header_len, packet };
        }
        self.anomalies.undecryptable += 1;
        Incoming::Handled
    }

    fn handle_stun(&mut self, datagram: &[u8]) {
        match self.agent.handle(now_us(), self.remote, datagram) {
            // A lost answer is asked for again.
            Outcome::Reply(reply) => drop(self.socket.try_send(&reply)),
            Outcome::Refused(_) => self.anomalies.ice_refused += 1,
            Outcome::Success { .. } | Outcome::Ignored(_) => {}
        }
    }

    /// Sends a consent check when one is due.
    ///
    /// # Errors
    /// [`Failure::Ice`] once consent has run out for 30 s.
    pub async fn tick(&mut self) -> Result<(), Failure> {
        let now = now_us();
        if now < self.next_consent_us {
            return Ok(());
        }
        if self.agent.consent_lost(now) {
            return Err(Failure::Ice("consent lost: no answer to any check for 30 s".to_owned()));
        }
        self.next_consent_us = now + CONSENT_INTERVAL_US;
        let check = self.agent.check(true)?;
        // A dead far side shows as ECONNREFUSED; consent decides.
        let _ = self.socket.send(&check).await;
        Ok(())
    }

    /// Seals and sends one RTP packet; returns what went over the wire.
    ///
    /// # Errors
    /// [`Failure::Srtp`] when it cannot be sealed. A socket's refusal is not an error: the packet is lost.
    pub async fn send_rtp(&mut self, plain: &[u8]) -> Result<(), Failure> {
        let sealed = self.srtp.seal_rtp(plain)?;
        let _ = self.socket.send(&sealed).await;
        Ok(())
    }

    /// Seals and sends one compound RTCP packet.
    ///
    /// # Errors
    /// As [`Peer::send_rtp`].
    pub async fn send_rtcp(&mut self, plain: &[u8]) -> Result<(), Failure> {
        let sealed = self.srtp.seal_rtcp(plain)?;
        let _ = self.socket.send(&sealed).await;
        Ok(())
    }

    /// Ends the association politely.
    pub async fn close(&self) {
        let _ = self.association.dtls.close().await;
    }
}

/// The protocols that share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    Unknown,
}

impl Protocol {
    fn of(datagram: &[u8]) -> Self {
        match (datagram.first(), datagram.get(1)) {
            (Some(0..=3), _) => Self::Stun,
            (Some(20..=63), _) => Self::Dtls,
            (Some(128..=191), Some(192..=223)) => Self::Rtcp,
            (Some(128..=191), Some(_)) => Self::Rtp,
            _ => Self::Unknown,
        }
    }
}
