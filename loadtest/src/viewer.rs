//! A participant that watches: one connection of its own to every stream, as openvidu-browser does it, and a
//! receive path without a task or a log line per packet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rtcp::reception_report::ReceptionReport;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::now_us;
use crate::failure::Failure;
use crate::feedback::{RtcpCounts, nack, receiver_report};
use crate::options::SmokeOptions;
use crate::peer::{DATAGRAM_LEN_MAX, Identity, Incoming, Peer, connect};
use crate::publisher::source_id;
use crate::report::{JoinTimes, SubscriptionReport, TrackReport};
use crate::rpc::Rpc;
use crate::sdp::answer::Answer;
use crate::sdp::numbers::{CHROMIUM, Numbers, OTHER};
use crate::sdp::offer::{Offer, OfferedMedia};
use crate::sdp::{IceCredentials, Kind};
use crate::sequence::Step;
use crate::smoke::Stage;
use crate::track::Track;
use crate::twcc::Arrivals;

/// Grain of reports and feedback.
const TICK: Duration = Duration::from_millis(100);
/// Between two receiver reports.
const REPORT_INTERVAL_US: u64 = 1_000_000;
/// What is missing this long after the first trailer packet is lost.
const STRAGGLER_US: u64 = 500_000;
/// Datagrams taken before timers get their turn.
const RECEIVE_BURST: usize = 256;

/// What others see of a running subscription.
#[derive(Debug, Default)]
pub struct ViewerProgress {
    /// Counted packets received.
    pub received: AtomicU64,
    /// Counted packets missing below the highest received.
    pub missing: AtomicU64,
    /// Longest pause between two counted packets so far, in microseconds.
    pub pause_us_max: AtomicU64,
    /// Whether every track has shown a packet.
    pub live: AtomicBool,
    /// Whether every track is complete, or the subscription has died.
    pub done: AtomicBool,
}

/// A participant that has joined.
pub struct Viewer {
    index: usize,
    rpc: Rpc,
    announced: BTreeSet<String>,
    started_us: u64,
}

impl Viewer {
    /// Joins with a token.
    ///
    /// # Errors
    /// As the RPC gives them.
    pub async fn join(token: &str, index: usize) -> Result<Self, Failure> {
        let started_us = now_us();
        let (rpc, joined) = Rpc::join(token, &format!("viewer{index}")).await?;
        let participants = joined["value"].as_array().map(Vec::as_slice).unwrap_or_default();
        let announced = participants.iter().flat_map(stream_ids).collect();
        Ok(Self { index, rpc, announced, started_us })
    }

