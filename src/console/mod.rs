//! The officers' console: pages in a browser, rendered here, usable without JavaScript.
//!
//! A folder for each group of pages, handlers and templates beside one another. A page is shown to whom its handler's arguments say:
//! [`session::SignedIn`] in the signature is the check. What changes anything is a form, and [`form::Posted`] is the one way to take one: it
//! looks at where the form comes from and whether it carries the token that only our pages have. What goes wrong is a [`page::Error`],
//! which [`page::finish`] makes a page of.

pub mod assets;
pub mod form;
pub mod page;
pub mod session;

pub mod login;

pub mod links;

pub mod upload;

pub mod directory;

pub mod keys;

pub mod account;
