//! The shard, its browsers, the network between them and their time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use millrace_control as contract;
use millrace_control::{Command, EventKind};

use super::browser::keys::Keys;
use super::browser::sink::Sink;
use super::browser::source::{Sent, Source};
use super::browser::{Browser, Ground};
use super::media::Codec;
use super::memory::Memory;
use super::net::{Flight, Net, To};
use super::outbox::Outbox;
use crate::dtls::{Certificate, Role, Settings, Version};
use crate::egress::Path;
use crate::ids::PeerId;
use crate::ingress::{TRAINS_MAX, Train};
use crate::io::{alloc, clock};
use crate::random::Random;
use crate::records::keys::{KeyRecord, Profile};
use crate::shard::command::Refusal;
use crate::shard::{Shard, ShardConfig};
use crate::time::{Epoch, Timestamp};
use crate::wire::extension::Kind;

/// When every world begins.
const BEGINNING: Timestamp = Timestamp::from_nanos(1_000_000_000_000);
/// Steps of one moment. A shard that wants more asks for the same moment again and again.
const STEPS_MAX: usize = 1_000;
/// First ids of tracks and subscriptions.
const TRACKS: u64 = 100;
const SUBSCRIPTIONS: u64 = 10_000;

static RELAY: LazyLock<(Certificate, Arc<Settings>)> = LazyLock::new(certificate);
static BROWSER: LazyLock<(Certificate, Arc<Settings>)> = LazyLock::new(certificate);

fn certificate() -> (Certificate, Arc<Settings>) {
    let certificate = Certificate::generate();
    let settings = Arc::new(Settings::new(&certificate, Version::Dtls12));
    (certificate, settings)
}

/// A published stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Camera {
    pub(crate) browser: usize,
    pub(crate) source: usize,
    pub(crate) track: u64,
    pub(crate) codec: Codec,
}

/// A subscription as its viewer knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) browser: usize,
    pub(crate) ssrc: u32,
}

/// Everything but the shard.
#[derive(Clone)]
pub(crate) struct Rest {
    pub(crate) now: Timestamp,
    pub(crate) net: Net,
    pub(crate) browsers: Vec<Browser>,
    /// What signaling was told.
    pub(crate) events: Vec<EventKind>,
    /// Whose an address is.
    addresses: BTreeMap<SocketAddr, usize>,
    epoch: Epoch,
    /// Id of the shard, and how many there are.
    pub(crate) shard: (u32, u32),
    /// The shard that the tracks to watch are published on, where that is another one.
    pub(crate) home: Option<u32>,
    pub(crate) seed: u64,
    random: Random,
    made: u64,
}

impl Rest {
    /// Gives every transport other keys, of `profile`. Our two handshakes would always agree on the same one.
    pub(crate) fn rekey(&mut self, memory: &mut Memory, profile: Profile) {
        let mut records = memory.records();
        let slots: Vec<_> = records.peers.iter().map(|(slot, peer)| (slot, peer.id)).collect();
        for (slot, id) in slots {
            let mut key = || {
                let mut key = [0; 32];
                key[..profile.key_len()].fill_with(|| self.random.next_u32() as u8);
                key
            };
            let record = KeyRecord {
                profile: profile.code(),
                inbound_key: key(),
                outbound_key: key(),
                ..KeyRecord::NONE
            };
            records.peers[slot].keys = record;
            let browser = self.browsers.iter_mut().find(|browser| PeerId(browser.id) == id).unwrap();
            let (inbound_key, outbound_key) = (record.outbound_key, record.inbound_key);
            browser.install(Keys::new(KeyRecord { inbound_key, outbound_key, ..record }));
        }
    }
}

