//! Sockets, flows between them, and a count of what arrives.
//!
//! Each packet begins with the number of its flow and its own in that flow. What arrives elsewhere, twice, out of order
//! or in another shape is wrong. Sockets are emptied about once a millisecond and never waited on, so that the one in
//! the middle does not pay for waking anybody.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::case::{Case, Load, Way};
use super::client::{Client, bind};
use super::dialogue::{CHANNEL_HEADER_BYTES, channel_data, channel_header};
use super::server::Server;
use crate::failure::Failure;
use crate::kernel::clock::{monotonic_ns, sleep_until};
use crate::kernel::ready::Ready;
use crate::kernel::receive::{GRO_BUFFER_BYTES, ReceiveBatch};
use crate::kernel::send::{Route, SendBatch};
use crate::kernel::socket::UdpSocket;

/// Number of the flow, number of the packet.
pub const STAMP_BYTES: usize = 12;

/// A look at the sockets.
const LOOK_NS: u64 = 1_000_000;
/// Packets under way at saturation, at first, at least and at most.
const WINDOW: u64 = 64;
const WINDOW_MIN: u64 = 32;
const WINDOW_MAX: u64 = 2048;
/// When nothing has come for so long, nothing is under way any more.
const QUIET_NS: u64 = 40_000_000;
/// At saturation, where lost packets would hold up the others.
const STALLED_NS: u64 = 3_000_000;
/// Packets of a flow at saturation before it is the next one's turn.
const TURN_PACKETS: u16 = 16;
const RECEIVES: usize = 32;
const MESSAGES: usize = 32;

/// Where the packets of one flow come from and go to.
struct Flow {
    /// Number of the socket it leaves from.
    socket: usize,
    to: Route,
    /// Whether it leaves in a channel.
    framed: bool,
    /// The next packet's number.
    next: u64,
}

/// What a socket is to receive.
#[derive(Clone, Copy)]
struct Sink {
    flow: u32,
    /// Whether it comes in a channel.
    framed: bool,
    /// The number of the next packet, or a later one.
    next: u64,
}

/// How many packets are under way at saturation: twice as many with each window that arrives, until one does not; from
/// then on a few more. So a server with small buffers is busy, and not overrun.
struct Window {
    packets: u64,
    lost_some: bool,
}

impl Window {
    fn grow(&mut self) {
        let more = if self.lost_some { 1 } else { self.packets };
        self.packets = (self.packets + more).min(WINDOW_MAX);
    }

    fn shrink(&mut self) {
        self.packets = (self.packets / 2).max(WINDOW_MIN);
        self.lost_some = true;
    }
}

/// What came of a stretch.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stretch {
    /// Packets that left.
    pub sent: u64,
    /// Packets that arrived as they should.
    pub delivered: u64,
    /// Datagrams that should not have arrived, or not like that.
    pub wrong: u64,
    /// From the first packet sent to the last one sent.
    pub seconds: f64,
    /// CPU time of the one in the middle.
    pub cpu_ns: u64,
}

impl Stretch {
    /// Packets that did not arrive.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.delivered)
    }

    /// CPU time of the one in the middle, for each packet that arrived.
    #[must_use]
    pub fn ns_per_packet(&self) -> f64 {
        self.cpu_ns as f64 / self.delivered.max(1) as f64
    }

    /// Packets that arrived, each second.
    #[must_use]
    pub fn delivered_per_s(&self) -> f64 {
        self.delivered as f64 / self.seconds.max(1e-9)
    }
}

/// Everybody but the one in the middle.
pub struct Stage {
    sockets: Vec<UdpSocket>,
    /// By socket.
    sinks: Vec<Option<Sink>>,
    flows: Vec<Flow>,
    payload_len: usize,
    ready: Ready,
    receive: ReceiveBatch,
    send: SendBatch,
    /// Their allocations, each on the socket of that number.
    clients: Vec<(Client, usize)>,
    stretch: Stretch,
    heard_ns: u64,
    window: Window,
}

impl Stage {
    pub(super) fn new(payload_len: u16) -> Result<Self, Failure> {
        Ok(Self {
            sockets: Vec::new(),
            sinks: Vec::new(),
            flows: Vec::new(),
            payload_len: payload_len.into(),
            ready: Ready::new()?,
            receive: ReceiveBatch::new(RECEIVES, GRO_BUFFER_BYTES),
            send: SendBatch::new(MESSAGES, 128 << 10),
            clients: Vec::new(),
            stretch: Stretch::default(),
            heard_ns: 0,
            window: Window { packets: WINDOW, lost_some: false },
        })
    }

