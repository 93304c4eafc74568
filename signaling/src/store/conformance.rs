//! What every store has to do. A new engine implements [`Testee`] and calls [`run`] in a test.

use super::*;

/// A store under test.
pub(super) trait Testee {
    /// Drops the store and opens it again, as a restart of the process does. It must hold everything that it
    /// acknowledged.
    fn reopen(&mut self) -> Box<dyn Store>;
}

/// Tries an engine. `fresh` gives a new empty one.
pub(super) fn run<T: Testee>(fresh: &mut dyn FnMut() -> T) {
    for (name, check) in CHECKS {
        println!("{name}");
        check(&mut fresh());
    }
}

type Check = fn(&mut dyn Testee);

const CHECKS: [(&str, Check); 12] = [
    ("an empty store has nothing", an_empty_store_has_nothing),
    ("what was committed is there after reopening", what_was_committed_is_there_after_reopening),
    ("a session is created once", a_session_is_created_once),
    ("a put changes and removes", a_put_changes_and_removes),
    ("a missing session takes no put", a_missing_session_takes_no_put),
    ("a lower fence is refused", a_lower_fence_is_refused),
    ("a higher fence is a repair", a_higher_fence_is_a_repair),
    ("a claim compares and sets", a_claim_compares_and_sets),
    ("a session is dropped with all its records and no others", a_session_is_dropped_alone),
    ("records that outlive sessions", records_that_outlive_sessions),
    ("a refused operation changes nothing and stops no other", a_refused_operation_stops_no_other),
    ("what was set aside is kept and not loaded", what_was_set_aside_is_kept),
];

fn owner(fence: u64) -> Ownership {
    Ownership { owner: format!("node-{fence}"), fence, lease_ms: 6_000 }
}

fn con(id: &str) -> Name {
    Name::new(Namespace::Connection, id)
}

fn value(text: &str) -> Value {
    Value::new(7, text)
}

fn created(testee: &mut dyn Testee, fence: u64) -> Box<dyn Store> {
    let mut store = testee.reopen();
    let records = vec![(con("a"), value("1")), (con("b"), value("2"))];
    store.create("ses", &owner(fence), records).unwrap().unwrap();
    store
}

fn records(store: &mut dyn Store, session: &str) -> Vec<(Name, Value)> {
    store.load_session(session).unwrap().unwrap().records
}

fn an_empty_store_has_nothing(testee: &mut dyn Testee) {
    let mut store = testee.reopen();
    assert_eq!(store.load().unwrap(), []);
    assert_eq!(store.load_session("ses").unwrap(), None);
    assert_eq!(store.load_free(Namespace::Recording).unwrap(), []);
    assert_eq!(store.load_aside().unwrap(), []);
    assert_eq!(store.commit(&[]).unwrap(), []);
    assert_eq!(store.drop_session("ses", 0).unwrap(), Ok(()), "it is not there, as wanted");
    assert_eq!(store.remove_free(Name::new(Namespace::Account, "a")).unwrap(), Ok(()));
}

fn what_was_committed_is_there_after_reopening(testee: &mut dyn Testee) {
    drop(created(testee, 3));
    let mut store = testee.reopen();
    let expected = StoredSession {
        id: "ses".to_owned(),
        ownership: owner(3),
        records: vec![(con("a"), value("1")), (con("b"), value("2"))],
    };
    assert_eq!(store.load_session("ses").unwrap(), Some(expected.clone()));
    assert_eq!(store.load().unwrap(), [expected]);
}

fn a_session_is_created_once(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    for fence in [2, 3, 4] {
        let outcome = store.create("ses", &owner(fence), vec![(con("c"), value("9"))]).unwrap();
        assert_eq!(outcome, Err(Refusal::Exists(owner(3))));
    }
    assert_eq!(records(&mut *store, "ses").len(), 2);
    // Once it is gone the id is free.
    store.drop_session("ses", 3).unwrap().unwrap();
    store.create("ses", &owner(1), vec![]).unwrap().unwrap();
    assert_eq!(records(&mut *store, "ses"), []);
}

