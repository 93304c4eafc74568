//! The rules of the module, told as a browser and a stranger would try them.

use std::time::Duration;

use bytemuck::Zeroable;
use millrace_turn::{
    AttributeType, Class, ErrorCode, IntegrityKey, Message, Method, TransactionId, Verdict, Writer,
};

use super::*;
use crate::discard::Discard;
use crate::egress::Path;
use crate::records::ice::VALID_PATHS_MAX;
use crate::time::Timestamp;

const OURS: (&str, &str) = ("relayufrag", "relay+password/with32characters0");
const OURS_NEW: (&str, &str) = ("relaynew", "another+password/of32characters00");
const THEIRS: (&str, &str) = ("chrm", "browserpasswordof24chars");
const ICE_CONTROLLING: AttributeType = AttributeType::ICE_CONTROLLING;

fn credentials((ufrag, pwd): (&str, &str)) -> CredentialsRecord {
    CredentialsRecord::new(ufrag, pwd).unwrap()
}

fn at(ms: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs(1_000) + Duration::from_millis(ms)
}

fn path(port: u16) -> Path {
    Path { local: "192.0.2.1".parse().unwrap(), remote: ([198, 51, 100, 7], port).into(), ..Path::NONE }
}

/// A check of transaction `number` under `ours`, with what `more` adds before the integrity.
fn write_check(ours: (&str, &str), number: u64, more: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut transaction = [0; 12];
    transaction[4..].copy_from_slice(&number.to_be_bytes());
    let mut slot = [0; 256];
    let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId(transaction));
    writer.username(format!("{}:{}", ours.0, THEIRS.0).as_bytes());
    more(&mut writer);
    writer.integrity(&IntegrityKey::short_term(ours.1.as_bytes()));
    writer.fingerprint();
    let len = writer.finish().unwrap();
    slot[..len].to_vec()
}

fn plain(writer: &mut Writer<'_>) {
    writer.attribute(ICE_CONTROLLING, &7_u64.to_be_bytes());
    writer.priority(1);
}

fn nominating(writer: &mut Writer<'_>) {
    plain(writer);
    writer.use_candidate();
}

fn no_priority(writer: &mut Writer<'_>) {
    writer.use_candidate();
}

fn strange(writer: &mut Writer<'_>) {
    nominating(writer);
    writer.attribute(AttributeType(0x7001), b"?");
}

/// One peer of the relay and the browser that belongs to it.
struct World {
    record: IceRecord,
    agent: Agent,
    ours: (&'static str, &'static str),
    transactions: u64,
}

impl World {
    fn new() -> Self {
        let record = IceRecord::new(credentials(OURS), credentials(THEIRS));
        Self { record, agent: Agent::restore(&record), ours: OURS, transactions: 0 }
    }

    /// Delivers bytes; gives what was handled and the answer.
    fn deliver(&mut self, now: Timestamp, path: &Path, bytes: &[u8]) -> Result<(Handled, Vec<u8>), Discard> {
        let check = Message::parse(bytes).unwrap();
        let mut slot = [0; 256];
        let handled = self.agent.handle_binding(&mut self.record, now, path, &check, &mut slot)?;
        Ok((handled, slot[..handled.response_len].to_vec()))
    }

    /// The browser makes a fresh check; gives its bytes too, for those who copy them.
    fn fresh(&mut self, more: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        self.transactions += 1;
        write_check(self.ours, self.transactions, more)
    }

    fn check(&mut self, now: Timestamp, path: &Path) -> Effect {
        let bytes = self.fresh(plain);
        self.deliver(now, path, &bytes).unwrap().0.effect
    }

    fn nominate(&mut self, now: Timestamp, path: &Path) -> Effect {
        let bytes = self.fresh(nominating);
        self.deliver(now, path, &bytes).unwrap().0.effect
    }

