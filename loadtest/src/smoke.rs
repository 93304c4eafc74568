//! The scenario: publishers come up, viewers come up and see something, then the counted packets run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::Failure;
use crate::options::SmokeOptions;
use crate::publisher::{Publisher, PublisherProgress, PublisherReport};
use crate::relay::{Account, Reading};
use crate::report::{Report, SubscriptionReport};
use crate::rest::Rest;
use crate::viewer::{Viewer, ViewerProgress};

/// Viewers that come up at the same time.
const JOINING_MAX: usize = 8;
/// How often the conductor looks at progress.
const POLL: Duration = Duration::from_millis(20);
/// After the last packet was sent, the longest wait for stragglers.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// After everything is there, the wait for doubled packets.
const LINGER: Duration = Duration::from_millis(300);

/// What publishers and viewers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Send and receive, count nothing.
    WarmUp,
    /// Send the counted packets.
    Measure,
    /// End.
    Stop,
}

/// One stream to watch.
#[derive(Clone, Debug)]
struct Stream {
    publisher: usize,
    id: String,
}

type Watching = (Viewer, Vec<JoinHandle<SubscriptionReport>>);

/// A run under way.
struct Conductor {
    options: SmokeOptions,
    rest: Rest,
    session: String,
    stage: watch::Sender<Stage>,
    streams: Vec<Stream>,
    sending: Vec<Arc<PublisherProgress>>,
    publishers: Vec<JoinHandle<PublisherReport>>,
    receiving: Vec<Arc<ViewerProgress>>,
    viewers: Vec<Watching>,
    account: Option<Account>,
}

/// Runs the scenario. A session created here is closed at the end.
///
/// # Errors
/// Bad options, or a server without session. Everything later is in the report, missed packets and participants that
/// did not come up alike.
pub async fn run(options: SmokeOptions) -> Result<Report, Failure> {
    options.check()?;
    let rest = Rest::new(&options.url, &options.secret)?;
    let session = rest.create_session(&options.session).await?;
    let mut conductor = Conductor {
        options,
        rest,
        session,
        stage: watch::Sender::new(Stage::WarmUp),
        streams: Vec::new(),
        sending: Vec::new(),
        publishers: Vec::new(),
        receiving: Vec::new(),
        viewers: Vec::new(),
        account: None,
    };
    let outcome = conductor.play().await;
    let mut report = conductor.finish().await;
    match outcome {
        Ok(failures) => report.failures.extend(failures),
        Err(failure) => report.failures.insert(0, failure.to_string()),
    }
    Ok(report)
}

impl Conductor {
    /// From the first join to the last counted packet.
    async fn play(&mut self) -> Result<Vec<String>, Failure> {
        // The first viewer is there before anyone publishes and learns of the streams by notification.
        let first = if self.options.viewers > 0 { Some(self.join_viewer(0).await?) } else { None };
        self.start_publishers().await?;
        self.start_viewers(first).await?;
        self.await_live().await?;
        let before = self.read_relay().await?;
        self.stage.send_replace(Stage::Measure);
        let progress = self.options.hold.then(|| self.spawn_progress());
        let failures = self.join_late().await;
        self.await_sent().await;
        self.await_received().await;
        let after = self.read_relay().await?;
        self.account = before.zip(after).map(|(before, after)| Account::between(&before, &after));
        if let Some(progress) = progress {
            progress.abort();
        }
        Ok(failures)
    }

    async fn join_viewer(&self, index: usize) -> Result<Viewer, Failure> {
        let token = self.rest.create_token(&self.session, "SUBSCRIBER").await?;
        let join = Viewer::join(&token, index);
        within(self.options.setup_limit(), &format!("viewer {index} joining"), join).await
    }

    async fn start_publishers(&mut self) -> Result<(), Failure> {
        for index in 0..self.options.publishers {
            let token = self.rest.create_token(&self.session, "PUBLISHER").await?;
            let join = Publisher::join(&self.options, &token, index);
            let publisher = within(self.options.setup_limit(), &format!("publisher {index}"), join).await?;
            self.streams.push(Stream { publisher: index, id: publisher.stream.clone() });
            self.sending.push(Arc::clone(&publisher.progress));
            self.publishers.push(tokio::spawn(publisher.run(self.stage.subscribe())));
        }
        Ok(())
    }

    async fn start_viewers(&mut self, first: Option<Viewer>) -> Result<(), Failure> {
        let permits = Arc::new(Semaphore::new(JOINING_MAX));
        let mut joining = JoinSet::new();
        let mut first = first;
        for index in 0..self.options.viewers {
            let (permits, joined) = (Arc::clone(&permits), first.take());
            let starter = self.starter(index, false);
            joining.spawn(async move {
                let _permit = permits.acquire_owned().await;
                starter.start(joined).await
            });
        }
        while let Some(started) = joining.join_next().await {
            let (watching, progress) = started.map_err(|error| Failure::Late(error.to_string()))??;
            self.viewers.push(watching);
            self.receiving.extend(progress);
        }
        Ok(())
    }

