//! The service manager that started this process, systemd as a rule: it keeps the listening sockets
//! from one process to the next, and is told how this one is.
//!
//! **Sockets.** A socket that this process binds is handed to the manager at once (`FDSTORE=1`). At
//! a restart, or after a crash, the next process gets it back (`LISTEN_FDS`). Meanwhile the kernel
//! queues connections, so no client is refused. A socket unit works too. A passed socket is
//! recognized by its address, so the settings alone say where Merlink listens.
//!
//! Not `SO_REUSEPORT`: when a process closes its socket, the kernel resets the connections in its
//! queue instead of moving them to another process's. And the data directory belongs to one process
//! at a time.
//!
//! **Messages.** `READY=1` when all workers answer, `STOPPING=1` at the signal, `WATCHDOG=1` each
//! time all workers have answered again. Without a manager (`NOTIFY_SOCKET`, `WATCHDOG_USEC`)
//! nothing is sent.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::time::sleep;

use crate::connections;

/// For a manager that is told to let go of a socket whose address the settings no longer name.
const RELEASE_MAX: Duration = Duration::from_secs(2);
const RELEASE_POLL: Duration = Duration::from_millis(20);

/// Listening sockets that the manager passed to this process.
pub struct Passed(Vec<TcpListener>);

impl Passed {
    /// Takes the sockets, and the variables that announce them, so that no child gets either. To be
    /// called before there are other threads.
    pub fn take() -> Self {
        let mut passed = ListenFd::from_env();
        let sockets = (0..passed.len()).filter_map(|index| passed.take_tcp_listener(index).ok().flatten());
        Self(sockets.collect())
    }

    /// Takes the socket that listens on `address`, if there is one. Port 0 stands for any.
    fn take_at(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_there = |socket: &TcpListener| {
            let bound = socket.local_addr().ok();
            bound.is_some_and(|bound| bound.ip() == address.ip() && [bound.port(), 0].contains(&address.port()))
        };
        let index = self.0.iter().position(is_there)?;
        Some(self.0.swap_remove(index))
    }
}

/// The two ports' sockets.
pub struct Sockets {
    pub public: TcpListener,
    pub operator: TcpListener,
    /// True if the manager has the public port's socket too, so its queue outlives this process.
    pub are_kept: bool,
}

impl Sockets {
    /// Takes each address's socket from those that were passed, or binds it and hands it to the
    /// manager.
    ///
    /// # Errors
    ///
    /// With the setting's name, when its address is taken or isn't this machine's.
    pub async fn open(
        mut passed: Passed,
        public: SocketAddr,
        operator: SocketAddr,
    ) -> Result<Self, (&'static str, SocketAddr, io::Error)> {
        let taken = [public, operator].map(|address| passed.take_at(address));
        // The remaining sockets may occupy an address that is needed below.
        let had_others = !passed.0.is_empty();
        drop(passed);
        let [taken_public, taken_operator] = taken;
        let public = open("public", public, taken_public, had_others).await;
        let (public, are_kept) = public.map_err(|(address, error)| ("public.listen", address, error))?;
        let operator = open("operator", operator, taken_operator, had_others).await;
        let (operator, _) = operator.map_err(|(address, error)| ("operator.listen", address, error))?;
        Ok(Self { public, operator, are_kept })
    }
}

async fn open(
    name: &str,
    address: SocketAddr,
    taken: Option<TcpListener>,
    had_others: bool,
) -> Result<(TcpListener, bool), (SocketAddr, io::Error)> {
    if let Some(socket) = taken {
        connections::prepare(&socket).map_err(|error| (address, error))?;
        return Ok((socket, true));
    }
    send(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    let give_up = Instant::now() + RELEASE_MAX;
    let socket = loop {
        match connections::listen(address) {
            Ok(socket) => break socket,
            Err(error) if had_others && error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => {
                sleep(RELEASE_POLL).await;
            }
            Err(error) => return Err((address, error)),
        }
    };
    let kept = sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[socket.as_fd()]);
    Ok((socket, log_failure(kept) && is_present()))
}

/// Says that the service serves.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// Says that the service is about to end.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Says that the service is alive.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// The time within which the manager must hear that the service is alive, or else restarts it.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())
}

fn is_present() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

fn send(states: &[NotifyState<'_>]) {
    log_failure(sd_notify::notify(states));
}

fn log_failure(sent: io::Result<()>) -> bool {
    sent.inspect_err(|error| tracing::warn!("the service manager can't be told (NOTIFY_SOCKET): {error}")).is_ok()
}
