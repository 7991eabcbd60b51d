//! Attacks by a stranger with a script, each measured against a bound.
//!
//! `make test` runs them small, `make test-strangers` at full size with a release build, and prints the table of what each came to. A module holds
//! the attacks on one part of the service; each of its tests calls [`report`] once for every figure.

mod bodies;
mod connections;
mod heads;
mod keys;
mod logins;
mod random_http;
mod targets;

use std::io::Write as _;

use crate::runs::length_of_run;

/// Set by `make test-strangers`: 1 for attacks at full size.
const FULL: &str = "MERLINK_TEST_STRANGERS_FULL";
/// A file that [`report`] appends the table's rows to. Unset: none.
const TABLE: &str = "MERLINK_TEST_STRANGERS_TABLE";

/// The size of an attack: `small` in `make test`, `full` in `make test-strangers`.
pub fn size(small: usize, full: usize) -> usize {
    if length_of_run(FULL, 0) == 1 { full } else { small }
}

/// Adds a row to the table: the attack, the bound that its test asserts, and what was measured.
pub fn report(attack: &str, bound: &str, measured: &str) {
    let row = format!("| {attack} | {bound} | {measured} |\n");
    print!("{row}");
    if let Some(table) = std::env::var_os(TABLE) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(table);
        // One write a row: tests may run side by side.
        file.and_then(|mut file| file.write_all(row.as_bytes())).expect("the table can be written");
    }
}
