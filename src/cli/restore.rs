//! `merlink restore`: takes away again what was taken away after a backup.
//!
//! A restored Redis has keys that were revoked since the backup, officers who were suspended, and
//! links that were switched off. The audit files have all of it. For each key, officer and link
//! their last word holds if Redis is laxer; nothing is ever loosened, so the command may be
//! repeated. What the files alone can't bring back is counted.

mod trail;

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use self::trail::{LinkFacts, Register, Trail};
use super::{Failure, block_on, print, progress::grouped, with_store};
use crate::{
    config::Config,
    domain::{Code, Link, LinkState},
    store::{Actor, BulkCreated, Change, ChangeAttempt, LINKS_AT_ONCE, Reach, Store},
};

/// Codes, keys and addresses that are named of what can't be restored.
const NAMED_MAX: usize = 20;
const BY: Actor = Actor::Operator;

/// After a restore of Redis: revoke, suspend and switch off again what the audit files say
///
/// A Redis that comes back from a backup has lost the revocations, suspensions and switch-offs
/// since. Give all audit files of all nodes, rotated ones back to the backup too; .gz files are
/// read as they are. Their last word on each key, officer and link holds where Redis is laxer: an
/// officer who was restored and a link that was switched on again later stay as they are. Nothing
/// is loosened, and doing it again does nothing.
///
/// Lines that can't be read are named; then the exit code is 1, and everything else is done.
#[derive(Args)]
#[command(
    after_help = "Example:\n  merlink restore --dry-run /var/log/merlink/audit.ndjson*\n  merlink restore --config /etc/merlink/merlink.toml node1/audit.ndjson* node2/audit.ndjson*"
)]
pub struct Arguments {
    /// Audit files, in any order
    #[arg(required = true, value_name = "AUDIT")]
    files: Vec<PathBuf>,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(arguments: Arguments, config: Config) -> Result<(), Failure> {
    let Arguments { files, dry_run } = arguments;
    let mut trail = Trail::default();
    for file in &files {
        trail.read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    block_on(async move {
        let replay = with_store(&config, async |store| {
            let mut replay = Replay { store, dry_run, report: Report::default() };
            replay.officers(&trail).await?;
            replay.keys(&trail).await?;
            replay.links(&trail).await?;
            Ok(replay.report)
        })
        .await?;
        replay.conclude(&trail)?;
        if dry_run {
            eprintln!("Nothing was changed: --dry-run.");
        }
        Ok(())
    })
}

/// One run of the command.
struct Replay<'a> {
    store: &'a Store,
    dry_run: bool,
    report: Report,
}

#[derive(Default)]
struct Report {
    replayed: u64,
    in_force: u64,
    lost_officers: Lost,
    lost_keys: Lost,
    lost_links: Lost,
    transferred: Lost,
    retargeted: Lost,
    switched_on: Lost,
    extended: Lost,
    damaged: Lost,
}

/// Things that the command can't bring back: how many, and the first names.
#[derive(Default)]
struct Lost {
    count: u64,
    named: Vec<String>,
}

impl Replay<'_> {
    async fn officers(&mut self, trail: &Trail) -> Result<(), Failure> {
        for (officer, is_suspended) in trail.suspensions.values().filter_map(Register::get) {
            if !is_suspended {
                continue;
            }
            if self.store.is_suspended(officer).await? {
                self.report.in_force += 1;
                continue;
            }
            if !self.dry_run {
                self.store.suspend_officer(officer, Timestamp::now(), &BY).await?;
            }
            self.report.replay(&format!("suspended     {officer}"));
        }
        let logged_in = self.store.logged_in_before(&trail.logouts_everywhere).await?;
        for officer in &logged_in {
            if !self.dry_run {
                self.store.end_all_sessions(officer, &BY).await?;
            }
            self.report.replay(&format!("logged out    {officer}, in all browsers"));
        }
        self.report.in_force += (trail.logouts_everywhere.len() - logged_in.len()) as u64;
        for officer in &trail.invited {
            if self.store.place_of_officer(officer).await?.is_none() {
                self.report.lost_officers.add(officer.as_str());
            }
        }
        Ok(())
    }

    async fn keys(&mut self, trail: &Trail) -> Result<(), Failure> {
        for id in &trail.keys_revoked {
            match self.store.find_api_key(id).await? {
                Some(key) if key.revoked_at.is_none() => {
                    if !self.dry_run {
                        self.store.revoke_api_keys(std::slice::from_ref(&key), Timestamp::now(), &BY).await?;
                    }
                    self.report.replay(&format!("revoked       key {id} of {}", key.owner));
                }
                Some(_) | None => self.report.in_force += 1,
            }
        }
        for id in trail.keys_created.difference(&trail.keys_revoked) {
            if self.store.find_api_key(id).await?.is_none() {
                self.report.lost_keys.add(id);
            }
        }
        Ok(())
    }

