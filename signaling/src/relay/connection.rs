//! One connection to one relay: greeting, comparing, and serving orders until it breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use millrace_control::{
    ClientHello, Command, Event, FENCE, FromRelay, Rejected, Rejection, RelayHello, Reply, Snapshot,
    SnapshotRequest, ToRelay, VERSION, VERSION_MIN, agree,
};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::handle::BUSY_PAUSE;
use super::held::{Held, Lately};
use super::link::Order;
use super::reconcile::difference;
use super::rounds::{Outcome, Pace, Rounds, add};
use super::wire::{Reader, Writer};
use super::{LinkError, Owner, reason};

/// How long the relay may take for its next answer while the link is being set up.
const SETUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Most requests under way. More orders wait.
const UNDER_WAY_MAX: usize = 16_384;

/// Commands that are sent together while the link is being set up: fewer than a shard's mailbox holds.
const BATCH: usize = 1_024;

/// One connection to one relay.
pub(super) struct Connection {
    reader: Reader,
    writer: Writer,
    pub(super) relay: RelayHello,
    next_request: u64,
    waiters: BTreeMap<u64, Waiter>,
    lately: Lately,
    rounds: Rounds,
    pace: Pace,
}

/// Who waits for the answer to a request.
enum Waiter {
    Order(oneshot::Sender<Result<Reply, LinkError>>),
    Survey,
    Correction,
}

impl Connection {
    /// Connects, and brings every shard that answers to the desired state.
    pub(super) async fn open(path: &Path, pace: Pace, boot: u64, owner: &dyn Owner) -> io::Result<Self> {
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        let mut connection = Self {
            reader: Reader::new(reader),
            writer: Writer::new(writer),
            relay: RelayHello::default(),
            next_request: 1,
            waiters: BTreeMap::new(),
            lately: Lately::default(),
            rounds: Rounds::new(pace, Vec::new(), BTreeSet::new(), Instant::now()),
            pace,
        };
        connection.greet(boot, owner).await?;
        let held = connection.survey(owner).await?;
        connection.reconcile(&held, owner).await?;
        let shards: Vec<u32> = connection.relay.shards.iter().map(|shard| shard.shard).collect();
        let unknown = shards.iter().copied().filter(|shard| !held.is_known(*shard)).collect();
        // A snapshot of version 1 does not say what is missing in it, so nothing is concluded from one later on.
        let compared = if connection.relay.version == 1 { Vec::new() } else { shards };
        connection.rounds = Rounds::new(pace, compared, unknown, Instant::now());
        Ok(connection)
    }

    // ------------------------------------------------------------------------------------------ setting up

    async fn greet(&mut self, boot: u64, owner: &dyn Owner) -> io::Result<()> {
        let hello = ClientHello {
            version: VERSION_MIN,
            version_min: VERSION_MIN,
            version_max: VERSION,
            node: machine_name(),
            boot,
        };
        let request = self.send(0, Command::Hello(hello)).await?;
        let deadline = Instant::now() + SETUP_TIMEOUT;
        let relay = match self.answer(deadline, owner).await? {
            Some((answered, Reply::Hello(relay))) if answered == request => relay,
            Some((_, Reply::Rejected(rejected))) => {
                return Err(refused(format!("it refused the greeting: {}", rejected.message)));
            }
            Some(_) => return Err(refused("it did not answer the greeting".into())),
            None => return Err(io::ErrorKind::TimedOut.into()),
        };
        if agree(relay.version, 0, 0).is_none() {
            return Err(refused(format!("it speaks version {} of the contract", relay.version)));
        }
        self.relay = relay;
        Ok(())
    }

