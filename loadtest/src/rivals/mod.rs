//! Our relay beside others, in one run: the same crowd, the same host, the floor below both.

pub mod crowd;
pub mod janus;
pub mod lab;
pub mod options;
pub mod report;

use std::net::SocketAddr;
use std::path::Path;

use self::crowd::{Crowd, Host, Stretch};
use self::janus::api::Api;
use self::janus::room::Room;
use self::janus::{Janus, Variant};
use self::lab::Lab;
use self::options::JanusOptions;
use self::report::{Contestant, Report};
use crate::failure::Failure;
use crate::floor;
use crate::kernel::affinity::pin_this_thread;
use crate::load::control::Control;
use crate::load::direct::Direct;
use crate::load::relay::{Relay, all_cores};

/// Ports of the APIs of both Januses.
const API_PORTS: [u16; 2] = [8188, 8189];

/// Holds our relay against Janus, as shipped and with one event loop, and both against the floor. Blocks.
///
/// # Errors
/// [`Failure::Usage`] without the right to make a network namespace; else what kept a server or a peer from coming up.
pub fn janus(options: &JanusOptions) -> Result<Report, Failure> {
    let shape = options.shape()?;
    let scenario = options.scenario()?;
    let relay_program = options.relay()?;
    let cores = all_cores();
    let lab = Lab::new()?;
    // The servers have the first core, and we the others.
    pin_this_thread(if cores.len() > 1 { &cores[1..] } else { &cores })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let start =
            |event_loops, api_port| Janus::start(&options.janus, &lab, Variant { event_loops, api_port });
        let shipped = start(None, API_PORTS[0])?;
        let looped = start(Some(1), API_PORTS[1])?;
        let relay = start_relay(&lab, &relay_program)?;
        let control = Control::connect(&relay.socket()).await?;
        let backend = control.relay.backend.clone();
        let crowds = [
            (format!("millrace, {backend}"), Host::Millrace(Direct::new(control, None)?), relay.pid()),
            ("janus as shipped".to_owned(), room(shipped.address).await?, shipped.pid()),
            ("janus, event_loops = 1".to_owned(), room(looped.address).await?, looped.pid()),
        ];
        let mut contestants = Vec::new();
        for (name, host, pid) in crowds {
            let gathered = Crowd::gather(host, &lab, &scenario, pid).await;
            let crowd = gathered.map_err(|failure| Failure::Late(format!("{name}: {failure}")))?;
            contestants.push((Contestant { name, stretches: Vec::new() }, crowd));
        }
        let mut floors = Vec::new();
        for _ in 0..options.pairs {
            for (contestant, crowd) in &mut contestants {
                let stretch = crowd.stretch(options.duration()).await;
                let named = |failure| Failure::Late(format!("{}: {failure}", contestant.name));
                contestant.stretches.push(stretch.map_err(named)?);
            }
            let (place, method) = (lab.place(), options.floor);
            floors.push(floor::measure_at(&place, &cores, &shape, method, options.duration())?);
        }
        let floor = Contestant {
            name: format!("floor, {}", options.floor.name()),
            stretches: floors.into_iter().map(Stretch::from).collect(),
        };
        let others = contestants.into_iter().map(|(contestant, _)| contestant);
        Ok(Report {
            scenario: scenario.summary(),
            contestants: std::iter::once(floor).chain(others).collect(),
        })
    })
}

fn start_relay(lab: &Lab, program: &Path) -> Result<Relay, Failure> {
    Relay::start_as(lab.command(program), program, 1, None)
}

async fn room(address: SocketAddr) -> Result<Host, Failure> {
    Ok(Host::Janus(Box::new(Room::create(Api::connect(address).await?).await?)))
}