    async fn links(&mut self, trail: &Trail) -> Result<(), Failure> {
        let all: Vec<(&Code, &LinkFacts)> = trail.links.iter().collect();
        for some in all.chunks(LINKS_AT_ONCE) {
            let codes: Vec<Code> = some.iter().map(|(code, _)| (*code).clone()).collect();
            let found = self.store.existing_links(&codes).await?;
            for ((code, facts), found) in some.iter().zip(found) {
                match found {
                    Some(BulkCreated::Existed(link)) => self.link(code, facts, &link).await?,
                    Some(BulkCreated::Damaged | BulkCreated::Yes) => self.report.damaged.add(code.as_str()),
                    None => self.report.lost_links.add(code.as_str()),
                }
            }
        }
        Ok(())
    }

    async fn link(&mut self, code: &Code, facts: &LinkFacts, link: &Link) -> Result<(), Failure> {
        let mut change = Change::default();
        match (facts.state.get(), link.state) {
            (Some(LinkState::Inactive), LinkState::Active) => change.state = Some(LinkState::Inactive),
            (Some(LinkState::Inactive), LinkState::Inactive) => self.report.in_force += 1,
            (Some(LinkState::Active), LinkState::Inactive) => self.report.switched_on.add(code.as_str()),
            (Some(LinkState::Active), LinkState::Active) | (None, _) => {}
        }
        match (facts.expires_at.get().copied(), link.expires_at) {
            (Some(Some(expiry)), has) if has.is_none_or(|has| expiry < has) => change.expires_at = Some(Some(expiry)),
            (Some(wanted), has) if wanted == has => self.report.in_force += u64::from(has.is_some()),
            (Some(_), _) => self.report.extended.add(code.as_str()),
            (None, _) => {}
        }
        if facts.target.get().is_some_and(|target| *target != link.target.as_str()) {
            self.report.retargeted.add(code.as_str());
        }
        if facts.owner.get().is_some_and(|owner| *owner != link.owner.as_str()) {
            self.report.transferred.add(code.as_str());
        }
        if change.state.is_none() && change.expires_at.is_none() {
            return Ok(());
        }
        if !self.dry_run {
            let attempt = ChangeAttempt::once(Timestamp::now(), &BY);
            self.store.change_link(code, &Reach::Everybodys, &change, None, &attempt).await?;
        }
        if change.state.is_some() {
            self.report.replay(&format!("switched off  {code}"));
        }
        if let Some(Some(expiry)) = change.expires_at {
            self.report.replay(&format!("expires       {code} at {expiry}"));
        }
        Ok(())
    }
}

impl Report {
    fn replay(&mut self, what: &str) {
        self.replayed += 1;
        print(what);
    }

    /// Prints the sums, and what remains to be done by hand.
    fn conclude(&self, trail: &Trail) -> Result<(), Failure> {
        print(&format!("{} replayed, {} in force already", grouped(self.replayed), grouped(self.in_force)));
        let by_hand = [
            ("links made since the backup", &self.lost_links),
            ("links with another target by the files", &self.retargeted),
            ("links with another owner by the files", &self.transferred),
            ("links that were switched on since", &self.switched_on),
            ("links whose expiry was moved out or removed since", &self.extended),
            ("keys made since the backup", &self.lost_keys),
            ("invitations since the backup", &self.lost_officers),
            ("damaged links, which were passed over", &self.damaged),
        ];
        for (what, lost) in by_hand.into_iter().filter(|(_, lost)| lost.count > 0) {
            let more = if lost.count > lost.named.len() as u64 { ", …" } else { "" };
            print(&format!("not restored: {what} ({}): {}{more}", grouped(lost.count), lost.named.join(", ")));
        }
        if trail.logouts > 0 {
            let count = grouped(trail.logouts);
            print(&format!(
                "not restored: logouts of one browser ({count}); sessions end by themselves, console.session_max after their login at the latest"
            ));
        }
        for unreadable in &trail.unreadable {
            eprintln!("{}:{}: {}", unreadable.path.display(), unreadable.line, unreadable.why);
        }
        let mut failed = Vec::new();
        if trail.unreadable_count > 0 {
            failed.push(format!(
                "{} lines can't be read: look for what they were about",
                grouped(trail.unreadable_count)
            ));
        }
        if self.damaged.count > 0 {
            failed.push(format!(
                "{} links are damaged: merlink check --repair names what is wrong",
                grouped(self.damaged.count)
            ));
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
    }
}

impl Lost {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.named.len() < NAMED_MAX {
            self.named.push(name.to_owned());
        }
    }
}
