//! A crowd that publishes and watches, with real SDP and without packets.
//!
//! ```text
//!   warm-up ─> joins at a fixed rate; each publishes and watches ─> all watch all ─> hold ─> leave ─> memory
//! ```
//!
//! Without packets one process plays tens of thousands of participants, so that signaling is the limit and not the load
//! generator. The relay behind signaling is a real one, or the [stand-in](crate::stand_in) that `--stand-in` starts.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::api::Api;
use super::figures::{Cpu, MediaReport};
use super::member::{Crowd, Phase, play};
use super::plan::{Plan, Shape};
use super::polls::Polls;
use super::restart;
use super::server::{OwnServer, ServerOptions};
use super::stats::stats;
use super::tally::{Seen, Tally};
use super::{CrowdOptions, Memory, settled};
use crate::failure::Failure;
use crate::kernel::descriptors;

/// A crowd that makes no progress for this long has stopped.
const STALLED_AFTER: Duration = Duration::from_secs(20);
/// How often the conductor looks at the counts.
const LOOK: Duration = Duration::from_millis(20);
/// Descriptors of this process that are not sockets of participants.
const OTHER_DESCRIPTORS: usize = 200;
/// Participants that leave for each one that joins in the same time.
const LEAVES_PER_JOIN: f64 = 2.0;
/// Longest wait for the answers of those that leave, after the last one was to go.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Options of `crowd --media`.
#[derive(Args, Clone, Debug, Default)]
pub struct MediaOptions {
    /// Everyone publishes and watches all others of the room, with real SDP and without packets. One round.
    #[arg(long)]
    pub media: bool,
    /// One room with one publisher and so many viewers, instead of rooms of --room-size.
    #[arg(long, value_name = "VIEWERS", requires = "media", conflicts_with_all = ["participants", "room_size"])]
    pub lecture: Option<usize>,
    /// Ask for GET /openvidu/api/sessions and GET /millrace/stats every second, as a dashboard does.
    #[arg(long, requires = "media")]
    pub poll: bool,
    /// Time in s that everyone stays once all are there.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub hold: u64,
    /// Leave in the end, twice as fast as joining, and measure the memory after that. Without it the sockets just close.
    #[arg(long, requires = "media")]
    pub leave: bool,
    /// ICE candidates that each offer is followed by. Browsers send some ten.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub candidates: usize,
    /// Keep so many sockets open: participants that joined earlier close theirs once they watch everyone. For more
    /// participants than a process may have descriptors; signaling must wait long enough for lost sockets.
    #[arg(long, value_name = "N", requires = "media")]
    pub sockets: Option<usize>,
    /// Kill signaling with SIGKILL once all are there, start it again, and measure how everyone comes back.
    #[arg(long, requires = "stand_in")]
    pub restart_signaling: bool,
    /// The run's own server.
    #[command(flatten)]
    pub server: ServerOptions,
}

/// Plays it.
///
/// # Errors
/// When the options do not fit the machine, or the server cannot be reached. What goes wrong for single participants is
/// in the report.
pub async fn run(options: &CrowdOptions) -> Result<MediaReport, Failure> {
    let shape = shape(options)?;
    let plan = Plan { name: format!("crowd-{:08x}", rand::random::<u32>()), shape, rate: options.rate };
    check_descriptors(&plan, options.media.sockets)?;
    let media = &options.media;
    let mut server = match media.server.stand_in {
        true => Some(OwnServer::start(&media.server).await?),
        false => None,
    };
    let crowd_of = |plan: Plan| {
        let (url, secret) = match &server {
            Some(server) => (server.url(), OwnServer::secret()),
            None => (options.url.clone(), options.secret.as_deref().unwrap_or_default()),
        };
        Crowd::new(Api::new(&url, secret)?, plan, media)
    };
    warm_up(&crowd_of(plan.warm_up())?).await?;

    let crowd = crowd_of(plan)?;
    // A server on another machine shows no memory here.
    let pid = Some(options.pid.unwrap_or(stats(&crowd.api).await?.signaling.pid));
    let mut report = MediaReport::new(&crowd.plan, Memory::of(pid));
    let cpu = Cpu::now(pid);
    let polls = media.poll.then(|| Polls::start(&crowd));
    let mut members = JoinSet::new();
    fill(&crowd, &mut members).await;
    report.is_full = until(&crowd, |seen| is_full(&crowd.plan, seen)).await;
    sleep(Duration::from_secs(media.hold)).await;
    report.cpu = cpu.since();
    report.polls = polls.map(Polls::stop);
    report.memory.full = Memory::of(pid);
    let end = stats(&crowd.api).await?.signaling;
    (report.participants_of_server, report.lock_wait) = (end.participants, end.lock_wait);
    if let (true, Some(server)) = (media.restart_signaling, &mut server) {
        report.restart = Some(restart::run(&crowd, server).await?);
    }
    if media.leave {
        report.left = leave(&crowd, &mut members, media.sockets.is_some()).await;
        if report.restart.is_none() {
            report.memory.after = Some(settled(pid, report.memory.before).await);
        }
    }
    report.seen = crowd.tally.seen();
    report.stand_in = server.as_ref().map(|server| server.stand_in.figures());
    report.judge();
    Ok(report)
}

