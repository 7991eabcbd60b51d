//! What the service promises, tried from outside: each test runs the built `merlink` with a redis-server of its own.
//!
//! The contract is the only source: paths, headers, messages, metrics. Nothing here links to the crate.

// A table of a contract's rows reads best in one piece; clicks are compared as whole numbers.
#![allow(clippy::too_many_lines, clippy::float_cmp, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

mod api_v2;
mod chromium;
mod harness;
mod http;
mod load;
mod otlp_collector;
mod proxy;
mod redis_nodes;
mod redis_server;
mod service_manager;
mod small_disk;

mod clicks;
mod languages;
mod pages;
mod preview;
mod redirect;
mod transition;
mod visitors;

mod api_v1_admin;
mod api_v1_auth;
mod api_v1_create;
mod api_v1_list;
mod api_v1_update;

mod api_guide;
mod api_v2_bulk;
mod api_v2_change;
mod api_v2_create;
mod api_v2_docs;
mod api_v2_idempotency;
mod api_v2_keys;
mod api_v2_list;
mod api_v2_openapi;
mod api_v2_refusals;
mod api_v2_statistics;

mod console;
mod console_admin;
mod console_directory;
mod console_keyboard;
mod console_keys;
mod console_languages;
mod console_links;
mod console_login;
mod console_pages;
mod console_upload;
mod smtp_server;

mod audit;
mod commands;
mod contradictions;
mod copied_data;
mod limits;
mod link_files;
mod logs;
mod monitoring;
mod operator;
mod settings;
mod targets;
mod traces;

mod acl;
mod behind_nginx;
mod bodies;
mod browser_safety;
mod cluster;
mod concurrency;
mod damage;
mod engines;
mod faults;
mod handover;
mod histories;
mod hostile;
mod instances;
mod lifecycle;
mod newer_data;
mod nodes;
mod officers;
mod outage;
mod overload;
mod restore;
mod restored_rights;
mod runbook;
mod runs;
mod sentinel;
mod stops;
mod strangers;
mod tls;
mod writers;

mod layering;
mod security_docs;
mod wrong_settings;