    /// Waits until the server has told of this stream, in the join's result or by notification.
    ///
    /// # Errors
    /// [`Failure::Late`] when it does not in time.
    pub async fn await_stream(&mut self, stream: &str, limit: Duration) -> Result<(), Failure> {
        let told = async {
            while !self.announced.contains(stream) {
                let Some(notification) = self.rpc.notification().await else { return false };
                if notification.method == "participantPublished" {
                    self.announced.extend(stream_ids(&notification.params));
                }
            }
            true
        };
        match timeout(limit, told).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => {
                Err(Failure::Late(format!("viewer {} was never told of stream {stream}", self.index)))
            }
        }
    }

    /// Subscribes to a stream and brings the transport up.
    ///
    /// # Errors
    /// As RPC, SDP answer, ICE and DTLS give them.
    pub async fn subscribe(
        &self,
        options: &SmokeOptions,
        publisher: usize,
        stream: &str,
        late: bool,
    ) -> Result<Subscription, Failure> {
        let started_us = if self.announced.contains(stream) && late { self.started_us } else { now_us() };
        let plans = options.plans();
        let kinds: Vec<Kind> = plans.iter().map(|plan| plan.kind).collect();
        let media: Vec<OfferedMedia> = kinds.iter().map(|&kind| OfferedMedia { kind, sends: None }).collect();
        let (identity, ice) = (Identity::generate()?, IceCredentials::generate());
        let cname = format!("viewer{}", self.index);
        let numbers: &Numbers = if self.index.is_multiple_of(2) { &CHROMIUM } else { &OTHER };
        let offer =
            Offer { media: &media, ice: &ice, fingerprint: &identity.fingerprint(), numbers, cname: &cname };
        let parameters = json!({ "sender": stream, "sdpOffer": offer.write() });
        let result = self.rpc.call("receiveVideoFrom", parameters).await?;
        let sdp = result["sdpAnswer"]
            .as_str()
            .ok_or_else(|| Failure::rpc("receiveVideoFrom", "no `sdpAnswer` in the result"))?;
        let answer = Answer::parse(sdp, &kinds)?;
        let mut tracks = Vec::with_capacity(plans.len());
        for plan in &plans {
            let numbers = answer.track(plan.kind, "sendonly")?;
            tracks.push(Track::new(plan.kind, numbers, source_id(publisher, plan.kind), plan.packets, late));
        }
        let signaling = (now_us() - started_us) as f64 / 1e3;
        let remote = answer.remote()?.only(options.candidate)?;
        let peer = connect(&identity, ice, &remote, options.profile).await?;
        Ok(Subscription {
            viewer: self.index,
            publisher,
            late,
            peer,
            tracks,
            progress: Arc::default(),
            started_us,
            signaling,
            rtcp: RtcpCounts::default(),
            arrivals: Arrivals::default(),
            ssrc: rand::random(),
            cname,
            asks: options.nack,
            wrong_ssrc: 0,
            asked: 0,
            next_report_us: 0,
        })
    }

    /// Leaves the session; returns how often the signaling socket was lost and won back.
    pub async fn leave(self) -> u32 {
        let _ = self.rpc.call("leaveRoom", json!({})).await;
        self.rpc.reconnects()
    }
}

fn stream_ids(participant: &Value) -> Vec<String> {
    let streams = participant["streams"].as_array().map(Vec::as_slice).unwrap_or_default();
    streams.iter().filter_map(|stream| Some(stream["id"].as_str()?.to_owned())).collect()
}

/// One stream on its way to one viewer.
pub struct Subscription {
    viewer: usize,
    publisher: usize,
    late: bool,
    peer: Peer,
    tracks: Vec<Track>,
    /// Its progress.
    pub progress: Arc<ViewerProgress>,
    started_us: u64,
    signaling: f64,
    rtcp: RtcpCounts,
    arrivals: Arrivals,
    ssrc: u32,
    cname: String,
    asks: bool,
    wrong_ssrc: u64,
    asked: u64,
    next_report_us: u64,
}

impl Subscription {
    /// Receives until told to stop.
    pub async fn run(mut self, stage: watch::Receiver<Stage>) -> SubscriptionReport {
        let error = self.serve(&stage).await.err().map(|failure| failure.to_string());
        self.publish_progress();
        self.progress.done.store(true, Ordering::Relaxed);
        self.peer.close().await;
        self.into_report(error)
    }

