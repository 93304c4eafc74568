//! One published stream on the heap: who watches it, what is kept of it, who waits for a key frame.

use super::cache::Cache;
use crate::feedback::keyframe::KeyframeRequests;
use crate::ids::SubscriptionSlot;

/// The parts of a track that are rebuilt after a restart.
#[derive(Default)]
pub struct Track {
    /// Who watches, in order of subscription.
    pub subscribers: Vec<SubscriptionSlot>,
    /// Its last packets; made when the first video packet with somebody to repair it for arrives.
    pub cache: Option<Cache>,
    /// How many of those who watch may ask for packets again.
    pub rtx_subscribers: u32,
    /// Key frames wanted.
    pub keyframes: KeyframeRequests,
    /// A request is to leave at once.
    pub ask_now: bool,
    /// Number of the last FIR.
    pub fir_sequence: u8,
}
