//! Webhook and call detail records.

use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use clap::{ArgAction, Args};
use millrace_http_client::Trust;

use super::{ConfigError, Timing};
use crate::cdr::{Bounds, Endpoint, FileSettings, Kind, WebhookSettings};

/// Shortest secret of the webhook that is accepted, in bytes.
const WEBHOOK_SECRET_LEN_MIN: usize = 16;

/// Name of the records' directory in the data directory.
const CDR_DIR: &str = "cdr";

#[derive(Clone, Debug, Args)]
#[allow(missing_docs, reason = "see the group of garbage")]
pub struct Events {
    /// Sends events of sessions to an application's server by HTTP POST.
    #[arg(long)]
    pub webhook: bool,

    /// URL that receives the events: https://host:port/path, or http.
    #[arg(long, default_value = "")]
    pub webhook_endpoint: String,

    /// Header `Name: value` to send with every event. Repeatable; or all headers as one list in brackets.
    #[arg(long = "webhook-header")]
    pub webhook_headers: Vec<String>,

    /// Name of an event to send. Repeatable; or all names as one list in brackets. Without it, every event is sent.
    #[arg(long = "webhook-event")]
    pub webhook_events: Vec<String>,

    /// Verifies the certificate of that server; `false` accepts any certificate, as in OpenVidu.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_value_t = true,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub webhook_verify_tls: bool,

    /// PEM file with the certificate of that server, or of the authority that signed it. No other one is accepted then.
    #[arg(long, value_name = "FILE")]
    pub webhook_ca_file: Option<PathBuf>,

    /// Secret that signs every event in the header X-Millrace-Signature, at least 16 bytes. docs/webhooks.md shows how
    /// to check the signature.
    #[arg(long, value_name = "S")]
    pub webhook_secret: Option<String>,

    /// Maximum number of events that wait to be sent; when it is reached, new ones are dropped. One session may use a
    /// tenth of it.
    #[arg(long, default_value_t = 10_000)]
    pub webhook_waiting_max: usize,

    /// Maximum size in bytes of all events that wait to be sent.
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    pub webhook_waiting_len_bytes_max: usize,

    /// Writes call detail records: one line for each event.
    #[arg(long)]
    pub cdr: bool,

    /// Directory of the call detail records. Without it, `cdr` in the data directory.
    #[arg(long, default_value = "")]
    pub cdr_path: String,

    /// Maximum size in bytes of a file of records. When it is reached, a new file begins.
    #[arg(long, default_value_t = 100 * 1024 * 1024)]
    pub cdr_file_len_bytes_max: u64,

    /// Number of older files of records to keep besides the current one.
    #[arg(long, default_value_t = 10)]
    pub cdr_old_files_max: usize,
}

impl Events {
    /// The webhook's settings, if it is on.
    ///
    /// # Errors
    /// When a value is wrong; the message names the option.
    pub fn webhook(&self, timing: &Timing) -> Result<Option<WebhookSettings>, ConfigError> {
        if !self.webhook {
            return Ok(None);
        }
        let endpoint = Endpoint::parse(self.webhook_endpoint.trim())
            .map_err(|why| ConfigError::Events { option: "--webhook-endpoint", why })?;
        let mut headers = HeaderMap::new();
        for text in self.header_texts() {
            let (name, value) = header(&text)?;
            headers.append(name, value);
        }
        Ok(Some(WebhookSettings {
            endpoint,
            headers,
            kinds: self.kinds()?,
            trust: self.trust()?,
            secret: self.secret()?,
            bounds: Bounds {
                session_max: (self.webhook_waiting_max / 10).max(1),
                all_max: self.webhook_waiting_max,
                len_bytes_max: self.webhook_waiting_len_bytes_max,
            },
            timeout: timing.webhook_timeout,
            pause: timing.webhook_pause,
        }))
    }

