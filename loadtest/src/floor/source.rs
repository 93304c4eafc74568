//! The publishers: one thread that sends what is due.

use std::net::SocketAddr;

use super::schedule::Schedule;
use super::shape::{Shape, TAG_LEN};
use crate::kernel::clock;
use crate::kernel::send::{Route, SendBatch};
use crate::kernel::socket::{SocketOptions, UdpSocket};

const MESSAGES: usize = 64;
const BYTES: usize = MESSAGES * 1500;

/// Sends packets as publishers do.
pub(super) struct Source {
    socket: UdpSocket,
    batch: SendBatch,
    schedule: Schedule,
    route: Route,
    header_len: usize,
}

impl Source {
    pub(super) fn new(shape: &Shape, destination: SocketAddr) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(([0, 0, 0, 0], 0).into(), &SocketOptions::default())?;
        let batch = SendBatch::new(MESSAGES, BYTES);
        let route = Route::from(destination);
        Ok(Self { socket, batch, schedule: Schedule::new(shape), route, header_len: shape.header_len() })
    }

    /// Sends for `duration_ns`; gives how many packets that were. One that is late leaves at once.
    pub(super) fn run(&mut self, duration_ns: u64) -> u64 {
        let start_ns = clock::monotonic_ns();
        let mut sent = 0;
        for number in 0..self.schedule.departures_in(duration_ns) {
            let departure = self.schedule.departure(number);
            if clock::monotonic_ns() < start_ns + departure.due_ns {
                sent += self.batch.send(&self.socket).messages as u64;
                clock::sleep_until(start_ns + departure.due_ns);
            }
            for payload_len in departure.payload_lens {
                let len = self.header_len + usize::from(*payload_len) + TAG_LEN;
                if !self.batch.has_room(len) {
                    sent += self.batch.send(&self.socket).messages as u64;
                }
                let datagram =
                    self.batch.push(&self.route, None, len).expect("an empty batch has room for a datagram");
                datagram[..2].copy_from_slice(&[0x90, 96]);
                datagram[self.header_len..][..4].copy_from_slice(&(departure.publisher as u32).to_be_bytes());
            }
        }
        sent + self.batch.send(&self.socket).messages as u64
    }
}
