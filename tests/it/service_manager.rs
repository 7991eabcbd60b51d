//! A service manager as systemd is one to Merlink: it hears messages, keeps sockets, and passes the
//! public port's to the next process.

use std::{
    collections::BTreeMap,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use crate::harness::{Home, Server, eventually};

/// Makes standard input the first passed socket if it is one, as systemd numbers them.
const PASS: &str = r#"if [ -S /dev/stdin ]; then exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=public; fi; exec "$@""#;
const END: &str = "END";

pub struct ServiceManager {
    _directory: TempDir,
    socket: PathBuf,
    heard: Arc<Mutex<Heard>>,
    listener: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Heard {
    messages: Vec<String>,
    /// Sockets that are kept, by name.
    sockets: BTreeMap<String, OwnedFd>,
}

impl ServiceManager {
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let socket = directory.path().join("notify");
        let datagrams = UnixDatagram::bind(&socket).expect("a socket can be bound");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        let listener = thread::spawn(move || listen(&datagrams, &shared));
        Self { _directory: directory, socket, heard, listener: Some(listener) }
    }

    /// Lets merlink run under this manager.
    pub fn manage(&self, home: Home) -> Home {
        let words = ["bash", "-c", PASS, "bash"].map(str::to_owned);
        home.environment("NOTIFY_SOCKET", self.socket.to_str().expect("UTF-8")).within(words.to_vec())
    }

    /// The messages so far.
    pub fn messages(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).messages.clone()
    }

    pub fn heard(&self, message: &str) -> usize {
        self.messages().iter().filter(|heard| *heard == message).count()
    }

    /// A socket that it keeps.
    pub fn kept(&self, name: &str) -> Option<OwnedFd> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.sockets.get(name).map(|socket| socket.try_clone().expect("it can be shared"))
    }

    /// Passes what it keeps under this name to the server's next process.
    pub fn pass(&self, name: &str, server: &Server) {
        server.home().give(Some(eventually("it is kept", || self.kept(name))));
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        let end = UnixDatagram::unbound().and_then(|socket| socket.send_to(END.as_bytes(), &self.socket));
        if let (Ok(_), Some(listener)) = (end, self.listener.take()) {
            listener.join().ok();
        }
    }
}

fn listen(datagrams: &UnixDatagram, heard: &Mutex<Heard>) {
    loop {
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut passed = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(datagrams, &mut [IoSliceMut::new(&mut bytes)], &mut passed, RecvFlags::CMSG_CLOEXEC);
        let length = received.expect("a datagram can be received").bytes;
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if text == END {
            return;
        }
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or_default().to_owned();
        if text.lines().any(|line| line == "FDSTOREREMOVE=1") {
            heard.sockets.remove(&name);
        }
        for message in passed.drain() {
            if let RecvAncillaryMessage::ScmRights(sockets) = message {
                heard.sockets.extend(sockets.map(|socket| (name.clone(), socket)));
            }
        }
        heard.messages.extend(text.lines().map(str::to_owned));
    }
}
