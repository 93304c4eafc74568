//! Bringing a transport up: checks to every candidate, nomination, handshake, keys.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol as IpProtocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::dtls::{Association, Identity, Pipe, handshake};
use super::ice::{Agent, Outcome};
use super::srtp::{Profile, Srtp};
use super::{Anomalies, CONSENT_INTERVAL_US, DATAGRAM_LEN_MAX, Peer, Protocol, SetupTimes};
use crate::clock::now_us;
use crate::failure::Failure;
use crate::sdp::IceCredentials;
use crate::sdp::answer::Remote;

/// Time for a candidate to answer.
const ICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two rounds of checks (RFC 8445 §14.2 gives Ta = 50 ms as the default pace).
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Time for the handshake.
const DTLS_TIMEOUT: Duration = Duration::from_secs(10);
/// Wanted socket buffers; the kernel cuts them to its limit. A viewer must survive some ten milliseconds without CPU.
const SOCKET_BUFFER_LEN: usize = 4 << 20;
/// Media that may arrive before our keys are known.
const EARLY_MAX: usize = 1024;

/// Brings a transport to `remote` up as the controlling ICE agent and DTLS client.
///
/// # Errors
/// [`Failure::Ice`] when no candidate answers within 10 s, [`Failure::Dtls`] when the handshake fails, takes longer
/// than 10 s or shows another certificate than the SDP named.
pub async fn connect(
    identity: &Identity,
    local: IceCredentials,
    remote: &Remote,
    profile: Profile,
) -> Result<Peer, Failure> {
    let started = Instant::now();
    let mut agent = Agent::new(local, remote.ice.clone(), now_us());
    let (socket, address) = nominate(&mut agent, &remote.candidates).await?;
    socket.connect(address).await?;
    let ice = started.elapsed();
    let socket = Arc::new(socket);
    let setup = Setup::new(socket, address, agent);
    let mut peer = setup.finish(identity, remote.fingerprint, profile, true).await?;
    peer.times = SetupTimes {
        ice: ice.as_secs_f64() * 1e3,
        dtls: started.elapsed().saturating_sub(ice).as_secs_f64() * 1e3,
    };
    Ok(peer)
}

