//! A process that writes numbered records and says which are durable, so that it can be killed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_signaling::store::{
    Durability, Embedded, Name, Namespace, Ownership, Pace, Present, Selection, Source, Store as _, Touched,
    Value, Writer,
};
use millrace_signaling::supervise::Parts;

/// Sessions that are written in turn.
pub(crate) const SESSIONS: u64 = 7;

/// Records of a session. All of them hold the same number.
pub(crate) const RECORDS: usize = 3;

/// Submissions that wait for the disk at a time.
pub(crate) const AHEAD: u64 = 40;

const DIRECTORY: &str = "MILLRACE_TEST_STORE";
const FIRST: &str = "MILLRACE_TEST_FIRST";
const VALUE_LEN: &str = "MILLRACE_TEST_VALUE_LEN";

pub(crate) fn store_file(directory: &Path) -> PathBuf {
    directory.join("signaling.redb")
}

pub(crate) fn session(number: u64) -> String {
    format!("ses_{}", number % SESSIONS)
}

/// Every so often a number ends its session; the next one of that session begins it anew.
pub(crate) const fn ends_session(number: u64) -> bool {
    number % 50 >= 43
}

/// This program again, as the child: `setup` is a shell command that runs before it.
pub(crate) fn spawn(directory: &Path, first: u64, value_len: usize, setup: &str) -> Child {
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{setup} exec \"$0\" \"$@\"")).arg(program);
    command.args([
        "child::writes_until_it_is_killed",
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(DIRECTORY, directory).env(FIRST, first.to_string()).env(VALUE_LEN, value_len.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh is there")
}

/// What a line of the child says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Durable(u64),
    Failed(u64),
}

/// Reads a line; the test framework of the child writes others.
pub(crate) fn read(line: &str) -> Option<Said> {
    let (word, number) = line.trim().split_once(' ')?;
    let number = number.parse().ok()?;
    match word {
        "durable" => Some(Said::Durable(number)),
        "failed" => Some(Said::Failed(number)),
        _ => None,
    }
}

/// The number that each session holds at present.
#[derive(Default)]
struct Numbers(Mutex<BTreeMap<String, u64>>);

struct Model {
    numbers: Arc<Numbers>,
    value_len: usize,
}

pub(crate) fn name(record: usize) -> Name {
    Name::new(Namespace::Connection, format!("con_{record}"))
}

impl Source for Model {
    fn session(&self, session: &str, selection: Selection<'_>) -> Option<Present> {
        let number = *self.numbers.0.lock().expect("no thread panics").get(session)?;
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.resize(self.value_len, 0);
        let all = (0..RECORDS).map(|record| (name(record), Value::new(1, bytes.clone())));
        let records = all.filter(|(name, _)| selection.contains(name)).collect();
        Some(Present { ownership: Ownership::single(), records })
    }

    fn free(&self, _: &Name) -> Option<Value> {
        None
    }

    fn sessions(&self) -> Vec<Arc<str>> {
        self.numbers.0.lock().expect("no thread panics").keys().map(|id| id.as_str().into()).collect()
    }

    fn free_names(&self) -> Vec<Name> {
        Vec::new()
    }
}

fn say(durability: Durability, number: u64) {
    let word = match durability {
        Durability::Durable => "durable",
        Durability::Failed => "failed",
        Durability::Late => return,
    };
    let mut out = std::io::stdout().lock();
    // The parent is gone: nobody is interested any more.
    if writeln!(out, "{word} {number}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// The child itself. It does nothing unless a test has started it.
#[test]
#[ignore = "other tests run this as a process of its own"]
fn writes_until_it_is_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let number = |key| std::env::var(key).unwrap().parse::<u64>().unwrap();
    let (first, value_len) = (number(FIRST), usize::try_from(number(VALUE_LEN)).unwrap());
    let mut store = Embedded::open(&store_file(Path::new(&directory))).unwrap();
    let numbers = Arc::new(Numbers::default());
    for (id, number) in stored_numbers(&mut store) {
        numbers.0.lock().unwrap().insert(id, number);
    }
    let model = Model { numbers: Arc::clone(&numbers), value_len };
    let pace =
        Pace { deadline: Duration::from_secs(600), retry: Duration::from_millis(1), ..Pace::default() };
    let writer = Writer::start(Box::new(store), Box::new(model), pace, &Parts::default()).unwrap();
    let (ahead, behind) = channel();
    for number in first.. {
        submit(&writer, &numbers, number, ahead.clone());
        // Waits until one of those ahead has left.
        if number >= first + AHEAD {
            behind.recv().unwrap();
        }
    }
}

fn submit(writer: &Writer, numbers: &Numbers, number: u64, left: Sender<()>) {
    let id = session(number);
    let mut numbers = numbers.0.lock().unwrap();
    let touched = if ends_session(number) {
        numbers.remove(&id);
        Touched::ended(id, Ownership::single().fence)
    } else {
        match numbers.insert(id.clone(), number) {
            Some(_) => Touched::records(id, (0..RECORDS).map(name)),
            None => Touched::created(id),
        }
    };
    writer.submit(touched, 0, move |durability| {
        say(durability, number);
        let _ = left.send(());
    });
}

/// What the sessions in a store hold. Every record of a session must hold the same.
pub(crate) fn stored_numbers(store: &mut Embedded) -> BTreeMap<String, u64> {
    let number = |value: &Value| u64::from_le_bytes(*value.bytes.first_chunk().unwrap());
    let mut numbers = BTreeMap::new();
    for session in store.load().unwrap() {
        let held: Vec<u64> = session.records.iter().map(|(_, value)| number(value)).collect();
        assert_eq!(held, vec![held[0]; RECORDS], "{} is half written", session.id);
        numbers.insert(session.id, held[0]);
    }
    numbers
}
