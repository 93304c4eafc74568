//! Simulated publishers and viewers on a WebRTC stack that shares no line with the relay.
//!
//! A publisher joins a session as a browser does: [`rest`] makes session and token, [`rpc`] speaks the OpenVidu
//! WebSocket protocol, [`sdp`] writes the offer and reads the answer, [`peer`] brings up ICE, DTLS and SRTP, and
//! [`source`] makes the packets, each with a number, the time of sending and a pattern ([`stamp`]). A viewer does the
//! same for its subscription and holds every packet against that stamp ([`track`], [`tally`]). [`smoke`] conducts the
//! scenario and [`report`] says in one sentence each what was missed.
//!
//! That is right for a handful of peers and too dear for load: [`load`] keeps the handshakes and plays the media of all
//! peers on one plain thread.
//!
//! What a figure is worth shows beside others of the same minute: [`floor`] is a bare loop that does only what cannot be
//! left out, [`rivals`] are other servers under the same load. [`turn`] does all that for relayed packets. [`kernel`] is how all of them reach the sockets.

#![deny(unsafe_code)]

pub mod clock;
pub mod crowd;
pub mod failure;
pub mod feedback;
pub mod flood;
pub mod floor;
pub mod frames;
pub mod histogram;
pub mod http;
#[allow(unsafe_code, reason = "the one folder that touches the kernel")]
pub mod kernel;
pub mod load;
pub mod options;
pub mod peer;
pub mod program;
pub mod publisher;
pub mod relay;
pub mod report;
pub mod rest;
pub mod rivals;
pub mod rpc;
pub mod sdp;
pub mod sequence;
pub mod smoke;
pub mod source;
pub mod stamp;
pub mod stand_in;
pub mod tally;
pub mod track;
pub mod turn;
pub mod twcc;
pub mod viewer;

#[cfg(test)]
mod testing;
