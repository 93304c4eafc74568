//! Two handshakes on virtual time, with a network between them that may be hostile.

mod hostile;
mod network;
mod pair;
