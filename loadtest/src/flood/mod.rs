//! Strangers at every door while a call runs: nothing may be lost, nothing may be kept, nothing may fall over.
//!
//! ```text
//!   a call:    publisher ─────────────── counted packets ───────────────► viewers
//!   strangers:       allocates │ silent connections │ every length and first byte
//!   the relay:       memory    │ memory             │ the same process, no shard rebuilt
//! ```
//!
//! Sources are addresses of loopback, which has sixteen million of them, so the server must be on this machine.

mod datagrams;
mod streams;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::failure::Failure;
use crate::load::proc::anonymous_bytes;
use crate::options::SmokeOptions;
use crate::report::Report;
use crate::rest::Rest;
use crate::smoke;

/// What the relay may keep of strangers who allocate nothing.
const GROWTH_BYTES_MAX: u64 = 1_000_000;
/// What it may keep of one connection that says nothing, of those that are open at the same time.
const CONNECTION_BYTES_MAX: u64 = 32_000;
/// Packets of the call before the first flood: more than the relay's cache of a stream holds. While the cache fills, the relay
/// grows by itself.
const PACKETS_BEFORE: u64 = 600;
/// The part of all strangers that comes before memory is weighed.
const FIRST_PART: u32 = 4;
/// How often the call is looked at until its media runs, and for how long.
const LOOK: Duration = Duration::from_millis(100);
const MEDIA_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of `flood`: those of the call, and what comes beside it.
#[derive(Args, Clone, Debug)]
pub struct FloodOptions {
    /// The call.
    #[command(flatten)]
    pub smoke: SmokeOptions,
    /// Strangers that ask for an allocation, each from an address of its own, and connections that say nothing.
    #[arg(long, default_value_t = 30_000)]
    pub sources: u32,
    /// Silent connections that are open at the same time; the oldest goes first.
    #[arg(long, default_value_t = 500)]
    pub held: usize,
    /// Port of TURN over TLS; 0 leaves it alone.
    #[arg(long, default_value_t = 5349)]
    pub turn_tls_port: u16,
    /// Longest datagram of those of every length, in bytes.
    #[arg(long, default_value_t = 1500)]
    pub len_max: usize,
}

/// The doors of a server.
#[derive(Clone, Debug)]
struct Doors {
    relay: u32,
    turn: SocketAddr,
    media: SocketAddr,
    turn_tls: Option<SocketAddr>,
    https: SocketAddr,
}