    /// Delivers what must be met with silence and leave no trace.
    fn silent(&mut self, now: Timestamp, path: &Path, bytes: &[u8]) -> Discard {
        let before = self.record;
        let discard = self.deliver(now, path, bytes).unwrap_err();
        assert_eq!(self.record, before, "silence leaves no trace");
        discard
    }

    /// The error code of the authenticated answer to a check that is refused, which leaves no trace either.
    fn refused(&mut self, bytes: &[u8]) -> (ErrorCode, Vec<AttributeType>) {
        let before = self.record;
        let (handled, answer) = self.deliver(at(0), &path(1), bytes).unwrap();
        assert_eq!((handled.effect, self.record), (Effect::None, before));
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.class(), Class::Error);
        assert_eq!(answer.integrity(&IntegrityKey::short_term(OURS.1.as_bytes())), Verdict::Valid);
        assert_eq!(answer.fingerprint(), Verdict::Valid);
        (answer.error_code().unwrap().0, answer.unknown_attributes().collect())
    }
}

#[test]
fn the_user_name_names_us_before_the_colon() {
    let ufrag = |username: &[u8]| {
        let mut slot = [0; 128];
        let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId([0; 12]));
        writer.username(username);
        let len = writer.finish().unwrap();
        username_local_ufrag(&Message::parse(&slot[..len]).unwrap()).map(<[u8]>::to_vec)
    };
    assert_eq!(ufrag(b"us:them"), Some(b"us".to_vec()));
    assert_eq!(ufrag(b"us:them:more"), Some(b"us".to_vec()));
    assert_eq!(ufrag(b"us:"), Some(b"us".to_vec()));
    assert_eq!(ufrag(b":them"), None);
    assert_eq!(ufrag(b"us"), None);
    assert_eq!(ufrag(b""), None);
}

#[test]
fn a_check_is_answered_with_its_address_under_our_password() {
    for (local, remote, len) in [
        ("192.0.2.1", "198.51.100.7:50000", 32 + 24 + 8),
        ("2001:db8::1", "[2001:db8::2]:50000", 44 + 24 + 8),
        ("fe80::1", "[fe80::2%3]:50000", 44 + 24 + 8),
    ] {
        let mut world = World::new();
        let path = Path { local: local.parse().unwrap(), remote: remote.parse().unwrap(), ..Path::NONE };
        let bytes = world.fresh(plain);
        let (handled, answer) = world.deliver(at(0), &path, &bytes).unwrap();
        assert_eq!(handled, Handled { response_len: len, effect: Effect::Selected(path), forgotten: None });
        let answer = Message::parse(&answer).unwrap();
        assert_eq!(answer.class(), Class::Success);
        assert_eq!(answer.transaction(), Message::parse(&bytes).unwrap().transaction());
        let mapped = answer.xor_mapped_address().unwrap();
        assert_eq!((mapped.ip(), mapped.port()), (path.remote.ip(), path.remote.port()));
        assert_eq!(answer.integrity(&IntegrityKey::short_term(OURS.1.as_bytes())), Verdict::Valid);
        assert_eq!(answer.fingerprint(), Verdict::Valid);
        assert_eq!(selected(&world.record), Some(path));
        assert!(is_validated(&world.record, &path));
    }
}

#[test]
fn a_wrong_password_is_met_with_silence() {
    let mut world = World::new();
    let forged = write_check((OURS.0, "a+guess/at+the+password"), 1, nominating);
    assert_eq!(world.silent(at(0), &path(1), &forged), Discard::PeerStunUnauthenticated);
    assert!(!is_validated(&world.record, &path(1)));
    // Nor once there is something to take over.
    world.nominate(at(0), &path(1));
    assert_eq!(world.silent(at(1), &path(2), &forged), Discard::PeerStunUnauthenticated);
}

#[test]
fn no_password_at_all_is_met_with_silence() {
    let mut world = World::new();
    let mut slot = [0; 128];
    let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId([1; 12]));
    writer.username(b"relayufrag:chrm");
    nominating(&mut writer);
    writer.fingerprint();
    let len = writer.finish().unwrap();
    assert_eq!(world.silent(at(0), &path(1), &slot[..len]), Discard::PeerStunUnauthenticated);
}