    /// Asks every shard what it holds. A shard that takes too long is left out.
    async fn survey(&mut self, owner: &dyn Owner) -> io::Result<Held> {
        if self.relay.version == 1 {
            return self.survey_of_version_1(owner).await;
        }
        let mut asked = BTreeMap::new();
        let shards: Vec<u32> = self.relay.shards.iter().map(|shard| shard.shard).collect();
        for shard in shards {
            let request = self.send(shard, Command::Snapshot(SnapshotRequest {})).await?;
            asked.insert(request, (shard, Snapshot::default()));
        }
        let mut held = Held::default();
        let mut deadline = Instant::now() + self.pace.page;
        while !asked.is_empty() {
            let Some((request, reply)) = self.answer(deadline, owner).await? else { break };
            let Some((shard, pages)) = asked.get_mut(&request) else { continue };
            match reply {
                Reply::Snapshot(page) => {
                    deadline = Instant::now() + self.pace.page;
                    let complete = page.complete;
                    add(pages, page);
                    if complete {
                        held.insert(*shard, std::mem::take(pages));
                        asked.remove(&request);
                    }
                }
                _ => drop(asked.remove(&request)),
            }
        }
        for (shard, _) in asked.values() {
            tracing::warn!(shard, "a shard does not answer; what it holds is left alone");
        }
        Ok(held)
    }

    /// Version 1 has one snapshot of the whole relay.
    async fn survey_of_version_1(&mut self, owner: &dyn Owner) -> io::Result<Held> {
        let request = self.send(0, Command::Snapshot(SnapshotRequest {})).await?;
        let whole = match self.answer(Instant::now() + SETUP_TIMEOUT, owner).await? {
            Some((answered, Reply::Snapshot(whole))) if answered == request => whole,
            Some(_) => return Err(refused("it did not say what it holds".into())),
            None => return Err(io::ErrorKind::TimedOut.into()),
        };
        let mut shards: BTreeMap<u32, Snapshot> =
            self.relay.shards.iter().map(|shard| (shard.shard, Snapshot::default())).collect();
        for peer in whole.peers {
            shards.entry(peer.shard).or_default().peers.push(peer);
        }
        for track in whole.tracks {
            shards.entry(track.shard).or_default().tracks.push(track);
        }
        for subscription in whole.subscriptions {
            shards.entry(subscription.shard).or_default().subscriptions.push(subscription);
        }
        let mut held = Held::default();
        shards.into_iter().for_each(|(shard, snapshot)| held.insert(shard, snapshot));
        Ok(held)
    }

    async fn reconcile(&mut self, held: &Held, owner: &dyn Owner) -> io::Result<()> {
        let commands = difference(held, owner.desired(&self.relay, held), self.relay.version);
        let count = commands.len();
        let refused = self.say_all(commands, owner).await?;
        for (command, why) in &refused {
            tracing::warn!(command = name(command), why, "not restored");
        }
        if count > 0 {
            tracing::info!(commands = count, refusals = refused.len(), "relay reconciled");
        }
        if !refused.is_empty() {
            owner.handle_refusals(refused);
        }
        Ok(())
    }

    /// Says commands, many at a time, and what a busy shard refused again. Gives what was refused for good.
    async fn say_all(
        &mut self,
        commands: Vec<(u32, Command)>,
        owner: &dyn Owner,
    ) -> io::Result<Vec<(Command, String)>> {
        let mut refused = Vec::new();
        let mut left = commands;
        while !left.is_empty() {
            let rest = left.split_off(left.len().min(BATCH));
            let mut again = self.say_batch(left, &mut refused, owner).await?;
            if !again.is_empty() {
                sleep(BUSY_PAUSE).await;
            }
            again.extend(rest);
            left = again;
        }
        Ok(refused)
    }

