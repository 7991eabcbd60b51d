//! Mail to officers: through the operator's mail server, or on a developer's machine into a folder.
//!
//! A mail goes into a queue, and who asked for it is answered at once: a mail server that is slow or away keeps no browser waiting, and its
//! answer, which depends on the address, tells nobody whose address is good. A task of its own sends some mails at a time and tries again
//! what may pass. What can't be sent is in the log and in `merlink_mails_total`; nothing about an address or a mail is.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
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
};

/// Mails that wait. A password is of use for five minutes: a longer queue would be of none.
const QUEUE_MAX: usize = 200;
/// Connections to the mail server at once.
const AT_ONCE: usize = 8;
/// For connecting, and for each answer of the mail server. To find its name may take whatever the system takes; others wait in the queue meanwhile.
const SMTP_TIME_MAX: Duration = Duration::from_secs(15);
/// Between tries. Greylisting takes longer than a password lives; a restarting server does not.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
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
    Server(mpsc::Sender<Message>),
    Outbox(PathBuf),
    /// Only `localhost` is a developer's machine: anywhere else a folder full of passwords would be a hole.
    Nowhere,
}

/// The part that speaks to the mail server, in a task of its own.
pub struct Postman {
    queue: mpsc::Receiver<Message>,
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
                let (sender, queue) = mpsc::channel(QUEUE_MAX);
                (Way::Server(sender), Some(Postman { queue, transport, metrics: Arc::clone(metrics) }))
            }
            None if config.public.base_url.is_local() => (Way::Outbox(config.data_dir.join("outbox")), None),
            None => (Way::Nowhere, None),
        };
        let host = config.public.base_url.host().trim_matches(['[', ']']).to_owned();
        let mailer = Self { way, from: sender(config, &host), host, metrics: Arc::clone(metrics) };
        Ok((mailer, postman))
    }

    /// Whether anybody could get a mail.
    pub fn is_set_up(&self) -> bool {
        !matches!(self.way, Way::Nowhere)
    }

    /// Sends a mail of plain text, or sees to its being sent.
    pub fn send(&self, to: &Email, subject: &str, text: &str) {
        let message = match self.message(to, subject, text) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!("a mail can't be written: {error}");
                return self.metrics.mail(MailOutcome::Failed);
            }
        };
        match &self.way {
            Way::Server(queue) => {
                if queue.try_send(message).is_err() {
                    tracing::warn!("a mail is dropped: {QUEUE_MAX} are waiting for the mail server");
                    self.metrics.mail(MailOutcome::Dropped);
                }
            }
            Way::Outbox(folder) => match keep_in_outbox(folder, &message) {
                Ok(path) => {
                    tracing::info!(mail.file = %path.display(), "mail to {to}, since smtp.url is empty:\n{subject}\n\n{text}");
                    self.metrics.mail(MailOutcome::Sent);
                }
                Err(error) => {
                    tracing::warn!("a mail can't be written to {}: {error}", folder.display());
                    self.metrics.mail(MailOutcome::Failed);
                }
            },
            Way::Nowhere => self.metrics.mail(MailOutcome::Failed),
        }
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

impl Postman {
    /// Sends what is in the queue, for as long as the mailer lives.
    pub async fn deliver(mut self) {
        let (transport, metrics) = (&self.transport, &self.metrics);
        stream::poll_fn(|context| self.queue.poll_recv(context))
            .for_each_concurrent(AT_ONCE, |message| async move {
                match deliver(transport, &message).await {
                    Ok(()) => metrics.mail(MailOutcome::Sent),
                    Err(reason) => {
                        tracing::warn!("a mail couldn't be sent: {reason}");
                        metrics.mail(MailOutcome::Failed);
                    }
                }
            })
            .await;
    }
}

async fn deliver(transport: &AsyncSmtpTransport<Tokio1Executor>, message: &Message) -> Result<(), String> {
    let mut pauses = PAUSES.iter();
    loop {
        let Err(error) = transport.send(message.clone()).await else { return Ok(()) };
        match pauses.next() {
            Some(pause) if !error.is_permanent() => sleep(*pause).await,
            _ => return Err(reason(&error)),
        }
    }
}

/// A mail server's words often repeat the address, so of those only the number is told.
fn reason(error: &lettre::transport::smtp::Error) -> String {
    use std::error::Error as _;
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
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
        fs::remove_file(oldest)?;
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
