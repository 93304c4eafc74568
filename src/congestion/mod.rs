//! What congestion control of one viewer's transport stands on: which packets were sent when, what became of them, and
//! how fast what can wait may follow. The estimate itself is not made here yet.

pub mod history;
pub mod pacer;
