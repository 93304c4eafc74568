//! What the relay must hold for one PeerConnection of a browser.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use millrace_control::{Command, PutPeer, PutSubscription, PutTrack};
use prost::Message;
use serde::{Deserialize, Serialize};

/// The desired state of one transport and what goes over it, kept as the very messages that bring it about, so that
/// it can be said again to a relay that has forgotten.
///
/// OpenVidu uses one PeerConnection for a published stream and one for each subscription.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Media {
    /// The transport.
    #[prost(message, required, tag = "1")]
    pub peer: PutPeer,
    /// What the browser sends over it.
    #[prost(message, repeated, tag = "2")]
    pub tracks: Vec<PutTrack>,
    /// What it receives over it.
    #[prost(message, repeated, tag = "3")]
    pub subscriptions: Vec<PutSubscription>,
}

impl Media {
    /// Id of the relay's peer.
    pub const fn id(&self) -> u64 {
        self.peer.peer
    }

    /// The messages in the order the relay needs: the peer first.
    pub fn commands(&self) -> Vec<Command> {
        std::iter::once(Command::PutPeer(self.peer.clone()))
            .chain(self.tracks.iter().cloned().map(Command::PutTrack))
            .chain(self.subscriptions.iter().cloned().map(Command::PutSubscription))
            .collect()
    }
}

/// In the store it is one short text, not a tree of field names.
impl From<Media> for String {
    fn from(media: Media) -> Self {
        STANDARD_NO_PAD.encode(media.encode_to_vec())
    }
}

impl TryFrom<String> for Media {
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
        let media = Media {
            peer: PutPeer { room: 1, peer: u64::MAX, local_ufrag: "abcd".into(), ..PutPeer::default() },
            tracks: vec![PutTrack { track: 3, peer: u64::MAX, mid: "0".into(), ..PutTrack::default() }],
            subscriptions: vec![PutSubscription { subscription: 4, track: 3, ..PutSubscription::default() }],
        };
        let text = serde_json::to_string(&media).unwrap();
        assert_eq!(serde_json::from_str::<Media>(&text).unwrap(), media);
        assert!(serde_json::from_str::<Media>("\"!\"").is_err());
        assert!(matches!(
            media.commands().as_slice(),
            [Command::PutPeer(_), Command::PutTrack(_), Command::PutSubscription(_)]
        ));
    }
}
