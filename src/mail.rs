//! Mail to officers: through the operator's mail server, or on a developer's machine into a folder.
//!
//! A mail goes into a queue, and whoever asked for it is answered at once: a mail server that is slow or away keeps no browser waiting, and its
//! answer, which depends on the address, doesn't show whose address is good. A task of its own sends some mails at a time and retries
//! transient failures. Only once the mail server has accepted a mail can a browser log in with what is in it: nobody can guess at the
//! password of a mailbox that doesn't exist. What can't be sent is in the log and in `merlink_mails_total`; nothing about an address or a mail is.
//!
//! Known browsers, in which the officer has logged in before, have a queue of their own that is emptied first, so that a flood of
//! strangers' mails doesn't hold them up.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    stream::{self, PollNext},
};
use jiff::Timestamp;
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};
use percent_encoding::percent_decode_str;
use tokio::{sync::mpsc, time::sleep};
use url::Url;

use crate::{
    config::{self, Config},
    domain::Email,
    metrics::{MailOutcome, Metrics},
    store::{PendingLogin, Store},
};

/// Mails that wait, in each queue. A longer queue would only deliver later than anybody waits.
const QUEUE_MAX: usize = 200;
/// Connections to the mail server at once.
const AT_ONCE: usize = 8;
/// For connecting, and for each answer of the mail server. To find its name may take whatever the system takes; others wait in the queue meanwhile.
const SMTP_TIME_MAX: Duration = Duration::from_secs(15);
/// Between tries. Greylisting takes longer than a password lives; a restarting server does not.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// Answers that concern the recipient's mailbox: it is busy, unknown, elsewhere, full, or its name
/// isn't allowed (RFC 5321, section 4.2.3). 554 isn't among them: it also refuses the client.
const REFUSED_MAILBOX: [u16; 5] = [450, 550, 551, 552, 553];
/// Kept in the outbox: the oldest make room.
const OUTBOX_MAILS_MAX: usize = 100;

const LETTERS: [char; 26] = [
    'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w',
    'x', 'y', 'z',
];

/// Where mails go.
pub struct Mailer {
    way: Way,
    from: Mailbox,
    /// Behind the `@` of a message's id.
    host: String,
    metrics: Arc<Metrics>,
}

enum Way {
    Server {
        known: mpsc::Sender<LoginMail>,
        strangers: mpsc::Sender<LoginMail>,
    },
    Outbox(PathBuf),
    /// Only `localhost` is a developer's machine: anywhere else a folder full of passwords would be a hole.
    Nowhere,
}

/// A mail to be sent, and what it lets its browser do.
pub struct LoginMail {
    message: Message,
    login: PendingLogin,
}

/// A place for a mail that is about to be written.
pub struct MailPlace<'m> {
    mailer: &'m Mailer,
    /// `None`: there is no queue.
    permit: Option<mpsc::Permit<'m, LoginMail>>,
}

/// The part that speaks to the mail server, in a task of its own.
pub struct Postman {
    known: mpsc::Receiver<LoginMail>,
    strangers: mpsc::Receiver<LoginMail>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, thiserror::Error)]
