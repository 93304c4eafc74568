//! State that outlives a shard: plain records, readable by whoever maps the memory next.

pub mod ice;
pub mod keys;
pub mod path;
pub mod replay;
