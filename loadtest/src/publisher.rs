//! A participant that publishes: joins, offers, sends on schedule, answers PLI and NACK, reports each second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rtcp::sender_report::SenderReport;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::{now_us, ntp_now};
use crate::failure::Failure;
use crate::feedback::{RtcpCounts, sender_report};
use crate::options::SmokeOptions;
use crate::peer::{Anomalies, DATAGRAM_LEN_MAX, Identity, Incoming, Peer, SetupTimes, connect};
use crate::rpc::Rpc;
use crate::sdp::answer::Answer;
use crate::sdp::numbers::CHROMIUM;
use crate::sdp::offer::{Offer, OfferedMedia, SentSsrcs};
use crate::sdp::{IceCredentials, Kind};
use crate::smoke::Stage;
use crate::source::Source;
use crate::stamp::Phase;

/// The pacer's grain; a burst is what falls due within it.
const TICK: Duration = Duration::from_millis(5);
/// Most packets a second while viewers come up.
const WARM_UP_RATE_MAX: f64 = 100.0;
/// Between two sender reports.
const REPORT_INTERVAL_US: u64 = 1_000_000;
/// Datagrams taken before timers get their turn.
const RECEIVE_BURST: usize = 64;

/// What a publisher did.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PublisherReport {
    /// Its index.
    pub publisher: usize,
    /// Its stream id.
    pub stream: String,
    /// Every address the relay announced, best first.
    pub candidates: Vec<String>,
    /// Where the relay receives it.
    pub remote: String,
    /// Negotiated SRTP profile.
    pub profile: &'static str,
    /// Counted packets sent, all kinds.
    pub sent: u64,
    /// Key frames begun, warm-up included.
    pub key_frames: u64,
    /// Packets repeated on request.
    pub resent: u64,
    /// Milliseconds of ICE and DTLS.
    pub join_ms: SetupTimes,
    /// Received RTCP.
    pub rtcp: RtcpCounts,
    /// What must stay at zero.
    pub anomalies: Anomalies,
    /// How often the signaling socket was lost and won back.
    pub signaling_reconnects: u32,
    /// Why it ended before its time.
    pub error: Option<String>,
}

/// What others see of a running publisher.
#[derive(Debug, Default)]
pub struct PublisherProgress {
    /// Counted packets sent.
    pub sent: AtomicU64,
    /// Whether all have been sent, or the publisher has died.
    pub done: AtomicBool,
}

/// A publisher with keys, ready to send.
pub struct Publisher {
    index: usize,
    rpc: Rpc,
    peer: Peer,
    candidates: Vec<String>,
    /// Its stream id.
    pub stream: String,
    /// Its progress.
    pub progress: Arc<PublisherProgress>,
    schedules: Vec<Schedule>,
    cname: String,
    transport_number: u16,
    rtcp: RtcpCounts,
    next_report_us: u64,
}

impl Publisher {
    /// Joins with a token, publishes and brings the transport up.
    ///
    /// # Errors
    /// As RPC, SDP answer, ICE and DTLS give them.
    pub async fn join(options: &SmokeOptions, token: &str, index: usize) -> Result<Self, Failure> {
        let plans = options.plans();
        let kinds: Vec<Kind> = plans.iter().map(|plan| plan.kind).collect();
        let media: Vec<OfferedMedia> = kinds
            .iter()
            .map(|&kind| {
                let rtx = (kind == Kind::Video).then(rand::random);
                OfferedMedia { kind, sends: Some(SentSsrcs { media: rand::random(), rtx }) }
            })
            .collect();
        let (identity, ice) = (Identity::generate()?, IceCredentials::generate());
        let cname = format!("publisher{index}");
        let offer = Offer {
            media: &media,
            ice: &ice,
            fingerprint: &identity.fingerprint(),
            numbers: &CHROMIUM,
            cname: &cname,
        };
        let (rpc, _) = Rpc::join(token, &cname).await?;
        let published = rpc.call("publishVideo", publish_parameters(&kinds, &offer.write())).await?;
        let text = |key: &str| {
            let value = published[key].as_str().map(ToOwned::to_owned);
            value.ok_or_else(|| Failure::rpc("publishVideo", format!("no `{key}` in the result")))
        };
        let answer = Answer::parse(&text("sdpAnswer")?, &kinds)?;
        let mut schedules = Vec::with_capacity(plans.len());
        for (plan, offered) in plans.into_iter().zip(&media) {
            let numbers = answer.track(plan.kind, "recvonly")?;
            let id = source_id(index, plan.kind);
            let ssrcs = offered.sends.unwrap_or(SentSsrcs { media: 1, rtx: None });
            let source = Source::new(plan, id, ssrcs, numbers, options.keyframe_every);
            schedules.push(Schedule::new(source, now_us()));
        }
        let remote = answer.remote()?;
        let candidates = remote.candidates.iter().map(ToString::to_string).collect();
        let peer = connect(&identity, ice, &remote.only(options.candidate)?, options.profile).await?;
        Ok(Self {
            index,
            rpc,
            peer,
            candidates,
            stream: text("id")?,
            progress: Arc::default(),
            schedules,
            cname,
            transport_number: 0,
            rtcp: RtcpCounts::default(),
            next_report_us: 0,
        })
    }

