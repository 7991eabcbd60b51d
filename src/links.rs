//! What officers do to links, whichever API or page they do it through: the rules above the store.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{Code, Description, Email, Link, LinkState, Source, Tags, Target},
    routes, rows,
    state::App,
    store::{Actor, BrowseQuery, Browsed, Change, ChangeAttempt, Changed, Created, Held, NewLink, Reach, StoreError},
};

/// Draws of a random code. At ten million links each is free with 99.999 %.
const DRAWS_MAX: u64 = 8;

/// What an officer asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// `None`: any that is free.
    pub code: Option<Code>,
    pub target: Target,
    pub owner: Email,
    pub description: Description,
    pub contact_email: Option<Email>,
    pub tags: Tags,
    pub forward_query: bool,
    pub expires_at: Option<Timestamp>,
    pub state: LinkState,
    pub source: Source,
}

impl Wish {
    /// A link about which nothing more is said.
    pub fn plain(code: Option<Code>, target: Target, owner: Email, source: Source) -> Self {
        Self {
            code,
            target,
            owner,
            description: Description::default(),
            contact_email: None,
            tags: Tags::default(),
            forward_query: false,
            expires_at: None,
            state: LinkState::Active,
            source,
        }
    }
}

/// One wish's coming true. A repetition with the same mark, by whomever, finds what was done and
/// does nothing twice.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// When this attempt is made. A repetition is made later: it dates nothing back.
    pub at: Timestamp,
    /// Where random codes come from; `None`: the system's generator, so that a repetition draws others.
    pub seed: Option<String>,
    /// Tells the request from all others, without spaces. `None`: it won't be repeated.
    pub mark: Option<String>,
    /// True if the request was begun before.
    pub is_repeated: bool,
}

impl Attempt {
    /// One that won't be repeated.
    pub fn once(app: &App) -> Self {
        Self { at: app.store.now(), seed: None, mark: None, is_repeated: false }
    }

    /// That of a request which may be repeated.
    pub fn of(app: &App, held: &Held) -> Self {
        Self { is_repeated: held.is_repeated(), ..Self::with_seed(app, held.seed()) }
    }

    /// Another attempt at a request that was begun with this seed.
    pub fn again(app: &App, seed: &str) -> Self {
        Self { is_repeated: true, ..Self::with_seed(app, seed) }
    }

    fn with_seed(app: &App, seed: &str) -> Self {
        // Told apart from all other requests of an officer: 32 bits.
        let digest = Sha256::new().chain_update("mark").chain_update(seed).finalize();
        let mark = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        Self { seed: Some(seed.to_owned()), mark: Some(format!("{mark:08x}")), ..Self::once(app) }
    }

    /// That of one row of a request, so that a repetition finds what each row created.
    #[must_use]
    pub fn of_row(&self, index: usize) -> Self {
        Self {
            at: rows::created_at(self.at, index as u64),
            seed: self.seed.as_ref().map(|seed| format!("{seed} {index}")),
            mark: self.mark.as_ref().map(|mark| format!("{mark}-{index}")),
            is_repeated: self.is_repeated,
        }
    }

