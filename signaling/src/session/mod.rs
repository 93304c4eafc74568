//! The model: sessions, connections, tokens, streams, roles, and the graph of their media.
//!
//! The model does no IO, and has no clock, no random numbers and no protocol. The caller passes in the time and the
//! new ids. The caller also carries out the [`Changes`] that a method returns: it sends the notices, and it makes the
//! relay forget peers. A change notes the [`Part`]s that it touched. The store keeps each part as a record of its
//! own.
//!
//! ```text
//!   Session ── Roster ── Connection ── Participant ── Stream ─────────► Endpoint ── inputs (tracks)
//!      │                                     └─────── Subscription ───► Endpoint ── outputs
//!      └─ Graph: every Endpoint, and the edges from outputs to inputs                  │
//!                                            an output shows one input: an edge ◄──────┘
//! ```

mod away;
mod caps;
mod connection;
mod endpoint;
mod fact;
mod graph;
mod join;
mod leave;
mod memo;
mod notice;
mod offers;
mod part;
mod properties;
mod publish;
mod refusal;
mod role;
mod roster;
mod signal;
mod stored;
mod stream;
mod subscribe;
mod watching;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millrace_control::{Codec, CodecKind, MediaKind, PutTrack};

use away::Away;
pub use caps::Caps;
pub use connection::{Connection, Participant, RECORDER};
pub use endpoint::{Endpoint, PlacedPeer};
pub use fact::{Fact, Flow, Person};
pub use graph::{Graph, GraphDelta};
pub use join::Arrival;
pub use memo::Memo;
pub use notice::{Audience, Changes, Notice, Notification, Reason};
pub use offers::{Attempt, Offer, Offers};
pub use part::Part;
pub use properties::{
    BandwidthLimits, ConnectionProperties, ForcedVideoCodec, IceServer, Offerer, SessionProperties,
    default_recording_properties,
};
pub use refusal::Refusal;
pub use role::Role;
pub use roster::Roster;
pub use signal::Signal;
pub use stored::{StoredEndpoint, StoredSession};
pub use stream::{MediaOptions, Stream, Subscription};
use watching::Watching;

/// How many connections a session remembers after they left.
const GONE_MAX: usize = 64;

/// A session: the people in one call and what they send each other.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// The relay's id of it.
    pub room: u64,
    /// The shard of its media. `None` until the first participant joins.
    shard: Option<u32>,
    /// When it was made, in ms since 1970.
    pub created_at_ms: u64,
    /// What the application asked for.
    pub properties: SessionProperties,
    roster: Roster,
    away: Away,
    graph: Graph,
    watching: Watching,
    /// The last `GONE_MAX` connections that left. A client may still name one of them, because its message was on the
    /// way.
    gone: VecDeque<String>,
    /// Offers of the server that wait for an answer. The store does not keep them: after a restart the client asks
    /// again.
    pub offers: Offers,
    /// The parts that changed since the last call of [`Session::take_touched`].
    touched: BTreeSet<Part>,
}

