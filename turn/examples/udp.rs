//! A TURN server over UDP on the standard library's sockets, to show how the core is driven and to try clients on.
//!
//! ```text
//!   cargo run -p millrace-turn --example udp -- 127.0.0.1:3478 george:pa55 127.0.0.0/8
//!   turnutils_uclient -u george -w pa55 -y -n 100 127.0.0.1
//! ```
//!
//! A thread for each socket that only receives, and one that does all the rest. Errors end the program, which a server
//! would not let them do.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use bytemuck::Zeroable;
use millrace_turn::server::*;

/// A datagram that came to a relayed address, or to the server itself.
struct Came {
    to: Option<(Slot, SocketAddr)>,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// The sockets towards peers.
struct Sockets {
    by_slot: HashMap<(Slot, SocketAddr), Arc<UdpSocket>>,
    came: Sender<Came>,
}

impl Relay for Sockets {
    fn open(&mut self, allocation: Slot, relayed: SocketAddr) -> Result<(), OpenFailed> {
        let socket = Arc::new(UdpSocket::bind(relayed).map_err(|_| OpenFailed)?);
        receive(Arc::clone(&socket), Some((allocation, relayed)), self.came.clone());
        self.by_slot.insert((allocation, relayed), socket);
        Ok(())
    }

    fn close(&mut self, allocation: Slot, relayed: SocketAddr) {
        if let Some(socket) = self.by_slot.remove(&(allocation, relayed)) {
            // Its thread wakes up by an empty datagram and finds that nobody else has the socket.
            let _ = socket.send_to(&[], relayed);
        }
    }
}

fn receive(socket: Arc<UdpSocket>, to: Option<(Slot, SocketAddr)>, came: Sender<Came>) {
    std::thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            let is_closed = to.is_some() && Arc::strong_count(&socket) == 1;
            if is_closed || came.send(Came { to, from, bytes: bytes[..len].to_vec() }).is_err() {
                return;
            }
        }
    });
}

/// What clocks there are.
struct Clock(Instant);

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "whoever owns the sockets reads the clocks")]
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let monotonic_ns = u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { monotonic_ns: monotonic_ns + 1, unix_s: unix.as_secs() }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen: SocketAddr = arguments.next().ok_or("ADDRESS:PORT to listen at")?.parse()?;
    let user = arguments.next().ok_or("NAME:PASSWORD of a user")?;
    let (name, password) = user.split_once(':').ok_or("NAME:PASSWORD of a user")?;
    let credentials = Credentials {
        realm: "millrace".into(),
        secrets: vec![],
        static_users: vec![(name.into(), password.into())],
    };
    let relayed = match listen {
        SocketAddr::V4(v4) => (Some(*v4.ip()), None),
        SocketAddr::V6(v6) => (None, Some(*v6.ip())),
    };
    let mut config = Config::new(credentials, relayed);
    config.limits.user = Quota::UNLIMITED;
    config.policy.allow = arguments.map(|range| range.parse()).collect::<Result<_, _>>()?;
    config.policy.own = vec![listen];

    let (mut record, mut allocations) = (ServerRecord::zeroed(), vec![AllocationRecord::zeroed(); 1_000]);
    let clock = Clock(Instant::now());
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| "no randomness")?;
    let server = Server::new(config, &mut record, &mut allocations, seed, clock.now());

    let (sender, came) = channel();
    let socket = Arc::new(UdpSocket::bind(listen)?);
    receive(Arc::clone(&socket), None, sender.clone());
    let sockets = Sockets { by_slot: HashMap::new(), came: sender };
    serve(server, sockets, &clock, &socket, &came)
}

/// The loop: what comes from clients, what comes from peers, what is over.
fn serve(
    mut server: Server<'_>,
    mut sockets: Sockets,
    clock: &Clock,
    socket: &UdpSocket,
    came: &Receiver<Came>,
) -> Result<(), Box<dyn std::error::Error>> {
    let local = socket.local_addr()?;
    let mut answer = [0; 1_500];
    loop {
        let now = clock.now();
        let wait_ns =
            server.next_deadline_ns().map_or(u64::MAX, |at_ns| at_ns.saturating_sub(now.monotonic_ns));
        let Came { to, from, bytes } = match came.recv_timeout(Duration::from_nanos(wait_ns.min(1 << 40))) {
            Ok(came) => came,
            Err(RecvTimeoutError::Timeout) => {
                server.handle_timeout(clock.now(), &mut sockets);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let now = clock.now();
        if let Some((allocation, relayed)) = to {
            to_client(&mut server, now, socket, allocation, relayed, from, &bytes)?;
            continue;
        }
        let client = Client { transport: Transport::Udp, remote: from, local, via: 0 };
        match server.handle_client(now, &client, &bytes, &mut answer, &mut sockets) {
            Outcome::Answer(len) => drop(socket.send_to(&answer[..len], from)?),
            Outcome::ToPeer(to) => {
                if let Some(socket) = sockets.by_slot.get(&(to.allocation, to.relayed)) {
                    socket.send_to(&bytes[to.data], to.peer)?;
                }
            }
            Outcome::Silence(_) => {}
        }
    }
}

fn to_client(
    server: &mut Server<'_>,
    now: Now,
    socket: &UdpSocket,
    allocation: Slot,
    relayed: SocketAddr,
    peer: SocketAddr,
    bytes: &[u8],
) -> Result<(), Box<dyn std::error::Error>> {
    let Some((client, framing)) = server.frame(now, allocation, relayed, peer) else { return Ok(()) };
    if server.note_to_client(now, allocation, 1, bytes.len()) {
        let mut slot = vec![0; framing.total_len(bytes.len())];
        slot[framing.header_len()..][..bytes.len()].copy_from_slice(bytes);
        let len = framing.finish(&mut slot, bytes.len())?;
        socket.send_to(&slot[..len], client.remote)?;
    }
    Ok(())
}
