//! What receivers tell senders, as small machines without IO: losses, arrivals, reports, key frame requests, estimates.
//!
//! None of this has to survive a restart; counters may begin at 0 again.

pub mod arrival;
pub mod keyframe;
pub mod loss;
pub mod report;
