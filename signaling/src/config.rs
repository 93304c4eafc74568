//! What the operator says, and what it means.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use crate::http::Origin;
use crate::openvidu::ids;
use crate::session::ForcedVideoCodec;
use crate::tls::write_new;

/// Shortest secret that is accepted, in bytes.
pub const SECRET_LEN_MIN: usize = 8;

/// Name of the secret's file in the data directory.
pub const SECRET_FILE: &str = "secret";

/// Signaling of Millrace: OpenVidu-compatible REST and WebSocket RPC.
#[derive(Clone, Debug, Parser)]
#[command(name = "millrace-signaling", version)]
pub struct Config {
    /// Port of HTTPS, on every address; 0 is any free one.
    #[arg(long, env = "MILLRACE_HTTPS_PORT", default_value_t = 4443)]
    pub https_port: u16,

    /// Port of plain HTTP, on loopback only; 0 is any free one.
    #[arg(long, env = "MILLRACE_HTTP_PORT", default_value_t = 4480)]
    pub http_port: u16,

    /// Directory of the certificate, the secret and the session store. Made when it is not there.
    #[arg(long, env = "MILLRACE_DATA_DIR", default_value = "millrace-data")]
    pub data_dir: PathBuf,

    /// Password of the REST API. Without it the file `secret` in the data directory counts, and is made if need be.
    #[arg(long, env = "MILLRACE_SECRET", hide_env_values = true)]
    pub secret: Option<String>,

    /// The relay's control socket.
    #[arg(long, env = "MILLRACE_CONTROL_SOCKET", default_value = "millrace-data/control.sock")]
    pub control_socket: PathBuf,

    /// Address clients know this machine by; repeatable. The first one counts for URLs when a request names no host,
    /// or names loopback.
    #[arg(long, env = "MILLRACE_PUBLIC_IP", value_delimiter = ',')]
    pub public_ip: Vec<IpAddr>,

    /// Where clients reach this server, as https://host:port, for tokens and the public URL. Without it, what the
    /// caller itself used counts.
    #[arg(long, env = "MILLRACE_PUBLIC_URL", value_parser = Origin::parse)]
    pub public_url: Option<Origin>,

    /// File to write, once everything is ready, with the ports in use and the process id as JSON.
    #[arg(long, env = "MILLRACE_READY_FILE")]
    pub ready_file: Option<PathBuf>,

    /// Lets `POST /millrace/debug/panic/{shard}` through to the relay. For tests.
    #[arg(long, env = "MILLRACE_ALLOW_FAULT_INJECTION")]
    pub allow_fault_injection: bool,

    /// Most video a client may send, in kbit/s; 0 is unlimited.
    #[arg(long, env = "OPENVIDU_STREAMS_VIDEO_MAX_RECV_BANDWIDTH", default_value_t = 1_000)]
    pub video_max_recv_kbps: u32,

    /// Least video a client should send, in kbit/s.
    #[arg(long, env = "OPENVIDU_STREAMS_VIDEO_MIN_RECV_BANDWIDTH", default_value_t = 300)]
    pub video_min_recv_kbps: u32,

    /// Most video a client is sent of one stream, in kbit/s; 0 is unlimited.
    #[arg(long, env = "OPENVIDU_STREAMS_VIDEO_MAX_SEND_BANDWIDTH", default_value_t = 1_000)]
    pub video_max_send_kbps: u32,

    /// Least video a client should be sent of one stream, in kbit/s.
    #[arg(long, env = "OPENVIDU_STREAMS_VIDEO_MIN_SEND_BANDWIDTH", default_value_t = 300)]
    pub video_min_send_kbps: u32,