/// A large-buffered UDP socket of the family of `address`, on any port.
pub(super) fn bind(address: SocketAddr) -> Result<UdpSocket, Failure> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(IpProtocol::UDP))?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_LEN)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_LEN)?;
    socket.set_nonblocking(true)?;
    socket.bind(&any.into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

/// Checks every candidate and nominates the first that answers. With a single candidate the first check nominates, as
/// Chromium does towards a lite agent.
async fn nominate(agent: &mut Agent, candidates: &[SocketAddr]) -> Result<(UdpSocket, SocketAddr), Failure> {
    let deadline = Instant::now() + ICE_TIMEOUT;
    let mut targets: Vec<SocketAddr> = candidates.to_vec();
    // One socket serves one family. The best candidate's family goes first, the other one gets the second half.
    let first_family = targets.first().is_some_and(SocketAddr::is_ipv4);
    let (mut first, second): (Vec<_>, Vec<_>) =
        targets.drain(..).partition(|address| address.is_ipv4() == first_family);
    let half = if second.is_empty() { deadline } else { Instant::now() + ICE_TIMEOUT / 4 };
    match check_family(agent, &mut first, half).await {
        Err(_) if !second.is_empty() => check_family(agent, &mut second.clone(), deadline).await,
        outcome => outcome,
    }
}

async fn check_family(
    agent: &mut Agent,
    targets: &mut Vec<SocketAddr>,
    deadline: Instant,
) -> Result<(UdpSocket, SocketAddr), Failure> {
    let tried = format!("{targets:?}");
    let first = targets.first().copied().ok_or_else(|| Failure::Ice("no candidate".to_owned()))?;
    let socket = bind(first)?;
    let mut rounds = interval(CHECK_INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = [0; DATAGRAM_LEN_MAX];
    let (mut refused, mut astray) = (None, None);
    loop {
        tokio::select! {
            _ = rounds.tick() => {
                for target in targets.iter() {
                    let check = agent.check(targets.len() == 1)?;
                    // An unreachable candidate is one that does not answer.
                    let _ = socket.send_to(&check, target).await;
                }
            }
            received = socket.recv_from(&mut buffer) => {
                let Ok((len, from)) = received else { continue };
                match agent.handle(now_us(), from, &buffer[..len]) {
                    // RFC 8445 §7.2.5.2.1: an answer that comes from elsewhere fails the pair.
                    Outcome::Success { .. } if !targets.contains(&from) => astray = Some(from),
                    Outcome::Success { nominated: true } => return Ok((socket, from)),
                    Outcome::Success { nominated: false } => {
                        targets.retain(|target| *target == from);
                        rounds.reset_immediately();
                    }
                    Outcome::Refused(code) => refused = Some(code),
                    Outcome::Reply(_) | Outcome::Ignored(_) => {}
                }
            }
            () = sleep_until(deadline) => {
                let why = match (refused, astray) {
                    (Some(code), _) => format!("refused with {code}"),
                    (None, Some(from)) => format!("an answer from {from}, and none"),
                    (None, None) => "no answer".to_owned(),
                };
                return Err(Failure::Ice(format!("{why} from {tried}")));
            }
        }
    }
}

/// A transport with a nominated pair, on its way to keys.
pub(super) struct Setup {
    socket: Arc<UdpSocket>,
    remote: SocketAddr,
    agent: Agent,
    early: VecDeque<Vec<u8>>,
}

impl Setup {
    pub(super) fn new(socket: Arc<UdpSocket>, remote: SocketAddr, agent: Agent) -> Self {
        Self { socket, remote, agent, early: VecDeque::new() }
    }

    /// Runs the handshake while keeping ICE alive, and derives the keys.
    pub(super) async fn finish(
        mut self,
        identity: &Identity,
        far_digest: [u8; 32],
        profile: Profile,
        is_client: bool,
    ) -> Result<Peer, Failure> {
        let (pipe, feed) = Pipe::new(Arc::clone(&self.socket), self.remote);
        let handshake = handshake(identity, pipe, far_digest, profile, is_client);
        let association = timeout(DTLS_TIMEOUT, self.pump(handshake, &feed))
            .await
            .map_err(|_| Failure::Dtls("no handshake within 10 s".to_owned()))??;
        let srtp = Srtp::from_handshake(&association.dtls, is_client).await?;
        Ok(Peer {
            socket: self.socket,
            remote: self.remote,
            agent: self.agent,
            srtp,
            association,
            feed,
            next_consent_us: now_us() + CONSENT_INTERVAL_US,
            early: self.early,
            times: SetupTimes::default(),
            anomalies: Anomalies::default(),
        })
    }

    async fn pump(
        &mut self,
        handshake: impl Future<Output = Result<Association, Failure>>,
        feed: &mpsc::Sender<Vec<u8>>,
    ) -> Result<Association, Failure> {
        tokio::pin!(handshake);
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        loop {
            tokio::select! {
                done = &mut handshake => return done,
                received = self.socket.recv_from(&mut buffer) => {
                    let Ok((len, from)) = received else { continue };
                    let datagram = &buffer[..len];
                    match Protocol::of(datagram) {
                        Protocol::Stun => {
                            if let Outcome::Reply(reply) = self.agent.handle(now_us(), from, datagram) {
                                let _ = self.socket.send_to(&reply, from).await;
                            }
                        }
                        Protocol::Dtls => drop(feed.try_send(datagram.to_vec())),
                        // The far side may have its keys before us.
                        Protocol::Rtp | Protocol::Rtcp if self.early.len() < EARLY_MAX => {
                            self.early.push_back(datagram.to_vec());
                        }
                        Protocol::Rtp | Protocol::Rtcp | Protocol::Unknown => {}
                    }
                }
            }
        }
    }
}
