//! One browser: its transport, and what its streams need in either direction.
//!
//! ```text
//!   Ice ── a valid check ──> Dtls ── fingerprint verified ──> Live ── consent lost, closed ──> Closed
//! ```
//!
//! A peer has any number of m-sections in either direction on its one transport. It never sees the router.

pub mod inbound;
pub mod outbound;

use crate::dtls::Handshake;
use crate::feedback::arrival::ArrivalRecorder;
use crate::ice;
use crate::ids::{InboundSlot, SubscriptionSlot, TrackSlot};
use crate::srtp::OpenKeys;
use crate::time::Timestamp;

/// The parts of a peer that are rebuilt after a restart; what must last is in its record.
pub struct Peer {
    /// Answers connectivity checks.
    pub agent: ice::Agent,
    /// The handshake while it is under way and, for close_notify, after.
    pub handshake: Option<Box<Handshake>>,
    /// Ciphers of what it sends.
    pub open: Option<OpenKeys>,
    /// When its packets came, for transport-wide feedback.
    pub arrivals: ArrivalRecorder,
    /// What it publishes.
    pub tracks: Vec<TrackSlot>,
    /// What it watches.
    pub subscriptions: Vec<SubscriptionSlot>,
    /// What it watched under the keys it has: the numbers of those streams are not forgotten.
    pub retired: Vec<SubscriptionSlot>,
    /// The streams it sends.
    pub inbound: Vec<InboundSlot>,
    /// When it got its last receiver report.
    pub reported_at: Timestamp,
}

impl Peer {
    /// A peer without keys.
    pub fn new(agent: ice::Agent) -> Self {
        Self {
            agent,
            handshake: None,
            open: None,
            arrivals: ArrivalRecorder::default(),
            tracks: Vec::new(),
            subscriptions: Vec::new(),
            retired: Vec::new(),
            inbound: Vec::new(),
            reported_at: Timestamp::ZERO,
        }
    }
}
