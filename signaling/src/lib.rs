//! OpenVidu-compatible signaling.

pub mod clock;
pub mod config;
pub mod openvidu;
pub mod placement;
pub mod relay;
pub mod sdp;
pub mod session;
pub mod store;
pub mod tls;
