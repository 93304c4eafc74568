//! The way in through the front door: sessions and tokens by REST, joins by the WebSocket RPC, SDP both ways, as
//! openvidu-browser does it: one transport for what a participant publishes and one for each stream it watches.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{OnceCell, watch};
use tokio::time::timeout;

use super::cast::PeerPlan;
use super::control::Counters;
use super::direct::{Prepared, stream_number};
use super::join::Far;
use super::scenario::{Scenario, Stream};
use super::source::{ExtensionIds, SourceSpec, turn};
use super::track::TrackSpec;
use crate::failure::Failure;
use crate::peer::Identity;
use crate::publisher::publish_parameters;
use crate::rest::Rest;
use crate::rpc::Rpc;
use crate::sdp::answer::{Answer, TrackNumbers};
use crate::sdp::numbers::CHROMIUM;
use crate::sdp::offer::{Offer, OfferedMedia, SentSsrcs};
use crate::sdp::{IceCredentials, Kind};

/// How long a viewer waits for the stream it is to watch.
const STREAM_TIMEOUT: Duration = Duration::from_secs(30);
/// SSRC of a publisher's first stream; retransmissions have the next number.
const PUBLISHER_SSRC: u32 = 0x2000_0000;

type Participants = Mutex<HashMap<usize, Arc<OnceCell<Rpc>>>>;

/// A server, and who has joined there.
pub struct Signaling {
    rest: Rest,
    candidate: Option<IpAddr>,
    sessions: Vec<OnceCell<String>>,
    participants: Participants,
    streams: Vec<watch::Sender<Option<String>>>,
}

impl Signaling {
    /// For a run with so many sessions and publishers.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the URL cannot be read.
    pub fn new(
        url: &str,
        secret: &str,
        candidate: Option<IpAddr>,
        sessions: usize,
        publishers: usize,
    ) -> Result<Self, Failure> {
        Ok(Self {
            rest: Rest::new(url, secret)?,
            candidate,
            sessions: (0..sessions).map(|_| OnceCell::new()).collect(),
            participants: Mutex::default(),
            streams: (0..publishers).map(|_| watch::Sender::new(None)).collect(),
        })
    }