    /// Sends until told to stop.
    pub async fn run(mut self, stage: watch::Receiver<Stage>) -> PublisherReport {
        let error = self.serve(&stage).await.err().map(|failure| failure.to_string());
        self.progress.done.store(true, Ordering::Relaxed);
        self.peer.close().await;
        if *stage.borrow() == Stage::Stop {
            // The server may be gone by now; then there is nobody to say goodbye to.
            let _ = self.rpc.call("leaveRoom", json!({})).await;
        }
        PublisherReport {
            publisher: self.index,
            stream: self.stream,
            candidates: self.candidates,
            remote: self.peer.remote().to_string(),
            profile: self.peer.profile(),
            sent: self.progress.sent.load(Ordering::Relaxed),
            key_frames: self.schedules.iter().map(|schedule| schedule.source.key_frames).sum(),
            resent: self.schedules.iter().map(|schedule| schedule.source.resent).sum(),
            join_ms: self.peer.times,
            rtcp: self.rtcp,
            anomalies: self.peer.anomalies,
            signaling_reconnects: self.rpc.reconnects(),
            error,
        }
    }

    async fn serve(&mut self, stage: &watch::Receiver<Stage>) -> Result<(), Failure> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let now_stage = *stage.borrow();
                    if now_stage == Stage::Stop {
                        return Ok(());
                    }
                    if self.peer.is_closed() {
                        return Err(Failure::Dtls("the relay ended the association".to_owned()));
                    }
                    self.send_due(now_stage).await?;
                    self.report().await?;
                    self.peer.tick().await?;
                }
                ready = self.peer.readable() => {
                    ready?;
                    for _ in 0..RECEIVE_BURST {
                        match self.peer.try_receive(&mut buffer) {
                            Some(Incoming::Rtcp(compound)) => self.handle_rtcp(&compound).await?,
                            Some(Incoming::Rtp { .. } | Incoming::Handled) => {}
                            None => break,
                        }
                    }
                }
            }
        }
    }

    async fn send_due(&mut self, stage: Stage) -> Result<(), Failure> {
        for schedule in &mut self.schedules {
            if stage == Stage::Measure {
                schedule.begin_measuring();
            }
            while let Some((phase, number, last)) = schedule.due(now_us()) {
                let packet = schedule.source.next(phase, number, last, now_us(), self.transport_number);
                self.transport_number = self.transport_number.wrapping_add(1);
                self.peer.send_rtp(packet).await?;
                if phase == Phase::Measured {
                    self.progress.sent.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if self.schedules.iter().all(Schedule::is_done) {
            self.progress.done.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn report(&mut self) -> Result<(), Failure> {
        let now = now_us();
        if now < self.next_report_us {
            return Ok(());
        }
        self.next_report_us = now + REPORT_INTERVAL_US;
        for schedule in &self.schedules {
            let source = &schedule.source;
            let report = SenderReport {
                ssrc: source.ssrc(),
                ntp_time: ntp_now(),
                rtp_time: source.timestamp_at(now),
                packet_count: source.packets,
                octet_count: source.octets,
                ..SenderReport::default()
            };
            self.peer.send_rtcp(&sender_report(report, &self.cname)).await?;
        }
        Ok(())
    }

    async fn handle_rtcp(&mut self, compound: &bytes::Bytes) -> Result<(), Failure> {
        let requests = self.rtcp.handle(compound);
        for schedule in &mut self.schedules {
            let source = &mut schedule.source;
            if requests.key_frames.contains(&source.ssrc()) {
                source.request_key_frame();
            }
            let own = source.ssrc();
            for (_, number) in requests.repeats.iter().filter(|(ssrc, _)| *ssrc == own) {
                if let Some(packet) = source.resend(*number, now_us(), self.transport_number) {
                    self.transport_number = self.transport_number.wrapping_add(1);
                    self.peer.send_rtp(&packet).await?;
                }
            }
        }
        Ok(())
    }
}

/// Number of a publisher's track, stamped into its packets.
#[must_use]
pub fn source_id(publisher: usize, kind: Kind) -> u16 {
    let index = u16::try_from(publisher).unwrap_or(u16::MAX >> 1);
    (index << 1) | u16::from(kind == Kind::Video)
}

pub(crate) fn publish_parameters(kinds: &[Kind], offer: &str) -> serde_json::Value {
    let (audio, video) = (kinds.contains(&Kind::Audio), kinds.contains(&Kind::Video));
    let mut parameters = json!({ "doLoopback": false, "hasAudio": audio, "hasVideo": video });
    if audio {
        parameters["audioActive"] = true.into();
    }
    if video {
        parameters["videoActive"] = true.into();
        parameters["typeOfVideo"] = "CAMERA".into();
        parameters["frameRate"] = 30.into();
        parameters["videoDimensions"] = r#"{"width":640,"height":480}"#.into();
    }
    parameters["sdpOffer"] = offer.into();
    parameters
}

/// When the packets of one track fall due, and which phase they belong to.
struct Schedule {
    source: Source,
    phase: Phase,
    wants_measuring: bool,
    started_us: u64,
    sent: u64,
}

impl Schedule {
    fn new(source: Source, now_us: u64) -> Self {
        Self { source, phase: Phase::WarmUp, wants_measuring: false, started_us: now_us, sent: 0 }
    }

    fn begin_measuring(&mut self) {
        self.wants_measuring = true;
    }

    fn is_done(&self) -> bool {
        self.phase == Phase::Trailer
    }

    fn enter(&mut self, phase: Phase, now_us: u64) {
        self.phase = phase;
        self.started_us = now_us;
        self.sent = 0;
    }

    /// The next packet if its time has come: phase, number, whether it must end its frame.
    fn due(&mut self, now_us: u64) -> Option<(Phase, u64, bool)> {
        let plan = *self.source.plan();
        if self.phase == Phase::WarmUp && self.wants_measuring {
            // What is counted starts with a key frame, wherever the warm-up was.
            self.enter(Phase::Measured, now_us);
            self.source.request_key_frame();
        }
        if self.phase == Phase::Measured && self.sent >= plan.packets {
            self.enter(Phase::Trailer, now_us);
        }
        let rate = if self.phase == Phase::Measured { plan.rate } else { plan.rate.min(WARM_UP_RATE_MAX) };
        let elapsed_s = now_us.saturating_sub(self.started_us) as f64 / 1e6;
        let due = (elapsed_s * rate) as u64 + 1;
        if self.sent >= due {
            return None;
        }
        let number = self.sent;
        self.sent += 1;
        // Before and after the counting a frame is one packet, so that a PLI is answered at once in spite of the rate.
        let last = self.phase != Phase::Measured || self.sent == plan.packets;
        Some((self.phase, number, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Plan;
    use crate::sdp::answer::TrackNumbers;

    /// Everything due at `now_us`.
    fn send(schedule: &mut Schedule, now_us: u64) -> Vec<(Phase, u64, bool)> {
        let mut sent = Vec::new();
        while let Some((phase, number, last)) = schedule.due(now_us) {
            schedule.source.next(phase, number, last, now_us, 0);
            sent.push((phase, number, last));
        }
        sent
    }

    #[test]
    fn packets_fall_due_at_their_rate_and_in_their_phase() {
        let plan = Plan { kind: Kind::Video, packets: 500, rate: 1000.0, payload_len: 100, frame_packets: 4 };
        let ssrcs = SentSsrcs { media: 1, rtx: None };
        let mut schedule = Schedule::new(Source::new(plan, 0, ssrcs, TrackNumbers::default(), 300), 0);
        assert_eq!(send(&mut schedule, 100_000).len(), 11, "warm-up is slower");
        schedule.begin_measuring();
        let first = send(&mut schedule, 120_000);
        assert_eq!(first, [(Phase::Measured, 0, false)], "at once");
        let rest = send(&mut schedule, 2_000_000);
        assert_eq!(rest[497..499], [(Phase::Measured, 498, false), (Phase::Measured, 499, true)]);
        assert!(schedule.is_done() && rest[499..].iter().all(|(phase, ..)| *phase == Phase::Trailer));
        assert_eq!(rest.len(), 500, "the trailer starts a schedule of its own");
    }
}
