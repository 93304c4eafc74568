//! Where threads meet: a bounded mailbox a shard, with one wake for a burst of mail. Shards among themselves meet in
//! `bridge`, nobody anywhere else.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use millrace_control as contract;

use crate::io::waker::Waker;
use crate::limits::MAILBOX_COMMANDS_MAX;

/// What a shard can be sent.
pub enum Mail {
    /// Carry this out and answer exactly once.
    Command {
        /// What is asked.
        command: Box<contract::Command>,
        /// Where the answer goes.
        reply: ReplyTo,
    },
    /// Describe what you hold.
    Snapshot(Sender<contract::Snapshot>),
    /// Say what you counted.
    Counters(Sender<contract::ShardCounters>),
    /// Leave the loop.
    Stop,
}

/// Where the answer to one request goes. Exactly one does: dropped without an answer, as by a shard that panics over
/// the command, it says so.
pub struct ReplyTo {
    request: u64,
    /// Frames for the connection that asked, until the answer is given.
    frames: Option<Sender<contract::FromRelay>>,
}

impl ReplyTo {
    /// The answer to `request` goes to `frames`.
    pub const fn new(request: u64, frames: Sender<contract::FromRelay>) -> Self {
        Self { request, frames: Some(frames) }
    }

    /// Answers. A connection that is gone or does not read gets nothing; its reader notices by itself.
    pub fn send(mut self, reply: contract::Reply) {
        self.answer(reply);
    }

    fn answer(&mut self, reply: contract::Reply) {
        if let Some(frames) = self.frames.take() {
            let _ = frames.try_send(contract::FromRelay { request: self.request, reply: Some(reply) });
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.answer(rejected(
            contract::Rejection::Refused,
            "the shard panicked over this command and was rebuilt",
        ));
    }
}

/// A refusal.
pub fn rejected(reason: contract::Rejection, message: impl Into<String>) -> contract::Reply {
    contract::Reply::Rejected(contract::Rejected { reason: reason as i32, message: message.into() })
}

/// The sending end, held by the control threads.
#[derive(Clone)]
pub struct Mailbox {
    sender: Sender<Mail>,
    waker: Waker,
}

impl Mailbox {
    /// A mailbox whose shard is woken by `waker`, and the end that the shard reads.
    pub fn new(waker: Waker) -> (Self, Receiver<Mail>) {
        let (sender, receiver) = bounded(MAILBOX_COMMANDS_MAX);
        (Self { sender, waker }, receiver)
    }

    /// Puts `mail` in and wakes the shard; gives it back when the mailbox is full or the shard is gone.
    ///
    /// # Errors
    /// The mail itself. Never blocks.
    pub fn post(&self, mail: Mail) -> Result<(), Mail> {
        match self.sender.try_send(mail) {
            Ok(()) => {
                self.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(mail) | TrySendError::Disconnected(mail)) => Err(mail),
        }
    }
}
