//! A server in one process for tests of the whole scenario: REST, RPC and a forwarder that can be told to misbehave.
//! It is made of our own parts, so it proves the load generator, not the relay.

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtp::header::Header;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use webrtc_util::Marshal;

use crate::peer::responder::Responder;
use crate::peer::{DATAGRAM_LEN_MAX, Incoming, Peer, Profile};
use crate::sdp::{IceCredentials, Kind};
use crate::stamp::{Phase, Stamp};

/// SSRC of everything the forwarder sends.
const FORWARDED_SSRC: u32 = 4242;

/// What the forwarder does to one counted packet of every viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Drop(u64),
    Double(u64),
    Swap(u64),
    Corrupt(u64),
    ForeignSsrc(u64),
    /// Never asks for a key frame and starts anywhere.
    NoKeyFrame,
}

type Outbox = mpsc::UnboundedSender<Value>;

#[derive(Default)]
struct State {
    participants: Vec<Outbox>,
    published: Option<Value>,
    forwarder: Option<mpsc::UnboundedSender<(Peer, u8)>>,
}

/// Starts a server; returns its URL.
pub(crate) async fn serve(fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(Mutex::new(State::default()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, format!("ws://{address}"), Arc::clone(&state), fault));
        }
    });
    format!("http://{address}")
}

async fn connection(mut stream: TcpStream, base: String, state: Arc<Mutex<State>>, fault: Fault) {
    let mut first = [0; 4];
    stream.peek(&mut first).await.unwrap();
    if &first == b"GET " {
        return websocket(stream, state, fault).await;
    }
    let mut request = vec![0; 8192];
    let len = stream.read(&mut request).await.unwrap();
    let text = String::from_utf8_lossy(&request[..len]).into_owned();
    let mut fields = text.lines().filter_map(|line| line.split_once(": "));
    let secret = fields.find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    assert_eq!(secret.map(|(_, value)| value), Some("Basic T1BFTlZJRFVBUFA6cw=="), "OPENVIDUAPP:s");
    let body = if text.contains("/connection ") {
        json!({ "connectionId": "con_A", "token": format!("{base}?sessionId=ses_A&token=tok_A") })
    } else {
        json!({ "id": "ses_A" })
    };
    let body = body.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn websocket(stream: TcpStream, state: Arc<Mutex<State>>, fault: Fault) {
    let socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    let (mut sink, mut source) = socket.split();
    let (outbox, mut inbox) = mpsc::unbounded_channel::<Value>();
    tokio::spawn(async move {
        while let Some(message) = inbox.recv().await {
            let _ = sink.send(Message::text(message.to_string())).await;
        }
    });
    while let Some(Ok(Message::Text(text))) = source.next().await {
        let call: Value = serde_json::from_str(&text).unwrap();
        let params = &call["params"];
        let result = match call["method"].as_str().unwrap() {
            "ping" => json!({ "value": "pong" }),
            "joinRoom" => {
                let mut state = state.lock().unwrap();
                state.participants.push(outbox.clone());
                let value: Vec<&Value> = state.published.iter().collect();
                json!({ "id": "con_A", "sessionId": "rpc", "value": value })
            }
            "publishVideo" => publish(params["sdpOffer"].as_str().unwrap(), &state, fault),
            "receiveVideoFrom" => {
                assert_eq!(params["sender"], "str_CAM_A");
                subscribe(params["sdpOffer"].as_str().unwrap(), &state)
            }
            _ => json!({}),
        };
        let _ = outbox.send(json!({ "id": call["id"], "result": result, "jsonrpc": "2.0" }));
    }
}

fn publish(offer: &str, state: &Arc<Mutex<State>>, fault: Fault) -> Value {
    let (responder, answer) = answer(offer, "recvonly", "");
    let (forwarder, viewers) = mpsc::unbounded_channel();
    let accept = accept(responder, offer);
    tokio::spawn(async move { forward(accept.await, viewers, fault).await });
    let mut state = state.lock().unwrap();
    state.forwarder = Some(forwarder);
    let participant = json!({ "id": "con_A", "streams": [{ "id": "str_CAM_A" }] });
    for other in &state.participants {
        let _ =
            other.send(json!({ "method": "participantPublished", "params": participant, "jsonrpc": "2.0" }));
    }
    state.published = Some(participant);
    json!({ "sdpAnswer": answer, "id": "str_CAM_A", "createdAt": 1 })
}

fn subscribe(offer: &str, state: &Arc<Mutex<State>>) -> Value {
    let (responder, answer) = answer(offer, "sendonly", &format!("a=ssrc:{FORWARDED_SSRC} cname:x\r\n"));
    let forwarder = state.lock().unwrap().forwarder.clone().unwrap();
    let (accept, payload_type) = (accept(responder, offer), vp8_of(offer));
    tokio::spawn(async move { forwarder.send((accept.await, payload_type)) });
    json!({ "sdpAnswer": answer })
}

fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap()
}