fn shape(options: &CrowdOptions) -> Result<Shape, Failure> {
    let rooms = options.rooms()?;
    Ok(match options.media.lecture {
        Some(0) => return Err(Failure::Usage("--lecture needs at least 1 viewer".into())),
        Some(viewers) => Shape::Lecture { viewers },
        None => Shape::Rooms { rooms, size: options.room_size },
    })
}

/// Raises the limit of descriptors, and refuses a crowd that does not fit it.
fn check_descriptors(plan: &Plan, sockets: Option<usize>) -> Result<(), Failure> {
    let limit = descriptors::raise_limit()?;
    let open = plan.participants().min(sockets.unwrap_or(usize::MAX));
    if limit >= open + OTHER_DESCRIPTORS {
        return Ok(());
    }
    let most = limit.saturating_sub(OTHER_DESCRIPTORS);
    Err(Failure::Usage(format!(
        "{open} participants need {open} descriptors here and as many in signaling, but this process may open {limit} \
         (hard limit of RLIMIT_NOFILE). Raise it (ulimit -Hn, LimitNOFILE= of systemd), play at most {most} participants, \
         or keep fewer sockets open (--sockets {most})"
    )))
}

impl Crowd {
    fn new(api: Api, plan: Plan, options: &MediaOptions) -> Result<Arc<Self>, Failure> {
        let (tally, phase) = (Tally::default(), watch::Sender::new(Phase::Stay));
        let sockets = options.sockets.unwrap_or(usize::MAX);
        Ok(Arc::new(Self { api, plan, tally, phase, candidates: options.candidates, sockets }))
    }
}

/// One room that fills and empties, of which nothing is reported. What signaling takes from then on is what it takes in use.
async fn warm_up(crowd: &Arc<Crowd>) -> Result<(), Failure> {
    let mut members = JoinSet::new();
    fill(crowd, &mut members).await;
    if !until(crowd, |seen| is_full(&crowd.plan, seen)).await {
        let seen = crowd.tally.seen();
        return Err(Failure::Late(format!("the first room did not fill: {:?}", seen.errors)));
    }
    leave(crowd, &mut members, false).await;
    Ok(())
}

/// Starts every participant at its time.
async fn fill(crowd: &Arc<Crowd>, members: &mut JoinSet<()>) {
    let began = Instant::now();
    for number in 0..crowd.plan.participants() {
        let due = began + crowd.plan.due(number);
        sleep_until(due).await;
        members.spawn(play(Arc::clone(crowd), number, due));
    }
}

fn is_full(plan: &Plan, seen: &Seen) -> bool {
    seen.joined as usize == plan.participants()
        && seen.published as usize == plan.publishers()
        && seen.watched as usize == plan.subscriptions()
}

/// Waits until `done`; false when nothing has happened for [`STALLED_AFTER`] and it is not done.
pub(super) async fn until(crowd: &Crowd, done: impl Fn(&Seen) -> bool) -> bool {
    let progress = |seen: &Seen| (seen.joined, seen.published, seen.watched, seen.back, seen.refused_back);
    let (mut last, mut since) = ((0, 0, 0, 0, 0), Instant::now());
    loop {
        let seen = crowd.tally.seen();
        if done(&seen) {
            return true;
        }
        if progress(&seen) != last {
            (last, since) = (progress(&seen), Instant::now());
        } else if since.elapsed() >= STALLED_AFTER {
            return false;
        }
        sleep(LOOK).await;
    }
}

/// Everyone leaves. Rooms of participants whose sockets are closed are closed by REST. Returns how many have left.
async fn leave(crowd: &Arc<Crowd>, members: &mut JoinSet<()>, some_sleep: bool) -> u64 {
    let rate = crowd.plan.rate * LEAVES_PER_JOIN;
    crowd.phase.send_replace(Phase::Leave { from: Instant::now(), rate });
    let last = Duration::from_secs_f64(crowd.plan.participants() as f64 / rate);
    let all_gone = async { while members.join_next().await.is_some() {} };
    // Who is not gone by then shows in the count.
    let _ = timeout(last + LEAVE_TIMEOUT, all_gone).await;
    if some_sleep {
        for room in 0..crowd.plan.rooms() {
            if let Err(failure) = crowd.api.close_session(&crowd.plan.session(room)).await {
                crowd.tally.failed("DELETE session".into(), &failure.to_string());
            }
        }
    }
    crowd.tally.seen().left
}
