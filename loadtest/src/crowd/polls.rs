//! What an operator's dashboard asks every second.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::member::Crowd;
use super::stats::STATS;
use crate::failure::Failure;
use crate::histogram::Histogram;

/// What is asked.
pub(super) const PATHS: [&str; 2] = ["/openvidu/api/sessions", STATS];
/// From one question to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// The answers to one question.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    /// Until the answer was there as a whole, in microseconds.
    pub(super) durations: Histogram,
    pub(super) failures: u64,
    /// Length of the longest answer in bytes.
    pub(super) longest: usize,
}

/// Asks until it is stopped.
pub(super) struct Polls {
    task: JoinHandle<()>,
    answers: Arc<std::sync::Mutex<[Answers; PATHS.len()]>>,
}

impl Polls {
    pub(super) fn start(crowd: &Arc<Crowd>) -> Self {
        let answers = Arc::<std::sync::Mutex<[Answers; PATHS.len()]>>::default();
        let task = tokio::spawn(poll(Arc::clone(crowd), Arc::clone(&answers)));
        Self { task, answers }
    }

    pub(super) fn stop(self) -> [Answers; PATHS.len()] {
        self.task.abort();
        self.answers.lock().map(|answers| answers.clone()).unwrap_or_default()
    }
}

async fn poll(crowd: Arc<Crowd>, answers: Arc<std::sync::Mutex<[Answers; PATHS.len()]>>) {
    let mut second = interval(PERIOD);
    // One that took longer than a second is not made up for.
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        second.tick().await;
        for (place, path) in PATHS.iter().enumerate() {
            let began = Instant::now();
            let answer = crowd.api.get(path).await.and_then(|answer| match answer.status {
                200 => Ok(answer.body.len()),
                status => Err(Failure::rest(&format!("GET {path}"), format!("status {status}"))),
            });
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let Ok(mut answers) = answers.lock() else { return };
            match answer {
                Ok(len) => {
                    answers[place].durations.record(took);
                    answers[place].longest = answers[place].longest.max(len);
                }
                Err(failure) => {
                    answers[place].failures += 1;
                    crowd.tally.failed(format!("GET {path}"), &failure.to_string());
                }
            }
        }
    }
}
