//! Janus as Debian ships it: started for one run with a copy of its own configuration.

pub mod api;
pub mod room;
pub mod sdp;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::failure::Failure;
use crate::load::relay::all_cores;
use crate::program::Program;

use super::lab::Lab;

/// Where Debian's package puts its configuration.
pub const CONFIGURATION: &str = "/etc/janus";
/// How long one try to reach its API takes.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(50);

/// A running Janus.
#[derive(Debug)]
pub struct Janus {
    program: Program,
    /// Where its API answers, over WebSocket.
    pub address: SocketAddr,
}

/// How a Janus is to differ from what is shipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Threads that all peers share; without it each peer has one of its own.
    pub event_loops: Option<u16>,
    /// Port of its API, so that several can run at a time.
    pub api_port: u16,
}

impl Janus {
    /// Starts it in the lab, on the first core, and waits until its API can be reached.
    ///
    /// # Errors
    /// When it is not installed or does not start; with the end of its log.
    pub fn start(program: &Path, lab: &Lab, variant: Variant) -> Result<Self, Failure> {
        let failed = |why: String| Failure::Late(format!("{}: {why}", program.display()));
        let folder = millrace_testkit::scratch();
        configure(&folder, variant).map_err(|error| {
            failed(format!("its configuration cannot be copied from {CONFIGURATION}: {error}; is it installed (apt-get install janus)?"))
        })?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = lab.command(program);
        command.arg("--configs-folder").arg(&*folder).arg("--disable-colors");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let address = SocketAddr::new(lab.there.into(), variant.api_port);
        let answers = || TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok();
        // Where the relay has its shard; what is left is ours.
        let program = Program::start(command, folder, &all_cores()[..1], answers).map_err(failed)?;
        Ok(Self { program, address })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }
}

/// Copies the shipped configuration and changes in it what the variant asks for. Only the way in is ours besides: one
/// transport for its API, on a port of its own. The way of the media is left as it is.
fn configure(folder: &Path, variant: Variant) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(CONFIGURATION)? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        let name = entry.file_name();
        let text = match name.to_str() {
            Some("janus.jcfg") => general(&text, variant),
            Some("janus.transport.websockets.jcfg") => set(&text, "ws_port", &variant.api_port.to_string()),
            _ => text,
        };
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}

fn general(shipped: &str, variant: Variant) -> String {
    let others =
        "\"libjanus_http.so,libjanus_mqtt.so,libjanus_nanomsg.so,libjanus_pfunix.so,libjanus_rabbitmq.so\"";
    let text = shipped.replacen("transports: {", &format!("transports: {{\n\tdisable = {others}"), 1);
    match variant.event_loops {
        Some(loops) => set(&text, "event_loops", &loops.to_string()),
        None => text,
    }
}

/// Sets the first setting of this name, which may be commented out.
fn set(text: &str, name: &str, value: &str) -> String {
    let mut done = false;
    let lines = text.lines().map(|line| {
        let setting = line.trim_start().trim_start_matches('#').split_once('=');
        if done || setting.is_none_or(|(found, _)| found.trim() != name) {
            return line.to_owned();
        }
        done = true;
        format!("\t{name} = {value}")
    });
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_made_once_whether_it_was_commented_out_or_not() {
        let text = "general: {\n\t#event_loops = 8\t\t# By default\n\t\t# event_loops = 3 is more\n}\n";
        assert_eq!(set(text, "event_loops", "1").lines().nth(1), Some("\tevent_loops = 1"));
        assert_eq!(set(text, "event_loops", "1").matches("event_loops").count(), 2);
        assert_eq!(set("\tws_port = 8188\t# port\n", "ws_port", "9"), "\tws_port = 9\n");
    }

    #[test]
    fn only_the_way_in_differs_from_what_is_shipped() {
        let shipped = "general: {\n\t#event_loops = 8\n}\ntransports: {\n\t#disable = \"x\"\n}\n";
        let variant = Variant { event_loops: None, api_port: 1 };
        let text = general(shipped, variant);
        assert!(text.contains("\t#event_loops = 8\n") && text.contains("libjanus_http.so"));
        let text = general(shipped, Variant { event_loops: Some(1), ..variant });
        assert!(text.contains("\tevent_loops = 1\n"));
    }
}