pub enum MailSettingsError {
    #[error("smtp.url: {0}")]
    Url(&'static str),
    #[error("smtp.tls_ca_file: {0} can't be read as certificates in PEM: {1}")]
    Authority(PathBuf, String),
    #[error("smtp.url: {0}")]
    Transport(#[from] lettre::transport::smtp::Error),
}

impl Mailer {
    /// Prepares the way that the settings say; connects to nothing.
    ///
    /// # Errors
    ///
    /// When the settings can't be used; nothing of them is repeated, since they may hold a password.
    pub fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<(Self, Option<Postman>), MailSettingsError> {
        let (way, postman) = match &config.smtp.url {
            Some(url) => {
                let transport = transport(url, config)?;
                let (to_known, known) = mpsc::channel(QUEUE_MAX);
                let (to_strangers, strangers) = mpsc::channel(QUEUE_MAX);
                let postman = Postman { known, strangers, transport, metrics: Arc::clone(metrics) };
                (Way::Server { known: to_known, strangers: to_strangers }, Some(postman))
            }
            None if config.public.base_url.is_local() => (Way::Outbox(config.data_dir.join("outbox")), None),
            None => (Way::Nowhere, None),
        };
        let host = config.public.base_url.host().trim_matches(['[', ']']).to_owned();
        let mailer = Self { way, from: sender(config, &host), host, metrics: Arc::clone(metrics) };
        Ok((mailer, postman))
    }

    /// Sends a mail to try out the settings, without the queue and without trying again. Returns a
    /// sentence about where it went.
    ///
    /// # Errors
    ///
    /// The mail server's own words, or what failed on the way to it.
    pub async fn try_out(config: &Config, to: &Email) -> Result<String, String> {
        let (mailer, postman) = Self::new(config, &Metrics::new()).map_err(|error| error.to_string())?;
        let text = format!("{} can send mail.\n", config.site.name);
        let message = mailer.message(to, "Test mail", &text).map_err(|error| error.to_string())?;
        match (postman, &mailer.way) {
            (Some(postman), _) => match postman.transport.send(message).await {
                Ok(answer) => {
                    let words: Vec<&str> = answer.message().collect();
                    Ok(format!("the mail server answers {} {}", answer.code(), words.join(" ")))
                }
                Err(error) => Err(in_full(&error)),
            },
            (None, Way::Outbox(folder)) => {
                let path =
                    keep_in_outbox(folder, &message).map_err(|error| format!("{}: {error}", folder.display()))?;
                Ok(format!("written to {}, since smtp.url is empty", path.display()))
            }
            (None, Way::Nowhere | Way::Server { .. }) => Err("smtp.url is empty: set the mail server".to_owned()),
        }
    }

    /// Whether anybody could get a mail.
    pub fn is_set_up(&self) -> bool {
        !matches!(self.way, Way::Nowhere)
    }

    /// Reserves a place for a mail that a known browser or a stranger's asked for. `None`, logged and counted, when the queue is full.
    pub fn reserve(&self, is_known: bool) -> Option<MailPlace<'_>> {
        let queue = match &self.way {
            Way::Server { known, .. } if is_known => known,
            Way::Server { strangers, .. } => strangers,
            Way::Outbox(_) | Way::Nowhere => return Some(MailPlace { mailer: self, permit: None }),
        };
        let Ok(permit) = queue.try_reserve() else {
            tracing::warn!("a mail is dropped: {QUEUE_MAX} are waiting for the mail server");
            self.metrics.mail(MailOutcome::Dropped);
            return None;
        };
        Some(MailPlace { mailer: self, permit: Some(permit) })
    }

    /// Its id is of letters, so that the only digits in a row that a person or a program finds are the password's.
    fn message(&self, to: &Email, subject: &str, text: &str) -> Result<Message, Box<dyn std::error::Error>> {
        let to: Address = to.as_str().parse()?;
        let id = nanoid::nanoid!(24, &LETTERS);
        Ok(Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(format!("<{id}@{}>", self.host)))
            .date_now()
            .header(ContentType::TEXT_PLAIN)
            .body(text.to_owned())?)
    }
}

impl MailPlace<'_> {
    /// Queues a mail of plain text to the officer of `login`. Into the outbox it is written at once.
    pub async fn send(self, store: &Store, login: PendingLogin, subject: &str, text: &str) {
        let (mailer, to) = (self.mailer, login.email.clone());
        let message = match mailer.message(&to, subject, text) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!("a mail can't be written: {error}");
                return mailer.metrics.mail(MailOutcome::Failed);
            }
        };
        if let Some(permit) = self.permit {
            return permit.send(LoginMail { message, login });
        }
        let Way::Outbox(folder) = &mailer.way else { return mailer.metrics.mail(MailOutcome::Failed) };
        match keep_in_outbox(folder, &message) {
            Ok(path) => {
                tracing::info!(mail.file = %path.display(), "mail to {to}, since smtp.url is empty:\n{subject}\n\n{text}");
                accepted(store, &login, &mailer.metrics).await;
            }
            Err(error) => {
                tracing::warn!("a mail can't be written to {}: {error}", folder.display());
                mailer.metrics.mail(MailOutcome::Failed);
            }
        }
    }
}

impl Postman {
    /// Sends what is in the queues, for as long as the mailer lives.
    pub async fn deliver(self, store: Store) {
        let Self { mut known, mut strangers, transport, metrics } = self;
        let known = stream::poll_fn(|context| known.poll_recv(context));
        let strangers = stream::poll_fn(|context| strangers.poll_recv(context));
        stream::select_with_strategy(known, strangers, |&mut ()| PollNext::Left)
            .for_each_concurrent(AT_ONCE, |LoginMail { message, login }| {
                let (transport, metrics, store) = (&transport, &metrics, &store);
                async move {
                    match deliver(transport, &message).await {
                        Ok(()) => accepted(store, &login, metrics).await,
                        Err(error) => {
                            tracing::warn!("a mail couldn't be sent: {}", reason(&error));
                            metrics.mail(outcome(&error));
                        }
                    }
                }
            })
            .await;
    }
}