fn a_put_changes_and_removes(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    let changes = vec![(con("a"), None), (con("b"), Some(value("22"))), (con("c"), Some(Value::new(0, [])))];
    store.put("ses", &owner(3), changes).unwrap().unwrap();
    assert_eq!(records(&mut *store, "ses"), [(con("b"), value("22")), (con("c"), Value::new(0, []))]);
    // The same id in another namespace is another record.
    let stream = Name::new(Namespace::Stream, "b");
    store.put("ses", &owner(3), vec![(stream.clone(), Some(value("s")))]).unwrap().unwrap();
    store.put("ses", &owner(3), vec![(con("b"), None)]).unwrap().unwrap();
    assert_eq!(records(&mut *store, "ses"), [(con("c"), Value::new(0, [])), (stream, value("s"))]);
    // The longest value.
    let long = Value::new(255, vec![7; VALUE_LEN_MAX]);
    store.put("ses", &owner(3), vec![(con(""), Some(long.clone()))]).unwrap().unwrap();
    assert_eq!(records(&mut *store, "ses")[0], (con(""), long));
}

fn a_missing_session_takes_no_put(testee: &mut dyn Testee) {
    let mut store = testee.reopen();
    let put = store.put("ses", &owner(9), vec![(con("a"), Some(value("1")))]).unwrap();
    assert_eq!(put, Err(Refusal::Missing));
    assert_eq!(store.claim("ses", 0, &owner(9)).unwrap(), Err(Refusal::Missing));
    assert_eq!(store.load().unwrap(), []);
}

fn a_lower_fence_is_refused(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    let fenced = Err(Refusal::Fenced(owner(3)));
    assert_eq!(store.put("ses", &owner(2), vec![(con("a"), None)]).unwrap(), fenced);
    assert_eq!(store.drop_session("ses", 2).unwrap(), fenced);
    assert_eq!(records(&mut *store, "ses").len(), 2);
}

fn a_higher_fence_is_a_repair(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    store.put("ses", &owner(5), vec![(con("a"), None)]).unwrap().unwrap();
    let session = store.load_session("ses").unwrap().unwrap();
    assert_eq!((session.ownership, session.records.len()), (owner(5), 1));
    assert_eq!(store.put("ses", &owner(4), vec![]).unwrap(), Err(Refusal::Fenced(owner(5))));
    store.drop_session("ses", 6).unwrap().unwrap();
    assert_eq!(store.load_session("ses").unwrap(), None);
}

fn a_claim_compares_and_sets(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    let fenced = |fence| Err(Refusal::Fenced(owner(fence)));
    assert_eq!(store.claim("ses", 2, &owner(7)).unwrap(), fenced(3), "it has read something else");
    assert_eq!(store.claim("ses", 3, &owner(3)).unwrap(), fenced(3), "no higher fence");
    store.claim("ses", 3, &owner(7)).unwrap().unwrap();
    assert_eq!(store.claim("ses", 3, &owner(8)).unwrap(), fenced(7), "another was faster");
    drop(store);
    let mut store = testee.reopen();
    let session = store.load_session("ses").unwrap().unwrap();
    assert_eq!((session.ownership, session.records.len()), (owner(7), 2));
    assert_eq!(store.put("ses", &owner(3), vec![]).unwrap(), fenced(7), "the owner before is fenced off");
}

fn a_session_is_dropped_alone(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    // Ids around it in every order, and one that begins with it.
    for id in ["se", "ses\u{1}", "ses1", "set"] {
        store.create(id, &owner(3), vec![(con("a"), value(id))]).unwrap().unwrap();
    }
    store.drop_session("ses", 3).unwrap().unwrap();
    let left: Vec<String> = store.load().unwrap().into_iter().map(|session| session.id).collect();
    assert_eq!(left, ["se", "ses\u{1}", "ses1", "set"]);
    for id in left {
        assert_eq!(records(&mut *store, &id), [(con("a"), value(&id))]);
    }
}

fn records_that_outlive_sessions(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    let recording = |id: &str| Name::new(Namespace::Recording, id);
    store.put_free(recording("r1"), value("1")).unwrap().unwrap();
    store.put_free(recording("r2"), value("2")).unwrap().unwrap();
    store.put_free(Name::new(Namespace::Account, "r1"), value("3")).unwrap().unwrap();
    store.remove_free(recording("r1")).unwrap().unwrap();
    store.drop_session("ses", 3).unwrap().unwrap();
    drop(store);
    let mut store = testee.reopen();
    assert_eq!(store.load_free(Namespace::Recording).unwrap(), [(recording("r2"), value("2"))]);
    assert_eq!(store.load_free(Namespace::Account).unwrap().len(), 1);
    assert_eq!(store.load_free(Namespace::Event).unwrap(), []);
}

