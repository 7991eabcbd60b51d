//! A mail server as far as a client needs one: RFC 5321's conversation, with a login and TLS from the first byte when a test wants them.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::harness::{PATIENCE, eventually};

pub struct SmtpServer {
    pub address: SocketAddr,
    /// True while mails that have arrived are accepted.
    accepts: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What the client said after AUTH.
    pub login: Option<String>,
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
}

impl SmtpServer {
    /// Listens until the test ends. `recipients` is how it answers RCPT.
    pub fn start(tls: Option<Arc<rustls::ServerConfig>>, recipients: &'static str) -> Self {
        Self::listen(tls, recipients, true)
    }

    /// The same, but no mail is accepted until [`Self::release`].
    pub fn holding(recipients: &'static str) -> Self {
        Self::listen(None, recipients, false)
    }

    /// Accepts mails from now on, those that wait as well.
    pub fn release(&self) {
        self.accepts.store(true, Ordering::Relaxed);
    }

    fn listen(tls: Option<Arc<rustls::ServerConfig>>, recipients: &'static str, accepts: bool) -> Self {
        let accepts = Arc::new(AtomicBool::new(accepts));
        let is_accepting = Arc::clone(&accepts);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), kept, tls) = (stream, Arc::clone(&kept), tls.clone()) else { return };
                let accepts = Arc::clone(&is_accepting);
                thread::spawn(move || {
                    stream.set_read_timeout(Some(PATIENCE)).ok();
                    // A client that leaves in the middle has had its answer.
                    let _ = match tls {
                        None => converse(stream, recipients, &kept, &accepts),
                        Some(tls) => {
                            let session = rustls::ServerConnection::new(tls).expect("well-formed settings");
                            converse(
                                rustls::StreamOwned::<_, TcpStream>::new(session, stream),
                                recipients,
                                &kept,
                                &accepts,
                            )
                        }
                    };
                });
            }
        });
        Self { address, accepts, taken }
    }

    #[track_caller]
    pub fn awaits_mail(&self) -> Taken {
        eventually("the mail server gets the mail", || self.taken.lock().expect("no panic").pop())
    }
}

fn converse(
    stream: impl Read + Write,
    recipients: &str,
    kept: &Mutex<Vec<Taken>>,
    accepts: &AtomicBool,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut mail = Taken { login: None, from: String::new(), to: Vec::new(), text: String::new() };
    say(&mut stream, "220 mail.example ESMTP")?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let answer = if line.starts_with("EHLO") {
            "250-mail.example\r\n250 AUTH PLAIN"
        } else if let Some(login) = line.strip_prefix("AUTH PLAIN ") {
            mail.login = Some(login.to_owned());
            "235 welcome"
        } else if let Some(from) = line.strip_prefix("MAIL FROM:") {
            from.clone_into(&mut mail.from);
            "250 ok"
        } else if let Some(to) = line.strip_prefix("RCPT TO:") {
            mail.to.push(to.to_owned());
            recipients
        } else if line == "DATA" {
            say(&mut stream, "354 go on")?;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line)?;
                if line == ".\r\n" {
                    break;
                }
                mail.text.push_str(&line);
            }
            kept.lock().expect("no panic").push(mail.clone());
            eventually("the test lets it be accepted", || accepts.load(Ordering::Relaxed).then_some(()));
            "250 taken"
        } else if line == "QUIT" {
            return say(&mut stream, "221 bye");
        } else {
            "250 ok"
        };
        say(&mut stream, answer)?;
    }
}

fn say<S: Read + Write>(stream: &mut BufReader<S>, answer: &str) -> io::Result<()> {
    stream.get_mut().write_all(format!("{answer}\r\n").as_bytes())?;
    stream.get_mut().flush()
}
