//! The model: sessions, connections, tokens, streams and roles.
//!
//! Pure: no IO, no clock, no randomness, no JSON of the protocol. Whoever calls brings the time and the ids that
//! were drawn, and carries out the [`Changes`] that come back: tell these people that, make the relay forget those
//! peers. What survives a restart is a [`Session`], stored as one value.

mod caps;
mod connection;
mod fact;
mod join;
mod leave;
mod media;
mod notice;
mod offers;
mod properties;
mod publish;
mod refusal;
mod role;
mod signal;
mod stream;
mod subscribe;

use std::collections::{BTreeMap, VecDeque};

use millrace_control::{CodecKind, MediaKind};
use serde::{Deserialize, Serialize};

pub use caps::Caps;
pub use connection::{Connection, Participant, RECORDER};
pub use fact::{Fact, Flow, Person};
pub use join::Arrival;
pub use media::{Media, PlacedPeer};
pub use notice::{Changes, Notice, Notification, Reason};
pub use offers::{Attempt, Offer, Offers};
pub use properties::{
    ConnectionProperties, ForcedVideoCodec, IceServer, KurentoOptions, MediaServer, SessionProperties,
    default_recording_properties,
};
pub use refusal::Refusal;
pub use role::Role;
pub use signal::Signal;
pub use stream::{MediaOptions, Stream, Subscription};

/// Connections remembered after they are gone.
const GONE_MAX: usize = 64;

/// A session: the people in one call and what they send each other.
///
/// One value of the store. Those of the release before must still read, or everybody in them is thrown out at an
/// update: each field that is added, here or below, is an `Option` or has `#[serde(default)]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// The relay's id of it.
    pub room: u64,
    /// The shard it lives on, once somebody has joined.
    pub shard: Option<u32>,
    /// When it was made, in ms since 1970.
    pub created_at_ms: u64,
    /// What the application asked for.
    pub properties: SessionProperties,
    connections: Vec<Connection>,
    /// Desired state of operations under way: the relay was told, the model not yet.
    #[serde(skip)]
    reserved: Vec<Media>,
    /// Connections that were here, the latest of them: what clients still say of them is late, not wrong.
    #[serde(skip)]
    gone: VecDeque<String>,
    /// Offers of ours that wait for an answer. Who does not get one after a restart asks again.
    #[serde(skip)]
    pub offers: Offers,
}

impl Session {
    /// A session nobody has joined.
    pub const fn new(id: String, room: u64, properties: SessionProperties, now_ms: u64) -> Self {
        Self {
            id,
            room,
            shard: None,
            created_at_ms: now_ms,
            properties,
            connections: Vec::new(),
            reserved: Vec::new(),
            gone: VecDeque::new(),
            offers: Offers::new(),
        }
    }

    /// What follows from its being made.
    pub fn open(&self) -> Changes {
        Changes { facts: vec![Fact::Opened], ..Changes::default() }
    }

    /// Adds a connection that waits for its token to be used. There may be `max` of them, pending ones included.
    ///
    /// # Errors
    /// When the session is full.
    pub fn add_connection(&mut self, connection: Connection, max: usize) -> Result<&Connection, Refusal> {
        if self.connections.len() >= max {
            return Err(Refusal::Limit("connections in one session"));
        }
        self.connections.push(connection);
        Ok(self.connections.last().expect("one was pushed just now"))
    }

    /// Whether that connection is, or was lately, one of this session.
    pub fn knows(&self, id: &str) -> bool {
        self.connection(id).is_some() || self.gone.iter().any(|gone| gone == id)
    }

    pub(super) fn remember_gone(&mut self, id: String) {
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(id);
    }

