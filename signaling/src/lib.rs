//! OpenVidu-compatible signaling.

pub mod session;
