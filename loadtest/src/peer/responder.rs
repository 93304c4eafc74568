//! The far side in tests: a lite ICE agent and DTLS server made of the same parts, and proof that both halves meet.

use std::sync::Arc;

use tokio::net::UdpSocket;

use super::ice::{Agent, Outcome};
use super::setup::{Setup, bind};
use super::{DATAGRAM_LEN_MAX, Identity, Peer, Profile};
use crate::clock::now_us;
use crate::failure::Failure;
use crate::sdp::IceCredentials;
use crate::sdp::answer::Remote;

/// A bound socket that waits for a browser.
pub(crate) struct Responder {
    socket: UdpSocket,
    identity: Identity,
    ice: IceCredentials,
}

impl Responder {
    pub(crate) fn bind() -> Self {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { socket, identity: Identity::generate().unwrap(), ice: IceCredentials::generate() }
    }

    /// What an SDP answer would say.
    pub(crate) fn as_remote(&self) -> Remote {
        let port = self.socket.local_addr().unwrap().port();
        Remote {
            ice: self.ice.clone(),
            fingerprint: self.identity.digest,
            candidates: vec![([127, 0, 0, 1], port).into()],
            ice_lite: true,
        }
    }

    /// Waits for the first valid check, then for the handshake.
    pub(crate) async fn accept(
        self,
        far_ice: IceCredentials,
        far_digest: [u8; 32],
        profile: Profile,
    ) -> Result<Peer, Failure> {
        let mut agent = Agent::new(self.ice, far_ice, now_us());
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        let from = loop {
            let (len, from) = self.socket.recv_from(&mut buffer).await?;
            if let Outcome::Reply(reply) = agent.handle(now_us(), from, &buffer[..len]) {
                self.socket.send_to(&reply, from).await?;
                break from;
            }
        };
        self.socket.connect(from).await?;
        Setup::new(Arc::new(self.socket), from, agent)
            .finish(&self.identity, far_digest, profile, false)
            .await
    }
}

/// A connected pair: the simulated browser and its far side.
pub(crate) async fn pair(profile: Profile) -> (Peer, Peer) {
    let identity = Identity::generate().unwrap();
    let ice = IceCredentials::generate();
    let responder = Responder::bind();
    let remote = responder.as_remote();
    let far = tokio::spawn(responder.accept(ice.clone(), identity.digest, Profile::Any));
    let near = super::connect(&identity, ice, &remote, profile).await.unwrap();
    (near, far.await.unwrap().unwrap())
}

mod tests {
    use super::super::Incoming;
    use super::*;
    use rtp::header::Header;
    use webrtc_util::Marshal;

    async fn next(peer: &mut Peer) -> Incoming {
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        loop {
            peer.readable().await.unwrap();
            match peer.try_receive(&mut buffer) {
                Some(Incoming::Handled) | None => {}
                Some(incoming) => return incoming,
            }
        }
    }

    fn packet(sequence_number: u16) -> Vec<u8> {
        let header = Header { version: 2, payload_type: 96, sequence_number, ssrc: 7, ..Header::default() };
        let mut packet = header.marshal().unwrap().to_vec();
        packet.extend_from_slice(b"payload");
        packet
    }

    async fn both_ways(profile: Profile, name: &str) {
        let (mut near, mut far) = pair(profile).await;
        assert_eq!((near.profile(), far.profile()), (name, name));
        for (from, to) in [(0, 1), (1, 0)] {
            let peers = [&mut near, &mut far];
            let [a, b] = peers;
            let (sender, receiver) = if (from, to) == (0, 1) { (a, b) } else { (b, a) };
            sender.send_rtp(&packet(65_535)).await.unwrap();
            sender.send_rtp(&packet(0)).await.unwrap();
            for sequence_number in [65_535, 0] {
                let Incoming::Rtp { header, header_len, packet } = next(receiver).await else {
                    panic!("no RTP")
                };
                assert_eq!((header.sequence_number, header.ssrc), (sequence_number, 7));
                assert_eq!(&packet[header_len..], b"payload");
            }
            let report = rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication::default();
            sender.send_rtcp(&report.marshal().unwrap()).await.unwrap();
            let Incoming::Rtcp(opened) = next(receiver).await else { panic!("no RTCP") };
            assert_eq!(opened, report.marshal().unwrap());
        }
        assert_eq!(near.anomalies.undecryptable + far.anomalies.undecryptable, 0);
    }

    #[tokio::test]
    async fn media_both_ways_with_gcm128() {
        both_ways(Profile::Gcm128, "AEAD_AES_128_GCM").await;
    }

    #[tokio::test]
    async fn media_both_ways_with_gcm256() {
        both_ways(Profile::Gcm256, "AEAD_AES_256_GCM").await;
    }

    #[tokio::test]
    async fn media_both_ways_with_sha1() {
        both_ways(Profile::Sha1, "AES_CM_128_HMAC_SHA1_80").await;
    }

    #[tokio::test]
    async fn consent_checks_are_answered() {
        let (mut near, mut far) = pair(Profile::Gcm128).await;
        let before = near.agent.successes;
        near.next_consent_us = 0;
        near.tick().await.unwrap();
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        far.readable().await.unwrap();
        far.try_receive(&mut buffer);
        while near.agent.successes == before {
            near.readable().await.unwrap();
            near.try_receive(&mut buffer);
        }
    }

    #[tokio::test]
    async fn a_certificate_other_than_the_sdp_says_is_refused() {
        let (identity, ice) = (Identity::generate().unwrap(), IceCredentials::generate());
        let responder = Responder::bind();
        let mut remote = responder.as_remote();
        remote.fingerprint[0] ^= 1;
        let far = tokio::spawn(responder.accept(ice.clone(), identity.digest, Profile::Any));
        let refused = super::super::connect(&identity, ice, &remote, Profile::Any).await;
        far.abort();
        let Err(Failure::Dtls(why)) = refused else { panic!("accepted") };
        assert!(why.contains("fingerprint"), "{why}");
    }

    #[tokio::test]
    async fn a_changed_packet_is_counted_and_dropped() {
        let (mut near, mut far) = pair(Profile::Gcm128).await;
        let mut sealed = near.srtp.seal_rtp(&packet(1)).unwrap().to_vec();
        *sealed.last_mut().unwrap() ^= 1;
        near.socket.send(&sealed).await.unwrap();
        near.send_rtp(&packet(2)).await.unwrap();
        let Incoming::Rtp { header, .. } = next(&mut far).await else { panic!("no RTP") };
        assert_eq!((header.sequence_number, far.anomalies.undecryptable), (2, 1));
    }
}