    /// Every connection, oldest first.
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// The connection of that id.
    pub fn connection(&self, id: &str) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.id == id)
    }

    /// Everybody who has joined, oldest connection first.
    pub fn participants(&self) -> impl Iterator<Item = (&Connection, &Participant)> {
        self.connections.iter().filter_map(|connection| Some((connection, connection.participant.as_ref()?)))
    }

    /// Whether anybody is in it. The last one who leaves ends it.
    pub fn active(&self) -> bool {
        self.participants().next().is_some()
    }

    /// The participant who publishes that stream.
    pub fn publisher(&self, stream: &str) -> Option<(&Connection, &Stream)> {
        self.participants().find_map(|(connection, participant)| {
            participant.stream.as_ref().filter(|found| found.id == stream).map(|found| (connection, found))
        })
    }

    /// The video codec of the oldest participant who publishes video.
    pub fn video_family(&self) -> Option<CodecKind> {
        let mut streams = self.participants().filter_map(|(_, participant)| participant.stream.as_ref());
        streams.find_map(|stream| stream.codecs(MediaKind::Video).first()).map(|codec| codec.kind())
    }

    /// The participant of that connection id.
    ///
    /// # Errors
    /// When the connection is gone or has not joined.
    pub fn participant(&self, id: &str) -> Result<(&Connection, &Participant), Refusal> {
        self.participants().find(|(connection, _)| connection.id == id).ok_or(Refusal::UserClosed)
    }

    /// Everything the relay is to hold for this session: what is agreed and what is about to be.
    pub fn media(&self) -> impl Iterator<Item = &Media> {
        self.participants()
            .flat_map(|(_, participant)| {
                let stream = participant.stream.iter().map(|stream| &stream.media);
                stream.chain(participant.subscriptions.iter().map(|subscription| &subscription.media))
            })
            .chain(&self.reserved)
    }

    /// What follows from the relay's not having some peers back: those whose they are hear of it, once each.
    pub fn lose_media(&self, refused: &BTreeMap<u64, String>) -> Changes {
        let mut changes = Changes::default();
        for (_, participant) in self.participants() {
            let published = participant.stream.iter().map(|stream| &stream.media);
            let watched = participant.subscriptions.iter().map(|watched| &watched.media);
            let why = published.chain(watched).find_map(|media| refused.get(&media.id()));
            if let Some(why) = why {
                let error = format!("the media server could not restore a stream: {why}");
                changes.tell(vec![participant.rpc_session.clone()], Notice::MediaFailed { error });
            }
        }
        changes
    }

    /// How many viewers' transports are on the session's own shard.
    pub fn viewers_at_home(&self) -> usize {
        self.media().filter(|media| media.is_viewing() && media.shard.is_none()).count()
    }

    /// Viewers on a shard that is no more count as being at home, where they are said again.
    pub fn forget_shards(&mut self, exists: impl Fn(u32) -> bool) {
        let participants =
            self.connections.iter_mut().filter_map(|connection| connection.participant.as_mut());
        let watched = participants.flat_map(|participant| &mut participant.subscriptions);
        for media in watched.map(|subscription| &mut subscription.media).chain(&mut self.reserved) {
            media.shard = media.shard.filter(|shard| exists(*shard));
        }
    }

    /// Claims `media` for an operation under way, so that a reconciliation in between keeps it.
    pub fn reserve(&mut self, media: Media) {
        self.reserved.push(media);
    }

    /// Ends a claim; gives back whether there was one.
    pub fn release(&mut self, peer: u64) -> bool {
        let before = self.reserved.len();
        self.reserved.retain(|media| media.id() != peer);
        self.reserved.len() != before
    }

    fn participant_mut(&mut self, id: &str) -> Result<&mut Participant, Refusal> {
        self.connections
            .iter_mut()
            .find(|connection| connection.id == id)
            .and_then(|connection| connection.participant.as_mut())
            .ok_or(Refusal::UserClosed)
    }

    /// RPC sessions of those who are told what happens to `id`: everybody but itself, and nobody if it is hidden.
    fn told_of(&self, id: &str) -> Vec<String> {
        if id == RECORDER { Vec::new() } else { self.others(id) }
    }

    /// RPC sessions of everybody.
    fn everybody(&self) -> Vec<String> {
        self.participants().map(|(_, participant)| participant.rpc_session.clone()).collect()
    }

    /// RPC sessions of everybody but `id`.
    fn others(&self, id: &str) -> Vec<String> {
        self.participants()
            .filter(|(connection, _)| connection.id != id)
            .map(|(_, participant)| participant.rpc_session.clone())
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A session with people in it.

    use millrace_control::PutPeer;

    use super::*;

    /// A session without anybody.
    pub(crate) fn empty() -> Session {
        Session::new("ses_A".into(), 1, SessionProperties::default(), 1_000)
    }

    /// Adds a pending connection `id` whose token is `tok_<id>`.
    pub(crate) fn invite(session: &mut Session, id: &str, role: Role) {
        let connection = Connection {
            id: id.into(),
            created_at_ms: 1_000,
            token: format!("tok_{id}"),
            token_url: format!("wss://host?sessionId=ses_A&token=tok_{id}"),
            properties: ConnectionProperties { role, ..ConnectionProperties::default() },
            participant: None,
        };
        session.add_connection(connection, usize::MAX).unwrap();
    }

    /// Who arrives as `id`; its RPC session is `rpc_<id>`.
    pub(crate) fn arrival(id: &str) -> Arrival {
        Arrival {
            rpc_session: format!("rpc_{id}"),
            client_data: String::new(),
            platform: "test".into(),
            ip: "127.0.0.1".into(),
            dialect: "test".into(),
            final_user_id: "0".into(),
            now_ms: 2_000,
        }
    }

    /// Invites and joins.
    pub(crate) fn join(session: &mut Session, id: &str, role: Role) {
        invite(session, id, role);
        let (joined, _) = session.join(&format!("tok_{id}"), arrival(id)).unwrap();
        assert_eq!(joined, id);
    }

    /// Media of one relay peer.
    pub(crate) fn media(peer: u64) -> Media {
        Media { peer: PutPeer { room: 1, peer, ..PutPeer::default() }, ..Media::default() }
    }

    /// Ids of the peers that the relay must forget.
    pub(crate) fn removed(changes: &Changes) -> Vec<u64> {
        changes.removed_peers.iter().map(|removed| removed.peer).collect()
    }

    /// A stream `str_CAM_Xxxx_<publisher>` over the relay's peer `peer`.
    pub(crate) fn stream(publisher: &str, peer: u64) -> Stream {
        Stream {
            id: format!("str_CAM_Xxxx_{publisher}"),
            created_at_ms: 3_000,
            options: MediaOptions { has_audio: true, has_video: true, ..MediaOptions::default() },
            audio_track: peer * 10,
            video_track: peer * 10 + 1,
            media: media(peer),
        }
    }

    /// `viewer` watches `publisher` over the relay's peer `peer`.
    pub(crate) fn watch(session: &mut Session, viewer: &str, publisher: &str, peer: u64) -> Changes {
        let stream = format!("str_CAM_Xxxx_{publisher}");
        session.subscribe(viewer, &stream, media(peer), 4_000).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    #[test]
    fn a_session_survives_the_store_without_what_was_under_way() {
        let mut session = empty();
        join(&mut session, "con_A", Role::Publisher);
        join(&mut session, "con_B", Role::Subscriber);
        let _ = session.publish("con_A", stream("con_A", 7)).unwrap();
        let _ = watch(&mut session, "con_B", "con_A", 8);
        session.reserve(media(9));

        let bytes = serde_json::to_vec(&session).unwrap();
        let restored: Session = serde_json::from_slice(&bytes).unwrap();
        let peers: Vec<u64> = restored.media().map(Media::id).collect();
        assert_eq!(peers, [7, 8]);
        assert_eq!(session.media().count(), 3);
        assert_eq!(restored.participant("con_A").unwrap().1.rpc_session, "rpc_con_A");
    }

    #[test]
    fn what_an_earlier_release_stored_still_reads() {
        let text = include_str!("../../tests/fixtures/store/session-0.1.0.json");
        let session: Session = serde_json::from_str(text).unwrap();
        assert_eq!(session.media().map(Media::id).collect::<Vec<_>>(), [7, 8]);
        let (_, publisher) = session.participant("con_A").unwrap();
        assert_eq!(publisher.dialect, "");
        assert_eq!(publisher.stream.as_ref().unwrap().options.frame_rate, Some(30));
        let waiting = &session.connection("con_C").unwrap().properties;
        assert_eq!(waiting.kurento_options.as_ref().unwrap().video_max_recv_bandwidth, Some(500));
        assert_eq!(waiting.custom_ice_servers[0].username.as_deref(), Some("u"));

        // Everything it said is kept, whatever has been added to it since.
        fn keeps(new: &serde_json::Value, old: &serde_json::Value) -> bool {
            match (new, old) {
                (serde_json::Value::Object(new), serde_json::Value::Object(old)) => {
                    old.iter().all(|(key, old)| new.get(key).is_some_and(|new| keeps(new, old)))
                }
                (serde_json::Value::Array(new), serde_json::Value::Array(old)) => {
                    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| keeps(new, old))
                }
                (new, old) => new == old,
            }
        }
        let again = serde_json::to_value(&session).unwrap();
        assert!(keeps(&again, &serde_json::from_str(text).unwrap()), "{again:#}");
    }

    #[test]
    fn a_full_session_takes_no_more_connections() {
        let mut session = empty();
        for number in 0..2 {
            invite(&mut session, &format!("con_{number}"), Role::Publisher);
        }
        let one_more = Connection { id: "con_X".into(), ..session.connections()[0].clone() };
        assert!(matches!(session.add_connection(one_more.clone(), 2), Err(Refusal::Limit(_))));
        assert!(session.add_connection(one_more, 3).is_ok());
    }
}
