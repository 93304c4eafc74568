//! Bringing one peer up: ICE and DTLS as a browser does them, through the engine's sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use webrtc_util::conn::Conn;

use super::engine::Order;
use crate::clock::now_us;
use crate::failure::Failure;
use crate::peer::dtls::{Identity, handshake};
use crate::peer::ice::{Agent, Outcome};
use crate::peer::srtp::Keys;
use crate::peer::{Profile, SetupTimes};
use crate::sdp::IceCredentials;
use crate::turn::dialogue::{Ask, Dialogue, Heard};

/// Time for a candidate to answer, and for the handshake.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two checks (RFC 8445 §14.2 gives Ta = 50 ms).
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The relay as one peer sees it.
#[derive(Clone, Debug)]
pub struct Far {
    /// Where it is.
    pub address: SocketAddr,
    /// Its ICE credentials.
    pub ice: IceCredentials,
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
}

/// A peer's way to the network.
pub struct Port {
    /// Its number.
    pub peer: usize,
    /// The engine.
    pub orders: Sender<Order>,
    /// STUN messages for it.
    pub stun: mpsc::UnboundedReceiver<Vec<u8>>,
    /// DTLS records for it.
    pub dtls: mpsc::UnboundedReceiver<Vec<u8>>,
}

/// A peer that came up.
pub struct Up {
    /// Its side of ICE.
    pub agent: Agent,
    /// Its keys.
    pub keys: Keys,
    /// How long it took.
    pub times: SetupTimes,
}

impl Port {
    /// Has everything of this peer go through an allocation of `server`, in a channel to `far`.
    ///
    /// # Errors
    /// [`Failure::Turn`] when the server refuses it or does not answer.
    pub async fn go_through(&mut self, server: SocketAddr, far: SocketAddr) -> Result<(), Failure> {
        order(&self.orders, Order::Through { peer: self.peer, server, in_channel: false })?;
        let mut dialogue = Dialogue::default();
        for ask in [Ask::Allocate, Ask::BindChannel(far)] {
            let asking = timeout(STEP_TIMEOUT, self.ask(&mut dialogue, ask)).await;
            asking.map_err(|_| Failure::Turn(format!("no answer to {}", ask.name())))??;
        }
        order(&self.orders, Order::Through { peer: self.peer, server, in_channel: true })
    }

    async fn ask(&mut self, dialogue: &mut Dialogue, ask: Ask) -> Result<(), Failure> {
        loop {
            let (request, id) = dialogue.request(ask)?;
            send(&self.orders, self.peer, request)?;
            let retry = Instant::now() + CHECK_INTERVAL;
            while let Ok(Some(message)) = tokio::time::timeout_at(retry, self.stun.recv()).await {
                match dialogue.hear(&id, &message)? {
                    Heard::Answer(_) => return Ok(()),
                    Heard::Again => break,
                    Heard::Refused(code) => return Err(ask.refused(code)),
                    Heard::Foreign => {}
                }
            }
        }
    }
}

/// Brings the peer up as the controlling ICE agent and DTLS client.
///
/// # Errors
/// [`Failure::Ice`] and [`Failure::Dtls`], also when either takes longer than 10 s.
pub async fn bring_up(
    mut port: Port,
    identity: &Identity,
    local: IceCredentials,
    far: &Far,
    profile: Profile,
) -> Result<Up, Failure> {
    let started = Instant::now();
    let mut agent = Agent::new(local, far.ice.clone(), now_us());
    let nominated = timeout(STEP_TIMEOUT, nominate(&mut agent, &mut port, far.address)).await;
    nominated.map_err(|_| Failure::Ice(format!("no answer from {}", far.address)))??;
    let ice = started.elapsed();
    let Port { peer, orders, dtls, mut stun } = port;
    let pipe = Pipe { peer, orders: orders.clone().into(), far: far.address, inbox: Mutex::new(dtls) };
    let handshake = handshake(identity, Arc::new(pipe), far.fingerprint, profile, true);
    let answering = async {
        tokio::pin!(handshake);
        loop {
            tokio::select! {
                done = &mut handshake => return done,
                // A full agent makes checks of its own, and speaks no DTLS before one is answered.
                Some(message) = stun.recv() => {
                    if let Outcome::Reply(reply) = agent.handle(now_us(), far.address, &message) {
                        send(&orders, peer, reply)?;
                    }
                }
            }
        }
    };
    let association = timeout(STEP_TIMEOUT, answering)
        .await
        .map_err(|_| Failure::Dtls("no handshake within 10 s".to_owned()))??;
    let (keys, _) = Keys::from_handshake(&association.dtls, true).await?;
    let times = SetupTimes {
        ice: ice.as_secs_f64() * 1e3,
        dtls: started.elapsed().saturating_sub(ice).as_secs_f64() * 1e3,
    };
    Ok(Up { agent, keys, times })
}

/// One candidate: the first check nominates it, as Chromium does towards a lite agent.
async fn nominate(agent: &mut Agent, port: &mut Port, far: SocketAddr) -> Result<(), Failure> {
    loop {
        let check = agent.check(true)?;
        send(&port.orders, port.peer, check)?;
        let retry = Instant::now() + CHECK_INTERVAL;
        while let Ok(message) = tokio::time::timeout_at(retry, port.stun.recv()).await {
            let Some(message) = message else {
                return Err(Failure::Ice("the engine closed the peer".to_owned()));
            };
            match agent.handle(now_us(), far, &message) {
                Outcome::Success { .. } => return Ok(()),
                Outcome::Refused(code) => return Err(Failure::Ice(format!("refused with {code} by {far}"))),
                Outcome::Reply(reply) => send(&port.orders, port.peer, reply)?,
                Outcome::Ignored(_) => {}
            }
        }
    }
}

fn send(orders: &Sender<Order>, peer: usize, bytes: Vec<u8>) -> Result<(), Failure> {
    order(orders, Order::Send(peer, bytes))
}

fn order(orders: &Sender<Order>, order: Order) -> Result<(), Failure> {
    orders.send(order).map_err(|_| Failure::Late("the engine's thread has ended".to_owned()))
}

/// What the DTLS library takes for a socket.
struct Pipe {
    peer: usize,
    orders: std::sync::Mutex<Sender<Order>>,
    far: SocketAddr,
    inbox: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
}

impl Pipe {
    async fn read(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        let Some(datagram) = self.inbox.lock().await.recv().await else {
            // The library's reader would ask again and again; it ends with the runtime.
            return std::future::pending().await;
        };
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }

    fn write(&self, datagram: &[u8]) -> webrtc_util::Result<usize> {
        let orders = self.orders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        send(&orders, self.peer, datagram.to_vec())
            .map_err(|failure| webrtc_util::Error::Other(failure.to_string()))?;
        Ok(datagram.len())
    }
}

#[async_trait::async_trait]
impl Conn for Pipe {
    async fn connect(&self, _: SocketAddr) -> webrtc_util::Result<()> {
        Ok(())
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        self.read(buffer).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        Ok((self.read(buffer).await?, self.far))
    }

    async fn send(&self, datagram: &[u8]) -> webrtc_util::Result<usize> {
        self.write(datagram)
    }

    async fn send_to(&self, datagram: &[u8], _: SocketAddr) -> webrtc_util::Result<usize> {
        self.write(datagram)
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.far)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        Some(self.far)
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn std::any::Any + Send + Sync) {
        self
    }
}