    /// Clients with allocations of `server`, their peers, and the flows of `case`.
    ///
    /// # Errors
    /// [`Failure::Turn`] when the server refuses something.
    pub fn through(server: &Server, case: &Case) -> Result<Self, Failure> {
        let mut stage = Self::new(case.payload_len)?;
        if case.way == Way::ClientToClient {
            for _ in 0..case.flows() / 2 {
                stage.add_pair(server)?;
            }
            return Ok(stage);
        }
        for _ in 0..case.flows() {
            let (mut client, relayed) = Client::allocate(server.address)?;
            let peer = bind()?;
            client.bind_channel(peer.address())?;
            let client = stage.add_client(client)?;
            let peer = stage.add_socket(peer)?;
            if case.way == Way::ClientToPeer {
                stage.add_flow((client, server.address, true), (peer, false));
            } else {
                stage.add_flow((peer, relayed, false), (client, true));
            }
        }
        Ok(stage)
    }

    fn add_pair(&mut self, server: &Server) -> Result<(), Failure> {
        let (mut one, relayed_one) = Client::allocate(server.address)?;
        let (mut other, relayed_other) = Client::allocate(server.address)?;
        one.bind_channel(relayed_other)?;
        other.bind_channel(relayed_one)?;
        let (one, other) = (self.add_client(one)?, self.add_client(other)?);
        self.add_flow((one, server.address, true), (other, true));
        self.add_flow((other, server.address, true), (one, true));
        Ok(())
    }

    fn add_client(&mut self, mut client: Client) -> Result<usize, Failure> {
        let socket = self.add_socket(client.take_socket()?)?;
        self.clients.push((client, socket));
        Ok(socket)
    }

    pub(super) fn add_socket(&mut self, socket: UdpSocket) -> Result<usize, Failure> {
        let number = self.sockets.len();
        self.ready.add(&socket, number)?;
        self.sockets.push(socket);
        self.sinks.push(None);
        Ok(number)
    }

    /// From a socket to an address, to arrive at another socket; in a channel or not.
    pub(super) fn add_flow(&mut self, from: (usize, SocketAddr, bool), to: (usize, bool)) {
        let (socket, address, framed) = from;
        // There are at most a few thousand.
        self.sinks[to.0] = Some(Sink { flow: self.flows.len() as u32, framed: to.1, next: 0 });
        self.flows.push(Flow { socket, to: Route::from(address), framed, next: 0 });
    }

    /// Plays a load, and waits until nothing is under way any more.
    ///
    /// # Errors
    /// When the kernel refuses to send.
    pub fn play(&mut self, load: Load, duration: Duration) -> Result<Stretch, Failure> {
        self.stretch = Stretch::default();
        let start_ns = monotonic_ns();
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        match load {
            Load::Paced { rate, tick_us } => self.play_paced(start_ns, duration_ns, rate, tick_us)?,
            Load::Full { run } => self.play_full(start_ns, duration_ns, run)?,
        }
        self.stretch.seconds = (monotonic_ns() - start_ns) as f64 / 1e9;
        self.heard_ns = monotonic_ns();
        while monotonic_ns() < self.heard_ns + QUIET_NS {
            self.look();
            sleep_until(monotonic_ns() + LOOK_NS);
        }
        Ok(self.stretch)
    }

    fn play_paced(
        &mut self,
        start_ns: u64,
        duration_ns: u64,
        rate: f64,
        tick_us: u32,
    ) -> Result<(), Failure> {
        let packets = (duration_ns as f64 * rate / 1e9).round().max(1.0) as u64;
        let tick_ns = if tick_us == 0 { 1e9 / rate } else { f64::from(tick_us) * 1e3 };
        let flows = self.flows.len() as u64;
        let (mut done, mut tick, mut looked_ns) = (0, 0, start_ns);
        while done < packets {
            sleep_until(start_ns + (tick as f64 * tick_ns) as u64);
            tick += 1;
            let due = ((tick as f64 * tick_ns * rate / 1e9).round() as u64).min(packets);
            // Those of one flow together, and each by itself.
            for first in done..due.min(done + flows) {
                let flow = (first % flows) as usize;
                for _ in (first..due).step_by(flows as usize) {
                    self.push(flow, 1)?;
                }
                self.flush(flow)?;
            }
            done = done.max(due);
            let now_ns = monotonic_ns();
            if now_ns >= looked_ns + LOOK_NS {
                looked_ns = now_ns;
                self.look();
            }
        }
        Ok(())
    }

    /// Keeps as many under way as the one in the middle has room for, which losses teach. What is lost counts as under way
    /// until nothing comes any more.
    fn play_full(&mut self, start_ns: u64, duration_ns: u64, run: u16) -> Result<(), Failure> {
        let turn = u64::from(TURN_PACKETS.max(run));
        let (mut flow, mut given_up) = (0, 0);
        let mut grown_at = self.stretch.delivered;
        self.heard_ns = start_ns;
        loop {
            let now_ns = monotonic_ns();
            if now_ns >= start_ns + duration_ns {
                return Ok(());
            }
            // A late one of those given up is under way no more.
            given_up = self.stretch.lost().min(given_up);
            let mut under_way = self.stretch.lost() - given_up;
            if under_way + turn > self.window.packets && now_ns > self.heard_ns + STALLED_NS {
                given_up += under_way;
                under_way = 0;
                self.window.shrink();
                self.heard_ns = now_ns;
            }
            while under_way + turn <= self.window.packets {
                let mut left = TURN_PACKETS.max(run);
                while left > 0 {
                    let count = run.min(left);
                    self.push(flow, count)?;
                    left -= count;
                }
                self.flush(flow)?;
                under_way += turn;
                flow = (flow + 1) % self.flows.len();
            }
            self.look();
            if self.stretch.delivered >= grown_at + self.window.packets {
                grown_at = self.stretch.delivered;
                self.window.grow();
            }
        }
    }

