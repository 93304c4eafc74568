//! What one stream that comes in needs besides its record. All of it may start anew after a restart.

use crate::feedback::loss::LossDetector;
use crate::feedback::report::{PublisherReport, Reception};

/// One incoming stream on the heap.
#[derive(Default)]
pub struct Inbound {
    /// What is missing and was asked for.
    pub loss: LossDetector,
    /// What its receiver reports say.
    pub reception: Reception,
    /// The last sender report of it.
    pub publisher: PublisherReport,
    /// Clock of its media in Hz, as of its last packet.
    pub clock_rate_hz: u32,
    /// One past its highest index when it was last looked at, 0 before its first packet.
    pub seen: u64,
}