    /// Says some commands. Gives those that are to be said again: what a busy shard refused, and everything that came
    /// behind it for the same shard, since commands of one shard keep their order.
    async fn say_batch(
        &mut self,
        commands: Vec<(u32, Command)>,
        refused: &mut Vec<(Command, String)>,
        owner: &dyn Owner,
    ) -> io::Result<Vec<(u32, Command)>> {
        let first = self.next_request;
        let frames: Vec<ToRelay> =
            commands.iter().map(|(shard, command)| self.frame(*shard, command.clone())).collect();
        self.writer.send(&frames).await?;
        let mut replies: Vec<Option<Reply>> = vec![None; commands.len()];
        let mut missing = commands.len();
        while missing > 0 {
            let deadline = Instant::now() + SETUP_TIMEOUT;
            let answer = self.answer(deadline, owner).await?;
            let (request, reply) = answer.ok_or(io::ErrorKind::TimedOut)?;
            let place = request.checked_sub(first).and_then(|place| usize::try_from(place).ok());
            // The last pages of a shard that was too slow may come now.
            let Some(place) = place.and_then(|place| replies.get_mut(place)) else { continue };
            missing -= usize::from(place.replace(reply).is_none());
        }
        let mut busy = BTreeSet::new();
        let mut again = Vec::new();
        for ((shard, command), reply) in commands.into_iter().zip(replies) {
            match reply {
                _ if busy.contains(&shard) => again.push((shard, command)),
                Some(Reply::Rejected(rejected)) if reason(&rejected) == Rejection::Busy => {
                    busy.insert(shard);
                    again.push((shard, command));
                }
                Some(Reply::Rejected(rejected)) => refused.push((command, rejected.message)),
                _ => {}
            }
        }
        Ok(again)
    }

    /// The next answer; `None` when there is none by `deadline`. Events in between go to the owner.
    async fn answer(&mut self, deadline: Instant, owner: &dyn Owner) -> io::Result<Option<(u64, Reply)>> {
        loop {
            let Ok(frame) = timeout(deadline - Instant::now(), self.reader.next()).await else {
                return Ok(None);
            };
            match frame? {
                FromRelay { request: 0, reply: Some(Reply::Event(event)) } => owner.handle_event(event),
                FromRelay { request, reply: Some(reply) } => return Ok(Some((request, reply))),
                FromRelay { reply: None, .. } => {}
            }
        }
    }

    // ------------------------------------------------------------------------------------------ serving

    /// Serves orders until the link breaks (then with the reason) or every handle is gone.
    pub(super) async fn run(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        owner: &dyn Owner,
    ) -> Option<io::Error> {
        loop {
            let round = self.rounds.deadline(Instant::now());
            let served = tokio::select! {
                frame = self.reader.next() => match frame {
                    Ok(frame) => self.handle_frame(frame, owner).await,
                    Err(error) => Err(error),
                },
                order = orders.recv(), if self.waiters.len() < UNDER_WAY_MAX => self.place(order?).await,
                () = sleep_until(round) => self.ask_next().await,
            };
            if let Err(error) = served {
                return Some(error);
            }
        }
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.waiters.len()
    }

    /// The link is broken. Every caller that waits gets an error.
    pub(super) fn abandon(&mut self) {
        for waiter in std::mem::take(&mut self.waiters).into_values() {
            if let Waiter::Order(answer) = waiter {
                // The one that asked may have stopped waiting.
                let _ = answer.send(Err(LinkError::Lost));
            }
        }
    }

    async fn place(&mut self, order: Order) -> io::Result<()> {
        let mut frames = Vec::with_capacity(order.requests.len());
        for (command, answer) in order.requests {
            let frame = self.frame(order.shard, command);
            self.waiters.insert(frame.request, Waiter::Order(answer));
            frames.push(frame);
        }
        self.writer.send(&frames).await
    }