    fn starter(&self, index: usize, late: bool) -> Starter {
        Starter {
            options: self.options.clone(),
            rest: self.rest.clone(),
            session: self.session.clone(),
            streams: self.streams.clone(),
            stage: self.stage.subscribe(),
            index,
            late,
        }
    }

    /// Until every viewer has seen every track.
    async fn await_live(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + self.options.setup_limit();
        loop {
            let waiting = count(&self.receiving, |progress| &progress.live, false);
            if waiting == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let all = self.receiving.len();
                return Err(Failure::Late(format!(
                    "{waiting} of {all} subscriptions got no media while warming up"
                )));
            }
            sleep(POLL).await;
        }
    }

    /// The relay's counters, when they are to be held against its promises.
    async fn read_relay(&self) -> Result<Option<Reading>, Failure> {
        if !self.options.account {
            return Ok(None);
        }
        Reading::of(&self.rest.stats().await?).map(Some)
    }

    /// The late viewer, if there is to be one. It does not stop the run when it fails.
    async fn join_late(&mut self) -> Vec<String> {
        let Some(seconds) = self.options.join_late else { return Vec::new() };
        sleep(Duration::from_secs_f64(seconds)).await;
        match self.starter(self.options.viewers, true).start(None).await {
            Ok((watching, progress)) => {
                self.viewers.push(watching);
                self.receiving.extend(progress);
                Vec::new()
            }
            Err(failure) => vec![format!("late viewer: {failure}")],
        }
    }

    async fn await_sent(&self) {
        while count(&self.sending, |progress| &progress.done, false) > 0 {
            sleep(POLL).await;
        }
    }

    async fn await_received(&self) {
        let deadline = Instant::now() + DRAIN_MAX;
        while count(&self.receiving, |progress| &progress.done, false) > 0 && Instant::now() < deadline {
            sleep(POLL).await;
        }
        sleep(LINGER).await;
    }

    /// Stops everybody and collects what they have to say.
    async fn finish(self) -> Report {
        self.stage.send_replace(Stage::Stop);
        let mut report = Report { session: self.session.clone(), account: self.account, ..Report::default() };
        for (viewer, subscriptions) in self.viewers {
            for subscription in subscriptions {
                match subscription.await {
                    Ok(finished) => report.viewers.push(finished),
                    Err(error) => report.failures.push(error.to_string()),
                }
            }
            report.signaling_reconnects += viewer.leave().await;
        }
        for publisher in self.publishers {
            match publisher.await {
                Ok(finished) => report.publishers.push(finished),
                Err(error) => report.failures.push(error.to_string()),
            }
        }
        report.viewers.sort_by_key(|viewer| (viewer.viewer, viewer.publisher));
        // Best effort: the server may have been killed on purpose.
        let _ = self.rest.close_session(&self.session).await;
        report
    }

    /// A JSON line on stderr every second.
    fn spawn_progress(&self) -> JoinHandle<()> {
        let (sending, receiving) = (self.sending.clone(), self.receiving.clone());
        let started = Instant::now();
        tokio::spawn(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                let received = |progress: &Arc<ViewerProgress>| progress.received.load(Ordering::Relaxed);
                let line = json!({
                    "t_s": (started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
                    "sent": sending.iter().map(|progress| progress.sent.load(Ordering::Relaxed)).sum::<u64>(),
                    "received_min": receiving.iter().map(received).min(),
                    "received_max": receiving.iter().map(received).max(),
                    "missing": receiving.iter().map(|progress| progress.missing.load(Ordering::Relaxed)).sum::<u64>(),
                    "pause_ms_max": receiving
                        .iter()
                        .map(|progress| progress.pause_us_max.load(Ordering::Relaxed) / 1000)
                        .max(),
                });
                write_stderr(&line.to_string());
            }
        })
    }
}

/// What it takes to bring one viewer up.
struct Starter {
    options: SmokeOptions,
    rest: Rest,
    session: String,
    streams: Vec<Stream>,
    stage: watch::Receiver<Stage>,
    index: usize,
    late: bool,
}

impl Starter {
    async fn start(self, joined: Option<Viewer>) -> Result<(Watching, Vec<Arc<ViewerProgress>>), Failure> {
        let (limit, who) = (self.options.setup_limit(), format!("viewer {}", self.index));
        within(limit, &who, self.come_up(joined)).await
    }

