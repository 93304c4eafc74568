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
    /// The shard it is on, where that is not its session's.
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

impl Media {
    /// Id of the relay's peer.
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

    /// Whether it is a viewer's: a publisher may watch over its transport too, but only itself.
    pub const fn is_viewing(&self) -> bool {
        self.tracks.is_empty() && !self.subscriptions.is_empty()
    }

    /// The messages in the order the relay needs: the peer first. `home` is the session's shard, where all publishers
    /// are: a subscription elsewhere says so.
    pub fn commands(&self, home: u32) -> Vec<Command> {
        let from = (self.shard_or(home) != home).then_some(home);
        let subscription = |put: &PutSubscription| PutSubscription { home: from, ..put.clone() };
        std::iter::once(Command::PutPeer(self.peer.clone()))
            .chain(self.tracks.iter().cloned().map(Command::PutTrack))
            .chain(self.subscriptions.iter().map(subscription).map(Command::PutSubscription))
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
            shard: Some(1),
        };
        let text = serde_json::to_string(&media).unwrap();
        assert_eq!(serde_json::from_str::<Media>(&text).unwrap(), media);
        assert!(serde_json::from_str::<Media>("\"!\"").is_err());
        assert!(matches!(
            media.commands(1).as_slice(),
            [
                Command::PutPeer(_),
                Command::PutTrack(_),
                Command::PutSubscription(PutSubscription { home: None, .. })
            ]
        ));
    }

    #[test]
    fn a_viewer_elsewhere_names_the_shard_its_track_comes_from() {
        let subscriptions = vec![PutSubscription { subscription: 4, track: 3, ..PutSubscription::default() }];
        let mut media = Media { subscriptions, shard: Some(1), ..Media::default() };
        let home = |media: &Media, home| match media.commands(home).pop() {
            Some(Command::PutSubscription(put)) => put.home,
            other => panic!("{other:?}"),
        };
        assert_eq!((media.shard_or(0), home(&media, 0), home(&media, 1)), (1, Some(0), None));
        media.shard = None;
        assert_eq!((media.shard_or(2), home(&media, 2)), (2, None));
    }
}
