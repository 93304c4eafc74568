//! Where threads meet: a bounded mailbox for each shard, with one wake for a burst of mail. Shards meet each other in
//! `bridge`, and threads meet nowhere else.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use millrace_control as contract;

use super::lanes::Lanes;
use crate::io::waker::Waker;
use crate::limits::{COMMANDS_PER_CYCLE, MAILBOX_COMMANDS_MAX};

/// What a shard can be sent.
pub enum Mail {
    /// Carry this out and answer exactly once.
    Command {
        /// What is asked.
        command: Box<contract::Command>,
        /// [`contract::ToRelay::fence`].
        fence: u64,
        /// Where the answer goes.
        reply: ReplyTo,
    },
    /// Describe what you hold, in pages.
    Snapshot(ReplyTo),
    /// Describe what you hold, all at once.
    WholeSnapshot(Sender<contract::Snapshot>),
    /// Say what you counted.
    Counters(Sender<contract::ShardCounters>),
    /// Leave the loop.
    Stop,
}

impl Mail {
    /// How many of the commands of one cycle this counts for.
    pub fn weight(&self) -> usize {
        match self {
            Self::Command { command, .. } => match command.as_ref() {
                contract::Command::RemovePeers(remove) => remove.peers.len().max(1),
                _ => 1,
            },
            // Each reads every record of the shard.
            Self::Snapshot(_) | Self::WholeSnapshot(_) => COMMANDS_PER_CYCLE,
            Self::Counters(_) | Self::Stop => 1,
        }
    }
}

/// Where the answer to one request goes. There is always one: a reply that is dropped without an answer is a refusal. A shard
/// drops it when it panics over the command, or ends before it.
pub struct ReplyTo {
    request: u64,
    /// Lanes of the connection that asked, until the answer is given.
    lanes: Option<Lanes>,
}

impl ReplyTo {
    /// The answer to `request` goes to `lanes`.
    pub const fn new(request: u64, lanes: Lanes) -> Self {
        Self { request, lanes: Some(lanes) }
    }

    /// Answers. Never waits for signaling.
    pub fn send(self, reply: contract::Reply) {
        self.send_all([reply]);
    }

    /// Answers by several frames, of which there must be one.
    pub fn send_all(mut self, replies: impl IntoIterator<Item = contract::Reply>) {
        let Some(lanes) = self.lanes.take() else { return };
        for reply in replies {
            lanes.answer(self.request, reply);
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        if let Some(lanes) = self.lanes.take() {
            let words = "the shard panicked over this command, or ended before it";
            lanes.answer(self.request, rejected(contract::Rejection::Refused, words));
        }
    }
}

/// A refusal.
pub fn rejected(reason: contract::Rejection, message: impl Into<String>) -> contract::Reply {
    let reason = reason as i32;
    contract::Reply::Rejected(contract::Rejected { reason, message: message.into(), fence: 0 })
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