pub(crate) struct World<'m> {
    pub(crate) shard: Shard<'m>,
    pub(crate) outbox: Outbox,
    pub(crate) rest: Rest,
    /// How often the shard allocated while it had a datagram in hand.
    pub(crate) media_allocations: u64,
    /// Everything the shard sent, when somebody wants to know.
    pub(crate) log: Option<Vec<(Timestamp, Path, Vec<u8>)>>,
    /// Datagrams that came to the shard in one moment.
    arrived: Vec<(Path, Vec<u8>)>,
    steps: usize,
}

/// A shard that is alone.
pub(crate) fn shard_config() -> ShardConfig {
    ShardConfig {
        id: 0,
        shards: 1,
        seed: 1,
        epoch: clock::epoch(),
        dtls: Arc::clone(&RELAY.1),
        allow_fault_injection: true,
    }
}

impl<'m> World<'m> {
    pub(crate) fn new(memory: &'m mut Memory, seed: u64) -> Self {
        Self::member(memory, seed, (0, 1))
    }

    /// One shard of several, by its id and their number.
    pub(crate) fn member(memory: &'m mut Memory, seed: u64, shard: (u32, u32)) -> Self {
        // The one clock reading: the handshakes' library wants an instant to count from.
        let instant = clock::epoch().instant(Timestamp::ZERO);
        let rest = Rest {
            now: BEGINNING,
            net: Net::new(seed ^ 0xA5A5),
            browsers: Vec::new(),
            events: Vec::new(),
            addresses: BTreeMap::new(),
            epoch: Epoch::new(instant, BEGINNING),
            shard,
            home: None,
            seed,
            random: Random::new(seed),
            made: 0,
        };
        Self::resume(memory, rest)
    }

    /// A new shard over what the last one left.
    pub(crate) fn resume(memory: &'m mut Memory, rest: Rest) -> Self {
        let config = ShardConfig {
            id: rest.shard.0,
            shards: rest.shard.1,
            seed: rest.seed,
            epoch: rest.epoch,
            ..shard_config()
        };
        let shard = Shard::new(config, memory.records(), rest.now);
        let mut world = Self {
            shard,
            outbox: Outbox::new(),
            rest,
            media_allocations: 0,
            log: None,
            arrived: Vec::new(),
            steps: 0,
        };
        world.gather();
        world
    }

    /// The shard is gone; what it had queued too.
    pub(crate) fn freeze(self) -> Rest {
        self.rest
    }

    // ------------------------------------------------------------------------------------------ signaling

    pub(crate) fn command(&mut self, command: &Command) -> Result<(), Refusal> {
        let outcome = self.shard.handle_command(self.rest.now, command);
        self.gather();
        outcome
    }

    /// A new browser, told to the relay; it connects as time passes.
    pub(crate) fn join(&mut self) -> usize {
        let browser = self.newcomer();
        self.introduce(browser)
    }

    /// A new browser that nobody told the relay of yet.
    pub(crate) fn newcomer(&mut self) -> usize {
        let place = self.rest.browsers.len();
        let path = Path {
            local: IpAddr::from([192, 0, 2, 1]),
            remote: SocketAddr::from(([198, 51, 100, 1], 50_000 + place as u16)),
            ..Path::NONE
        };
        let ground = Ground {
            epoch: self.rest.epoch,
            settings: Settings::clone(&BROWSER.1),
            relay: RELAY.0.fingerprint(),
        };
        let random = Random::new(self.rest.random.next_u64());
        self.rest.browsers.push(Browser::new(place as u64 + 1, path, &ground, random));
        self.rest.addresses.insert(path.remote, place);
        place
    }

    /// Tells the relay of a browser, which begins to check.
    pub(crate) fn introduce(&mut self, browser: usize) -> usize {
        let put = self.put_peer(browser);
        self.command(&Command::PutPeer(put)).unwrap();
        self.rest.browsers[browser].next_check_at = self.rest.now;
        browser
    }

