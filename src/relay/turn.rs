//! Wiring of the TURN server: its ports, its secret, and what each shard's part of it is made from.

use std::net::IpAddr;
use std::sync::Arc;

use super::{StartError, secret};
use crate::config::Config;
use crate::config::turn::Facts;
use crate::control::worker::TurnSeat;
use crate::crypto::mac::HmacSha256Key;
use crate::egress::Via;
use crate::io::socket::Sockets;
use crate::turn::{HTTPS_PORT, MediaPorts};

/// Lets a shard take TURN on `port`; gives the port, which the kernel chooses if that is 0.
pub(super) fn listen(
    sockets: &mut Sockets,
    config: &Config,
    port: u16,
    first: bool,
) -> Result<u16, StartError> {
    let bound = sockets.listen(Via::TURN, port, first).map_err(|error| StartError::Turn { port, error })?;
    if config.turn.udp_443 {
        let port = HTTPS_PORT;
        sockets.listen(Via::TURN_HTTPS, port, first).map_err(|error| StartError::Turn { port, error })?;
    }
    Ok(bound)
}

/// What each shard's server is made from; none where TURN is off.
pub(super) fn seats(
    config: &Config,
    addresses: &[IpAddr],
    media_ports: &[u16],
    port: Option<u16>,
    edge_key: &Arc<HmacSha256Key>,
) -> Result<Vec<Option<TurnSeat>>, StartError> {
    let Some(port) = port else { return Ok(vec![None; media_ports.len()]) };
    let data = |error| StartError::Data {
        path: config.server.data_dir.join(secret::TURN).display().to_string(),
        error,
    };
    let secret = secret::load_or_make(&config.server.data_dir, secret::TURN, config.turn.secret.as_deref())
        .map_err(data)?;
    let udp_443 = config.turn.udp_443;
    let facts = Facts { addresses, media_ports, port, udp_443, secret: &secret.text };
    let configs = config.turn_server.configs(&facts);
    configs.iter().try_for_each(millrace_turn::server::Config::check)?;
    let seat = |(shard, config)| {
        let media = MediaPorts { shard, ports: media_ports.to_vec() };
        Some(TurnSeat { config, port, media, edge_key: Some(Arc::clone(edge_key)) })
    };
    Ok((0u8..).zip(configs).map(seat).collect())
}
