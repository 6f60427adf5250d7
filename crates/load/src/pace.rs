//! Waking up on time. tokio's timers tick in milliseconds: too coarse for thousands of requests per
//! second.

use std::time::Duration;

/// A timer with the resolution of the system's clock.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Timer(tokio::io::unix::AsyncFd<rustix::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Timer {
    pub(crate) fn new() -> std::io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(
            // The clock of `Instant`: setting the system's time moves no request.
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        // SAFETY: the timer is moved in, and an `OwnedFd` stays the same open file until it is
        // dropped.
        let timer = unsafe {
            tokio::io::unix::AsyncFd::register_with_interest(timer, tokio::io::Interest::READABLE)
        };
        Ok(Self(timer?))
    }

    /// Sleeps; cancelling is safe.
    pub(crate) async fn sleep(&mut self, duration: Duration) -> std::io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        // A zero would switch the timer off, and it would never fire.
        if duration.is_zero() {
            return Ok(());
        }
        let value = Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: duration.subsec_nanos().into(),
        };
        let once = Itimerspec {
            // No repetition: each sleep sets the timer again.
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let expired =
                ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0u8; 8])?));
            if let Ok(expired) = expired {
                return expired.map(|_| ());
            }
        }
    }
}

/// tokio's own timer, for systems without a better one.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
pub(crate) struct Timer;

#[cfg(not(target_os = "linux"))]
impl Timer {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn sleep(&mut self, duration: Duration) -> std::io::Result<()> {
        tokio::time::sleep(duration).await;
        Ok(())
    }
}
