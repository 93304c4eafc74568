//! Signaling is killed while everyone is there, and starts again: who comes back, how fast, and what the relay was told.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::media::until;
use super::member::Crowd;
use super::server::OwnServer;
use super::stats::stats;
use crate::failure::Failure;

/// Signaling keeps participants this long after its start, whether their sockets are back or not.
const GRACE: Duration = Duration::from_secs(30);
/// How much longer is waited to see whom it puts out then.
const AFTER_GRACE: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Restart {
    /// From the start of the new process to its ready file.
    pub(super) ready: Duration,
    /// Sockets that were open when the process was killed.
    pub(super) sockets: u64,
    /// From the kill until the last socket was back.
    pub(super) all_back: Duration,
    /// Sockets that were back by then.
    pub(super) back: u64,
    /// Participants that came back within the grace and were put out or refused.
    pub(super) evicted: u64,
    /// Participants that the server has once the grace is over.
    pub(super) participants: u64,
    /// Live peers that commands to the relay removed.
    pub(super) live_peers_removed: u64,
    /// Tracks and subscriptions of live peers that they removed.
    pub(super) live_media_removed: u64,
    /// Viewers that were asked for a new PeerConnection although theirs is live.
    pub(super) asked_back: u64,
}

pub(super) async fn run(crowd: &Crowd, server: &mut OwnServer) -> Result<Restart, Failure> {
    let (seen, held) = (crowd.tally.seen(), server.stand_in.figures());
    let sockets = (crowd.plan.participants().min(crowd.sockets)) as u64;
    eprintln!("signaling is killed with {} participants and {} peers", seen.joined, held.peers);
    let killed_at = Instant::now();
    server.kill()?;
    let ready = server.start_again().await?;
    eprintln!("signaling is ready again after {:.1} s", ready.as_secs_f64());
    let ready_at = Instant::now();
    let mut restart = Restart { ready, sockets, ..Restart::default() };
    until(crowd, |now| now.back + now.refused_back >= seen.back + seen.refused_back + sockets).await;
    restart.all_back = killed_at.elapsed();
    sleep((GRACE + AFTER_GRACE).saturating_sub(ready_at.elapsed())).await;

    let (now, held_now) = (crowd.tally.seen(), server.stand_in.figures());
    restart.back = now.back - seen.back;
    restart.evicted = (now.evicted - seen.evicted) + (now.refused_back - seen.refused_back);
    restart.participants = stats(&crowd.api).await?.signaling.participants;
    restart.live_peers_removed = held_now.live_peers_removed - held.live_peers_removed;
    restart.live_media_removed = held_now.live_media_removed - held.live_media_removed;
    restart.asked_back = now.asked_back - seen.asked_back;
    Ok(restart)
}