/// Lets the browser log in. If Redis can't be asked now, what was mailed is never valid, and the officer asks for another mail.
async fn accepted(store: &Store, login: &PendingLogin, metrics: &Metrics) {
    if let Err(error) = store.accept_login(login).await {
        tracing::warn!("a login mail was sent, but what is in it can't be made valid: {error}");
    }
    metrics.mail(MailOutcome::Sent);
}

async fn deliver(
    transport: &AsyncSmtpTransport<Tokio1Executor>,
    message: &Message,
) -> Result<(), lettre::transport::smtp::Error> {
    let mut pauses = PAUSES.iter();
    loop {
        let Err(error) = transport.send(message.clone()).await else { return Ok(()) };
        match pauses.next() {
            Some(pause) if !error.is_permanent() => sleep(*pause).await,
            _ => return Err(error),
        }
    }
}

fn outcome(error: &lettre::transport::smtp::Error) -> MailOutcome {
    let is_of_the_mailbox = error.status().is_some_and(|code| REFUSED_MAILBOX.contains(&code.into()));
    if is_of_the_mailbox { MailOutcome::Refused } else { MailOutcome::Failed }
}

/// A mail server's words often repeat the address, so of those only the number is told.
fn reason(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None => in_full(error),
    }
}

fn in_full(error: &lettre::transport::smtp::Error) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// `smtps` is TLS from the first byte. `smtp` becomes TLS when the server offers it, and must when a password is to be told; a mail server on
/// this machine is spoken to as it is.
fn transport(url: &str, config: &Config) -> Result<AsyncSmtpTransport<Tokio1Executor>, MailSettingsError> {
    let url = Url::parse(url).map_err(|_| MailSettingsError::Url("isn't an address"))?;
    let host = url.host_str().ok_or(MailSettingsError::Url("names no host"))?.trim_matches(['[', ']']).to_owned();
    let has_password = url.password().is_some();
    let tls = || tls_parameters(&host, config);
    let (tls, port) = match url.scheme() {
        "smtps" => (Tls::Wrapper(tls()?), 465),
        _ if is_this_machine(&host) => (Tls::None, 25),
        _ if has_password => (Tls::Required(tls()?), 587),
        _ => (Tls::Opportunistic(tls()?), 25),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host)
        .port(url.port().unwrap_or(port))
        .tls(tls)
        .timeout(Some(SMTP_TIME_MAX))
        .hello_name(ClientId::Domain(config.public.base_url.host().to_owned()));
    if has_password {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials = Credentials::new(decoded(url.username()), decoded(url.password().unwrap_or_default()));
        builder = builder.credentials(credentials);
    }
    Ok(builder.build())
}

fn tls_parameters(host: &str, config: &Config) -> Result<TlsParameters, MailSettingsError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    match &config.smtp.tls_ca_file {
        None => builder = builder.certificate_store(CertificateStore::WebpkiRoots),
        Some(path) => {
            let unusable = |reason: String| MailSettingsError::Authority(path.clone(), reason);
            let pem = fs::read(path).map_err(|error| unusable(error.to_string()))?;
            let authority = Certificate::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
            builder = builder.certificate_store(CertificateStore::None).add_root_certificate(authority);
        }
    }
    Ok(builder.build_rustls()?)
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn sender(config: &Config, host: &str) -> Mailbox {
    let address = match &config.smtp.from {
        Some(from) => from.as_str().parse(),
        None => format!("no-reply@{host}").parse(),
    };
    let address =
        address.unwrap_or_else(|_| "no-reply@localhost".parse::<Address>().expect("a user and a host are an address"));
    Mailbox::new(Some(config.site.name.clone()), address)
}

/// Readable for this user alone. Names sort by time.
fn keep_in_outbox(folder: &Path, message: &Message) -> io::Result<PathBuf> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    config::make_dir(folder)?;
    let mut kept: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    kept.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
    kept.sort_unstable();
    for oldest in kept.iter().rev().skip(OUTBOX_MAILS_MAX - 1) {
        // Another mail may have removed it first.
        match fs::remove_file(oldest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.6f");
    let path = folder.join(format!("{time}-{}.eml", nanoid::nanoid!(6, &LETTERS)));
    // Under another name until it is whole: whoever watches the folder reads all of a mail or nothing.
    let unfinished = path.with_extension("part");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(&message.formatted())?;
    fs::rename(&unfinished, &path)?;
    Ok(path)
}