    pub(crate) fn put_peer(&self, browser: usize) -> contract::PutPeer {
        let browser = &self.rest.browsers[browser];
        let extension = |kind: &Kind| {
            let id = browser.extensions.id(*kind)?;
            Some(contract::Extension { kind: *kind as i32, id: id.into() })
        };
        contract::PutPeer {
            room: 1,
            peer: browser.id,
            local_ufrag: browser.relay.ufrag.clone(),
            local_pwd: browser.relay.pwd.clone(),
            remote_ufrag: browser.own.ufrag.clone(),
            remote_pwd: browser.own.pwd.clone(),
            dtls_role: match browser.role {
                Role::Client => contract::DtlsRole::Server as i32,
                Role::Server => contract::DtlsRole::Client as i32,
            },
            remote_fingerprint: BROWSER.0.fingerprint().0.to_vec(),
            extensions: Kind::ALL.iter().filter_map(extension).collect(),
            receive_max_bps: 0,
            transport_cc: true,
            remb: false,
            memo: format!("browser {}", browser.id).into_bytes(),
        }
    }

    /// A source of a browser as a track with signaled SSRCs.
    pub(crate) fn publish(&mut self, browser: usize, codec: Codec) -> Camera {
        let track = TRACKS + self.make();
        let camera = self.install_source(browser, codec, track, 96);
        self.put_track(camera, |_| {});
        camera
    }

    /// Gives a browser a source, without telling the relay.
    pub(crate) fn install_source(
        &mut self,
        browser: usize,
        codec: Codec,
        track: u64,
        payload_type: u8,
    ) -> Camera {
        let ssrc = self.rest.random.next_u32() & 0x7FFF_FFFF;
        let sources = &mut self.rest.browsers[browser].sources;
        sources.push(Source::new(codec, ssrc, payload_type));
        Camera { browser, source: sources.len() - 1, track, codec }
    }

    pub(crate) fn put_track(&mut self, camera: Camera, change: impl FnOnce(&mut contract::PutTrack)) {
        let source = &self.rest.browsers[camera.browser].sources[camera.source];
        let video = camera.codec.is_video();
        let mut put = contract::PutTrack {
            track: camera.track,
            peer: self.rest.browsers[camera.browser].id,
            mid: camera.source.to_string(),
            kind: camera.codec.media_kind() as i32,
            codecs: vec![camera.codec.on(source.payload_type)],
            ssrcs: vec![contract::SignaledSsrc {
                ssrc: source.ssrc,
                rtx_ssrc: video.then_some(source.rtx_ssrc),
            }],
            nack: video,
            pli: video,
            fir: false,
        };
        change(&mut put);
        self.command(&Command::PutTrack(put)).unwrap();
    }

    pub(crate) fn watch(&mut self, browser: usize, camera: Camera) -> View {
        self.watch_track(browser, camera.track, camera.codec)
    }

    /// Watches a track that may not be there yet, under payload types of the viewer's own.
    pub(crate) fn watch_track(&mut self, browser: usize, track: u64, codec: Codec) -> View {
        let put = self.put_subscription(browser, track, codec);
        self.command(&Command::PutSubscription(put.clone())).unwrap();
        if let Some(rtx) = put.rtx_ssrc {
            self.rest.browsers[browser].repairs.insert(rtx, put.ssrc);
        }
        View { browser, ssrc: put.ssrc }
    }

    pub(crate) fn put_subscription(
        &mut self,
        browser: usize,
        track: u64,
        codec: Codec,
    ) -> contract::PutSubscription {
        let ssrc = self.rest.random.next_u32() & 0x7FFF_FFFF;
        contract::PutSubscription {
            subscription: SUBSCRIPTIONS + self.make(),
            peer: self.rest.browsers[browser].id,
            track,
            mid: format!("v{browser}"),
            ssrc,
            rtx_ssrc: codec.is_video().then_some(ssrc | 0x8000_0000),
            codecs: vec![codec.on(110)],
            cname: format!("cname{track}"),
            kind: codec.media_kind() as i32,
            home: self.rest.home,
            ..contract::PutSubscription::default()
        }
    }

