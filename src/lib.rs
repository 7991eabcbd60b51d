//! Merlink, a government link shortener.
//!
//! A visit flows one way: [`public`] hands it to [`redirect::follow`], which answers it from the [`cache`], which asks the [`store`] for
//! what it doesn't know; paths that aren't codes are in the table of [`routes`]. Before the answer leaves, [`clicks`] has written the click to the
//! journal on disk; a thread of its own brings it to Redis, exactly once.
//!
//! Officers' programs come in by [`api`], are recognised by [`auth`], and act through [`links`], [`bulk`] and [`keys`] on the same store; officers themselves use
//! the [`console`] in a browser, and log in with a password that [`mail`] brings them. [`operator`] shows
//! [`metrics`] and health on a port of its own, and [`traces`] tell a collector how officers' requests went. [`server`] starts and stops all of it; [`cli`] is the command line.
//!
//! What citizens read is worded in [`languages`] and dressed by the operator's [`site`].
//!
//! [`domain`] says what codes, targets, links and keys are, and knows nothing of the rest. Redis is spoken to in [`store`] only, HTTP
//! in neither of these two. ARCHITECTURE.md tells the whole story.

pub mod cli;
pub mod server;
pub mod service_manager;

pub mod connections;
pub mod public;
pub mod routes;

pub mod api;
pub mod console;
pub mod operator;
pub mod redirect;

pub mod auth;
pub mod bulk;
pub mod export;
pub mod keys;
pub mod links;
pub mod uploads;

pub mod admission;
pub mod cache;
pub mod clicks;
pub mod client;
pub mod head;
pub mod head_size;
pub mod hot_links;
pub mod limits;
pub mod mail;
pub mod rankings;
pub mod state;
pub mod targets;
pub mod watched_file;

pub mod assets;
pub mod languages;
pub mod site;

pub mod store;

pub mod audit;
pub mod config;
pub mod data_dir;
pub mod domain;
pub mod log;
pub mod metrics;
pub mod origin;
pub mod qr;
pub mod rows;
pub mod traces;
