//! A process with the children that it starts.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long it may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process and its children; asked to end when dropped, and killed if they do not.
pub(super) struct Group(Child);

impl Group {
    pub(super) fn spawn(command: &mut Command) -> Result<Self> {
        Ok(Self(command.process_group(0).spawn()?))
    }

    /// Whether the process that was started has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }

    fn signal(&self, signal: &str) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill")
            .args([signal, "--", &group])
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal("-TERM");
        let asked = Instant::now();
        while !self.has_ended() && asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.signal("-KILL");
        let _ = self.0.wait();
    }
}
