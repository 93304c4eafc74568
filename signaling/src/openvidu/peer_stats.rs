//! What `webRtcStats=true` adds to a publisher or a subscriber: how its PeerConnection came about.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value, json};

use crate::registry::{Peers, Texts};

/// Priority of a candidate learnt from checks, of the only component there is (RFC 8445 §5.1.2.1).
const LEARNT_PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// Adds all that is known. What is not, after a restart say, is null or empty.
pub fn add(object: &mut Map<String, Value>, name: &str, endpoint: u64, peers: &Peers) {
    let texts = peers.texts(endpoint);
    let (local, remote) = (texts.map(|texts| &*texts.local), texts.map(|texts| &*texts.remote));
    let ours = local.map(candidates).unwrap_or_default();
    let address = peers.get(endpoint).and_then(|note| note.remote.parse::<SocketAddr>().ok());
    object.insert("webrtcEndpointName".into(), json!(name));
    object.insert("localSdp".into(), json!(local));
    object.insert("remoteSdp".into(), json!(remote));
    object.insert("clientIceCandidates".into(), json!(remote.map(candidates).unwrap_or_default()));
    object.insert("serverIceCandidates".into(), json!(ours));
    object.insert("localCandidate".into(), json!(address.and_then(|address| chosen(&ours, address.ip()))));
    object.insert("remoteCandidate".into(), json!(address.map(learnt)));
    object.insert("events".into(), events(texts));
}

/// The candidates inside an SDP.
fn candidates(sdp: &str) -> Vec<&str> {
    sdp.lines().filter_map(|line| line.strip_prefix("a=")).filter(|it| it.starts_with("candidate:")).collect()
}

/// The one of our candidates that a client at `remote` can have used: there is one for each family, or the first of
/// several counts.
fn chosen<'a>(ours: &[&'a str], remote: IpAddr) -> Option<&'a str> {
    let is_of_family = |candidate: &&&str| {
        let address = candidate.split(' ').nth(4).and_then(|address| address.parse::<IpAddr>().ok());
        address.is_some_and(|address| address.is_ipv4() == remote.to_canonical().is_ipv4())
    };
    ours.iter().find(is_of_family).copied()
}

/// Where the client's packets come from, as a candidate.
fn learnt(address: SocketAddr) -> String {
    let ip = address.ip().to_canonical();
    format!("candidate:1 1 udp {LEARNT_PRIORITY} {ip} {} typ prflx", address.port())
}

fn events(texts: Option<&Texts>) -> Value {
    let event = |event: &(u64, &'static str)| json!({"timestamp": event.0, "type": event.1});
    texts.into_iter().flat_map(|texts| &texts.events).map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_in_use_is_told_from_the_address_packets_come_from() {
        let sdp = "v=0\r\na=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\na=mid:0\r\n\
                   a=candidate:2 1 udp 2130706175 2001:db8::1 5000 typ host\r\n";
        let ours = candidates(sdp);
        assert_eq!(ours.len(), 2);
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(chosen(&ours, address("[2001:db8::9]:7").ip()), Some(ours[1]));
        assert_eq!(chosen(&ours, address("[::ffff:192.0.2.9]:7").ip()), Some(ours[0]));
        assert_eq!(chosen(&ours[..1], address("[2001:db8::9]:7").ip()), None);
        let learnt = learnt(address("[::ffff:192.0.2.9]:7"));
        assert_eq!(learnt, "candidate:1 1 udp 1862270975 192.0.2.9 7 typ prflx");
    }
}