fn vp8_of(offer: &str) -> u8 {
    let rtpmap = offer.lines().find_map(|line| line.strip_suffix(" VP8/90000")).unwrap();
    rtpmap.strip_prefix("a=rtpmap:").unwrap().parse().unwrap()
}

fn answer(offer: &str, direction: &str, more: &str) -> (Responder, String) {
    let responder = Responder::bind();
    let remote = responder.as_remote();
    let hex: Vec<String> = remote.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    let (payload_type, address) = (vp8_of(offer), remote.candidates[0]);
    let sdp = format!(
        "v=0\r\na=ice-lite\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF {payload_type}\r\na=mid:0\r\n\
         a={direction}\r\na=rtcp-mux\r\na=rtpmap:{payload_type} VP8/90000\r\na=setup:passive\r\na=ice-ufrag:{}\r\n\
         a=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=candidate:1 1 udp 1 {} {} typ host\r\n{more}",
        remote.ice.ufrag,
        remote.ice.pwd,
        hex.join(":"),
        address.ip(),
        address.port()
    );
    (responder, sdp)
}

fn accept(responder: Responder, offer: &str) -> impl Future<Output = Peer> + use<> {
    let ice = IceCredentials {
        ufrag: attribute(offer, "a=ice-ufrag:").to_owned(),
        pwd: attribute(offer, "a=ice-pwd:").to_owned(),
    };
    let hex = attribute(offer, "a=fingerprint:sha-256 ").split(':');
    let digest: Vec<u8> = hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    async move { responder.accept(ice, digest.try_into().unwrap(), Profile::Any).await.unwrap() }
}

/// One viewer's side of the forwarder.
struct Out {
    peer: Peer,
    payload_type: u8,
    sequence: u16,
    live: bool,
    held: Option<Vec<u8>>,
}

async fn forward(mut publisher: Peer, mut joining: mpsc::UnboundedReceiver<(Peer, u8)>, fault: Fault) {
    let mut viewers: Vec<Out> = Vec::new();
    let mut buffer = [0; DATAGRAM_LEN_MAX];
    loop {
        tokio::select! {
            Some((peer, payload_type)) = joining.recv() => {
                let live = fault == Fault::NoKeyFrame;
                viewers.push(Out { peer, payload_type, sequence: 65_500, live, held: None });
            }
            Ok(()) = publisher.readable() => {
                let Some(incoming) = publisher.try_receive(&mut buffer) else { continue };
                let Incoming::Rtp { header, header_len, packet } = incoming else { continue };
                let payload = &packet[header_len..];
                let stamp = Stamp::read(Kind::Video, payload).unwrap();
                if fault != Fault::NoKeyFrame && viewers.iter().any(|viewer| !viewer.live) {
                    let pli = PictureLossIndication { sender_ssrc: 1, media_ssrc: header.ssrc };
                    publisher.send_rtcp(&pli.marshal().unwrap()).await.unwrap();
                }
                for viewer in &mut viewers {
                    viewer.take(&header, payload, &stamp, fault).await;
                }
            }
            else => return,
        }
    }
}

impl Out {
    async fn take(&mut self, header: &Header, payload: &[u8], stamp: &Stamp, fault: Fault) {
        let mut ignored = [0; DATAGRAM_LEN_MAX];
        while self.peer.try_receive(&mut ignored).is_some() {}
        self.live |= stamp.key && stamp.frame_start;
        if !self.live {
            return;
        }
        let hit = |number: u64| stamp.phase == Phase::Measured && stamp.number == number;
        let mut packet = self.rewrite(header, payload);
        match fault {
            Fault::Drop(number) if hit(number) => return,
            Fault::Double(number) if hit(number) => self.peer.send_rtp(&packet).await.unwrap(),
            Fault::Swap(number) if hit(number) => {
                self.held = Some(packet);
                return;
            }
            Fault::Corrupt(number) if hit(number) => *packet.last_mut().unwrap() ^= 1,
            Fault::ForeignSsrc(number) if hit(number) => packet[11] ^= 1,
            _ => {}
        }
        self.peer.send_rtp(&packet).await.unwrap();
        if let Some(held) = self.held.take() {
            self.peer.send_rtp(&held).await.unwrap();
        }
    }

    fn rewrite(&mut self, header: &Header, payload: &[u8]) -> Vec<u8> {
        let rewritten = Header {
            version: 2,
            marker: header.marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence,
            timestamp: header.timestamp.wrapping_add(77),
            ssrc: FORWARDED_SSRC,
            ..Header::default()
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = rewritten.marshal().unwrap().to_vec();
        packet.extend_from_slice(payload);
        packet
    }
}