#[test]
fn a_wrong_fingerprint_is_met_with_silence() {
    let mut world = World::new();
    let mut bytes = world.fresh(nominating);
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(world.silent(at(0), &path(1), &bytes), Discard::PeerStunUnauthenticated);
}

#[test]
fn a_nomination_appended_after_integrity_does_not_count() {
    let mut world = World::new();
    world.check(at(0), &path(1));
    let mut slot = [0; 256];
    let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId([0xaa; 12]));
    writer.username(b"relayufrag:chrm");
    plain(&mut writer);
    writer.integrity(&IntegrityKey::short_term(OURS.1.as_bytes()));
    writer.use_candidate();
    writer.fingerprint();
    let len = writer.finish().unwrap();
    let (handled, _) = world.deliver(at(1), &path(2), &slot[..len]).unwrap();
    assert_eq!(handled.effect, Effect::PathValidated);
    assert_eq!(selected(&world.record), Some(path(1)));
}

#[test]
fn an_unknown_user_fragment_is_met_with_silence() {
    let mut world = World::new();
    for ufrag in ["relayufra", "relayufragX", "somebody", "RELAYUFRAG"] {
        let bytes = write_check((ufrag, OURS.1), 1, nominating);
        assert_eq!(world.silent(at(0), &path(1), &bytes), Discard::PeerStunUnknownUser, "{ufrag}");
    }
}

#[test]
fn an_unfilled_record_opens_to_nobody() {
    let mut world = World::new();
    world.record = IceRecord::zeroed();
    world.agent = Agent::restore(&world.record);
    let mut slot = [0; 128];
    let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId([1; 12]));
    writer.username(b":");
    nominating(&mut writer);
    writer.integrity(&IntegrityKey::short_term(b""));
    let len = writer.finish().unwrap();
    assert_eq!(world.silent(at(0), &path(1), &slot[..len]), Discard::PeerStunUnknownUser);
}

#[test]
fn what_is_no_binding_request_is_met_with_silence() {
    let mut world = World::new();
    for (class, method) in [
        (Class::Indication, Method::BINDING),
        (Class::Success, Method::BINDING),
        (Class::Error, Method::BINDING),
        (Class::Request, Method(3)),
    ] {
        let mut slot = [0; 128];
        let mut writer = Writer::new(&mut slot, class, method, TransactionId([1; 12]));
        writer.username(b"relayufrag:chrm");
        nominating(&mut writer);
        writer.integrity(&IntegrityKey::short_term(OURS.1.as_bytes()));
        let len = writer.finish().unwrap();
        assert_eq!(world.silent(at(0), &path(1), &slot[..len]), Discard::PeerStunMalformed);
    }
}

#[test]
fn an_authentic_check_that_is_no_good_is_told_so() {
    let mut world = World::new();
    let bytes = world.fresh(|writer| {
        nominating(writer);
        writer.attribute(AttributeType(0x7001), b"?");
        writer.attribute(AttributeType(0x8001), b"may be ignored");
        writer.attribute(AttributeType(0x7002), b"?");
    });
    let unknown = vec![AttributeType(0x7001), AttributeType(0x7002)];
    assert_eq!(world.refused(&bytes), (ErrorCode::UNKNOWN_ATTRIBUTE, unknown));
    let bytes = world.fresh(no_priority);
    assert_eq!(world.refused(&bytes), (ErrorCode::BAD_REQUEST, vec![]));
    let bytes = world.fresh(|writer| {
        writer.ice_controlled(7);
        writer.priority(1);
    });
    assert_eq!(world.refused(&bytes), (ErrorCode::ROLE_CONFLICT, vec![]));
}