    /// Writes so many packets of a flow, which leave in one piece.
    fn push(&mut self, flow: usize, count: u16) -> Result<(), Failure> {
        let number = flow as u32;
        let header_len = if self.flows[flow].framed { CHANNEL_HEADER_BYTES } else { 0 };
        let packet_len = header_len + self.payload_len;
        if !self.send.has_room(packet_len * usize::from(count)) {
            self.flush(flow)?;
        }
        let flow = &mut self.flows[flow];
        let segment_len = (count > 1).then_some(packet_len as u16);
        let place = self.send.push(&flow.to, segment_len, packet_len * usize::from(count));
        let place = place.expect("an empty batch has room for the longest run");
        for packet in place.chunks_mut(packet_len) {
            if flow.framed {
                packet[..header_len].copy_from_slice(&channel_header(self.payload_len as u16));
            }
            let stamp = &mut packet[header_len..header_len + STAMP_BYTES];
            stamp[..4].copy_from_slice(&number.to_be_bytes());
            stamp[4..].copy_from_slice(&flow.next.to_be_bytes());
            flow.next += 1;
        }
        self.stretch.sent += u64::from(count);
        Ok(())
    }

    fn flush(&mut self, flow: usize) -> Result<(), Failure> {
        let sent = self.send.send(&self.sockets[self.flows[flow].socket]);
        match sent.error {
            // ICMP's word on an earlier packet, which is lost.
            Some(error) if error.kind() != std::io::ErrorKind::ConnectionRefused => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Empties the sockets that have something.
    fn look(&mut self) {
        let Self { sockets, sinks, ready, receive, stretch, payload_len, .. } = self;
        let mut heard = false;
        for number in ready.look() {
            while let Ok(received @ 1..) = receive.receive(&sockets[number]) {
                heard = true;
                for datagram in receive.iter().flat_map(|received| received.datagrams()) {
                    let good = sinks[number].as_mut().is_some_and(|sink| sink.takes(datagram, *payload_len));
                    *(if good { &mut stretch.delivered } else { &mut stretch.wrong }) += 1;
                }
                if received < receive.capacity() {
                    break;
                }
            }
        }
        if heard {
            self.heard_ns = monotonic_ns();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (client, socket) in &mut self.clients {
            // The server frees it in any case when its time is over.
            let _ = client.release(&self.sockets[*socket]);
        }
    }
}

impl Sink {
    /// Whether this is what was to come.
    fn takes(&mut self, datagram: &[u8], payload_len: usize) -> bool {
        let data = if self.framed { channel_data(datagram) } else { Some(datagram) };
        let Some(data) = data.filter(|data| data.len() == payload_len) else { return false };
        let Some((stamp, _)) = data.split_first_chunk::<STAMP_BYTES>() else { return false };
        let [a, b, c, d, rest @ ..] = *stamp;
        let (flow, number) = (u32::from_be_bytes([a, b, c, d]), u64::from_be_bytes(rest));
        let good = flow == self.flow && number >= self.next;
        if good {
            self.next = number + 1;
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialogue::CHANNEL;
    use super::*;

    #[test]
    fn only_what_was_to_come_is_good() {
        let datagram = |channel: u16, len: usize, flow: u32, number: u64| {
            let mut bytes = channel_header(len as u16).to_vec();
            bytes[..2].copy_from_slice(&channel.to_be_bytes());
            bytes.extend(flow.to_be_bytes());
            bytes.extend(number.to_be_bytes());
            bytes.resize(CHANNEL_HEADER_BYTES + len, 0);
            bytes
        };
        let mut sink = Sink { flow: 7, framed: true, next: 0 };
        assert!(sink.takes(&datagram(CHANNEL, 120, 7, 0), 120));
        assert!(sink.takes(&datagram(CHANNEL, 120, 7, 5), 120), "those between are lost");
        for (wrong, why) in [
            (datagram(CHANNEL, 120, 7, 5), "twice"),
            (datagram(CHANNEL, 120, 7, 4), "late"),
            (datagram(CHANNEL, 120, 8, 6), "another flow"),
            (datagram(CHANNEL + 1, 120, 7, 6), "another channel"),
            (datagram(CHANNEL, 119, 7, 6), "another length"),
            (datagram(CHANNEL, 120, 7, 6)[..100].to_vec(), "cut"),
            (Vec::new(), "empty"),
        ] {
            assert!(!sink.takes(&wrong, 120), "{why}");
        }
        let mut bare = Sink { flow: 7, framed: false, next: 0 };
        assert!(bare.takes(&datagram(CHANNEL, 120, 7, 6)[4..], 120));
    }
}
