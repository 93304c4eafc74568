//! What the edge is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use millrace_signaling::tls::Files;

use super::StartError;
use crate::config::Config;
use crate::crypto::mac::HmacSha256Key;
use crate::edge::{self, CertificateFiles, Edge, Https, RoomLimits};
use crate::io::descriptors;

/// Descriptors that everything but the edge needs: shards, control, files.
const DESCRIPTORS_ELSEWHERE: usize = 512;
/// A client's own, and the one towards who serves it.
const DESCRIPTORS_PER_CLIENT: usize = 2;

/// Allowed where the system does not say: the least that is usual.
const DESCRIPTORS_USUAL: usize = 1024;

/// Starts the edge if the settings give it anything to do. Its hellos bear tags under `key`.
pub(super) fn start(
    config: &Config,
    media_ports: &[u16],
    turn_port: Option<u16>,
    key: Arc<HmacSha256Key>,
) -> Result<Option<Edge>, StartError> {
    let server = &config.server;
    let port = |port: u16| (port != 0).then_some(port);
    let mut wanted = edge::Config {
        https: server
            .http_socket
            .as_ref()
            .map(|socket| Https { port: server.https_port, socket: socket.clone() }),
        turn: turn_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        turn_tcp_port: turn_port,
        // A number that the kernel chose for UDP may be taken for TCP.
        turn_tcp_must: config.turn.port != 0,
        turn_tls_port: turn_port.and(port(config.turn.tls_port)),
        ice_tcp_ports: if config.media.ice_tcp { media_ports.to_vec() } else { Vec::new() },
        ..edge::Config::default()
    };
    let ports = [wanted.https.is_some(), wanted.turn_tcp_port.is_some(), wanted.turn_tls_port.is_some()];
    let ports = ports.into_iter().filter(|served| *served).count() + wanted.ice_tcp_ports.len();
    if ports == 0 {
        return Ok(None);
    }
    if wanted.https.is_some() || wanted.turn_tls_port.is_some() {
        wanted.certificate = Some(certificate(config)?);
    }
    wanted.room = RoomLimits {
        connections_max: config.sockets.sockets_max.min(clients_max() / ports),
        per_address_max: config.sockets.sockets_per_address_max,
        ..RoomLimits::default()
    };
    let edge = Edge::start(wanted, key)?;
    tracing::info!(
        https = edge.https_port,
        turn_tcp = edge.turn_tcp_port,
        turn_tls = edge.turn_tls_port,
        ice_tcp = ?edge.ice_tcp_ports,
        "the edge listens"
    );
    Ok(Some(edge))
}

fn clients_max() -> usize {
    let allowed = descriptors::raise_limit().unwrap_or(DESCRIPTORS_USUAL);
    allowed.saturating_sub(DESCRIPTORS_ELSEWHERE) / DESCRIPTORS_PER_CLIENT
}

/// The files that signaling would use too; what is made here is made when it is not there.
fn certificate(config: &Config) -> Result<CertificateFiles, StartError> {
    let server = &config.server;
    let files = Files::of(&server.certificate.choice()?, &server.data_dir, &server.names())
        .map_err(edge::StartError::from)?;
    Ok(CertificateFiles { certificate: files.certificate, key: files.key })
}
