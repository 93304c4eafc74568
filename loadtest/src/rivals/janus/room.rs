//! A room of Janus' VideoRoom plugin with one publisher, which viewers subscribe to.

use serde_json::json;

use super::api::Api;
use super::sdp::{Description, Own, answer, offer};
use crate::failure::Failure;
use crate::load::direct::Prepared;
use crate::load::source::SourceSpec;
use crate::load::track::TrackSpec;

const PLUGIN: &str = "janus.plugin.videoroom";
const ROOM: u64 = 4711;

/// The room, and who publishes in it.
pub struct Room {
    api: Api,
    publisher: u64,
    feed: u64,
}

impl Room {
    /// Makes the room. Bit rates are not capped, and no key frame is asked for that nobody needs.
    ///
    /// # Errors
    /// [`Failure::Rpc`] with Janus' reason.
    pub async fn create(mut api: Api) -> Result<Self, Failure> {
        let handle = api.attach(PLUGIN).await?;
        let room = json!({ "request": "create", "room": ROOM, "publishers": 1, "videocodec": "vp8", "bitrate": 0, "fir_freq": 0 });
        api.message(handle, room, None).await?;
        Ok(Self { api, publisher: 0, feed: 0 })
    }

    /// Lets a publisher in who sends `source`, with what it needs to come up.
    ///
    /// # Errors
    /// [`Failure::Rpc`] and [`Failure::Sdp`].
    pub async fn publish(&mut self, own: Own<'_>, source: SourceSpec) -> Result<Prepared, Failure> {
        let handle = self.api.attach(PLUGIN).await?;
        self.publisher = handle;
        let join = json!({ "request": "join", "ptype": "publisher", "room": ROOM });
        let joined = self.api.message(handle, join, None).await?;
        let missing = || Failure::rpc("join", "the publisher has no id");
        self.feed = joined.data["id"].as_u64().ok_or_else(missing)?;
        let offered = offer(own, source.ssrc, source.payload_type, source.extensions);
        let publish = json!({ "request": "publish" });
        let answered = self.api.message(handle, publish, Some(("offer", &offered))).await?;
        let said = described("publish", answered.sdp)?;
        Ok(Prepared { far: said.far, tracks: Vec::new(), sources: vec![source], transport_cc: None })
    }

    /// Waits until the publisher can be subscribed to; its handshake is over by then.
    ///
    /// # Errors
    /// [`Failure::Rpc`] when Janus does not notice within 10 s.
    pub async fn await_publisher(&mut self) -> Result<(), Failure> {
        self.api.event(self.publisher, "webrtcup").await
    }

    /// Lets a viewer in who is to see the publisher's stream.
    ///
    /// # Errors
    /// [`Failure::Rpc`] and [`Failure::Sdp`].
    pub async fn subscribe(&mut self, own: Own<'_>, mut track: TrackSpec) -> Result<Prepared, Failure> {
        let handle = self.api.attach(PLUGIN).await?;
        let join = json!({ "request": "join", "ptype": "subscriber", "room": ROOM, "streams": [{ "feed": self.feed }] });
        let offered = self.api.message(handle, join, None).await?;
        let said = described("join", offered.sdp)?;
        track.ssrc = said.ssrc.ok_or_else(|| Failure::Sdp("Janus offers no SSRC".to_owned()))?;
        let ours = answer(own, &said);
        self.api.message(handle, json!({ "request": "start" }), Some(("answer", &ours))).await?;
        Ok(Prepared { far: said.far, tracks: vec![track], sources: Vec::new(), transport_cc: None })
    }

    /// Keeps the room for another while.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn keep_alive(&mut self) -> Result<(), Failure> {
        self.api.keep_alive().await
    }
}

fn described(request: &str, sdp: Option<String>) -> Result<Description, Failure> {
    Description::parse(&sdp.ok_or_else(|| Failure::rpc(request, "the answer has no SDP"))?)
}
