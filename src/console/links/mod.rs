//! An officer's links: the list, and of each link its settings, clicks and past.

pub mod edit;
pub mod history;
pub mod list;
pub mod qr;
pub mod statistics;

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use jiff::Timestamp;

use super::{
    page::Error,
    session::{SignedIn, Visitor as _, app},
};
use crate::{
    domain::{Code, Link, LinkState},
    languages::{Html, Language},
    state::App,
    store::{Actor, Reach},
};

/// Which of a link's pages is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Settings,
    Clicks,
    History,
}

/// What stands above each of a link's pages.
pub struct Heading {
    pub code: String,
    pub short_url: String,
    pub state: State,
    /// `None`: the officer who looks at it.
    pub owner: Option<String>,
    pub tab: Tab,
}

/// Whether a link leads anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    On,
    Off,
    Expired,
}

impl State {
    pub fn of(link: &Link) -> Self {
        match link.state {
            LinkState::Inactive => Self::Off,
            LinkState::Active if link.is_expired(Timestamp::now()) => Self::Expired,
            LinkState::Active => Self::On,
        }
    }

    pub fn word(self, words: &Language) -> Html<'_> {
        match self {
            Self::On => words.state_on(),
            Self::Off => words.state_off(),
            Self::Expired => words.state_expired(),
        }
    }

    /// Its colour, in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Expired => "over",
        }
    }
}

impl Heading {
    pub fn of(app: &App, officer: &SignedIn, link: &Link, tab: Tab) -> Self {
        Self {
            code: link.code.to_string(),
            short_url: app.short_url(link.code.as_str()),
            state: State::of(link),
            owner: (link.owner != officer.email).then(|| link.owner.to_string()),
            tab,
        }
    }
}

impl SignedIn {
    /// Who the history says made a change.
    pub fn actor(&self) -> Actor {
        Actor::Session(self.email.clone())
    }

    /// Whose links the officer works on: administrators on everybody's, as with their keys that have the scope `admin`.
    pub fn reach(&self) -> Reach {
        if self.is_admin { Reach::Everybodys } else { Reach::Own(self.email.clone()) }
    }
}

/// The link that a page's address names, and the officer within whose reach it is. Any other is as good as none.
pub struct OwnLink {
    pub officer: SignedIn,
    pub link: Link,
}

impl FromRequest for OwnLink {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let app = app(&request);
            let officer = SignedIn::recognise(&app, &request).await?;
            let link = own_link(&app, &officer, request.match_info().query("code")).await?;
            Ok(Self { officer, link })
        })
    }
}

/// For forms, which say themselves who sends them.
async fn own_link(app: &App, officer: &SignedIn, code: &str) -> Result<Link, Error> {
    let code: Code = code.parse().map_err(|_| Error::NotFound)?;
    let found = app.store.find_link(&code).await?.map(|listed| listed.link);
    found.filter(|link| officer.reach().includes(link)).ok_or(Error::NotFound)
}