    pub(crate) fn make(&mut self) -> u64 {
        self.rest.made += 1;
        self.rest.made
    }

    // ------------------------------------------------------------------------------------------ what happens

    pub(crate) fn start(&mut self, camera: Camera) {
        let now = self.rest.now;
        self.source(camera).next_frame_at = now;
    }

    pub(crate) fn stop(&mut self, camera: Camera) {
        self.source(camera).next_frame_at = Timestamp::NEVER;
    }

    /// Sends for that long, then rests until all has arrived.
    pub(crate) fn stream(&mut self, camera: Camera, time: Duration) {
        self.start(camera);
        self.run(time);
        self.stop(camera);
        self.run(Duration::from_millis(500));
    }

    pub(crate) fn browser(&mut self, browser: usize) -> &mut Browser {
        &mut self.rest.browsers[browser]
    }

    pub(crate) fn source(&mut self, camera: Camera) -> &mut Source {
        &mut self.rest.browsers[camera.browser].sources[camera.source]
    }

    pub(crate) fn sent(&self, camera: Camera) -> Vec<&Sent> {
        self.rest.browsers[camera.browser].sources[camera.source].media().collect()
    }

    pub(crate) fn seen(&self, view: View) -> &Sink {
        static NOTHING: LazyLock<Sink> = LazyLock::new(Sink::default);
        self.rest.browsers[view.browser].sinks.get(&view.ssrc).unwrap_or(&NOTHING)
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let counters = self.shard.counters([]).counters;
        counters
            .iter()
            .find(|counter| counter.name == name)
            .unwrap_or_else(|| panic!("no counter {name}"))
            .value
    }

    /// What the shard holds: peers, tracks, streams, subscriptions.
    pub(crate) fn held(&self) -> [u64; 4] {
        ["peers", "tracks", "streams_in", "subscriptions"].map(|name| self.counter(name))
    }