/// What came of it.
#[derive(Debug)]
pub struct FloodReport {
    /// The bystander's call.
    pub call: Report,
    /// What the strangers did and what it cost, by name.
    pub figures: Vec<(&'static str, u64)>,
    /// What went wrong beside the call, a sentence each.
    pub failures: Vec<String>,
}

/// Runs the call and the floods beside it.
///
/// # Errors
/// Bad options, or a server without session. All else is in the report.
pub async fn run(options: FloodOptions) -> Result<FloodReport, Failure> {
    let call = async {
        let report = smoke::run(options.smoke.clone()).await;
        (report, Instant::now())
    };
    let floods = async {
        let result = floods(&options).await;
        (result, Instant::now())
    };
    let ((call, call_ended), (floods, floods_ended)) = tokio::join!(call, floods);
    let (figures, mut failures) = floods?;
    if floods_ended > call_ended {
        failures.push("the call ended before the floods did: give it a longer --duration".to_owned());
    }
    Ok(FloodReport { call: call?, figures, failures })
}

async fn floods(options: &FloodOptions) -> Result<(Vec<(&'static str, u64)>, Vec<String>), Failure> {
    let rest = Rest::new(&options.smoke.url, &options.smoke.secret)?;
    let stats = media_runs(&rest).await?;
    let doors = Doors::of(&stats, options)?;
    let mut figures = Vec::new();
    let mut failures = Vec::new();
    let memory = || anonymous_bytes(doors.relay);

    let (sources, turn) = (options.sources, doors.turn);
    // A burst uses receive buffers that nothing has used before: 192 of 256 come into use only when many datagrams wait at
    // once, and a short datagram touches one or two pages of each. They belong to the relay and not to strangers.
    blocking(move || datagrams::allocates(turn, sources / FIRST_PART)).await?;
    let before = memory();
    let answers = blocking(move || datagrams::allocates(turn, sources)).await?;
    let grown = memory().saturating_sub(before);
    figures.extend([
        ("allocates", u64::from(sources)),
        ("refusals", answers),
        ("allocates_grown_bytes", grown),
    ]);
    if grown >= GROWTH_BYTES_MAX {
        failures.push(format!("the relay grew by {grown} bytes for {sources} strangers"));
    }
    if answers == 0 {
        failures.push("no stranger was even refused: is there a TURN server?".to_owned());
    }

    let before = memory();
    let opened = streams::silent(&[doors.turn, doors.https], sources, options.held).await;
    let grown = memory().saturating_sub(before);
    figures.extend([("silent_connections", opened), ("silent_grown_bytes", grown)]);
    if grown >= GROWTH_BYTES_MAX + CONNECTION_BYTES_MAX * options.held as u64 {
        failures.push(format!("the relay grew by {grown} bytes for {} connections", options.held));
    }
    if opened < u64::from(sources) {
        failures.push(format!("of {sources} connections {opened} came about"));
    }

    let (addresses, len_max) = ([doors.turn, doors.media], options.len_max);
    figures.push(("datagrams", blocking(move || datagrams::every_beginning(&addresses, len_max)).await?));
    let plain: Vec<SocketAddr> =
        [Some(doors.turn), Some(doors.https), doors.turn_tls].into_iter().flatten().collect();
    figures.push(("plain_streams", streams::every_beginning(&plain, false).await));
    let tls: Vec<SocketAddr> = [Some(doors.https), doors.turn_tls].into_iter().flatten().collect();
    figures.push(("tls_streams", streams::every_beginning(&tls, true).await));

    let after = rest.stats().await?;
    failures.extend(Doors::of(&after, options)?.differences(&doors));
    for (name, allowed) in [("rebuilds", counter(&stats, "rebuilds")), ("turn_allocations", 0)] {
        let found = counter(&after, name);
        if found != allowed {
            failures.push(format!("{name} is {found} after it, and not {allowed}"));
        }
    }
    Ok((figures, failures))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let result = spawn_blocking(work).await.map_err(std::io::Error::other)?;
    Ok(result?)
}

/// Waits until media arrives at the relay.
async fn media_runs(rest: &Rest) -> Result<Value, Failure> {
    let deadline = Instant::now() + MEDIA_TIMEOUT;
    loop {
        let stats = rest.stats().await?;
        if counter(&stats, "rtp_in") >= PACKETS_BEFORE {
            return Ok(stats);
        }
        if Instant::now() > deadline {
            return Err(Failure::Late("no media for the floods to run beside".to_owned()));
        }
        sleep(LOOK).await;
    }
}

/// Sum of a counter over all shards.
fn counter(stats: &Value, name: &str) -> u64 {
    let shards = stats["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
    shards.iter().filter_map(|shard| shard["counters"][name].as_u64()).sum()
}

impl Doors {
    fn of(stats: &Value, options: &FloodOptions) -> Result<Self, Failure> {
        let number = |value: &Value, name: &str| {
            let number = value[name].as_u64().and_then(|number| u32::try_from(number).ok());
            number.ok_or_else(|| Failure::rest("GET /millrace/stats", format!("no {name}")))
        };
        let here = |port: u32| {
            let port = u16::try_from(port).map_err(|_| Failure::rest("GET /millrace/stats", "no port"))?;
            Ok::<_, Failure>(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        };
        let relay = &stats["relay"];
        let tls = Some(options.turn_tls_port).filter(|port| *port != 0);
        Ok(Self {
            relay: number(relay, "pid")?,
            turn: here(number(relay, "turnPort")?)?,
            media: here(number(&stats["shards"][0], "port")?)?,
            turn_tls: tls.map(|port| here(port.into())).transpose()?,
            https: here(number(relay, "httpsPort")?)?,
        })
    }

    fn differences(&self, before: &Self) -> Option<String> {
        (self.relay != before.relay)
            .then(|| format!("relay {} is gone, {} is there", before.relay, self.relay))
    }
}

impl FloodReport {
    /// Everything that was missed, a sentence each; empty means the run is good.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let call = self.call.problems().into_iter().map(|problem| format!("the bystander: {problem}"));
        self.failures.iter().cloned().chain(call).collect()
    }

    /// One object with everything.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures: serde_json::Map<_, _> =
            self.figures.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let problems = self.problems();
        json!({ "ok": problems.is_empty(), "problems": problems, "floods": figures, "call": self.call.json() })
    }

    /// The call's table, a line for each figure, and the problems of the floods.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = self.call.table();
        text.push('\n');
        for (name, value) in &self.figures {
            text.push_str(&format!("{name:>22} {value}\n"));
        }
        for failure in &self.failures {
            text.push_str(&format!("FAILED {failure}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_found_in_the_statistics() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            flood: FloodOptions,
        }
        let options = <Cli as clap::Parser>::parse_from(["x", "--secret", "s", "--turn-tls-port", "0"]).flood;
        let stats = json!({
            "relay": { "pid": 7, "turnPort": 3478, "httpsPort": 443 },
            "shards": [{ "port": 5000, "counters": { "rebuilds": 1 } }, { "port": 5001, "counters": { "rebuilds": 2 } }],
        });
        let doors = Doors::of(&stats, &options).unwrap();
        assert_eq!(
            (doors.relay, doors.turn.port(), doors.media.port(), doors.https.port()),
            (7, 3478, 5000, 443)
        );
        assert_eq!(doors.turn_tls, None);
        assert_eq!(counter(&stats, "rebuilds"), 3);
        assert!(doors.differences(&doors).is_none());
        assert!(Doors { relay: 8, ..doors.clone() }.differences(&doors).is_some());
        assert!(Doors::of(&json!({}), &options).is_err());
    }
}
