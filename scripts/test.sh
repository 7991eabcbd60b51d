#!/bin/sh
# Runs the test suite. Tests that need a browser or the like are skipped where it is missing, and named at the end with the way to have
# it. With `--all` nothing is skipped: then what is missing fails.
set -eu
cd "$(dirname "$0")/.."

skipped="" notes=""

# without TASK WHAT FILTER...: skips the tests whose names contain a filter when what setup.sh's task needs is missing.
without() {
    missing=$(scripts/setup.sh --missing "$1")
    [ -n "$missing" ] || return 0
    notes="$notes
  $2 (missing:$missing)"
    shift 2
    for filter in "$@"; do
        skipped="$skipped --skip $filter"
    done
}

if [ "${1-}" != --all ]; then
    without test-browser "all pages in Chromium, and what axe-core says of them" pages:: console_keyboard::
    without test-prometheus "what promtool says of the metrics, the rules and their unit tests" \
        monitoring::prometheus_takes_the_configuration_and_the_rules monitoring::every_rule_does_what_its_unit_tests_say \
        monitoring::prometheus_understands_every_query_of_the_dashboard monitoring::promtool_has_nothing_against_the_metrics
    without test-nginx "nodes behind nginx, and an exported map in it" behind_nginx \
        link_files::an_nginx_with_the_exported_map_leads_where_merlink_led \
        strangers::random_http::random_http_from_50_clients_fails_nobody_and_leaves_memory_flat
    without test-qr "QR codes read back" api_v2_statistics::a_qr_code_leads_to_the_short_link_whatever_it_looks_like \
        console_upload::a_file_is_previewed_created_once_and_its_results_and_codes_are_handed_out qr::tests::every_look_can_be_read \
        qr::tests::a_code_with_a_logo_can_be_read_in_both_formats qr::tests::a_print_of_2_cm_is_read
    without test-guide "the examples of docs/api.md, in curl, Python and JavaScript" api_guide::
fi

# One runner for everybody: what the suite needs (a Redis per test, captured logs) is in its harness, not in the runner. Examples in the
# documentation go first, so that the suite's own count closes the output.
cargo test --locked --doc
result=0
# shellcheck disable=SC2086 # a list of words
cargo test --locked --lib --bins --tests --no-fail-fast -- $skipped || result=$?
if [ -n "$notes" ]; then
    printf '\nSkipped, since something is missing that they need:%s\n`make test-all` installs all of it from packages and runs them too.\n' "$notes"
fi
exit "$result"