    /// Video codec of sessions that force none: MEDIA_SERVER_PREFERRED (VP8), NONE, VP8, VP9 or H264.
    #[arg(long, env = "OPENVIDU_STREAMS_FORCED_VIDEO_CODEC", value_parser = parse_codec,
          default_value = "MEDIA_SERVER_PREFERRED")]
    pub forced_video_codec: ForcedVideoCodec,

    /// Viewers' connections of one session on the shard of its publishers; more go where there is least to do. 0 keeps
    /// every session on one shard.
    #[arg(long, env = "MILLRACE_VIEWERS_PER_SHARD", default_value_t = 150)]
    pub viewers_per_shard: usize,

    /// Seconds between two searches for sessions nobody ever joined; 0 is never.
    #[arg(long, env = "OPENVIDU_SESSIONS_GARBAGE_INTERVAL", default_value_t = 900)]
    pub garbage_interval_s: u64,

    /// Age in seconds from which such a session is removed.
    #[arg(long, env = "OPENVIDU_SESSIONS_GARBAGE_THRESHOLD", default_value_t = 3_600)]
    pub garbage_threshold_s: u64,

    /// Periods that only tests change.
    #[arg(skip)]
    pub timing: Timing,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a participant is kept after its socket was lost.
    pub reconnect_grace: Duration,
    /// The same for everybody after a restart of this process.
    pub restart_grace: Duration,
    /// How long an RPC that needs the relay waits for it. Clients give up after 10 s.
    pub relay_wait: Duration,
    /// How long a client that has left may keep its socket.
    pub farewell: Duration,
    /// How long a socket may stay without joining.
    pub join_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            reconnect_grace: Duration::from_secs(10),
            restart_grace: Duration::from_secs(30),
            relay_wait: Duration::from_secs(8),
            farewell: Duration::from_secs(10),
            join_wait: Duration::from_secs(60),
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The secret is no protection.
    #[error("the secret has {0} bytes; give --secret or the file 'secret' at least {SECRET_LEN_MIN}")]
    ShortSecret(usize),
    /// A file or directory of the data directory cannot be used.
    #[error("--data-dir: {path}: {error}")]
    DataDir {
        /// Which one.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
}

impl Config {
    /// Makes the data directory, readable by its owner only.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn make_data_dir(&self) -> Result<(), ConfigError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&self.data_dir).map_err(data_dir_error(&self.data_dir))
    }

    /// The secret: given, on file, or drawn now and written there.
    ///
    /// # Errors
    /// When it is too short, or its file cannot be used.
    pub fn resolve_secret(&self) -> Result<String, ConfigError> {
        let secret = match &self.secret {
            Some(secret) => secret.clone(),
            None => self.secret_on_file()?,
        };
        if secret.len() < SECRET_LEN_MIN {
            return Err(ConfigError::ShortSecret(secret.len()));
        }
        Ok(secret)
    }

    fn secret_on_file(&self) -> Result<String, ConfigError> {
        let path = self.data_dir.join(SECRET_FILE);
        match std::fs::read_to_string(&path) {
            Ok(secret) => Ok(secret.trim().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let secret = ids::secret();
                write_new(&path, secret.as_bytes(), 0o600).map_err(data_dir_error(&path))?;
                Ok(secret)
            }
            Err(error) => Err(data_dir_error(&path)(error)),
        }
    }
}

fn data_dir_error(path: &Path) -> impl FnOnce(std::io::Error) -> ConfigError {
    let path = path.display().to_string();
    move |error| ConfigError::DataDir { path, error }
}

fn parse_codec(name: &str) -> Result<ForcedVideoCodec, String> {
    ForcedVideoCodec::parse(name)
        .ok_or_else(|| "not one of MEDIA_SERVER_PREFERRED, NONE, VP8, VP9, H264".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, more: &[&str]) -> Config {
        let dir = std::env::temp_dir().join(format!("millrace-config-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let dir = dir.display().to_string();
        let arguments = ["millrace-signaling", "--data-dir", &dir].into_iter().chain(more.iter().copied());
        let config = Config::try_parse_from(arguments).unwrap();
        config.make_data_dir().unwrap();
        config
    }

    #[test]
    fn a_secret_is_drawn_once_and_kept() {
        let config = config("drawn", &[]);
        let secret = config.resolve_secret().unwrap();
        assert_eq!(secret.len(), 32);
        assert_eq!(config.resolve_secret().unwrap(), secret);
    }

    #[test]
    fn a_short_secret_is_refused_wherever_it_comes_from() {
        assert!(matches!(
            config("short", &["--secret", "1234567"]).resolve_secret(),
            Err(ConfigError::ShortSecret(7))
        ));
        let config = config("short-file", &[]);
        std::fs::write(config.data_dir.join(SECRET_FILE), "\n").unwrap();
        assert!(matches!(config.resolve_secret(), Err(ConfigError::ShortSecret(0))));
    }

    #[test]
    fn options_are_checked() {
        let parse = |option: &str, value: &str| Config::try_parse_from(["x", option, value]);
        assert!(parse("--forced-video-codec", "VP9").is_ok());
        assert!(parse("--forced-video-codec", "vp9").is_err());
        assert_eq!(parse("--public-ip", "10.0.0.1,::1").unwrap().public_ip.len(), 2);
    }
}
