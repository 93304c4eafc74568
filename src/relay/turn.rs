//! Wiring of the TURN server: its ports, its secret, and what each shard's part of it is made from.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::StartError;
use crate::config::Config;
use crate::config::turn::Facts;
use crate::control::worker::TurnSeat;
use crate::crypto::mac::HmacSha256Key;
use crate::crypto::random;
use crate::egress::Via;
use crate::io::private_file;
use crate::io::socket::Sockets;
use crate::turn::MediaPorts;

/// Port of HTTPS, which restrictive networks leave open.
const HTTPS_PORT: u16 = 443;
/// File of the secret that was made at the first start.
const SECRET_FILE: &str = "turn.secret";
const SECRET_BYTES: usize = 32;

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
    let secret = secret(config)?;
    let configs = config.turn.configs(&Facts { addresses, media_ports, port, secret: &secret });
    configs.iter().try_for_each(millrace_turn::server::Config::check)?;
    let seat = |(shard, config)| {
        let media = MediaPorts { shard, ports: media_ports.to_vec() };
        Some(TurnSeat { config, port, media, edge_key: Some(Arc::clone(edge_key)) })
    };
    Ok((0u8..).zip(configs).map(seat).collect())
}

/// The secret of this installation: what is set, or what was made once and kept where signaling finds it.
fn secret(config: &Config) -> Result<String, StartError> {
    if let Some(secret) = &config.turn.secret {
        return Ok(secret.clone());
    }
    let path = config.data_dir.join(SECRET_FILE);
    let data = |error| StartError::Data { path: path.display().to_string(), error };
    match fs::read_to_string(&path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes: [u8; SECRET_BYTES] = random::array();
            let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            private_file::write(&path, secret.as_bytes()).map_err(data)?;
            Ok(secret)
        }
        Err(error) => Err(data(error)),
    }
}
