//! The order of things, and what a slow, a failing and a damaged store do to it.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};

use super::super::{
    Aside, Memory, Name, Namespace, Operation, Outcome, Ownership, Present, Refusal, Selection, StoreError,
    StoredSession, VALUE_LEN_MAX, Value,
};
use super::*;

/// Longer than any machine takes.
const NEVER: Duration = Duration::from_secs(600);

/// A pace under which only events count.
const BY_EVENTS: Pace = Pace {
    deadline: NEVER,
    retry: Duration::ZERO,
    farewell: NEVER,
    waiting_max: 1_000,
    waiting_bytes_max: 1 << 20,
};

/// What the next commit does.
enum Step {
    Work,
    Fail,
    /// Loses everything, as a file does that is set aside.
    Lose,
}

/// A store whose commits wait for the test's word.
struct Scripted {
    memory: Memory,
    /// Tells the test that a commit has begun, with its operations.
    begun: Sender<Vec<Operation>>,
    /// What the commit is to do. Without a script everything works.
    script: Receiver<Step>,
}

impl Store for Scripted {
    fn commit(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        let _ = self.begun.send(operations.to_vec());
        match self.script.recv().unwrap_or(Step::Work) {
            Step::Work => self.memory.commit(operations),
            Step::Fail => Err(StoreError::Unavailable("disk full".to_owned())),
            Step::Lose => {
                for session in self.memory.load()? {
                    self.memory.drop_session(&session.id, u64::MAX)?.unwrap();
                }
                Err(StoreError::Emptied("damaged".to_owned()))
            }
        }
    }

    fn load(&mut self) -> Result<Vec<StoredSession>, StoreError> {
        self.memory.load()
    }

    fn load_session(&mut self, session: &str) -> Result<Option<StoredSession>, StoreError> {
        self.memory.load_session(session)
    }

    fn load_free(&mut self, namespace: Namespace) -> Result<Vec<(Name, Value)>, StoreError> {
        self.memory.load_free(namespace)
    }

    fn load_aside(&mut self) -> Result<Vec<Aside>, StoreError> {
        self.memory.load_aside()
    }

    fn counters(&self) -> Arc<StoreCounters> {
        self.memory.counters()
    }
}

/// Runs once, between a take and its answer.
type Hook = Box<dyn FnOnce() + Send>;

/// A model: records by session and name, and free records under "".
#[derive(Clone, Default)]
struct Model {
    sessions: Arc<Mutex<BTreeMap<String, BTreeMap<Name, Value>>>>,
    refused: Arc<Mutex<Vec<(String, Refusal)>>>,
    /// What happens before the next answer about a session.
    before_answer: Arc<Mutex<Option<Hook>>>,
}

impl Source for Model {
    fn session(&self, session: &str, selection: Selection<'_>) -> Option<Present> {
        let before = self.before_answer.lock().unwrap().take();
        before.into_iter().for_each(|before| before());
        let sessions = self.sessions.lock().unwrap();
        let records = sessions.get(session)?.iter().filter(|(name, _)| selection.contains(name));
        let records = records.map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Present { ownership: Ownership::single(), records })
    }

    fn free(&self, name: &Name) -> Option<Value> {
        self.sessions.lock().unwrap().get("")?.get(name).cloned()
    }

    fn sessions(&self) -> Vec<Arc<str>> {
        let sessions = self.sessions.lock().unwrap();
        sessions.keys().filter(|id| !id.is_empty()).map(|id| id.as_str().into()).collect()
    }

    fn free_names(&self) -> Vec<Name> {
        let sessions = self.sessions.lock().unwrap();
        sessions.get("").into_iter().flat_map(|records| records.keys().cloned()).collect()
    }

    fn refused(&self, session: &str, refusal: &Refusal) {
        self.refused.lock().unwrap().push((session.to_owned(), refusal.clone()));
    }
}

impl Model {
    fn set(&self, session: &str, name: &Name, text: &str) {
        let mut sessions = self.sessions.lock().unwrap();
        sessions.entry(session.to_owned()).or_default().insert(name.clone(), Value::new(1, text));
    }

    fn end(&self, session: &str) {
        self.sessions.lock().unwrap().remove(session);
    }
}

