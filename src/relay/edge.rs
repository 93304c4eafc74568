//! Starts the edge with the operator's settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use millrace_signaling::http::KnownAddresses;
use millrace_signaling::http::limiter::ConnectionLimits;
use millrace_signaling::tls::Files;

use super::StartError;
use crate::config::Config;
use crate::crypto::mac::HmacSha256Key;
use crate::edge::shares::{Served, Shares};
use crate::edge::{self, CertificateFiles, Edge, Https, PlainHttp, PortLimits};
use crate::io::descriptors;

/// Descriptors where the system does not say how many are allowed: the smallest usual limit.
const DESCRIPTORS_USUAL: usize = 1024;

/// Starts the edge if the settings have any port for it. Its hellos are tagged with `key`.
pub(super) fn start(
    config: &Config,
    media_ports: &[u16],
    turn_port: Option<u16>,
    key: Arc<HmacSha256Key>,
) -> Result<Option<Edge>, StartError> {
    let server = &config.server;
    let served = served(config, turn_port.is_some(), media_ports.len());
    if served == Served::default() {
        return Ok(None);
    }
    let shares = shares(config, served);
    let needs_certificate = served.https || served.turn_tls;
    let wanted = edge::Config {
        https: server.http_socket.as_ref().map(|socket| Https {
            port: server.https_port,
            socket: socket.clone(),
            plain: plain(config),
        }),
        turn: turn_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        turn_tcp_port: turn_port,
        // A port that the kernel chose for UDP may be in use for TCP.
        turn_tcp_must: config.turn.port != 0,
        turn_tls_port: served.turn_tls.then_some(config.turn.tls_port),
        ice_tcp_ports: if config.media.ice_tcp { media_ports.to_vec() } else { Vec::new() },
        certificate: if needs_certificate { Some(certificate(config)?) } else { None },
        limits: limits(shares, config.sockets.sockets_per_address_max),
        known: KnownAddresses::from(&server.addresses),
        timing: edge::Timing::default(),
    };
    let edge = Edge::start(wanted, key)?;
    tracing::info!(
        https = edge.https_port,
        redirect = edge.redirect_port,
        turn_tcp = edge.turn_tcp_port,
        turn_tls = edge.turn_tls_port,
        ice_tcp = ?edge.ice_tcp_ports,
        "the edge listens"
    );
    Ok(Some(edge))
}

/// The ports that the edge has. ICE-TCP has one a shard.
pub(crate) fn served(config: &Config, has_turn: bool, shards: usize) -> Served {
    let https = config.server.http_socket.is_some();
    Served {
        https,
        redirect: https && config.server.certificate.plain_port().is_some(),
        turn_tcp: has_turn,
        turn_tls: has_turn && config.turn.tls_port != 0,
        ice_tcp: if config.media.ice_tcp { shards } else { 0 },
    }
}

/// Connections that each port takes. Raises the limit of open files as far as the system allows it, and logs the outcome.
fn shares(config: &Config, served: Served) -> Shares {
    let descriptors = descriptors::raise_limit().unwrap_or(DESCRIPTORS_USUAL);
    let sockets_max = config.sockets.sockets_max;
    let shares = Shares::new(descriptors, sockets_max, served);
    tracing::info!(descriptors, "connections at a time: {shares}");
    if served.https && shares.https < sockets_max {
        tracing::warn!(
            "the port of HTTPS takes {} connections, fewer than limits.sockets-max, which is {sockets_max}; raise the limit \
             of open files (LimitNOFILE=, ulimit -n)",
            shares.https
        );
    }
    shares
}

fn limits(shares: Shares, per_address_max: usize) -> PortLimits {
    let limits = |connections_max| ConnectionLimits::new(connections_max, per_address_max);
    PortLimits {
        https: limits(shares.https).with_reserve(),
        redirect: limits(shares.redirect),
        turn_tcp: limits(shares.turn_tcp),
        turn_tls: limits(shares.turn_tls),
        ice_tcp: limits(shares.ice_tcp),
    }
}

fn plain(config: &Config) -> Option<PlainHttp> {
    let certificate = &config.server.certificate;
    let url = certificate.public_url.as_ref().filter(|url| url.tls);
    Some(PlainHttp {
        port: certificate.plain_port()?,
        must: certificate.redirect_port.is_some(),
        authority: url.map(|url| url.authority.clone()),
    })
}

/// Files of the certificate, the same as signaling's. Creates those that are missing and are not the operator's.
fn certificate(config: &Config) -> Result<CertificateFiles, StartError> {
    let server = &config.server;
    let files = Files::of(&server.certificate.choice()?, &server.data_dir, &server.names())
        .map_err(edge::StartError::from)?;
    Ok(CertificateFiles { certificate: files.certificate, key: files.key })
}