#[test]
fn a_stranger_is_told_nothing_of_what_is_no_good() {
    let mut world = World::new();
    for more in [strange as fn(&mut Writer<'_>), no_priority] {
        let bytes = write_check((OURS.0, "a+guess/at+the+password"), 1, more);
        assert_eq!(world.silent(at(0), &path(1), &bytes), Discard::PeerStunUnauthenticated);
    }
}

#[test]
fn an_answer_that_does_not_fit_leaves_no_trace() {
    let mut world = World::new();
    let bytes = world.fresh(nominating);
    let check = Message::parse(&bytes).unwrap();
    let before = world.record;
    for room in 0..64 {
        let mut slot = vec![0; room];
        let result = world.agent.handle_binding(&mut world.record, at(0), &path(1), &check, &mut slot);
        assert_eq!((result, world.record), (Err(Discard::OurEgressFull), before));
    }
    assert_eq!(world.deliver(at(0), &path(1), &bytes).unwrap().0.effect, Effect::Selected(path(1)));
}

#[test]
fn the_first_valid_path_is_sent_on_until_a_nomination() {
    let mut world = World::new();
    assert_eq!(selected(&world.record), None);
    assert_eq!(world.check(at(0), &path(1)), Effect::Selected(path(1)));
    assert_eq!(world.check(at(1), &path(2)), Effect::PathValidated);
    assert_eq!(world.check(at(2), &path(2)), Effect::None);
    assert_eq!(selected(&world.record), Some(path(1)));
    assert_eq!(world.nominate(at(3), &path(2)), Effect::Migrated(path(2)));
    assert_eq!(world.nominate(at(4), &path(2)), Effect::None);
    assert_eq!(selected(&world.record), Some(path(2)));
}

#[test]
fn use_candidate_moves_what_is_sent_and_a_mere_check_does_not() {
    let mut world = World::new();
    world.nominate(at(0), &path(1));
    // The browser is silent on its path for long and then pings from several ports.
    assert_eq!(world.check(at(20_000), &path(2)), Effect::PathValidated);
    assert_eq!(world.check(at(20_001), &path(3)), Effect::PathValidated);
    assert_eq!(selected(&world.record), Some(path(1)));
    assert_eq!(world.nominate(at(20_002), &path(3)), Effect::Migrated(path(3)));
    assert_eq!(world.nominate(at(20_003), &path(4)), Effect::Migrated(path(4)), "from an address never seen");
    assert!([1, 2, 3, 4].iter().all(|port| is_validated(&world.record, &path(*port))));
}

#[test]
fn the_local_address_belongs_to_the_path() {
    let mut world = World::new();
    let here = path(1);
    let there = Path { local: "192.0.2.2".parse().unwrap(), ..here };
    world.nominate(at(0), &here);
    assert!(!is_validated(&world.record, &there));
    assert_eq!(world.nominate(at(1), &there), Effect::Migrated(there));
}

#[test]
fn a_check_replayed_from_another_address_moves_nothing() {
    for more in [plain as fn(&mut Writer<'_>), nominating] {
        let mut world = World::new();
        let copied = world.fresh(more);
        world.deliver(at(0), &path(1), &copied).unwrap();
        assert_eq!(world.silent(at(1), &path(666), &copied), Discard::NetworkReplayed);
        assert!(!is_validated(&world.record, &path(666)));
        // Later checks on the true path do not make the old one fresh.
        for ms in 2..100 {
            world.nominate(at(ms), &path(1));
        }
        assert_eq!(world.silent(at(100), &path(666), &copied), Discard::NetworkReplayed);
        // The same from a path of the peer's own: answered, as if our answer had got lost, and nothing more.
        world.check(at(101), &path(2));
        let before = world.record;
        assert_eq!(world.deliver(at(102), &path(2), &copied).unwrap().0.effect, Effect::None);
        assert_eq!(world.record, before);
    }
}

#[test]
fn a_replay_keeps_no_consent_alive() {
    let mut world = World::new();
    let copied = world.fresh(nominating);
    world.deliver(at(0), &path(1), &copied).unwrap();
    let (handled, answer) = world.deliver(at(29_000), &path(1), &copied).unwrap();
    assert_eq!((handled.effect, answer.len()), (Effect::None, 64));
    assert_eq!(handle_timeout(&mut world.record, at(30_000), |_| {}), Lapse::Expired);
    assert_eq!(world.silent(at(30_001), &path(1), &copied), Discard::NetworkReplayed);
}

#[test]
fn consent_lapses_thirty_seconds_after_the_last_check() {
    let mut world = World::new();
    world.nominate(at(0), &path(1));
    world.check(at(10_000), &path(1));
    assert_eq!(world.record.last_check, at(10_000));
    assert_eq!(next_deadline(&world.record), at(40_000));
    assert_eq!(handle_timeout(&mut world.record, at(39_999), |_| {}), Lapse::None);
    assert_eq!(handle_timeout(&mut world.record, at(40_000), |_| {}), Lapse::Expired);
    assert_eq!((selected(&world.record), is_validated(&world.record, &path(1))), (None, false));
    // A peer that comes back is a peer.
    assert_eq!(world.check(at(50_000), &path(2)), Effect::Selected(path(2)));
}

#[test]
fn a_full_table_tells_which_path_it_forgot() {
    let mut world = World::new();
    let places = u16::try_from(VALID_PATHS_MAX).unwrap();
    for port in 0..places {
        world.check(at(u64::from(port)), &path(port));
    }
    let bytes = world.fresh(nominating);
    let (handled, _) = world.deliver(at(100), &path(100), &bytes).unwrap();
    assert_eq!((handled.effect, handled.forgotten), (Effect::Migrated(path(100)), Some(path(1))));
    assert!(!is_validated(&world.record, &path(1)));
}

#[test]
fn a_restart_answers_both_generations_until_the_new_one_nominates() {
    let mut world = World::new();
    world.nominate(at(0), &path(1));
    assert!(world.agent.restart(&mut world.record, credentials(OURS_NEW), credentials(THEIRS)));
    assert_eq!(selected(&world.record), Some(path(1)), "what is sent goes on");
    assert!(is_validated(&world.record, &path(1)));
    assert!(world.record.local_ufrags().eq([OURS_NEW.0.as_bytes(), OURS.0.as_bytes()]));
    assert_eq!(world.nominate(at(1), &path(1)), Effect::None);
    assert_eq!(world.check(at(1), &path(1)), Effect::None, "an old nomination retires nothing");

    world.ours = OURS_NEW;
    let bytes = world.fresh(plain);
    let (handled, answer) = world.deliver(at(2), &path(2), &bytes).unwrap();
    assert_eq!(handled.effect, Effect::PathValidated);
    let key = IntegrityKey::short_term(OURS_NEW.1.as_bytes());
    assert_eq!(Message::parse(&answer).unwrap().integrity(&key), Verdict::Valid);
    world.ours = OURS;
    world.check(at(3), &path(1));

    world.ours = OURS_NEW;
    assert_eq!(world.nominate(at(4), &path(2)), Effect::Migrated(path(2)));
    world.ours = OURS;
    let late = world.fresh(nominating);
    assert_eq!(world.silent(at(5), &path(1), &late), Discard::PeerStunUnknownUser);
    assert!(world.record.local_ufrags().any(|ufrag| ufrag == OURS.0.as_bytes()), "for the shard's table");
}

#[test]
fn old_and_new_passwords_do_not_mix() {
    let mut world = World::new();
    world.agent.restart(&mut world.record, credentials(OURS_NEW), credentials(THEIRS));
    for mixed in [(OURS.0, OURS_NEW.1), (OURS_NEW.0, OURS.1)] {
        let bytes = write_check(mixed, 1, nominating);
        assert_eq!(world.silent(at(0), &path(1), &bytes), Discard::PeerStunUnauthenticated);
    }
}

#[test]
fn a_repeated_command_restarts_nothing() {
    let mut world = World::new();
    world.nominate(at(0), &path(1));
    let before = world.record;
    assert!(!world.agent.restart(&mut world.record, credentials(OURS), credentials(THEIRS)));
    assert_eq!(world.record, before);
    world.check(at(1), &path(1));
}

#[test]
fn a_generation_the_peer_never_took_up_does_not_push_out_the_one_in_use() {
    let mut world = World::new();
    world.nominate(at(0), &path(1));
    let lost = ("neverseen", "an+answer/that+never+arrived");
    assert!(world.agent.restart(&mut world.record, credentials(lost), credentials(THEIRS)));
    world.nominate(at(0), &path(1));
    assert!(world.agent.restart(&mut world.record, credentials(OURS_NEW), credentials(THEIRS)));
    world.check(at(1), &path(1));
    let bytes = write_check(lost, 1_000, nominating);
    assert_eq!(world.silent(at(2), &path(1), &bytes), Discard::PeerStunUnknownUser);
    world.ours = OURS_NEW;
    world.check(at(3), &path(2));
    // A single check shows that the new one is in use, so the next restart keeps it.
    assert!(world.agent.restart(&mut world.record, credentials(OURS), credentials(THEIRS)));
    world.check(at(4), &path(2));
}

#[test]
fn the_record_alone_restores_everything() {
    let mut world = World::new();
    let copied = world.fresh(nominating);
    world.deliver(at(0), &path(1), &copied).unwrap();
    world.check(at(1), &path(2));
    world.agent.restart(&mut world.record, credentials(OURS_NEW), credentials(THEIRS));

    // Through bytes, as another process would find it.
    let bytes = bytemuck::bytes_of(&world.record).to_vec();
    let record: IceRecord = bytemuck::pod_read_unaligned(&bytes);
    let mut after = World { agent: Agent::restore(&record), record, ..world };
    assert_eq!(selected(&after.record), Some(path(1)));
    assert!(is_validated(&after.record, &path(1)) && is_validated(&after.record, &path(2)));
    assert_eq!(next_deadline(&after.record), at(30_000));
    assert_eq!(after.silent(at(2), &path(666), &copied), Discard::NetworkReplayed, "the ring survives");
    assert_eq!(after.check(at(3), &path(1)), Effect::None, "under the old credentials");
    after.ours = OURS_NEW;
    assert_eq!(after.nominate(at(4), &path(2)), Effect::Migrated(path(2)), "under the new ones");
    let mut again = World { agent: Agent::restore(&after.record), ..after };
    again.ours = OURS;
    let late = again.fresh(nominating);
    assert_eq!(again.silent(at(5), &path(1), &late), Discard::PeerStunUnknownUser, "retired stays retired");
}

/// A long random life, with the invariants checked after each step.
#[test]
fn whatever_happens_what_is_sent_on_is_valid_and_every_path_lapses() {
    for seed in 1..=20_u64 {
        let mut world = World::new();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut now = 0;
        let mut listened = std::collections::BTreeSet::new();
        for _ in 0..500 {
            now += draw(4_000);
            let port = u16::try_from(draw(12)).unwrap();
            match draw(4) {
                0 => {
                    let _ = handle_timeout(&mut world.record, at(now), |path| {
                        assert!(listened.remove(&path.remote.port()), "forgotten once");
                    });
                    assert!(next_deadline(&world.record) > at(now));
                }
                kind => {
                    let bytes = world.fresh(if kind == 1 { nominating } else { plain });
                    let (handled, _) = world.deliver(at(now), &path(port), &bytes).unwrap();
                    if let Some(forgotten) = handled.forgotten {
                        assert!(listened.remove(&forgotten.remote.port()));
                    }
                    listened.insert(port);
                    if kind == 1 {
                        assert_eq!(selected(&world.record), Some(path(port)));
                    }
                }
            }
            for port in 0..12 {
                assert_eq!(is_validated(&world.record, &path(port)), listened.contains(&port));
            }
            assert!(listened.len() <= VALID_PATHS_MAX);
            match selected(&world.record) {
                Some(path) => assert!(is_validated(&world.record, &path)),
                None => assert!(listened.is_empty()),
            }
        }
    }
}
