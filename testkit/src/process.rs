//! Programs that run as long as their test.

use std::io::{self, BufRead as _, BufReader};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{LOOK_INTERVAL, PATIENCE, Scratch, scratch};

/// Time for a program to end after SIGTERM, before SIGKILL.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A running program. Dropping it ends the program.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts a program.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// The process, for example to read its output.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// The first line of its standard output, which is JSON. The command must have asked for a pipe.
    ///
    /// # Errors
    /// When the program ends without such a line.
    pub fn first_line(&mut self) -> io::Result<Value> {
        let stdout = self.0.stdout.take().ok_or(io::ErrorKind::NotConnected)?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The JSON of the file that the program writes once it is ready.
    ///
    /// # Errors
    /// When the program ends first, or takes longer than [`PATIENCE`].
    pub fn ready_file(&mut self, path: &Path) -> io::Result<Value> {
        let start = Instant::now();
        loop {
            // A file in a directory gives no event without more machinery than this is worth.
            if let Some(ready) =
                std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
            {
                return Ok(ready);
            }
            if let Some(status) = self.0.try_wait()? {
                return Err(io::Error::other(format!("it ended before it was ready ({status})")));
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it was not ready in time"));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Errors
    /// When there is no such process or signal.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .stderr(Stdio::null())
            .status()?;
        if sent.success() { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The front command ends its children on SIGTERM. After SIGKILL they would run on for a moment.
        let asked = self.signal("TERM");
        let deadline = Instant::now() + END_TIMEOUT;
        while asked.is_ok() && Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(LOOK_INTERVAL);
        }
        self.kill();
    }
}

/// A running program with a directory of its own, which is removed after the program has ended.
#[derive(Debug)]
pub struct Program {
    // Dropped in this order.
    running: Running,
    dir: Scratch,
}

impl Program {
    /// Starts what `command` makes of a new directory.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(command: impl FnOnce(&Path) -> Command) -> io::Result<Self> {
        Self::start_in(scratch(), command)
    }

    /// The same with a directory that exists, for example with files of an earlier run.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_in(dir: Scratch, command: impl FnOnce(&Path) -> Command) -> io::Result<Self> {
        let running = Running::start(&mut command(&dir))?;
        Ok(Self { running, dir })
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Deref for Program {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Program {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(dir).stdout(Stdio::piped());
        command
    }

    #[test]
    fn it_ends_with_the_test_and_takes_its_directory_along() {
        let program = Program::start(|dir| shell("echo '{\"a\":1}'; exec sleep 60", dir));
        let mut program = program.expect("sh starts");
        assert_eq!(program.first_line().expect("it prints a line")["a"], 1);
        let (pid, dir) = (program.pid(), program.dir().to_owned());
        assert!(dir.exists());
        drop(program);
        assert!(!dir.exists() && !Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn its_ready_file_is_awaited_unless_it_ends() {
        let script = "echo '{\"pid\":'$$'}' > partial; mv partial ready; exec sleep 60";
        let mut program = Program::start(|dir| shell(script, dir)).expect("sh starts");
        let ready = program.dir().join("ready");
        assert_eq!(program.ready_file(&ready).expect("it is written")["pid"], program.pid());

        let mut ended = Program::start(|dir| shell("exit 3", dir)).expect("sh starts");
        let error = ended.ready_file(&ready.with_extension("none")).expect_err("it ended");
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }
}