    async fn handle_frame(&mut self, frame: FromRelay, owner: &dyn Owner) -> io::Result<()> {
        let FromRelay { request, reply: Some(reply) } = frame else { return Ok(()) };
        if let (0, Reply::Event(event)) = (request, &reply) {
            owner.handle_event(Event::clone(event));
            return Ok(());
        }
        if let Reply::Snapshot(page) = reply {
            return self.handle_page(request, page, owner).await;
        }
        // An answer without a waiter came too late.
        match self.waiters.remove(&request) {
            Some(Waiter::Order(answer)) => {
                let _ = answer.send(match reply {
                    Reply::Rejected(rejected) => {
                        Err(LinkError::Rejected(reason(&rejected), rejected.message))
                    }
                    reply => Ok(reply),
                });
            }
            Some(Waiter::Survey) => self.rounds.handle_no_page(request, Instant::now()),
            Some(Waiter::Correction) => {
                let refused = self.rounds.handle_corrected(request, outcome(reply)).unwrap_or_default();
                if !refused.is_empty() {
                    owner.handle_refusals(refused);
                }
            }
            None => {}
        }
        Ok(())
    }

    // ------------------------------------------------------------------------------------------ rounds

    /// Asks the next shard what it holds, if it is time.
    async fn ask_next(&mut self) -> io::Result<()> {
        let Some(shard) = self.rounds.next(Instant::now()) else { return Ok(()) };
        let request = self.send(shard, Command::Snapshot(SnapshotRequest {})).await?;
        self.waiters.insert(request, Waiter::Survey);
        self.rounds.asked(shard, request, Instant::now());
        Ok(())
    }

    /// Takes a page; after the last one of its shard, has the shard put right.
    async fn handle_page(&mut self, request: u64, page: Snapshot, owner: &dyn Owner) -> io::Result<()> {
        let now = Instant::now();
        if page.complete {
            self.waiters.remove(&request);
        }
        let Some((shard, snapshot)) = self.rounds.handle_page(request, page, now) else { return Ok(()) };
        let mut held = Held::default();
        held.insert(shard, snapshot);
        let held = held.without(self.lately.within(now, self.pace.quiet));
        let commands = difference(&held, owner.desired(&self.relay, &held), self.relay.version);
        if !commands.is_empty() {
            tracing::info!(shard, commands = commands.len(), "a shard differed and is put right");
        }
        let frames: Vec<ToRelay> =
            commands.into_iter().map(|(shard, command)| self.frame(shard, command)).collect();
        self.waiters.extend(frames.iter().map(|frame| (frame.request, Waiter::Correction)));
        let under_way = frames.iter().filter_map(|frame| Some((frame.request, frame.command.clone()?)));
        self.rounds.corrects(shard, under_way.collect(), now);
        self.writer.send(&frames).await
    }

    // ------------------------------------------------------------------------------------------ sending

    /// Sends one command. Gives the number of its request.
    async fn send(&mut self, shard: u32, command: Command) -> io::Result<u64> {
        let frame = self.frame(shard, command);
        let request = frame.request;
        self.writer.send(&[frame]).await?;
        Ok(request)
    }

    fn frame(&mut self, shard: u32, command: Command) -> ToRelay {
        let now = Instant::now();
        self.lately.forget(now, self.pace.quiet);
        self.lately.note(now, &command);
        let request = self.next_request;
        self.next_request += 1;
        ToRelay { request, shard, command: Some(command), fence: FENCE }
    }
}

fn outcome(reply: Reply) -> Outcome {
    match reply {
        Reply::Rejected(rejected) if reason(&rejected) == Rejection::Busy => Outcome::Later,
        Reply::Rejected(Rejected { message, .. }) => Outcome::Refused(message),
        _ => Outcome::Done,
    }
}

/// The name of this machine, empty when it has none.
fn machine_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// A command in one word, for the log.
const fn name(command: &Command) -> &'static str {
    match command {
        Command::PutPeer(_) => "PutPeer",
        Command::PutTrack(_) => "PutTrack",
        Command::PutSubscription(_) => "PutSubscription",
        Command::RemovePeer(_) | Command::RemovePeers(_) => "RemovePeers",
        Command::RemoveTrack(_) => "RemoveTrack",
        Command::RemoveSubscription(_) => "RemoveSubscription",
        _ => "another command",
    }
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