fn a_refused_operation_stops_no_other(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    let put = |session: &str, name, value| Operation::Put {
        session: session.to_owned(),
        ownership: owner(3),
        changes: vec![(con("a"), Some(self::value("changed"))), (name, Some(value))],
    };
    let recording = Name::new(Namespace::Recording, "r");
    let too_long = Value::new(1, vec![0; VALUE_LEN_MAX + 1]);
    let outcomes = store
        .commit(&[
            put("ses", con("c"), too_long.clone()),
            put("ses", con(&"x".repeat(ID_LEN_MAX + 1)), value("")),
            put("ses", recording.clone(), value("")),
            put("", con("c"), value("")),
            Operation::Free { changes: vec![(con("a"), Some(value("")))] },
            put("other", con("c"), value("")),
            Operation::Create {
                session: "new".to_owned(),
                ownership: owner(1),
                records: vec![(con("c"), too_long)],
            },
            Operation::Free { changes: vec![(recording.clone(), Some(value("r")))] },
        ])
        .unwrap();
    assert!(outcomes[..5].iter().all(|outcome| matches!(outcome, Err(Refusal::Unfit(_)))), "{outcomes:?}");
    assert_eq!(outcomes[5], Err(Refusal::Missing));
    assert!(matches!(outcomes[6], Err(Refusal::Unfit(_))));
    assert_eq!(outcomes[7], Ok(()));
    assert_eq!(records(&mut *store, "ses"), [(con("a"), value("1")), (con("b"), value("2"))]);
    assert_eq!(store.load().unwrap().len(), 1);
    assert_eq!(store.load_free(Namespace::Recording).unwrap(), [(recording, value("r"))]);
    // Operations of one commit see those before them.
    let outcomes = store
        .commit(&[
            Operation::Drop { session: "ses".to_owned(), fence: 3 },
            Operation::Create { session: "ses".to_owned(), ownership: owner(4), records: vec![] },
            put("ses", con("c"), value("")),
        ])
        .unwrap();
    assert_eq!(outcomes, [Ok(()), Ok(()), Err(Refusal::Fenced(owner(4)))]);
    assert_eq!(records(&mut *store, "ses"), []);
}

fn what_was_set_aside_is_kept(testee: &mut dyn Testee) {
    let mut store = created(testee, 3);
    let recording = Name::new(Namespace::Recording, "r");
    store.put_free(recording.clone(), value("r")).unwrap().unwrap();
    store.create("other", &owner(1), vec![(con("o"), value("o"))]).unwrap().unwrap();
    let outcomes = store
        .commit(&[
            Operation::SetAside { session: Some("ses".to_owned()), name: con("a") },
            Operation::SetAside { session: Some("ses".to_owned()), name: con("nothing") },
            Operation::SetAside { session: None, name: recording.clone() },
            Operation::SetSessionAside { session: "other".to_owned() },
            Operation::SetSessionAside { session: "nothing".to_owned() },
        ])
        .unwrap();
    assert_eq!(outcomes, [Ok(()), Err(Refusal::Missing), Ok(()), Ok(()), Err(Refusal::Missing)]);
    assert_eq!(store.counters().records_set_aside(), 3);
    drop(store);
    let mut store = testee.reopen();
    assert_eq!(store.load().unwrap().len(), 1);
    assert_eq!(records(&mut *store, "ses"), [(con("b"), value("2"))]);
    assert_eq!(store.load_free(Namespace::Recording).unwrap(), []);
    let mut aside: Vec<String> = store
        .load_aside()
        .unwrap()
        .into_iter()
        .map(|aside| format!("{:?}{:?}", aside.session, aside.name))
        .collect();
    aside.sort();
    assert_eq!(aside, ["NoneRecording/r", "Some(\"other\")Connection/o", "Some(\"ses\")Connection/a"]);
    // The id is free, and a record of that name may be written again.
    store.create("other", &owner(1), vec![]).unwrap().unwrap();
    store.put("ses", &owner(3), vec![(con("a"), Some(value("new")))]).unwrap().unwrap();
    assert_eq!(records(&mut *store, "ses").len(), 2);
}
