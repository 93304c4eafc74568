//! One published stream on the heap: who watches it, what is kept of it, who waits for a key frame.

use super::cache::Cache;
use super::viewer::ResendGuard;
use crate::feedback::keyframe::KeyframeRequests;
use crate::ids::{InboundSlot, SubscriptionSlot};

/// The parts of a track that are rebuilt after a restart.
#[derive(Default)]
pub struct Track {
    /// The subscriptions that are sent to, oldest first.
    pub subscribers: Vec<SubscriptionSlot>,
    /// How many more there are that are paused. They have no source, so nothing of them points at the track's streams.
    pub paused: u32,
    /// Its last packets; made when the first video packet with somebody to repair it for arrives.
    pub cache: Option<Cache>,
    /// How many of the subscribers may ask for packets again; other shards count as one.
    pub rtx_subscribers: u32,
    /// Key frames wanted.
    pub keyframes: KeyframeRequests,
    /// A request is to leave at once.
    pub ask_now: bool,
    /// Number of the last FIR.
    pub fir_sequence: u8,
    /// Of a mirror: its streams, each with its place in its home's table.
    pub far_streams: Vec<(InboundSlot, InboundSlot)>,
    /// Of a mirror: keeps its home from being asked for one packet again and again.
    pub far_asked: Option<Box<ResendGuard>>,
    /// Of a mirror: packets that came.
    pub far_packets: u64,
}

impl Track {
    /// Whether there is a subscription to it, paused or not.
    pub const fn is_watched(&self) -> bool {
        !self.subscribers.is_empty() || self.paused > 0
    }
}
