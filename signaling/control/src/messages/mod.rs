//! The messages. A field's unit ends its name; `0`, `false` or an empty value means "not given", as usual in protobuf.

mod answer;
mod event;
mod hello;
mod media;
mod recorder;
mod request;
mod snapshot;

pub use answer::*;
pub use event::*;
pub use hello::*;
pub use media::*;
pub use recorder::*;
pub use request::*;
pub use snapshot::*;