/// A writer with all that a test looks at.
struct Bench {
    // Dropped in this order: without a script every commit works, so that the writer ends.
    script: Option<Sender<Step>>,
    writer: Option<Writer>,
    model: Model,
    memory: Memory,
    begun: Receiver<Vec<Operation>>,
    left: Receiver<(&'static str, Durability)>,
    leave: Sender<(&'static str, Durability)>,
}

fn con(id: &str) -> Name {
    Name::new(Namespace::Connection, id)
}

impl Bench {
    fn with(pace: Pace) -> Self {
        let (model, memory) = (Model::default(), Memory::default());
        let ((begin, begun), (script, scripted), (leave, left)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let store = Scripted { memory: memory.clone(), begun: begin, script: scripted };
        let parts = Parts::with(|name, what| panic!("{name} {what}"));
        let writer = Writer::start(Box::new(store), Box::new(model.clone()), pace, &parts).unwrap();
        Self { writer: Some(writer), model, memory, begun, script: Some(script), left, leave }
    }

    fn writer(&self) -> &Writer {
        self.writer.as_ref().unwrap()
    }

    fn submit(&self, touched: Touched, name: &'static str) {
        let leave = self.leave.clone();
        self.writer().submit(touched, 100, move |durability| leave.send((name, durability)).unwrap());
    }

    /// Sets a record of a session that exists and submits it.
    fn change(&self, session: &str, record: &str, text: &str, name: &'static str) {
        self.model.set(session, &con(record), text);
        self.submit(Touched::records(session, [con(record)]), name);
    }

    fn create(&self, session: &str, name: &'static str) {
        self.model.set(session, &con("first"), "1");
        self.submit(Touched::created(session), name);
    }

    /// The operations of the next commit, which goes on with `step`.
    fn commit(&self, step: Step) -> Vec<Operation> {
        self.script.as_ref().unwrap().send(step).unwrap();
        self.begun.recv().unwrap()
    }

    fn leaves(&self, name: &'static str, durability: Durability) {
        assert_eq!(self.left.recv().unwrap(), (name, durability));
    }

    fn nothing_leaves(&self) {
        assert_eq!(self.left.try_recv(), Err(mpsc::TryRecvError::Empty));
    }

    /// From here on every commit works.
    fn let_work(&mut self) {
        self.script = None;
    }

    fn close(&mut self) {
        self.script = None;
        self.writer = None;
    }

    fn stored(&self, session: &str) -> Option<Vec<(Name, Value)>> {
        Some(self.memory.clone().load_session(session).unwrap()?.records)
    }
}

#[test]
fn nothing_leaves_before_it_is_written_and_all_leaves_in_order() {
    let bench = Bench::with(BY_EVENTS);
    bench.create("a", "created");
    let operations = bench.begun.recv().unwrap();
    assert!(matches!(&operations[..], [Operation::Create { session, .. }] if session == "a"));
    bench.change("a", "x", "1", "changed");
    bench.submit(Touched::none(), "signal");
    bench.change("a", "x", "2", "changed again");
    bench.nothing_leaves();
    bench.script.as_ref().unwrap().send(Step::Work).unwrap();
    bench.leaves("created", Durability::Durable);
    // The three that came meanwhile share a commit, and the record is written once, as it is now.
    let operations = bench.begun.recv().unwrap();
    let changes = vec![(con("x"), Some(Value::new(1, "2")))];
    let expected = Operation::Put { session: "a".to_owned(), ownership: Ownership::single(), changes };
    assert_eq!(operations, [expected]);
    bench.nothing_leaves();
    bench.script.as_ref().unwrap().send(Step::Work).unwrap();
    bench.leaves("changed", Durability::Durable);
    bench.leaves("signal", Durability::Durable);
    bench.leaves("changed again", Durability::Durable);
    assert_eq!(bench.writer().stats(), WriterStats::default());
}

#[test]
fn an_ended_session_is_dropped_and_its_id_may_come_again() {
    let mut bench = Bench::with(BY_EVENTS);
    bench.create("a", "created");
    bench.commit(Step::Work);
    bench.leaves("created", Durability::Durable);
    // One commit is held, so that what follows is merged.
    bench.create("hold", "hold");
    bench.begun.recv().unwrap();
    bench.model.end("a");
    bench.submit(Touched::ended("a", 1), "ended");
    bench.model.set("a", &con("second"), "2");
    bench.submit(Touched::created("a"), "again");
    bench.change("a", "third", "3", "more");
    bench.create("b", "created b");
    bench.model.end("b");
    bench.submit(Touched::ended("b", 1), "ended b");
    bench.let_work();
    for name in ["hold", "ended", "again", "more", "created b", "ended b"] {
        bench.leaves(name, Durability::Durable);
    }
    let expected = vec![(con("second"), Value::new(1, "2")), (con("third"), Value::new(1, "3"))];
    assert_eq!(bench.stored("a"), Some(expected));
    assert_eq!(bench.stored("b"), None);
    bench.model.end("a");
    bench.submit(Touched::ended("a", 1), "ended");
    bench.close();
    assert_eq!(bench.stored("a"), None);
}

#[test]
fn a_change_of_a_session_that_ends_meanwhile_is_durable_with_the_end() {
    let bench = Bench::with(BY_EVENTS);
    bench.create("a", "created");
    bench.commit(Step::Work);
    bench.leaves("created", Durability::Durable);
    let ((ask, asked), (answer, answered)) = (mpsc::channel(), mpsc::channel::<()>());
    *bench.model.before_answer.lock().unwrap() = Some(Box::new(move || {
        ask.send(()).unwrap();
        answered.recv().unwrap();
    }));
    bench.change("a", "first", "2", "changed");
    // The commit thread has taken the change and asks for its value.
    asked.recv().unwrap();
    bench.model.end("a");
    bench.submit(Touched::ended("a", 1), "ended");
    answer.send(()).unwrap();
    assert_eq!(bench.commit(Step::Fail), [Operation::Drop { session: "a".to_owned(), fence: 1 }]);
    bench.leaves("changed", Durability::Failed);
    bench.leaves("ended", Durability::Failed);
    bench.commit(Step::Work);
}

#[test]
fn a_failed_commit_stops_nobody_is_counted_and_is_made_up_for() {
    let mut bench = Bench::with(BY_EVENTS);
    bench.create("a", "created");
    bench.commit(Step::Fail);
    bench.leaves("created", Durability::Failed);
    // It is known to fail: what comes does not wait for another attempt.
    bench.begun.recv().unwrap();
    bench.change("a", "x", "1", "changed");
    bench.leaves("changed", Durability::Failed);
    assert_eq!(bench.writer().stats().failures, 1);
    assert_eq!(bench.stored("a"), None);
    bench.let_work();
    bench.close();
    assert_eq!(bench.stored("a").unwrap().len(), 2);
}

#[test]
fn after_a_failure_that_is_over_answers_are_durable_again() {
    let mut bench = Bench::with(BY_EVENTS);
    bench.create("a", "created");
    bench.commit(Step::Fail);
    bench.leaves("created", Durability::Failed);
    bench.let_work();
    // A submission before the end of the attempt gets its failure at once.
    loop {
        bench.change("a", "x", "1", "changed");
        if bench.left.recv().unwrap().1 == Durability::Durable {
            return;
        }
    }
}

#[test]
fn a_disk_that_hangs_stops_nobody_and_is_counted() {
    let pace = Pace { deadline: Duration::from_millis(5), ..BY_EVENTS };
    let mut bench = Bench::with(pace);
    bench.create("a", "created");
    bench.begun.recv().unwrap();
    // The commit does not return until the test lets it.
    bench.leaves("created", Durability::Late);
    for _ in 0..1_000 {
        bench.change("a", "x", "1", "x");
        bench.change("a", "y", "1", "y");
        bench.submit(Touched::none(), "signal");
    }
    for _ in 0..1_000 {
        bench.leaves("x", Durability::Late);
        bench.leaves("y", Durability::Late);
        bench.leaves("signal", Durability::Durable);
    }
    let stats = bench.writer().stats();
    assert_eq!((stats.late, stats.failures), (2_001, 0));
    assert_eq!((stats.unwritten, stats.waiting), (1, 0), "what hangs is remembered by name");
    bench.close();
    assert_eq!(bench.stored("a").unwrap().len(), 3, "it is written when the disk comes back");
}

#[test]
fn a_disk_that_hangs_does_not_hold_up_the_end_of_the_process() {
    let pace = Pace { deadline: Duration::from_millis(5), farewell: Duration::from_millis(5), ..BY_EVENTS };
    let mut bench = Bench::with(pace);
    bench.create("a", "created");
    bench.begun.recv().unwrap();
    bench.writer = None;
    bench.leaves("created", Durability::Late);
}

#[test]
fn what_waits_is_bounded_by_number_and_by_bytes() {
    for pace in [Pace { waiting_max: 3, ..BY_EVENTS }, Pace { waiting_bytes_max: 300, ..BY_EVENTS }] {
        let bench = Bench::with(pace);
        bench.create("a", "1");
        bench.begun.recv().unwrap();
        for name in ["2", "3"] {
            bench.change("a", "x", name, name);
        }
        bench.nothing_leaves();
        bench.change("a", "x", "4", "4");
        bench.leaves("1", Durability::Late);
        bench.nothing_leaves();
        bench.change("a", "x", "5", "5");
        bench.leaves("2", Durability::Late);
        assert_eq!(bench.writer().stats().waiting, 3);
    }
}

#[test]
fn a_store_that_has_lost_everything_gets_everything_again() {
    let mut bench = Bench::with(BY_EVENTS);
    let recording = Name::new(Namespace::Recording, "r");
    for session in ["a", "b"] {
        bench.create(session, "created");
        bench.commit(Step::Work);
        bench.leaves("created", Durability::Durable);
    }
    bench.model.set("", &recording, "r");
    bench.submit(Touched::free([recording.clone()]), "recording");
    bench.commit(Step::Work);
    bench.leaves("recording", Durability::Durable);
    bench.change("a", "x", "1", "changed");
    bench.commit(Step::Lose);
    bench.leaves("changed", Durability::Failed);
    bench.memory.remove_free(recording.clone()).unwrap().unwrap();
    bench.close();
    assert_eq!(bench.stored("a").unwrap().len(), 2);
    assert_eq!(bench.stored("b").unwrap().len(), 1);
    assert_eq!(bench.memory.load_free(Namespace::Recording).unwrap().len(), 1);
}

#[test]
fn a_session_that_the_store_does_not_have_is_written_whole() {
    let mut bench = Bench::with(BY_EVENTS);
    bench.create("a", "created");
    bench.commit(Step::Work);
    bench.leaves("created", Durability::Durable);
    bench.memory.drop_session("a", 1).unwrap().unwrap();
    bench.change("a", "x", "1", "changed");
    bench.commit(Step::Work);
    let operations = bench.commit(Step::Work);
    assert!(matches!(&operations[..], [Operation::Drop { .. }, Operation::Create { .. }]), "{operations:?}");
    bench.leaves("changed", Durability::Durable);
    // A commit that seemed to have failed and had not: the session is there, and is ours.
    bench.memory.create("b", &Ownership::single(), vec![(con("old"), Value::new(1, "1"))]).unwrap().unwrap();
    bench.create("b", "created b");
    bench.let_work();
    bench.leaves("created b", Durability::Durable);
    assert_eq!(bench.stored("b"), Some(vec![(con("first"), Value::new(1, "1"))]));
    assert_eq!(bench.stored("a").unwrap().len(), 2);
}

#[test]
fn a_session_of_another_owner_is_refused_and_never_called_durable() {
    let mut bench = Bench::with(BY_EVENTS);
    bench.let_work();
    let other = Ownership { owner: "other".to_owned(), fence: 9, lease_ms: 0 };
    bench.memory.create("a", &other, vec![]).unwrap().unwrap();
    bench.create("a", "created");
    bench.leaves("created", Durability::Failed);
    bench.change("a", "x", "1", "changed");
    bench.leaves("changed", Durability::Failed);
    bench.model.end("a");
    bench.submit(Touched::ended("a", 1), "ended");
    bench.leaves("ended", Durability::Failed);
    let refused = bench.model.refused.lock().unwrap().clone();
    assert_eq!(refused[0], ("a".to_owned(), Refusal::Exists(other.clone())));
    assert_eq!(
        refused[1..],
        [("a".to_owned(), Refusal::Fenced(other.clone())), ("a".to_owned(), Refusal::Fenced(other))]
    );
    assert_eq!(bench.writer().stats().refused, 3);
    assert_eq!(bench.stored("a"), Some(vec![]));
}

#[test]
fn a_record_that_is_too_large_holds_up_no_other_and_is_never_called_durable() {
    let mut bench = Bench::with(BY_EVENTS);
    bench.let_work();
    bench.create("a", "created");
    bench.leaves("created", Durability::Durable);
    bench.model.set("a", &con("large"), &"x".repeat(VALUE_LEN_MAX + 1));
    bench.model.set("a", &con("small"), "x");
    bench.submit(Touched::records("a", [con("large"), con("small")]), "changed");
    bench.leaves("changed", Durability::Failed);
    assert_eq!(bench.stored("a").unwrap().len(), 2);
}

/// More records than one commit takes are written in several, oldest first, and each answer waits for its own.
#[test]
fn much_is_written_in_several_commits() {
    let mut bench = Bench::with(BY_EVENTS);
    bench.create("hold", "hold");
    bench.begun.recv().unwrap();
    let large = "x".repeat(VALUE_LEN_MAX);
    // The last by name is the first by age.
    for (session, name) in [("c", "first"), ("b", "second"), ("a", "third")] {
        for record in 0..100 {
            bench.model.set(session, &con(&record.to_string()), &large);
        }
        bench.submit(Touched::created(session), name);
    }
    bench.script.as_ref().unwrap().send(Step::Work).unwrap();
    bench.leaves("hold", Durability::Durable);
    let sessions = |operations: Vec<Operation>| -> Vec<String> {
        let session = |operation| match operation {
            Operation::Create { session, .. } => session,
            other => panic!("{other:?}"),
        };
        operations.into_iter().map(session).collect()
    };
    assert_eq!(sessions(bench.commit(Step::Work)), ["c", "b"]);
    bench.leaves("first", Durability::Durable);
    bench.leaves("second", Durability::Durable);
    bench.nothing_leaves();
    assert_eq!(sessions(bench.commit(Step::Work)), ["a"]);
    bench.leaves("third", Durability::Durable);
    bench.close();
}

/// Names of records that come and go while the disk hangs do not pile up.
#[test]
fn a_session_with_many_changes_is_remembered_as_a_whole() {
    let mut bench = Bench::with(BY_EVENTS);
    bench.create("a", "created");
    bench.begun.recv().unwrap();
    for number in 0..5_000 {
        bench.submit(Touched::records("a", [con(&number.to_string())]), "changed");
    }
    bench.script.as_ref().unwrap().send(Step::Work).unwrap();
    let operations = bench.begun.recv().unwrap();
    assert!(
        matches!(&operations[..], [Operation::Drop { .. }, Operation::Create { .. }]),
        "{}",
        operations.len()
    );
    bench.close();
}

#[test]
fn a_panic_of_the_source_ends_the_process() {
    struct Panics;
    impl Source for Panics {
        fn session(&self, _: &str, _: Selection<'_>) -> Option<Present> {
            panic!("a bug in the model")
        }
        fn free(&self, _: &Name) -> Option<Value> {
            None
        }
        fn sessions(&self) -> Vec<Arc<str>> {
            Vec::new()
        }
        fn free_names(&self) -> Vec<Name> {
            Vec::new()
        }
    }
    let (end, ended) = mpsc::channel();
    let parts = Parts::with(move |name, what| end.send(format!("{name} {what}")).unwrap());
    let pace = Pace { farewell: Duration::ZERO, ..BY_EVENTS };
    let writer = Writer::start(Box::new(Memory::default()), Box::new(Panics), pace, &parts).unwrap();
    writer.submit(Touched::whole("a"), 0, |_| ());
    assert_eq!(ended.recv().unwrap(), "store-commit has panicked: a bug in the model");
    assert_eq!(parts.dead(), ["store-commit"]);
    // The process ends here; the order thread would wait for ever.
    std::mem::forget(writer);
}
