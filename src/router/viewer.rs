//! One subscription on the heap: what was sent again lately, and how far away the viewer is.

use std::time::Duration;

use super::resend::ResendGuard;
use crate::feedback::report::SentReports;

/// The parts of a subscription that are rebuilt after a restart.
#[derive(Default)]
pub struct Viewer {
    /// Keeps a packet from being sent again too soon.
    pub guard: ResendGuard,
    /// Sender reports, to measure the round trip by.
    pub reports: SentReports,
    /// The last round trip measured.
    pub round_trip: Option<Duration>,
}