    /// What the server says of its relay: process id, backend, shards.
    ///
    /// # Errors
    /// As REST gives them.
    pub async fn relay(&self) -> Result<(u32, String, usize), Failure> {
        let stats = self.rest.stats().await?;
        let pid = stats["relay"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        let backend = stats["backend"].as_str().unwrap_or_default().to_owned();
        Ok((pid, backend, stats["shards"].as_array().map_or(0, Vec::len)))
    }

    /// The relay's counters, all shards added up.
    ///
    /// # Errors
    /// As REST gives them.
    pub async fn counters(&self) -> Result<Counters, Failure> {
        let stats = self.rest.stats().await?;
        let mut sums = Counters::default();
        let shards = stats["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (name, value) in shards.iter().filter_map(|shard| shard["counters"].as_object()).flatten() {
            *sums.0.entry(name.clone()).or_default() += value.as_u64().unwrap_or(0);
        }
        Ok(sums)
    }

    /// Joins if need be, offers, and reads the answer.
    ///
    /// # Errors
    /// As REST, RPC and SDP give them.
    pub async fn prepare(
        &self,
        scenario: &Scenario,
        peer: usize,
        plan: &PeerPlan,
        local: &IceCredentials,
        identity: &Identity,
    ) -> Result<Prepared, Failure> {
        let participant = self.participant(plan).await?;
        let rpc =
            participant.get().ok_or_else(|| Failure::Late("a participant that never joined".to_owned()))?;
        match (plan.publishes, &plan.watches[..]) {
            (Some(publisher), []) => self.publish(rpc, scenario, peer, publisher, local, identity).await,
            (None, [publisher]) => self.watch(rpc, scenario, plan, *publisher, local, identity).await,
            _ => Err(Failure::Late("one transport is for one stream here".to_owned())),
        }
    }

    async fn participant(&self, plan: &PeerPlan) -> Result<Arc<OnceCell<Rpc>>, Failure> {
        let cell = {
            let mut participants = self.participants.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(participants.entry(plan.participant).or_default())
        };
        let join = async {
            let session =
                self.sessions.get(plan.session).ok_or_else(|| Failure::Late("no session".to_owned()))?;
            let session = session.get_or_try_init(|| self.rest.create_session("")).await?;
            let token = self.rest.create_token(session, "PUBLISHER").await?;
            let (mut rpc, _) = Rpc::join(&token, &format!("load{}", plan.participant)).await?;
            rpc.ignore_notifications();
            Ok::<_, Failure>(rpc)
        };
        cell.get_or_try_init(|| join).await?;
        Ok(cell)
    }

    async fn publish(
        &self,
        rpc: &Rpc,
        scenario: &Scenario,
        peer: usize,
        publisher: usize,
        local: &IceCredentials,
        identity: &Identity,
    ) -> Result<Prepared, Failure> {
        let ssrcs = |stream: &Stream| {
            let media = PUBLISHER_SSRC + 2 * stream_number(publisher, stream.kind) as u32;
            SentSsrcs { media, rtx: (stream.kind == Kind::Video).then_some(media + 1) }
        };
        let sends = |stream: &Stream| OfferedMedia { kind: stream.kind, sends: Some(ssrcs(stream)) };
        let media: Vec<OfferedMedia> = scenario.streams.iter().map(sends).collect();
        let kinds = kinds(scenario);
        let offer = offer(&media, local, identity);
        let published = rpc.call("publishVideo", publish_parameters(&kinds, &offer)).await?;
        let (far, answer) = self.far(&published, "publishVideo", &kinds)?;
        let mut sources = Vec::new();
        for stream in &scenario.streams {
            let numbers = answer.track(stream.kind, "recvonly")?;
            sources.push(SourceSpec {
                peer,
                stream: stream_number(publisher, stream.kind),
                kind: stream.kind,
                frames: stream.frames.clone(),
                ssrc: ssrcs(stream).media,
                payload_type: numbers.payload_type,
                extensions: extension_ids(&numbers),
                mid: numbers.mid,
                offset: turn(publisher, scenario.seed),
            });
        }
        let id = text(&published, "id", "publishVideo")?;
        if let Some(stream) = self.streams.get(publisher) {
            stream.send_replace(Some(id));
        }
        Ok(Prepared { far, tracks: Vec::new(), sources, transport_cc: None })
    }

    async fn watch(
        &self,
        rpc: &Rpc,
        scenario: &Scenario,
        plan: &PeerPlan,
        publisher: usize,
        local: &IceCredentials,
        identity: &Identity,
    ) -> Result<Prepared, Failure> {
        let stream = self.stream(publisher).await?;
        let kinds = kinds(scenario);
        let media: Vec<OfferedMedia> =
            kinds.iter().map(|kind| OfferedMedia { kind: *kind, sends: None }).collect();
        let parameters = json!({ "sender": stream, "sdpOffer": offer(&media, local, identity) });
        let received = rpc.call("receiveVideoFrom", parameters).await?;
        let (far, answer) = self.far(&received, "receiveVideoFrom", &kinds)?;
        let (mut tracks, mut transport_cc) = (Vec::new(), None);
        for kind in kinds {
            let numbers = answer.track(kind, "sendonly")?;
            let ssrc = numbers.ssrcs.first().copied();
            let ssrc = ssrc.ok_or_else(|| Failure::Sdp(format!("no SSRC of the {}", kind.as_str())))?;
            tracks.push(TrackSpec { ssrc, stream: stream_number(publisher, kind), group: plan.group });
            transport_cc = transport_cc.or(numbers.transport_cc);
        }
        Ok(Prepared {
            far,
            tracks,
            sources: Vec::new(),
            transport_cc: transport_cc.filter(|_| scenario.twcc),
        })
    }

    async fn stream(&self, publisher: usize) -> Result<String, Failure> {
        let missing = || Failure::Late(format!("publisher {publisher} does not publish"));
        let mut published = self.streams.get(publisher).ok_or_else(missing)?.subscribe();
        let id = timeout(STREAM_TIMEOUT, published.wait_for(Option::is_some)).await;
        let id = id.map_err(|_| missing())?.map_err(|_| missing())?;
        id.clone().ok_or_else(missing)
    }

    fn far(&self, result: &Value, method: &str, kinds: &[Kind]) -> Result<(Far, Answer), Failure> {
        let answer = Answer::parse(&text(result, "sdpAnswer", method)?, kinds)?;
        let remote = answer.remote()?.only(self.candidate)?;
        // Candidates come best first. The shared socket is of IPv4.
        let address =
            remote.candidates.iter().find(|candidate| candidate.is_ipv4() || self.candidate.is_some());
        let address =
            *address.ok_or_else(|| Failure::Sdp("no IPv4 candidate; see --candidate".to_owned()))?;
        Ok((Far { address, ice: remote.ice, fingerprint: remote.fingerprint }, answer))
    }

    /// Closes every session of the run.
    pub async fn close(&self) {
        for session in self.sessions.iter().filter_map(OnceCell::get) {
            // The server may have been killed on purpose.
            let _ = self.rest.close_session(session).await;
        }
    }
}

fn kinds(scenario: &Scenario) -> Vec<Kind> {
    scenario.streams.iter().map(|stream| stream.kind).collect()
}

fn offer(media: &[OfferedMedia], ice: &IceCredentials, identity: &Identity) -> String {
    let fingerprint = identity.fingerprint();
    Offer { media, ice, fingerprint: &fingerprint, numbers: &CHROMIUM, cname: "load" }.write()
}

fn extension_ids(numbers: &TrackNumbers) -> ExtensionIds {
    ExtensionIds {
        mid: numbers.mid_extension,
        abs_send_time: numbers.abs_send_time,
        transport_cc: numbers.transport_cc,
        audio_level: numbers.audio_level,
    }
}

fn text(result: &Value, key: &str, method: &str) -> Result<String, Failure> {
    let text = result[key].as_str().map(ToOwned::to_owned);
    text.ok_or_else(|| Failure::rpc(method, format!("no `{key}` in the result")))
}