impl Session {
    /// Makes a session without connections.
    pub fn new(id: String, room: u64, properties: SessionProperties, now_ms: u64) -> Self {
        Self {
            id,
            room,
            shard: None,
            created_at_ms: now_ms,
            properties,
            roster: Roster::default(),
            away: Away::default(),
            graph: Graph::default(),
            watching: Watching::default(),
            gone: VecDeque::new(),
            offers: Offers::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Notes the new session for the store, and returns [`Fact::Opened`].
    pub fn open(&mut self) -> Changes {
        self.touch(Part::Session);
        Changes { facts: vec![Fact::Opened], ..Changes::default() }
    }

    /// The shard of its media. `None` until the first participant joins.
    pub const fn shard(&self) -> Option<u32> {
        self.shard
    }

    /// Gives it a shard.
    pub fn move_to(&mut self, shard: u32) {
        if self.shard.replace(shard) != Some(shard) {
            self.touch(Part::Session);
        }
    }

    /// Adds a connection that waits for its token to be used. There may be `max` of them, pending ones included.
    ///
    /// # Errors
    /// When the session is full.
    pub fn add_connection(&mut self, connection: Connection, max: usize) -> Result<(), Refusal> {
        if self.roster.len() >= max {
            return Err(Refusal::Limit("connections in one session"));
        }
        self.touch(Part::Connection(connection.id.clone()));
        self.roster.push(connection);
        Ok(())
    }

    /// Whether a connection is in this session, or is one of the last `GONE_MAX` participants that left it.
    pub fn knows(&self, id: &str) -> bool {
        self.connection(id).is_some() || self.gone.iter().any(|gone| gone == id)
    }

    pub(super) fn remember_gone(&mut self, id: String) {
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(id);
    }

    /// Its connections.
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Its media.
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Every connection, oldest first.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.roster.iter()
    }

    /// The connection of that id.
    pub fn connection(&self, id: &str) -> Option<&Connection> {
        self.roster.get(id)
    }

    /// Every participant, oldest connection first.
    pub fn participants(&self) -> impl Iterator<Item = (&Connection, &Participant)> {
        self.roster.iter().filter_map(|connection| Some((connection, connection.participant.as_ref()?)))
    }

    /// Whether it has participants. The session ends when the last one leaves.
    pub const fn active(&self) -> bool {
        self.roster.participants() > 0
    }

    /// Whether the recorder is the only participant.
    pub fn is_unattended(&self) -> bool {
        self.roster.participants() == 1 && self.participant(RECORDER).is_ok()
    }

    /// The participant who publishes that stream.
    pub fn publisher(&self, stream: &str) -> Option<(&Connection, &Stream)> {
        let connection = self.roster.of_stream(stream)?;
        Some((connection, connection.participant.as_ref()?.stream.as_ref()?))
    }

    /// The video codec of the oldest participant who publishes video.
    pub fn video_family(&self) -> Option<CodecKind> {
        let mut streams = self.participants().filter_map(|(_, participant)| participant.stream.as_ref());
        streams.find_map(|stream| self.codecs(stream, MediaKind::Video).first()).map(|codec| codec.kind())
    }

    /// The input of that kind that a stream comes in by.
    pub fn input(&self, stream: &Stream, kind: MediaKind) -> Option<&PutTrack> {
        let endpoint = self.graph.get(stream.endpoint)?;
        endpoint.inputs.iter().find(|input| input.track == stream.track(kind))
    }

    /// A publisher's payload types of that kind, the one first that it sends.
    pub fn codecs(&self, stream: &Stream, kind: MediaKind) -> &[Codec] {
        self.input(stream, kind).map_or(&[], |input| &input.codecs)
    }

    /// Formats of that kind as a publisher agreed to them, the one first that it sends. They stay when it comes back.
    pub fn formats(&self, stream: &Stream, kind: MediaKind) -> Vec<u32> {
        self.codecs(stream, kind).iter().map(|codec| codec.format).collect()
    }

    /// The participant of that connection id.
    ///
    /// # Errors
    /// When the connection is gone or has not joined.
    pub fn participant(&self, id: &str) -> Result<(&Connection, &Participant), Refusal> {
        let connection = self.roster.get(id).ok_or(Refusal::UserClosed)?;
        Ok((connection, connection.participant.as_ref().ok_or(Refusal::UserClosed)?))
    }

    /// Makes a [`Notice::MediaFailed`] for each owner of the `refused` peers, which the relay did not restore. An
    /// owner of several peers gets one notice.
    pub fn lose_media(&self, refused: &BTreeMap<u64, String>) -> Changes {
        let mut told = BTreeMap::new();
        for (&peer, why) in refused {
            if let Some((owner, _)) = self.graph.owned(peer) {
                told.entry(owner).or_insert(why);
            }
        }
        let mut changes = Changes::default();
        for (owner, why) in told {
            let error = format!("the media server could not restore a stream: {why}");
            changes.tell(Audience::one(owner), Notice::MediaFailed { error });
        }
        changes
    }

    /// Moves each endpoint on a shard that no longer exists to the session's own shard.
    pub fn forget_shards(&mut self, exists: impl Fn(u32) -> bool) {
        self.graph.forget_shards(exists);
    }

    /// Reserves an endpoint for an operation in progress, so that a reconciliation does not remove its peer
    /// meanwhile.
    pub fn reserve(&mut self, owner: &str, endpoint: Endpoint) {
        self.graph.reserve(owner, endpoint);
    }

    /// Removes a reservation. Returns whether there was one.
    pub fn release(&mut self, peer: u64) -> bool {
        self.graph.release(peer)
    }

    /// The parts that have changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<Part> {
        std::mem::take(&mut self.touched)
    }

