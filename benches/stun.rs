//! Connectivity checks and plain Bindings: read, proven and answered, beside an independent implementation.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use millrace::egress::Path;
use millrace::ice::{Agent, CredentialsRecord, IceRecord};
use millrace::records::ice::SEEN_CHECKS_MAX;
use millrace::time::Timestamp;
use millrace_turn::{
    Allowance, AttributeType, IntegrityKey, Message, Method, TransactionId, Verdict, Writer, answer_binding,
};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_SUCCESS, Message as Theirs, Setter};
use stun::xoraddr::XorMappedAddress;

const OURS: (&str, &str) = ("relayufrag", "relaypasswordof32characters00000");
const THEIRS: (&str, &str) = ("chrm", "browserpasswordof24chars");
const SLOT_BYTES: usize = 256;
const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

fn path() -> Path {
    Path { local: [192, 0, 2, 1].into(), remote: ([198, 51, 100, 7], 40_000).into(), ..Path::NONE }
}

fn request(number: u64, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut transaction = [0; 12];
    transaction[4..].copy_from_slice(&number.to_be_bytes());
    let mut slot = [0; SLOT_BYTES];
    let mut writer = Writer::request(&mut slot, Method::BINDING, TransactionId(transaction));
    fill(&mut writer);
    writer.fingerprint();
    let len = writer.finish().expect("there is room");
    slot[..len].to_vec()
}

/// A check as Chromium sends it.
fn check(number: u64) -> Vec<u8> {
    request(number, |writer| {
        writer.username(format!("{}:{}", OURS.0, THEIRS.0).as_bytes());
        // GOOG-NETWORK-INFO: network id and cost.
        writer.attribute(AttributeType(0xc057), &[0, 1, 0, 10]);
        writer.ice_controlling(7);
        writer.use_candidate();
        writer.priority(0x6e7f_1eff);
        writer.integrity(&IntegrityKey::short_term(OURS.1.as_bytes()));
    })
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stun/parse");
    let check = check(1);
    group.bench_function("millrace", |bencher| bencher.iter(|| Message::parse(black_box(&check))));
    group.bench_function("stun", |bencher| {
        let mut message = Theirs::new();
        bencher.iter(|| message.unmarshal_binary(black_box(&check)));
    });
    group.finish();
}

/// Parsed, and proven to be made with our password.
fn integrity(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stun/integrity");
    let check = check(1);
    let key = IntegrityKey::short_term(OURS.1.as_bytes());
    group.bench_function("millrace", |bencher| {
        bencher.iter(|| {
            let message = Message::parse(black_box(&check)).expect("it is well formed");
            assert_eq!(message.integrity(&key), Verdict::Valid);
        });
    });
    let theirs = MessageIntegrity::new_short_term_integrity(OURS.1.into());
    group.bench_function("stun", |bencher| {
        let mut message = Theirs::new();
        bencher.iter(|| {
            message.unmarshal_binary(black_box(&check)).expect("it is well formed");
            theirs.check(&mut message).expect("the password is right");
        });
    });
    group.finish();
}

/// Parsed, proven, fingerprint too, and answered.
fn answer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stun/check answered");
    // More than are remembered, so that each is fresh when its turn comes.
    let checks: Vec<_> = (0..2 * SEEN_CHECKS_MAX as u64).map(check).collect();
    let credentials = |(ufrag, pwd)| CredentialsRecord::new(ufrag, pwd).expect("they are good");
    let mut record = IceRecord::new(credentials(OURS), credentials(THEIRS));
    let mut agent = Agent::restore(&record);
    let (path, mut slot, mut now, mut turn) = (path(), [0; SLOT_BYTES], START, 0);
    group.bench_function("millrace", |bencher| {
        bencher.iter(|| {
            (now, turn) = (now + Duration::from_millis(1), (turn + 1) % checks.len());
            let message = Message::parse(black_box(&checks[turn])).expect("it is well formed");
            agent.handle_binding(&mut record, now, &path, &message, &mut slot).expect("the check is good")
        });
    });
    assert_eq!(record.last_check, now, "the last check was fresh");
    let integrity = MessageIntegrity::new_short_term_integrity(OURS.1.into());
    group.bench_function("stun", |bencher| {
        let (mut message, mut answer) = (Theirs::new(), Theirs::new());
        bencher.iter(|| {
            turn = (turn + 1) % checks.len();
            message.unmarshal_binary(black_box(&checks[turn])).expect("it is well formed");
            FINGERPRINT.check(&message).expect("it is whole");
            integrity.check(&mut message).expect("the password is right");
            answer.reset();
            answer.transaction_id = message.transaction_id;
            let mapped = XorMappedAddress { ip: path.remote.ip(), port: path.remote.port() };
            let setters: [Box<dyn Setter>; 4] = [
                Box::new(BINDING_SUCCESS),
                Box::new(mapped),
                Box::new(integrity.clone()),
                Box::new(FINGERPRINT),
            ];
            answer.build(&setters).expect("it is an answer");
            answer.raw.len()
        });
    });
    group.finish();
}

/// What a stranger may ask: no password, so the allowance of its address comes first.
fn binding(criterion: &mut Criterion) {
    let (plain, check) = (request(1, |_| {}), check(1));
    let (path, mut slot) = (path(), [0; SLOT_BYTES]);
    let mut allowance = Allowance::new([1, 2]);
    let mut now = START;
    criterion.bench_function("stun/binding answered", |bencher| {
        bencher.iter(|| {
            now = now + Duration::from_secs(1);
            assert!(allowance.admit(now.as_nanos(), path.remote.ip()));
            let message = Message::parse(black_box(&plain)).expect("it is well formed");
            answer_binding(&message, path.remote, &mut slot).expect("it is plain")
        });
    });
    let wrong = IntegrityKey::short_term(THEIRS.1.as_bytes());
    criterion.bench_function("stun/stranger refused", |bencher| {
        bencher.iter(|| {
            let message = Message::parse(black_box(&check)).expect("it is well formed");
            assert_eq!(message.integrity(&wrong), Verdict::Invalid);
        });
    });
}

criterion_group!(benches, parse, integrity, answer, binding);
criterion_main!(benches);
