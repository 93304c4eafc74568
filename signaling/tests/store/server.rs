//! What a broken disk does to calls.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use millrace_signaling::store::{
    Aside, Memory, Name, Namespace, Operation, Outcome, Store, StoreCounters, StoreError, StoredSession,
    Value,
};
use serde_json::Value as Json;

use super::support::{FakeRelay, Process, SECRET, World, basic, join, request, scratch, session};

/// A store whose commits hang until the test lets them go on.
struct Hanging {
    memory: Memory,
    let_go: Receiver<()>,
}

impl Store for Hanging {
    fn commit(&mut self, operations: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        // Ends at once when the test has dropped the other side.
        let _ = self.let_go.recv();
        self.memory.commit(operations)
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

fn hanging() -> (Hanging, Memory, Sender<()>) {
    let (go, let_go) = channel();
    let memory = Memory::default();
    (Hanging { memory: memory.clone(), let_go }, memory, go)
}

async fn figures(world: &World) -> Json {
    world.rest("GET", "/millrace/stats", "").await.json()["signaling"].clone()
}

/// The disk hangs for as long as the test likes: everything of a call goes on all the same.
#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_the_disk_hangs_and_it_is_counted() {
    let (store, memory, go) = hanging();
    let world = World::over_store(Box::new(store)).await;
    let session = world.session().await;
    let (mut alice, _) = world.join(&session, "PUBLISHER").await;
    let published = alice.publish().await;
    let (mut bob, _) = world.join(&session, "SUBSCRIBER").await;
    alice.told("participantJoined").await;
    bob.watch(published["id"].as_str().unwrap()).await;
    let before = figures(&world).await;
    assert!(before["storeLate"].as_u64().unwrap() >= 5, "{before}");
    assert!(before["storeUnwritten"].as_u64().unwrap() >= 1, "{before}");
    assert_eq!(before["storeFailures"], 0);
    assert!(memory.clone().load().unwrap().is_empty(), "nothing is written yet");
    // The disk is back: what was missed is written, and answers are durable again.
    drop(go);
    let other = world.session().await;
    let stored: Vec<String> = memory.clone().load().unwrap().into_iter().map(|session| session.id).collect();
    assert!(stored.contains(&session) && stored.contains(&other), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_the_server_starts() {
    let directory = scratch();
    let data = directory.join("data");
    let relay = FakeRelay::start(&directory, 1);
    let first = Process::start(&directory).await;
    let lost = session(first.port).await;
    first.kill();
    std::fs::write(data.join("signaling.redb"), [7; 100_000]).unwrap();
    for _ in 0..2 {
        let process = Process::start(&directory).await;
        let authorization = basic(SECRET);
        let get = async |path: &str| request(process.port, "GET", path, Some(&authorization), "").await;
        assert_eq!(get(&format!("/openvidu/api/sessions/{lost}")).await.status, 404);
        let figures = get("/millrace/stats").await.json()["signaling"].clone();
        assert_eq!(
            figures["storeSetAside"], 1,
            "it is counted as long as the damaged file is there: {figures}"
        );
        let next = session(process.port).await;
        join(process.port, &next, "PUBLISHER").await;
        process.kill();
    }
    drop(relay);
    std::fs::remove_dir_all(directory).unwrap();
}

/// What another start does not mend ends with the status that keeps the service manager from trying.
#[test]
fn mistakes_that_only_the_operator_can_mend_end_with_78() {
    let directory = scratch();
    let ends_with = |data: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-signaling"));
        command.args(["--https-port", "0", "--http-port", "0", "--secret", SECRET, "--data-dir"]);
        command.arg(directory.join(data)).arg("--control-socket").arg(directory.join("none.sock")).args(more);
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let file = directory.join("no.pem").display().to_string();
    let (status, log) = ends_with("a", &["--certificate-file", &file, "--certificate-key-file", &file]);
    assert_eq!(status, Some(78), "{log}");
    assert!(log.contains("no.pem"), "{log}");
    // The store's file is a directory.
    std::fs::create_dir_all(directory.join("b/signaling.redb")).unwrap();
    let (status, log) = ends_with("b", &[]);
    assert_eq!(status, Some(78), "{log}");
    assert!(log.contains("signaling.redb"), "{log}");
    std::fs::remove_dir_all(directory).unwrap();
}
