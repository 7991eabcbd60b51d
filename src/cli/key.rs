//! `merlink key`: makes, lists and revokes API keys.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::{Failure, block_on, print, with_store};
use crate::{
    config::{self, Config},
    domain::{ApiKey, Email, KeyName, PlainKey, Scope, Scopes},
    keys::{self, NewKey, Unrecorded},
    store::Actor,
};

/// Make, list and revoke API keys
#[derive(Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Example:\n  merlink key create --owner a@agency.gov.sg --name website --expires-in 90d"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print a new API key, alone, on stdout; it can't be shown again
    #[command(
        after_help = "Example:\n  KEY=$(merlink key create --owner a@agency.gov.sg --scope links:write --expires-in 90d)"
    )]
    Create {
        /// The officer whose links the key creates and changes
        #[arg(long, value_name = "EMAIL")]
        owner: Email,
        /// What the key is for, to tell it from others
        #[arg(long, default_value = "")]
        name: KeyName,
        /// links:read, links:write, stats:read, keys:write or admin; may be given again. Without it: all but admin
        #[arg(long = "scope", value_name = "S")]
        scopes: Vec<Scope>,
        /// How long the key works, as 90d or 12h; without it: until it is revoked
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires_in: Option<std::time::Duration>,
    },
    /// List keys; secrets are never shown
    #[command(after_help = "Example:\n  merlink key list --owner a@agency.gov.sg --json")]
    List {
        /// Only this officer's
        #[arg(long, value_name = "EMAIL")]
        owner: Option<Email>,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key for good, and with it every key that it made
    #[command(
        after_help = "Example:\n  merlink key revoke 4f7k2m9x1c0b\n\nWhich key made a key is recorded since Merlink 0.1. Older keys of the same officer are revoked too if this one may have made\nthem: by its scopes, and in the time of its use. --recorded-only spares them."
    )]
    Revoke {
        /// The id that `merlink key list` shows, or the whole key
        id: String,
        /// Spare keys whose maker isn't recorded
        #[arg(long)]
        recorded_only: bool,
    },
}

pub fn run(arguments: Arguments, config: Config) -> Result<(), Failure> {
    block_on(async move {
        match arguments.command {
            Command::Create { owner, name, scopes, expires_in } => {
                create(&config, owner, name, scopes, expires_in).await
            }
            Command::List { owner, json } => list(&config, owner, json).await,
            Command::Revoke { id, recorded_only } => {
                let unrecorded = if recorded_only { Unrecorded::Spared } else { Unrecorded::Revoked };
                revoke(&config, &id, unrecorded).await
            }
        }
    })
}

async fn create(
    config: &Config,
    owner: Email,
    name: KeyName,
    scopes: Vec<Scope>,
    expires_in: Option<std::time::Duration>,
) -> Result<(), Failure> {
    if !config.officers.email_domains.matches(&owner) {
        return Err(format!("{owner} is no officer's address: officers.email_domains doesn't allow it").into());
    }
    let scopes = if scopes.is_empty() { Scopes::default() } else { Scopes::new(scopes) };
    if scopes.contains(Scope::Admin) && !config.officers.admins.contains(&owner) {
        return Err(format!("--scope admin: {owner} is not among officers.admins; add the address there first").into());
    }
    let now = Timestamp::now();
    let expires_at = expires_in.map(|duration| now.checked_add(duration)).transpose()?;
    let (key, plain) = NewKey { owner, name, scopes, expires_at, maker: None }.draw(now);
    with_store(config, async |store| Ok(store.create_api_key(&key, &Actor::Operator).await?)).await?;
    eprintln!("Key {} of {}, scopes {}. It is shown this once:", key.id, key.owner, key.scopes);
    print(&plain.reveal());
    Ok(())
}

/// A key as it is listed.
#[derive(Serialize)]
struct Listed {
    id: String,
    owner: String,
    name: String,
    scopes: Vec<&'static str>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    /// To the minute.
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    /// The key that made it. `None` for a key that no key made, and for one from before this was recorded.
    made_by: Option<String>,
}

async fn list(config: &Config, owner: Option<Email>, json: bool) -> Result<(), Failure> {
    let keys = with_store(config, async |store| Ok(store.list_api_keys(owner.as_ref()).await?)).await?;
    let listed: Vec<Listed> = keys.into_iter().map(Listed::from).collect();
    if json {
        print(&serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    let now = Timestamp::now();
    print(&format!(
        "{:<12}  {:<8}  {:<20}  {:<20}  {:<20}  {:<30}  NAME AND SCOPES",
        "ID", "STATE", "CREATED", "LAST USED", "EXPIRES", "OWNER"
    ));
    let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let time_or_never = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), time);
    for key in listed {
        let (created, used) = (time(key.created_at), time_or_never(key.last_used_at));
        let expires = time_or_never(key.expires_at);
        let scopes = key.scopes.join(" ");
        print(&format!(
            "{:<12}  {:<8}  {created:<20}  {used:<20}  {expires:<20}  {:<30}  {} [{scopes}]",
            key.id,
            key.state(now),
            key.owner,
            key.name
        ));
    }
    Ok(())
}

async fn revoke(config: &Config, id: &str, unrecorded: Unrecorded) -> Result<(), Failure> {
    // People paste what they have; the secret in it goes no further.
    let id = id.parse::<PlainKey>().map_or_else(|_| id.to_owned(), |key| key.id().to_owned());
    let below = with_store(config, async |store| match store.find_api_key(&id).await? {
        Some(key) => Ok(keys::revoke(store, key, unrecorded, &Actor::Operator).await?),
        None => Err(format!("there is no key {id:?}: merlink key list shows all").into()),
    })
    .await?;
    eprintln!("Key {id} is revoked.");
    for key in below {
        let how = if key.ancestors.is_some() { "was made with it" } else { "may have been made with it" };
        eprintln!("Key {} of {} {how}, and is revoked too.", key.id, key.owner);
    }
    Ok(())
}

impl Listed {
    fn state(&self, now: Timestamp) -> &'static str {
        match (self.revoked_at, self.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(expiry)) if expiry <= now => "expired",
            (None, _) => "active",
        }
    }
}

impl From<ApiKey> for Listed {
    fn from(key: ApiKey) -> Self {
        Self {
            made_by: key.maker().map(str::to_owned),
            id: key.id,
            owner: key.owner.to_string(),
            name: key.name.to_string(),
            scopes: key.scopes.iter().map(Scope::as_str).collect(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
        }
    }
}

fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    config::duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "a duration of up to ten years, as 90d or 12h".to_owned())
}
