//! One node of the media graph: a transport, what comes in over it and what goes out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use millrace_control::{Command, MediaKind, PutPeer, PutSubscription, PutTrack};
use prost::Message;
use serde::{Deserialize, Serialize};

/// The desired state of one transport and of what goes over it.
///
/// It holds the messages that make it in the relay, so that they can be sent again to a relay that lost its state. A
/// publisher of OpenVidu is an endpoint with inputs. A viewer is an endpoint with outputs. An endpoint of Kurento has
/// both. An output names the track id of the input that it shows. This is an edge of the graph.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// The transport.
    #[prost(message, required, tag = "1")]
    pub peer: PutPeer,
    /// What the client sends over it.
    #[prost(message, repeated, tag = "2")]
    pub inputs: Vec<PutTrack>,
    /// What the client receives over it.
    #[prost(message, repeated, tag = "3")]
    pub outputs: Vec<PutSubscription>,
    /// The shard that it is on, where that is not its session's.
    #[prost(uint32, optional, tag = "4")]
    pub shard: Option<u32>,
}

/// A relay's peer and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedPeer {
    /// Its id.
    pub peer: u64,
    /// Its shard, where that is not its session's.
    pub shard: Option<u32>,
}

impl Endpoint {
    /// Its id, which is that of the relay's peer.
    pub const fn id(&self) -> u64 {
        self.peer.peer
    }

    /// The relay's peer and where it is.
    pub const fn placed(&self) -> PlacedPeer {
        PlacedPeer { peer: self.id(), shard: self.shard }
    }

    /// The shard it is on; `home` is its session's.
    pub fn shard_or(&self, home: u32) -> u32 {
        self.shard.unwrap_or(home)
    }

    /// Whether it only receives.
    pub const fn is_viewing(&self) -> bool {
        self.inputs.is_empty() && !self.outputs.is_empty()
    }

    /// Whether it receives video.
    pub fn receives_video(&self) -> bool {
        self.outputs.iter().any(|output| output.kind() == MediaKind::Video)
    }

    /// The input of that kind.
    pub fn input(&self, kind: MediaKind) -> Option<&PutTrack> {
        self.inputs.iter().find(|input| input.kind() == kind)
    }

    /// The messages in the order that the relay needs: the transport first. `home` is the session's shard, where all inputs
    /// are: an output on another shard names it.
    pub fn commands(&self, home: u32) -> Vec<Command> {
        let inputs = self.inputs.iter().cloned().map(Command::PutTrack);
        std::iter::once(Command::PutPeer(self.peer.clone()))
            .chain(inputs)
            .chain(self.output_commands(home))
            .collect()
    }

    /// The messages that join its outputs to their inputs.
    pub fn output_commands(&self, home: u32) -> impl Iterator<Item = Command> {
        let from = (self.shard_or(home) != home).then_some(home);
        let output = move |put: &PutSubscription| PutSubscription { home: from, ..put.clone() };
        self.outputs.iter().map(output).map(Command::PutSubscription)
    }
}

/// The store keeps an endpoint as one short text without field names.
impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        STANDARD_NO_PAD.encode(endpoint.encode_to_vec())
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|error| error.to_string())?;
        Self::decode(bytes.as_slice()).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_the_store() {
        let endpoint = Endpoint {
            peer: PutPeer { room: 1, peer: u64::MAX, local_ufrag: "abcd".into(), ..PutPeer::default() },
            inputs: vec![PutTrack { track: 3, peer: u64::MAX, mid: "0".into(), ..PutTrack::default() }],
            outputs: vec![PutSubscription { subscription: 4, track: 3, ..PutSubscription::default() }],
            shard: Some(1),
        };
        let text = serde_json::to_string(&endpoint).unwrap();
        assert_eq!(serde_json::from_str::<Endpoint>(&text).unwrap(), endpoint);
        assert!(serde_json::from_str::<Endpoint>("\"!\"").is_err());
        assert!(matches!(
            endpoint.commands(1).as_slice(),
            [
                Command::PutPeer(_),
                Command::PutTrack(_),
                Command::PutSubscription(PutSubscription { home: None, .. })
            ]
        ));
    }

    #[test]
    fn an_output_on_another_shard_names_the_shard_of_its_input() {
        let outputs = vec![PutSubscription { subscription: 4, track: 3, ..PutSubscription::default() }];
        let mut endpoint = Endpoint { outputs, shard: Some(1), ..Endpoint::default() };
        let home = |endpoint: &Endpoint, home| match endpoint.commands(home).pop() {
            Some(Command::PutSubscription(put)) => put.home,
            other => panic!("{other:?}"),
        };
        assert_eq!((endpoint.shard_or(0), home(&endpoint, 0), home(&endpoint, 1)), (1, Some(0), None));
        endpoint.shard = None;
        assert_eq!((endpoint.shard_or(2), home(&endpoint, 2)), (2, None));
    }
}
