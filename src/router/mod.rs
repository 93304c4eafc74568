//! The product: tracks, who watches them, and what each viewer sees. Knows nothing of ICE or DTLS, and of a peer only
//! its sending side.

pub mod cache;
pub mod dense;
pub mod fanout;
pub mod parcel;
pub mod resend;
mod runs;
pub mod switch;
pub mod track;
pub mod viewer;