    async fn come_up(self, joined: Option<Viewer>) -> Result<(Watching, Vec<Arc<ViewerProgress>>), Failure> {
        let mut viewer = match joined {
            Some(viewer) => viewer,
            None => {
                let token = self.rest.create_token(&self.session, "SUBSCRIBER").await?;
                Viewer::join(&token, self.index).await?
            }
        };
        let (mut tasks, mut progress) = (Vec::new(), Vec::new());
        for stream in &self.streams {
            viewer.await_stream(&stream.id, self.options.setup_limit()).await?;
            let subscription =
                viewer.subscribe(&self.options, stream.publisher, &stream.id, self.late).await?;
            progress.push(Arc::clone(&subscription.progress));
            tasks.push(tokio::spawn(subscription.run(self.stage.clone())));
        }
        Ok(((viewer, tasks), progress))
    }
}

/// Names whoever fails, and limits the time it takes.
async fn within<T>(
    limit: Duration,
    who: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(failure)) => Err(Failure::Late(format!("{who}: {failure}"))),
        Err(_) => Err(Failure::Late(format!("{who}: not up within {} s", limit.as_secs_f64()))),
    }
}

fn count<T>(all: &[Arc<T>], flag: impl Fn(&T) -> &AtomicBool, value: bool) -> usize {
    all.iter().filter(|progress| flag(progress).load(Ordering::Relaxed) == value).count()
}

fn write_stderr(line: &str) {
    use std::io::Write;
    // Nobody may be reading any more.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fault, serve};
    use clap::Parser;

    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Cli {
        #[command(flatten)]
        smoke: SmokeOptions,
    }

    async fn smoke(fault: Fault, more: &[&str]) -> Report {
        let url = serve(fault).await;
        let fixed =
            ["x", "--secret", "s", "--url", &url, "--viewers", "2", "--packets", "200", "--rate", "1000"];
        let options = Cli::parse_from(fixed.iter().chain(more)).smoke;
        run(options).await.unwrap()
    }

    #[tokio::test]
    async fn a_clean_run_has_no_problems() {
        let report = smoke(Fault::None, &[]).await;
        assert_eq!(report.problems(), Vec::<String>::new());
        let viewers = report.json()["viewers"].clone();
        for viewer in 0..2 {
            assert_eq!((&viewers[viewer]["received"], &viewers[viewer]["lost"]), (&json!(200), &json!(0)));
            assert!(viewers[viewer]["join_ms"]["first_packet"].as_f64().unwrap() > 0.0);
        }
        assert!(report.publishers[0].rtcp.pli > 0, "{:?}", report.publishers[0].rtcp);
        assert!(report.table().ends_with("every packet arrived once, in order, unchanged\n"));
    }

    #[tokio::test]
    async fn a_late_viewer_starts_with_a_key_frame_and_misses_nothing_after() {
        let report = smoke(Fault::None, &["--packets", "4000", "--join-late", "0.2"]).await;
        assert_eq!(report.problems(), Vec::<String>::new());
        let late = &report.viewers[2];
        let (counts, ..) = late.totals();
        assert!(late.late && counts.expected < 4000 && counts.lost == 0, "{counts:?}");
    }

    async fn found(fault: Fault, expected: &[&str]) {
        let problems = smoke(fault, &[]).await.problems();
        for viewer in 0..2 {
            for what in expected {
                let sentence = format!("viewer {viewer} of publisher 0: {what}");
                assert!(problems.contains(&sentence), "no {sentence:?} in {problems:#?}");
            }
        }
        assert_eq!(problems.len(), 2 * expected.len(), "{problems:#?}");
    }

    #[tokio::test]
    async fn every_fault_of_a_relay_is_found() {
        let skipped = "1 of 200 video RTP sequence numbers skipped";
        let behind = "1 of 200 video RTP sequence numbers repeated or late";
        found(Fault::Drop(100), &["1 of 200 video packets lost", skipped]).await;
        found(Fault::Double(199), &["1 of 200 video packets doubled", behind]).await;
        found(Fault::Swap(50), &["1 of 200 video packets out of order", skipped, behind]).await;
        let lost = "1 of 200 video packets lost";
        found(Fault::Corrupt(7), &["1 of 200 video packets with changed content", lost]).await;
        let foreign = "1 packets of an SSRC the answer did not name";
        found(Fault::ForeignSsrc(7), &[foreign, lost, skipped]).await;
        found(Fault::NoKeyFrame, &["video did not begin with a key frame"]).await;
    }

    /// The load of the relay's acceptance test, by hand in a release build: `--ignored --nocapture`.
    #[tokio::test(flavor = "multi_thread")]
    #[ignore = "a measurement of this machine"]
    async fn fifty_viewers_at_a_thousand_packets_a_second() {
        let report =
            smoke(Fault::None, &["--viewers", "50", "--packets", "10000", "--profile", "gcm128"]).await;
        println!("{}", report.table());
        assert_eq!(report.problems(), Vec::<String>::new());
    }
}
