//! The only place where threads meet: a bounded mailbox a shard, with one wake for a burst of mail.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use millrace_control as contract;

use crate::io::waker::Waker;
use crate::limits::MAILBOX_COMMANDS_MAX;

/// What a shard can be sent.
pub enum Mail {
    /// Carry this out and answer exactly once.
    Command {
        /// What is asked.
        command: contract::Command,
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

/// Where the answer to one request goes.
pub struct ReplyTo {
    /// Number of the request.
    pub request: u64,
    /// Frames for the connection that asked.
    pub frames: Sender<contract::FromRelay>,
}

impl ReplyTo {
    /// Answers. A connection that is gone or does not read gets nothing; its reader notices by itself.
    pub fn send(self, reply: contract::Reply) {
        let _ = self.frames.try_send(contract::FromRelay { request: self.request, reply: Some(reply) });
    }
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