    /// Which certificates of the webhook's server are accepted.
    fn trust(&self) -> Result<Trust, ConfigError> {
        match (&self.webhook_ca_file, self.webhook_verify_tls) {
            (None, true) => Ok(Trust::System),
            (None, false) => Ok(Trust::Any),
            (Some(file), true) => Ok(Trust::File(file.clone())),
            (Some(_), false) => {
                let why = "has no effect where --webhook-verify-tls is false; remove one of them";
                Err(ConfigError::Events { option: "--webhook-ca-file", why: why.into() })
            }
        }
    }

    fn secret(&self) -> Result<Option<String>, ConfigError> {
        match &self.webhook_secret {
            Some(secret) if secret.len() < WEBHOOK_SECRET_LEN_MIN => {
                let why = format!("has {} bytes; give at least {WEBHOOK_SECRET_LEN_MIN}", secret.len());
                Err(ConfigError::Events { option: "--webhook-secret", why })
            }
            secret => Ok(secret.clone()),
        }
    }

    /// The settings of call detail records, if they are on.
    pub fn cdr(&self, data_dir: &Path) -> Option<FileSettings> {
        let dir = match self.cdr_path.trim() {
            "" => data_dir.join(CDR_DIR),
            path => PathBuf::from(path),
        };
        self.cdr.then_some(FileSettings {
            dir,
            len_bytes_max: self.cdr_file_len_bytes_max,
            old_max: self.cdr_old_files_max,
        })
    }

    /// The headers as they were given, each `Name: value`.
    pub fn header_texts(&self) -> Vec<String> {
        whole(&self.webhook_headers).iter().flat_map(|text| listed(text, false)).collect()
    }

    /// The events to send.
    ///
    /// # Errors
    /// When one is unknown.
    pub fn kinds(&self) -> Result<Vec<Kind>, ConfigError> {
        let names: Vec<String> =
            whole(&self.webhook_events).iter().flat_map(|text| listed(text, true)).collect();
        if names.is_empty() {
            return Ok(Kind::all().to_vec());
        }
        let parse = |name: &String| {
            let known = || Kind::all().iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
            Kind::parse(name).ok_or_else(|| ConfigError::Events {
                option: "--webhook-event",
                why: format!("there is no event {name}; those that happen are {}", known()),
            })
        };
        names.iter().map(parse).collect()
    }
}

/// A list in brackets may arrive in pieces, cut at its commas.
fn whole(texts: &[String]) -> Vec<String> {
    let is_cut = match texts {
        [first, .., last] => first.trim_start().starts_with('[') && last.trim_end().ends_with(']'),
        _ => false,
    };
    if is_cut { vec![texts.join(",")] } else { texts.to_vec() }
}

