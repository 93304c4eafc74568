//! What a call needs to go on after a restart: flat, pointer-free records that may live in memory kept beyond the
//! process. The layouts are here; what they mean is with the cores that read and write them.

pub mod ice;
pub mod path;
