//! Bad input as tables: each row is refused with the documented error, and a bystander in another session does not
//! notice.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests, and what they counted")]

#[path = "../support/mod.rs"]
mod support;

mod rest;
mod rpc;
mod tables;

use serde_json::{Value, json};
use support::{Client, World};

const API: &str = "/openvidu/api";

/// Somebody in another session, with a stream that is watched.
struct Bystander {
    session: String,
    publisher: Client,
    viewer: Client,
    id: String,
    stream: String,
    before: Value,
    rows: usize,
}

impl Bystander {
    async fn of(world: &World) -> Self {
        let session = world.session().await;
        let (mut publisher, id) = world.join(&session, "PUBLISHER").await;
        let stream = publisher.publish().await["id"].as_str().unwrap().to_owned();
        let (mut viewer, _) = world.join(&session, "SUBSCRIBER").await;
        viewer.watch(&stream).await;
        publisher.told("participantJoined").await;
        let before = Self::seen(world, &session).await;
        Self { session, publisher, viewer, id, stream, before, rows: 0 }
    }

    async fn seen(world: &World, session: &str) -> Value {
        world.rest("GET", &format!("{API}/sessions/{session}?webRtcStats=true"), "").await.json()
    }

    /// A row is done: both are there, are answered and were told nothing.
    async fn fine(&mut self, row: &str) {
        assert!(self.publisher.hears_nothing().await && self.viewer.hears_nothing().await, "{row}");
        self.rows += 1;
    }

    /// All rows are done: they can still do what they could, and nothing of theirs has changed.
    async fn leave(mut self, world: &World, table: &str) {
        let message = json!({"to": [], "type": "signal:x", "data": table}).to_string();
        self.publisher.ok("sendMessage", json!({"message": message})).await;
        assert_eq!(self.viewer.told("sendMessage").await["data"], table);
        assert_eq!(Self::seen(world, &self.session).await, self.before);
        println!("{table}: {} rows", self.rows);
    }
}
