//! What is measured at a time.

use clap::ValueEnum;
use serde::Serialize;

/// Between whom packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From each client to a peer without TURN.
    ClientToPeer,
    /// From such a peer to each client.
    PeerToClient,
    /// Between the two clients of each pair, both ways.
    ClientToClient,
}

impl Way {
    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientToPeer => "client-to-peer",
            Self::PeerToClient => "peer-to-client",
            Self::ClientToClient => "client-to-client",
        }
    }
}

/// How many packets there are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// So many a second over all flows.
    Paced {
        /// Packets a second.
        rate: f64,
        /// Microseconds from one departure to the next, each with what is due by then; 0: every packet at its own time.
        tick_us: u32,
    },
    /// As many as get through, so many of one flow in a piece (UDP_SEGMENT): a receiver with UDP_GRO has them in one piece
    /// too, as a network card gives them.
    Full {
        /// Packets in a piece.
        run: u16,
    },
}

/// One case.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Between whom.
    pub way: Way,
    /// Allocations.
    pub allocations: usize,
    /// Bytes of data in a packet.
    pub payload_len: u16,
    /// How many packets.
    pub load: Load,
}

impl Case {
    /// Flows of packets: one for each allocation.
    #[must_use]
    pub const fn flows(&self) -> usize {
        match self.way {
            // They come in pairs.
            Way::ClientToClient => self.allocations.next_multiple_of(2),
            Way::ClientToPeer | Way::PeerToClient => self.allocations,
        }
    }

    /// In words.
    #[must_use]
    pub fn name(&self) -> String {
        let load = match self.load {
            Load::Paced { rate, tick_us: 0 } => format!("{rate}/s evenly"),
            Load::Paced { rate, tick_us } => format!("{rate}/s, every {tick_us} us"),
            Load::Full { run: 1 } => "full".to_owned(),
            Load::Full { run } => format!("full by {run}"),
        };
        format!("{}, {} allocations, {} B, {load}", self.way.name(), self.flows(), self.payload_len)
    }
}