/// One text, or the texts of a list in brackets: in JSON, or without quotes, which OpenVidu accepts too.
fn listed(text: &str, commas: bool) -> Vec<String> {
    let text = text.trim();
    if let Ok(texts) = serde_json::from_str::<Vec<String>>(text) {
        return texts;
    }
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let parts: Vec<&str> = match inner {
        Some(inner) => inner.split(',').collect(),
        None if commas => text.split(',').collect(),
        // The value of a header may contain commas.
        None => vec![text],
    };
    let bare = |part: &str| part.trim().trim_matches('"').to_owned();
    parts.into_iter().map(bare).filter(|part| !part.is_empty()).collect()
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), ConfigError> {
    // The value may be a secret, so the message has only the name.
    let name = text.split(':').next().unwrap_or_default();
    let wrong = || ConfigError::Events {
        option: "--webhook-header",
        why: format!("the header that begins with \"{name}\" is not of the form \"Name: value\""),
    };
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Config;
    use super::*;

    fn events(arguments: &[&str]) -> Result<Option<WebhookSettings>, ConfigError> {
        let all = ["millrace-signaling"].into_iter().chain(arguments.iter().copied());
        Config::try_parse_from(all).unwrap().events.webhook(&Timing::default())
    }

    const ON: [&str; 3] = ["--webhook", "--webhook-endpoint", "https://app.example/hook"];

    fn with(more: &[&str]) -> Result<WebhookSettings, ConfigError> {
        events(&[&ON[..], more].concat()).map(|settings| settings.expect("it is on"))
    }

    #[test]
    fn nothing_is_told_unless_it_is_wanted() {
        assert!(events(&[]).unwrap().is_none());
        assert!(events(&ON[1..]).unwrap().is_none());
        assert!(events(&ON[..1]).is_err(), "told to nobody");
        let all = with(&[]).unwrap();
        assert_eq!(all.kinds, Kind::all());
        assert!(all.headers.is_empty());
    }

    #[test]
    fn certificates_are_checked_unless_the_operator_says_otherwise() {
        let trust = |more: &[&str]| with(more).map(|settings| settings.trust);
        assert_eq!(trust(&[]).unwrap(), Trust::System);
        assert_eq!(trust(&["--webhook-verify-tls"]).unwrap(), Trust::System);
        assert_eq!(trust(&["--webhook-verify-tls=false"]).unwrap(), Trust::Any);
        let file = ["--webhook-ca-file", "/etc/ca.pem"];
        assert_eq!(trust(&file).unwrap(), Trust::File("/etc/ca.pem".into()));
        let both = [&file[..], &["--webhook-verify-tls", "false"]].concat();
        assert!(trust(&both).unwrap_err().to_string().contains("--webhook-ca-file"));
    }

    #[test]
    fn a_secret_is_long_enough_and_is_not_shown() {
        assert_eq!(with(&[]).unwrap().secret, None);
        let secret = with(&["--webhook-secret", "0123456789abcdef"]).unwrap().secret;
        assert_eq!(secret.as_deref(), Some("0123456789abcdef"));
        for short in ["", "0123456789abcde"] {
            let error = with(&["--webhook-secret", short]).unwrap_err().to_string();
            assert!(error.contains("--webhook-secret") && !error.contains("0123"), "{error}");
        }
    }

    #[test]
    fn lists_are_read_as_the_original_writes_them() {
        let kinds = [Kind::SessionCreated, Kind::SignalSent];
        for list in [
            "[sessionCreated,signalSent]",
            "[sessionCreated, signalSent]",
            r#"["sessionCreated", "signalSent"]"#,
            "sessionCreated,signalSent",
        ] {
            assert_eq!(with(&["--webhook-event", list]).unwrap().kinds, kinds, "{list}");
        }
        let one_each = ["--webhook-event", "sessionCreated", "--webhook-event", "signalSent"];
        assert_eq!(with(&one_each).unwrap().kinds, kinds);
        for none in ["", "[]"] {
            assert_eq!(with(&["--webhook-event", none]).unwrap().kinds, Kind::all());
        }
        // A list from another deployment starts.
        let never = with(&["--webhook-event", "[recordingStatusChanged,nodeCrashed]"]).unwrap();
        assert_eq!(never.kinds.len(), 2);
        let error = with(&["--webhook-event", "[sessionCreate]"]).unwrap_err().to_string();
        assert!(error.contains("--webhook-event") && error.contains("sessionCreated"), "{error}");
    }

    #[test]
    fn headers_keep_their_commas_and_a_wrong_one_keeps_its_secret() {
        let list = r#"["Authorization: Basic T1BFTg==", "X-List: a, b"]"#;
        let headers = with(&["--webhook-header", list]).unwrap().headers;
        assert_eq!(headers["authorization"], "Basic T1BFTg==");
        assert_eq!(headers["x-list"], "a, b");
        let cut =
            with(&["--webhook-header", r#"["X-One: 1""#, "--webhook-header", r#""X-Two: 2"]"#]).unwrap();
        assert_eq!((cut.headers.len(), &cut.headers["x-two"]), (2, &"2".parse().unwrap()));
        let bare = with(&["--webhook-header", "[X-One: 1,X-Two: 2]"]).unwrap().headers;
        assert_eq!((&bare["x-one"], &bare["x-two"]), (&"1".parse().unwrap(), &"2".parse().unwrap()));
        assert_eq!(with(&["--webhook-header", "X-List: a, b"]).unwrap().headers["x-list"], "a, b");
        for bad in ["X Name: secret", "Name: sec\u{7f}ret", ": secret"] {
            let error = with(&["--webhook-header", bad]).unwrap_err().to_string();
            assert!(error.contains("--webhook-header") && !error.contains("secret"), "{error}");
        }
    }
}
