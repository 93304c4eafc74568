//! What the engine's thread is asked, and what it answers.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use super::account::Counts;
use super::cipher::Cipher;
use super::source::SourceSpec;
use super::track::{Samples, TrackSpec};
use super::world::{Inlet, Totals};
use crate::histogram::Histogram;
use crate::peer::ice::Agent;
use crate::sdp::Kind;

/// How fast publishers send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Slowly, while peers come up.
    Join,
    /// As the scenario says.
    Full,
    /// Not at all.
    Quiet,
}

/// What others ask of the thread.
pub enum Order {
    /// A peer begins to come up.
    Open {
        /// Its number.
        peer: usize,
        /// Where the relay is.
        remote: SocketAddr,
        /// Where its handshake goes.
        inlet: Inlet,
        /// What it will see.
        tracks: Vec<TrackSpec>,
    },
    /// What a peer sends goes to this TURN server from now on: in a channel, or as it is to set that up.
    Through {
        /// Its number.
        peer: usize,
        /// The server.
        server: SocketAddr,
        /// Whether in a channel.
        in_channel: bool,
    },
    /// Send this for a peer.
    Send(usize, Vec<u8>),
    /// A peer is up.
    Ready(Box<Ready>),
    /// What a published stream looks like to its viewers.
    Expect {
        /// Its number.
        stream: usize,
        /// Audio or video.
        kind: Kind,
        /// Longest payload.
        len_max: usize,
    },
    /// Frames come this much faster from now on than the scenario says.
    Speed(f64),
    /// Publishers send like this from now on; answered with the time it was taken note of.
    Stage(Stage, Sender<u64>),
    /// Count from now on. Nothing may be under way.
    Begin(Sender<u64>),
    /// Say how things stand.
    Snapshot(Sender<Snapshot>),
    /// Say what came of it so far.
    Outcome(Sender<Outcome>),
    /// End.
    Stop,
}

/// A peer that is up.
pub struct Ready {
    /// Its number.
    pub peer: usize,
    /// Its keys.
    pub cipher: Cipher,
    /// Its side of ICE, for consent.
    pub agent: Agent,
    /// Extension id of the transport-wide number it gives feedback on.
    pub transport_cc: Option<u8>,
    /// What it publishes.
    pub sources: Vec<SourceSpec>,
}

/// How things stand, since the counting began.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When.
    pub at_ns: u64,
    /// CPU time of the thread.
    pub cpu_ns: u64,
    /// Totals.
    pub totals: Totals,
    /// Datagrams and trains taken from the sockets.
    pub datagrams: u64,
    /// Trains.
    pub trains: u64,
    /// Delay in microseconds since the last snapshot, by group.
    pub recent_us: [Histogram; 2],
}

/// What came of a group of viewers.
#[derive(Clone, Debug, Default)]
pub struct GroupOutcome {
    /// All its tracks together.
    pub counts: Counts,
    /// Most packets lost by one track.
    pub lost_by_one_max: u64,
    /// Tracks.
    pub tracks: usize,
    /// Tracks that never showed a packet.
    pub silent: usize,
    /// What looking into packets showed.
    pub samples: Samples,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The last snapshot.
    pub last: Snapshot,
    /// By [`Group`](super::cast::Group).
    pub groups: [GroupOutcome; 2],
    /// When each peer's first packet came.
    pub first_packet_ns: Vec<Option<u64>>,
    /// Datagrams of ours the kernel refused.
    pub refused: u64,
    /// How late frames left, in microseconds.
    pub lateness_us: Histogram,
}
