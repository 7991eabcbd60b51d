//! `merlink officer`: lists, invites, suspends and restores officers.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::{Failure, block_on, print, with_store};
use crate::{
    config::Config,
    domain::Email,
    store::{Actor, ListedOfficer},
};

/// List, invite, suspend and restore officers
#[derive(Args)]
#[command(arg_required_else_help = true, after_help = "Example:\n  merlink officer suspend a@agency.gov.sg")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List officers, and how many keys and links they have
    #[command(after_help = "Example:\n  merlink officer list --json")]
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Let a new officer log in, where only known officers can
    #[command(after_help = "Example:\n  merlink officer invite a@agency.gov.sg")]
    Invite {
        /// The officer's address
        #[arg(value_name = "EMAIL")]
        email: Email,
    },
    /// Keep an officer out: no key, session or login of theirs works until they are restored
    #[command(
        after_help = "Example:\n  merlink officer suspend a@agency.gov.sg\n\nLinks go on working. It takes effect on every node within a second."
    )]
    Suspend {
        /// The officer's address
        #[arg(value_name = "EMAIL")]
        email: Email,
    },
    /// Let a suspended officer in again, with the keys and sessions that haven't ended meanwhile
    #[command(after_help = "Example:\n  merlink officer restore a@agency.gov.sg")]
    Restore {
        /// The officer's address
        #[arg(value_name = "EMAIL")]
        email: Email,
    },
}

pub fn run(arguments: Arguments, config: Config) -> Result<(), Failure> {
    block_on(async move {
        match arguments.command {
            Command::List { json } => list(&config, json).await,
            Command::Invite { email } => invite(&config, &email).await,
            Command::Suspend { email } => suspend(&config, &email).await,
            Command::Restore { email } => restore(&config, &email).await,
        }
    })
}

/// An officer as listed.
#[derive(Serialize)]
struct Listed {
    email: String,
    /// When the service first met the address. `None` when it was suspended before anybody used it.
    since: Option<Timestamp>,
    suspended_at: Option<Timestamp>,
    /// True if `officers.email_domains` allows the address.
    allowed: bool,
    admin: bool,
    keys: usize,
    links: usize,
}

async fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let officers = with_store(config, async |store| Ok(store.list_officers().await?)).await?;
    let listed: Vec<Listed> = officers.iter().map(|officer| Listed::new(officer, config)).collect();
    if json {
        print(&serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    print(&format!("{:<40}  {:<11}  {:<20}  {:>5}  {:>9}", "OFFICER", "STATE", "SINCE", "KEYS", "LINKS"));
    for officer in listed {
        let since =
            officer.since.map_or_else(|| "never".to_owned(), |since| since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        print(&format!(
            "{:<40}  {:<11}  {since:<20}  {:>5}  {:>9}",
            officer.email,
            officer.state(),
            officer.keys,
            officer.links
        ));
    }
    Ok(())
}

async fn invite(config: &Config, email: &Email) -> Result<(), Failure> {
    if !config.officers.email_domains.matches(email) {
        return Err(format!("{email} is no officer's address: officers.email_domains doesn't allow it").into());
    }
    let (is_new, is_suspended) = with_store(config, async |store| {
        let is_new = store.invite_officer(email, Timestamp::now(), &Actor::Operator).await?;
        Ok((is_new, store.is_suspended(email).await?))
    })
    .await?;
    if is_suspended {
        return Err(format!("{email} is suspended and can't log in: merlink officer restore {email}").into());
    }
    if is_new {
        eprintln!("{email} can log in now. No mail was sent: tell them the console's address.");
    } else {
        eprintln!("{email} is known already.");
    }
    Ok(())
}

async fn suspend(config: &Config, email: &Email) -> Result<(), Failure> {
    let (suspended, known) = with_store(config, async |store| {
        let suspended = store.suspend_officer(email, Timestamp::now(), &Actor::Operator).await?;
        Ok((suspended, store.place_of_officer(email).await?.is_some()))
    })
    .await?;
    if suspended {
        eprintln!("{email} is suspended. Their links go on working.");
    } else {
        eprintln!("{email} was suspended already.");
    }
    if !known {
        eprintln!("Nobody with this address has used this service yet: check the spelling.");
    }
    Ok(())
}

async fn restore(config: &Config, email: &Email) -> Result<(), Failure> {
    let restored =
        with_store(config, async |store| Ok(store.restore_officer(email, Timestamp::now(), &Actor::Operator).await?))
            .await?;
    if !restored {
        return Err(format!("{email} isn't suspended: merlink officer list shows who is").into());
    }
    eprintln!("{email} is restored.");
    Ok(())
}

impl Listed {
    fn new(officer: &ListedOfficer, config: &Config) -> Self {
        Self {
            allowed: config.officers.email_domains.matches(&officer.email),
            admin: config.officers.admins.contains(&officer.email),
            email: officer.email.to_string(),
            since: officer.since,
            suspended_at: officer.suspended_at,
            keys: officer.keys,
            links: officer.links,
        }
    }

    fn state(&self) -> &'static str {
        match (self.suspended_at, self.allowed) {
            (Some(_), _) => "suspended",
            (None, false) => "not allowed",
            (None, true) => "active",
        }
    }
}
