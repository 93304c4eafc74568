//! A TURN client: an allocation and a channel (RFC 8656), on webrtc-rs' messages.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stun::message::Message;

use super::HERE;
use super::dialogue::{ALLOCATION_MISMATCH, Ask, Dialogue, Heard};
use crate::failure::Failure;
use crate::kernel::receive::{GRO_BUFFER_BYTES, ReceiveBatch};
use crate::kernel::send::{Route, SendBatch};
use crate::kernel::socket::{SocketOptions, UdpSocket, wait_readable};

const TRIES: usize = 8;
const TRY_TIME: Duration = Duration::from_millis(500);

/// A client with an allocation, or about to have one.
pub struct Client {
    socket: UdpSocket,
    server: SocketAddr,
    dialogue: Dialogue,
    receive: ReceiveBatch,
}

/// A socket of a measurement.
pub(super) fn bind() -> io::Result<UdpSocket> {
    let options =
        SocketOptions { pktinfo: false, gro: true, buffer_bytes: 16 << 20, ..SocketOptions::default() };
    UdpSocket::bind((HERE, 0).into(), &options)
}

impl Client {
    /// Makes an allocation; gives its relayed address.
    ///
    /// # Errors
    /// [`Failure::Turn`] when the server refuses it or does not answer.
    pub fn allocate(server: SocketAddr) -> Result<(Self, SocketAddr), Failure> {
        let receive = ReceiveBatch::new(1, GRO_BUFFER_BYTES);
        let mut client = Self { socket: bind()?, server, dialogue: Dialogue::default(), receive };
        let answer = client.ask(Ask::Allocate)?;
        Ok((client, Dialogue::relayed(&answer)?))
    }

    /// Binds the client's channel to `peer`.
    ///
    /// # Errors
    /// As [`Client::allocate`].
    pub fn bind_channel(&mut self, peer: SocketAddr) -> Result<(), Failure> {
        self.ask(Ask::BindChannel(peer)).map(drop)
    }

    /// Ends the allocation, on the socket that was taken. No answer is waited for.
    ///
    /// # Errors
    /// When the request cannot be written.
    pub fn release(&mut self, socket: &UdpSocket) -> Result<(), Failure> {
        let (request, _) = self.dialogue.request(Ask::Release)?;
        send(socket, self.server, &request);
        Ok(())
    }

    /// The socket; another takes its place here.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn take_socket(&mut self) -> Result<UdpSocket, Failure> {
        Ok(std::mem::replace(&mut self.socket, bind()?))
    }

    /// Sends a request until it is answered, with the credentials that the server asks for; gives the answer.
    fn ask(&mut self, ask: Ask) -> Result<Message, Failure> {
        for _ in 0..TRIES {
            let (request, id) = self.dialogue.request(ask)?;
            send(&self.socket, self.server, &request);
            let deadline = Instant::now() + TRY_TIME;
            let (mut again, mut mismatch) = (false, false);
            while !again && !mismatch && Instant::now() < deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                wait_readable(&[&self.socket], Some(left))?;
                // An error is of an earlier send; the next try tells.
                while let Ok(1..) = self.receive.receive(&self.socket) {
                    for datagram in self.receive.iter().flat_map(|received| received.datagrams()) {
                        match self.dialogue.hear(&id, datagram)? {
                            Heard::Answer(answer) => return Ok(*answer),
                            Heard::Again => again = true,
                            Heard::Refused(ALLOCATION_MISMATCH) if matches!(ask, Ask::Allocate) => {
                                mismatch = true;
                            }
                            Heard::Refused(code) => return Err(ask.refused(code)),
                            Heard::Foreign => {}
                        }
                    }
                }
            }
            if mismatch {
                self.socket = bind()?;
            }
        }
        Err(Failure::Turn(format!("no answer to {}", ask.name())))
    }
}

/// Whether the kernel takes it shows in the answer.
fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    let mut batch = SendBatch::new(1, bytes.len());
    batch.push_slices(&Route::from(to), None, &[bytes]);
    batch.send(socket);
}
