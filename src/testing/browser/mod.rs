//! A browser as the relay sees one: ICE checks, DTLS, SRTP, media out and in, RTCP. Sans-IO like the relay.

pub(crate) mod heard;
pub(crate) mod keys;
mod receive;
mod send;
pub(crate) mod sink;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::crypto::digest::Fingerprint;
use crate::dtls::{Handshake, Output, Role, Settings};
use crate::egress::Path;
use crate::random::Random;
use crate::time::{Epoch, Timestamp};
use crate::wire::extension::{ExtensionMap, Kind};
use heard::Heard;
use keys::{Audit, Keys};
use sink::Sink;
use source::Source;

/// How often it checks a path, and what it is for how long.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it asks for what is missing.
const REPAIR_INTERVAL: Duration = Duration::from_millis(50);
/// Ids of its header extensions, unlike anybody else's.
const EXTENSIONS: [(Kind, u8); 5] = [
    (Kind::Mid, 4),
    (Kind::TransportCc, 3),
    (Kind::AudioLevel, 1),
    (Kind::Rid, 10),
    (Kind::VideoOrientation, 13),
];

/// User fragment and password.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

impl Credentials {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut word =
            |len: usize| format!("{:016x}{:016x}", random.next_u64(), random.next_u64())[..len].to_owned();
        Self { ufrag: word(8), pwd: word(32) }
    }
}

/// A handshake cannot be copied; a copy of a browser that is connected needs none.
#[derive(Default)]
pub(crate) struct Line(pub(crate) Option<Box<Handshake>>);

impl Clone for Line {
    fn clone(&self) -> Self {
        Self(None)
    }
}

#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) id: u64,
    pub(crate) path: Path,
    pub(crate) relay: Credentials,
    pub(crate) own: Credentials,
    /// [`Timestamp::NEVER`] when it has stopped checking.
    pub(crate) next_check_at: Timestamp,
    /// Checks that were answered.
    pub(crate) answered: u64,
    pub(crate) role: Role,
    pub(crate) expected: Fingerprint,
    pub(crate) line: Line,
    pub(crate) failed: Option<String>,
    handshake_at: Timestamp,
    pub(crate) keys: Option<Keys>,
    pub(crate) audit: Audit,
    pub(crate) extensions: ExtensionMap,
    pub(crate) sources: Vec<Source>,
    pub(crate) sinks: BTreeMap<u32, Sink>,
    /// Media SSRC by the SSRC of its RTX.
    pub(crate) repairs: BTreeMap<u32, u32>,
    /// Whether it asks for what is missing.
    pub(crate) asks: bool,
    next_repair_at: Timestamp,
    pub(crate) heard: Vec<Heard>,
    rtcp_index: u32,
    transport_sequence: u16,
    random: Random,
    epoch: Epoch,
    settings: Settings,
    /// What it sends now.
    pub(crate) out: Vec<Vec<u8>>,
}

/// What all browsers of a world have in common.
pub(crate) struct Ground {
    pub(crate) epoch: Epoch,
    pub(crate) settings: Settings,
    /// Fingerprint of the relay.
    pub(crate) relay: Fingerprint,
}

impl Browser {
    pub(crate) fn new(id: u64, path: Path, ground: &Ground, mut random: Random) -> Self {
        let mut extensions = ExtensionMap::EMPTY;
        for (kind, extension) in EXTENSIONS {
            assert!(extensions.insert(kind, extension));
        }
        Self {
            id,
            path,
            relay: Credentials::new(&mut random),
            own: Credentials::new(&mut random),
            next_check_at: Timestamp::NEVER,
            answered: 0,
            role: Role::Client,
            expected: ground.relay,
            line: Line::default(),
            failed: None,
            handshake_at: Timestamp::NEVER,
            keys: None,
            audit: Audit::default(),
            extensions,
            sources: Vec::new(),
            sinks: BTreeMap::new(),
            repairs: BTreeMap::new(),
            asks: true,
            next_repair_at: Timestamp::NEVER,
            heard: Vec::new(),
            rtcp_index: 0,
            transport_sequence: 65_000,
            random,
            epoch: ground.epoch,
            settings: ground.settings.clone(),
            out: Vec::new(),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.keys.is_some()
    }

    pub(crate) fn next_deadline(&self) -> Timestamp {
        let frames = self.sources.iter().map(|source| source.next_frame_at);
        let own = [self.next_check_at, self.handshake_at, self.next_repair_at];
        frames.chain(own).min().unwrap_or(Timestamp::NEVER)
    }

    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        if self.next_check_at <= now {
            self.check(true);
            self.next_check_at = now + CHECK_INTERVAL;
        }
        if self.handshake_at <= now {
            if let Some(handshake) = self.line.0.as_mut() {
                handshake.handle_timeout(now);
            }
            self.drive_handshake();
        }
        for source in 0..self.sources.len() {
            if self.sources[source].next_frame_at <= now {
                self.sources[source].next_frame_at = now + self.sources[source].codec.frame_time();
                self.send_frame(source);
            }
        }
        if self.next_repair_at <= now {
            self.next_repair_at = now + REPAIR_INTERVAL;
            self.ask_for_missing();
        }
    }

    /// Begins, when the path is known to work.
    fn begin_handshake(&mut self, now: Timestamp) {
        if self.line.0.is_none() && self.keys.is_none() {
            let handshake = Handshake::new(self.role, &self.settings, self.expected, self.epoch, now);
            self.line.0 = Some(Box::new(handshake));
            self.drive_handshake();
        }
    }

    fn handle_dtls(&mut self, now: Timestamp, datagram: &[u8]) {
        if let Some(handshake) = self.line.0.as_mut() {
            // Reordered or doubled datagrams are refused without harm.
            let _ = handshake.handle_datagram(now, datagram);
        }
        self.drive_handshake();
    }

    fn drive_handshake(&mut self) {
        self.handshake_at = Timestamp::NEVER;
        let mut datagram = [0; 1500];
        while let Some(handshake) = self.line.0.as_mut() {
            match handshake.poll_output(&mut datagram) {
                Output::Datagram(len) => self.out.push(datagram[..len].to_vec()),
                Output::Timeout(at) => {
                    self.handshake_at = at;
                    return;
                }
                Output::Connected(keys) => self.install(Keys::new(*keys.record())),
                Output::Failed(error) => self.fail(&error.to_string()),
                Output::Closed => self.fail("closed"),
            }
        }
    }

    /// Begins its handshake without waiting for a path.
    pub(crate) fn hasten(&mut self, now: Timestamp) {
        self.begin_handshake(now);
    }

    /// close_notify.
    pub(crate) fn say_goodbye(&mut self) {
        self.line.0.as_mut().expect("a handshake of this browser").close();
        self.drive_handshake();
    }

    fn fail(&mut self, reason: &str) {
        self.failed = Some(reason.to_owned());
        self.line.0 = None;
    }

    pub(crate) fn install(&mut self, keys: Keys) {
        self.keys = Some(keys);
        self.audit.reset();
        self.next_repair_at = self.next_repair_at.min(Timestamp::ZERO + REPAIR_INTERVAL);
    }
}