    fn draw(&self, number: u64) -> Code {
        self.seed.as_ref().map_or_else(Code::random, |seed| Code::drawn(seed, number))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// In use, once used, or reserved.
    #[error("the code {0} is taken")]
    CodeTaken(Code),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates a link, with the wished-for code or a random one.
///
/// # Errors
///
/// When the code can't be had, or the store can't be asked.
pub async fn create(app: &App, wish: Wish, attempt: &Attempt, by: &Actor) -> Result<Link, CreateError> {
    let draws = if wish.code.is_some() { 1 } else { DRAWS_MAX };
    let mut taken = None;
    for draw in 0..draws {
        let code = wish.code.clone().unwrap_or_else(|| attempt.draw(draw));
        let new = NewLink {
            code: code.clone(),
            target: wish.target.clone(),
            owner: wish.owner.clone(),
            state: wish.state,
            description: wish.description.clone(),
            contact_email: wish.contact_email.clone(),
            tags: wish.tags.clone(),
            source: wish.source,
            forward_query: wish.forward_query,
            expires_at: wish.expires_at,
            at: attempt.at,
            by: by.clone(),
            mark: attempt.mark.clone(),
        };
        if !routes::is_reserved(&code)
            && let Created::Yes(link) = app.store.create_link(&new).await?
        {
            app.link_changed(&link);
            app.metrics.link_created(wish.source);
            return Ok(link);
        }
        taken = Some(code);
    }
    Err(CreateError::CodeTaken(taken.unwrap_or_else(Code::random)))
}

/// Changes a link that is within reach. What is so already is no change and leaves no trace.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn change(
    app: &App,
    code: &Code,
    reach: &Reach,
    change: &Change,
    expected_versions: Option<&[u64]>,
    by: &Actor,
) -> Result<Changed, StoreError> {
    let changed =
        app.store.change_link(code, reach, change, expected_versions, &ChangeAttempt::once(app.store.now(), by)).await;
    tell(app, code, &changed);
    changed
}

/// A link's going over to another officer.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub code: Code,
    pub to: Email,
    /// At one of which the link must be. `None`: at any.
    pub expected_versions: Option<Vec<u64>>,
}

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// Otherwise anybody could have a page say that a link is a minister's.
    #[error("nobody with this address has used this service yet: ask them to log in once, and check the spelling")]
    UnknownOfficer,
    /// The link would be in nobody's hands.
    #[error("the officer with this address is suspended and can't take the link: give it to somebody else")]
    SuspendedOfficer,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Gives a link that is within reach to another officer. The service must know that officer, who has logged in, has a key or owns links, and isn't
/// suspended.
///
/// # Errors
///
/// When that officer is unknown or suspended, or the store can't be asked.
pub async fn transfer(
    app: &App,
    transfer: &Transfer,
    reach: &Reach,
    attempt: &Attempt,
    by: &Actor,
) -> Result<Changed, TransferError> {
    let Transfer { code, to, expected_versions } = transfer;
    let refusal = if app.store.place_of_officer(to).await?.is_none() {
        Some(TransferError::UnknownOfficer)
    } else if app.store.is_suspended(to).await? {
        Some(TransferError::SuspendedOfficer)
    } else {
        None
    };
    let change = Change { owner: Some(to.clone()), ..Change::default() };
    let expected_versions = expected_versions.as_deref();
    let (is_repeated, attempt) = match &attempt.mark {
        Some(mark) => {
            let is_repeated = attempt.is_repeated;
            (is_repeated, ChangeAttempt { at: attempt.at, by, mark: mark.clone(), is_repeated })
        }
        None => (false, ChangeAttempt::once(attempt.at, by)),
    };
    if let Some(refusal) = refusal {
        // A transfer that was done stays done, whatever has become of the new owner. No version is
        // allowed, so that nothing is done now.
        if is_repeated
            && let done @ Changed::Yes(_) = app.store.change_link(code, reach, &change, Some(&[]), &attempt).await?
        {
            return Ok(done);
        }
        // Somebody else's link is not found and a changed one is stale, whoever is to have it.
        let listed = app.store.find_link(code).await?.filter(|listed| reach.includes(&listed.link));
        let Some(listed) = listed else { return Ok(Changed::NotFound) };
        let is_stale = expected_versions.is_some_and(|versions| !versions.contains(&listed.link.version));
        return if is_stale { Ok(Changed::Stale(listed)) } else { Err(refusal) };
    }
    let changed = app.store.change_link(code, reach, &change, expected_versions, &attempt).await;
    tell(app, code, &changed);
    Ok(changed?)
}

/// Has this node answer by what came of a change at once.
fn tell(app: &App, code: &Code, changed: &Result<Changed, StoreError>) {
    match changed {
        Ok(Changed::Yes(listed)) => app.link_changed(&listed.link),
        Ok(Changed::NotFound | Changed::Stale(_)) => {}
        // The change may have been made although its answer was lost.
        Err(_) => app.link_may_have_changed(code),
    }
}

/// An owner's links from one place on.
///
/// # Errors
///
/// When the store can't be asked.
pub async fn browse(app: &App, owner: &Email, query: &BrowseQuery) -> Result<Browsed, StoreError> {
    let ranked = match query.sort.ranked_by() {
        Some(rank_by) => app.rankings.of(&app.store, owner, &query.filter, rank_by).await?,
        None => [].into(),
    };
    app.store.browse_links(owner, query, &ranked).await
}