    // ------------------------------------------------------------------------------------------ time

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.rest.now + time;
        self.flush_browsers();
        while self.step(until) {}
        self.rest.now = until;
    }

    /// Runs until every browser that checks is live.
    pub(crate) fn connect(&mut self) {
        for _ in 0..100 {
            let waits = |browser: &Browser| browser.next_check_at != Timestamp::NEVER && !browser.is_live();
            if !self.rest.browsers.iter().any(waits) {
                return self.run(Duration::from_millis(50));
            }
            self.run(Duration::from_millis(50));
        }
        panic!("not everybody is connected after 5 s");
    }

    /// When something happens next.
    pub(crate) fn next_moment(&self) -> Timestamp {
        let browsers = self.rest.browsers.iter().map(Browser::next_deadline).min();
        let own = self.rest.net.next_arrival().min(self.shard.next_deadline());
        own.min(browsers.unwrap_or(Timestamp::NEVER))
    }

    fn step(&mut self, until: Timestamp) -> bool {
        let next = self.next_moment();
        if next > until {
            return false;
        }
        self.steps = if next > self.rest.now { 0 } else { self.steps + 1 };
        assert!(self.steps < STEPS_MAX, "somebody asks for the same moment again and again");
        self.rest.now = self.rest.now.max(next);
        while let Some(flight) = self.rest.net.pop_due(self.rest.now) {
            self.deliver(flight);
        }
        if !self.arrived.is_empty() {
            self.hand_over_arrived();
        }
        self.tick();
        true
    }

    /// Everything that is due now.
    fn tick(&mut self) {
        let now = self.rest.now;
        while self.shard.has_deferred() {
            self.shard.handle_deferred(now, &mut self.outbox);
        }
        if self.shard.next_deadline() <= now {
            self.shard.handle_timeout(now, &mut self.outbox);
        }
        for browser in &mut self.rest.browsers {
            if browser.next_deadline() <= now {
                browser.handle_timeout(now);
            }
        }
        self.gather();
        self.flush_browsers();
    }

    fn deliver(&mut self, flight: Flight) {
        match flight.to {
            To::Relay => {
                self.arrived.push((flight.path, flight.bytes));
                if self.arrived.len() == TRAINS_MAX {
                    self.hand_over_arrived();
                }
            }
            To::Browser => {
                let Some(&browser) = self.rest.addresses.get(&flight.path.remote) else { return };
                self.rest.browsers[browser].handle_datagram(self.rest.now, &flight.bytes);
            }
        }
    }

    /// Hands a datagram to the shard now, past the network.
    pub(crate) fn hand_over(&mut self, path: &Path, bytes: Vec<u8>) {
        self.arrived.push((*path, bytes));
        self.hand_over_arrived();
    }

    /// Hands what has arrived to the shard, as a backend does: what came together goes together.
    fn hand_over_arrived(&mut self) {
        let mut arrived = std::mem::take(&mut self.arrived);
        let trains = arrived.iter_mut().map(|(path, bytes)| Train::single(*path, bytes)).collect();
        let before = alloc::allocations_of_this_thread();
        self.shard.handle_datagrams(self.rest.now, trains, &mut self.outbox);
        self.media_allocations += alloc::allocations_of_this_thread() - before;
    }

    /// Takes what the shard sent and said.
    pub(crate) fn gather(&mut self) {
        for (path, bytes) in self.outbox.datagrams() {
            if let Some(&place) = self.rest.addresses.get(&path.remote) {
                let browser = &mut self.rest.browsers[place];
                if let Some(keys) = browser.keys.as_ref() {
                    browser.audit.check(keys, bytes);
                }
            }
            if let Some(log) = self.log.as_mut() {
                log.push((self.rest.now, *path, bytes.to_vec()));
            }
            let flight = Flight { to: To::Browser, path: *path, bytes: bytes.to_vec() };
            self.rest.net.send(self.rest.now, &flight);
        }
        self.outbox.clear();
        while let Some(event) = self.shard.poll_event() {
            self.rest.events.extend(event.kind);
        }
    }

    fn flush_browsers(&mut self) {
        for browser in &mut self.rest.browsers {
            for bytes in std::mem::take(&mut browser.out) {
                self.rest.net.send(self.rest.now, &Flight { to: To::Relay, path: browser.path, bytes });
            }
        }
    }

    /// The browser is somewhere else from now on.
    pub(crate) fn move_to(&mut self, browser: usize, remote: SocketAddr) {
        self.rest.browsers[browser].path.remote = remote;
        self.rest.addresses.insert(remote, browser);
    }

    /// Where one more packet of a camera goes for a viewer.
    pub(crate) fn destination_of_media(&mut self, camera: Camera, view: View) -> SocketAddr {
        let publisher = &mut self.rest.browsers[camera.browser];
        let (path, frame) = (publisher.path, publisher.sources[camera.source].frame());
        let mut destinations = Vec::new();
        for sent in frame {
            let datagram = self.rest.browsers[camera.browser].seal_packet(camera.source, &sent).unwrap();
            self.hand_over(&path, datagram);
            let to_view = |(_, bytes): &(&Path, &[u8])| bytes[8..12] == view.ssrc.to_be_bytes();
            destinations.extend(self.outbox.datagrams().filter(to_view).map(|(path, _)| path.remote));
            self.gather();
        }
        assert!(!destinations.is_empty() && destinations.windows(2).all(|pair| pair[0] == pair[1]));
        destinations[0]
    }

    /// The states of a browser that signaling was told of, each once, with reasons.
    pub(crate) fn told_of(&self, browser: usize) -> Vec<(contract::PeerState, &str)> {
        let id = self.rest.browsers[browser].id;
        let mut told: Vec<_> = self
            .rest
            .events
            .iter()
            .filter_map(|event| match event {
                EventKind::Peer(peer) if peer.peer == id => Some((peer.state(), &peer.reason[..])),
                _ => None,
            })
            .collect();
        // Of media and paths more is told.
        told.dedup();
        told
    }
}