    /// The endpoints that came and went since the last call.
    pub fn take_graph_delta(&mut self) -> GraphDelta {
        self.graph.take_delta()
    }

    fn touch(&mut self, part: Part) {
        self.touched.insert(part);
    }

    fn agree(&mut self, owner: &str, endpoint: Endpoint) {
        self.touch(Part::Endpoint(endpoint.id()));
        self.graph.agree(owner, endpoint);
    }

    fn remove_endpoint(&mut self, id: u64, changes: &mut Changes) {
        if let Some(gone) = self.graph.remove(id) {
            self.touch(Part::Endpoint(id));
            changes.removed_peers.push(gone.placed());
        }
    }

    /// Removes all connections and all media.
    fn clear(&mut self) {
        let endpoints: Vec<u64> = self.graph.endpoints().map(Endpoint::id).collect();
        for id in endpoints {
            self.graph.remove(id);
        }
        self.roster = Roster::default();
        self.away = Away::default();
        self.watching = Watching::default();
    }

    fn participant_mut(&mut self, id: &str) -> Result<&mut Participant, Refusal> {
        self.roster.participant_mut(id).ok_or(Refusal::UserClosed)
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
            order: 0,
            participant: None,
            memo: Memo::default(),
        };
        session.add_connection(connection, usize::MAX).unwrap();
    }

    /// Who arrives as `id`; its resume key is `key_<id>`.
    pub(crate) fn arrival(id: &str) -> Arrival {
        Arrival {
            resume_key: format!("key_{id}"),
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

    /// An endpoint over one relay peer.
    pub(crate) fn endpoint(peer: u64) -> Endpoint {
        Endpoint { peer: PutPeer { room: 1, peer, ..PutPeer::default() }, ..Endpoint::default() }
    }

    /// Ids of the peers that the relay must forget.
    pub(crate) fn removed(changes: &Changes) -> Vec<u64> {
        changes.removed_peers.iter().map(|removed| removed.peer).collect()
    }

    /// A stream `str_CAM_Xxxx_<publisher>` over the relay's peer `peer`.
    pub(crate) fn stream(publisher: &str, peer: u64) -> Stream {
        let options = MediaOptions { has_audio: true, has_video: true, ..MediaOptions::default() };
        let tracks = [peer * 10, peer * 10 + 1];
        Stream::new(format!("str_CAM_Xxxx_{publisher}"), 3_000, options, tracks, peer)
    }

    /// `publisher` publishes over the relay's peer `peer`.
    pub(crate) fn publish(session: &mut Session, publisher: &str, peer: u64) -> Result<Changes, Refusal> {
        session.publish(publisher, stream(publisher, peer), endpoint(peer))
    }

    /// `viewer` watches `publisher` over the relay's peer `peer`.
    pub(crate) fn watch(session: &mut Session, viewer: &str, publisher: &str, peer: u64) -> Changes {
        let stream = format!("str_CAM_Xxxx_{publisher}");
        session.subscribe(viewer, &stream, endpoint(peer), 4_000).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    #[test]
    fn a_full_session_takes_no_more_connections() {
        let mut session = empty();
        for number in 0..2 {
            invite(&mut session, &format!("con_{number}"), Role::Publisher);
        }
        let one_more = Connection { id: "con_X".into(), ..session.connection("con_0").unwrap().clone() };
        assert!(matches!(session.add_connection(one_more.clone(), 2), Err(Refusal::Limit(_))));
        assert!(session.add_connection(one_more, 3).is_ok());
    }
}