    async fn serve(&mut self, stage: &watch::Receiver<Stage>) -> Result<(), Failure> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if *stage.borrow() == Stage::Stop {
                        return Ok(());
                    }
                    if self.peer.is_closed() {
                        return Err(Failure::Dtls("the relay ended the association".to_owned()));
                    }
                    self.publish_progress();
                    self.send_feedback().await?;
                    self.peer.tick().await?;
                }
                ready = self.peer.readable() => {
                    ready?;
                    self.drain(&mut buffer).await?;
                }
            }
        }
    }

    async fn drain(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        for _ in 0..RECEIVE_BURST {
            match self.peer.try_receive(buffer) {
                Some(Incoming::Rtp { header, header_len, packet }) => {
                    let payload = &packet[header_len..];
                    if let Some((ssrc, missing)) = self.handle_rtp(&header, payload) {
                        self.asked += missing.len() as u64;
                        self.peer.send_rtcp(&nack(self.ssrc, ssrc, &missing)).await?;
                    }
                }
                Some(Incoming::Rtcp(compound)) => drop(self.rtcp.handle(&compound)),
                Some(Incoming::Handled) => {}
                None => break,
            }
        }
        Ok(())
    }

    /// Sorts a packet to its track; returns what to ask for.
    fn handle_rtp(&mut self, header: &rtp::header::Header, payload: &[u8]) -> Option<(u32, Vec<u16>)> {
        let now = now_us();
        if let Some(track) = self.tracks.iter_mut().find(|track| track.is_media(header)) {
            let number = track.numbers.transport_cc.and_then(|id| header.get_extension(id));
            if let Some([high, low]) = number.as_deref() {
                self.arrivals.record(u16::from_be_bytes([*high, *low]), now);
            }
            return match track.handle_media(header, payload, now) {
                Step::Skipped(skipped) if self.asks => Some((header.ssrc, track.ask(skipped))),
                Step::Skipped(_) | Step::Next | Step::Behind => None,
            };
        }
        match self.tracks.iter_mut().find(|track| track.is_repair(header)) {
            Some(track) => track.handle_repair(payload),
            None => self.wrong_ssrc += 1,
        }
        None
    }

    fn publish_progress(&self) {
        let progress = &self.progress;
        let sum = |value: fn(&Track) -> u64| self.tracks.iter().map(value).sum();
        progress.received.store(sum(|track| track.tally.received()), Ordering::Relaxed);
        progress.missing.store(sum(|track| track.tally.gaps()), Ordering::Relaxed);
        let pause = self.tracks.iter().map(|track| track.pause_us_max).max().unwrap_or(0);
        progress.pause_us_max.store(pause, Ordering::Relaxed);
        if self.tracks.iter().all(|track| track.first_us.is_some()) {
            progress.live.store(true, Ordering::Relaxed);
        }
        let now = now_us();
        let ended = |track: &Track| {
            let complete = track.tally.received() > 0 && track.tally.is_complete(u64::MAX);
            complete || track.trailer_us.is_some_and(|since| now > since + STRAGGLER_US)
        };
        if self.tracks.iter().all(ended) {
            progress.done.store(true, Ordering::Relaxed);
        }
    }

    async fn send_feedback(&mut self) -> Result<(), Failure> {
        let media = self.tracks.iter().find_map(|track| track.ssrc);
        if let Some(message) = media.and_then(|media| self.arrivals.feedback(self.ssrc, media)) {
            self.peer.send_rtcp(&message).await?;
        }
        let now = now_us();
        if now < self.next_report_us {
            return Ok(());
        }
        self.next_report_us = now + REPORT_INTERVAL_US;
        let reports = self.tracks.iter_mut().filter_map(reception_report).collect();
        self.peer.send_rtcp(&receiver_report(self.ssrc, reports, &self.cname)).await
    }

    fn into_report(self, error: Option<String>) -> SubscriptionReport {
        let first_us = self.tracks.iter().filter_map(|track| track.first_us).min();
        let join_ms = JoinTimes {
            signaling: self.signaling,
            ice: self.peer.times.ice,
            dtls: self.peer.times.dtls,
            first_packet: first_us.map(|first| (first - self.started_us) as f64 / 1e3),
        };
        SubscriptionReport {
            viewer: self.viewer,
            publisher: self.publisher,
            late: self.late,
            remote: self.peer.remote().to_string(),
            profile: self.peer.profile(),
            join_ms,
            wrong_ssrc: self.wrong_ssrc,
            asked: self.asked,
            anomalies: self.peer.anomalies,
            rtcp: self.rtcp,
            error,
            tracks: self.tracks.into_iter().map(TrackReport::of).collect(),
        }
    }
}

fn reception_report(track: &mut Track) -> Option<ReceptionReport> {
    let ssrc = track.ssrc?;
    let (last_sequence_number, total_lost, fraction_lost) = track.sequence.report();
    Some(ReceptionReport {
        ssrc,
        fraction_lost,
        total_lost,
        last_sequence_number,
        ..ReceptionReport::default()
    })
}
