# Each task first gets what it needs (scripts/setup.sh), so that a fresh clone on a fresh machine can begin with any.

.DEFAULT_GOAL := help
.PHONY: run build deb slow-clients validate test-alerts test test-all test-strangers test-engines test-histories fresh-test test-faults test-api test-clients openapi lint format bench budget setup clean help

# rustup puts cargo here, and a shell finds it only after a new login.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# Where people and scripts look for the binary, whatever the environment says about target directories.
RELEASE = cargo build --release --locked --target-dir target

run: ## start Merlink with its own Redis: http://localhost:8080, data in ./data, Ctrl-C ends it
	@scripts/setup.sh run
	$(RELEASE)
	@exec target/release/merlink serve

build: ## build the release binary, target/release/merlink
	@scripts/setup.sh build
	$(RELEASE)

test: ## run the test suite; tests that need a browser or the like are skipped, and named, where it is missing
	@scripts/setup.sh test
	@scripts/test.sh

test-all: ## install what every test needs, and run the whole suite
	@scripts/setup.sh test-all
	@scripts/test.sh --all

# The runs of docs/reliability.md in full, half an hour; each can be made shorter: make test-faults KILLS=20 OUTAGE=30. The rolling restart is to
# stay above 2,000 redirects a second, so it is asked for some more.
KILLS ?= 200
FAILOVERS ?= 20
OUTAGE ?= 600
OUTAGE_RATE ?= 1000
EDITS ?= 1000
GUESSES ?= 60
ROLLING_RATE ?= 2200
STOPS ?= 5000
STOPS_AT_ONCE ?= 24
RESTARTS ?= 5
RESTART_LINKS ?= 1000000
RESTART_RATE ?= 1000

test-faults: ## break everything under load for half an hour, and compare every counter with the answers
	@scripts/setup.sh test-all
	MERLINK_TEST_KILLS=$(KILLS) MERLINK_TEST_FAILOVERS=$(FAILOVERS) MERLINK_TEST_OUTAGE_SECONDS=$(OUTAGE) \
	MERLINK_TEST_OUTAGE_REDIRECTS_PER_SECOND=$(OUTAGE_RATE) MERLINK_TEST_EDITS=$(EDITS) MERLINK_TEST_GUESSES_SECONDS=$(GUESSES) \
	MERLINK_TEST_ROLLING_REDIRECTS_PER_SECOND=$(ROLLING_RATE) MERLINK_TEST_STOPS=$(STOPS) MERLINK_TEST_STOPS_AT_ONCE=$(STOPS_AT_ONCE) \
	MERLINK_TEST_RESTARTS=$(RESTARTS) MERLINK_TEST_RESTART_LINKS=$(RESTART_LINKS) MERLINK_TEST_RESTART_REDIRECTS_PER_SECOND=$(RESTART_RATE) \
	cargo test --locked --release --test it -- --nocapture --test-threads=1 \
		runs:: sentinel::redirects_go_on cluster::redirects_go_on faults::replies_lost behind_nginx::a_rolling_restart restore:: stops:: handover::a_restart

# MINUTES=60 is the hour of random HTTP that the service is judged by.
MINUTES ?= 2

test-strangers: ## attack the service as a stranger with a script would, at full size, and print what each attack came to
	@scripts/setup.sh test-all
	@rm -f target/strangers.md
	MERLINK_TEST_STRANGERS_FULL=1 MERLINK_TEST_STRANGERS_MINUTES=$(MINUTES) MERLINK_TEST_STRANGERS_TABLE=$(CURDIR)/target/strangers.md \
	cargo test --locked --release --test it -- --test-threads=1 strangers::
	@printf '| attack | bound | measured |\n|---|---|---|\n'; sort target/strangers.md

# Three quarters of an hour, most of it SEEDS of SECONDS each. A failure prints its seed: make test-histories FIRST_SEED=7 SEEDS=1.
HISTORIES ?= 10000
SEEDS ?= 20
SECONDS ?= 60
FIRST_SEED ?= 1
ROUNDS ?= 1000

test-histories: ## draw random histories of edits, restores, kills and late messages, and compare all answers with Redis
	@scripts/setup.sh test
	MERLINK_TEST_HISTORIES=$(HISTORIES) MERLINK_TEST_WRITERS_SEEDS=$(SEEDS) MERLINK_TEST_WRITERS_SECONDS=$(SECONDS) \
	MERLINK_TEST_WRITERS_FIRST_SEED=$(FIRST_SEED) MERLINK_TEST_CONTRADICTIONS=$(ROUNDS) \
	cargo test --locked --release --test it -- --nocapture --test-threads=1 \
		histories:: writers:: contradictions:: sentinel::nodes_answer

test-engines: ## run the tests of store, clicks, Sentinels and Cluster on Redis 7.0, 8.2, Valkey 8.1 and 9.1; TESTS=short for the shorter form
	@scripts/setup.sh test engines
	@scripts/test-engines.sh $(TESTS)

# Against a real server, which it starts. CASES=20000 is what the API is judged by; the summary says how many there were.
test-api: ## invent requests to API v2 by its own document, and compare each answer with it
	@scripts/setup.sh api
	cargo build --locked
	@tests/api/with-server.sh tests/api/schemathesis.sh $(or $(CASES),2000)

test-clients: ## make Python and TypeScript clients of API v2's document, and work with them
	@scripts/setup.sh clients
	cargo build --locked
	@tests/api/with-server.sh tests/api/clients.sh

openapi: ## renew docs/openapi.json, the committed copy of API v2's document
	@scripts/setup.sh test
	MERLINK_TEST_RENEW=1 cargo test --locked --test it -- --exact api_v2_openapi::the_committed_document_is_the_one_that_is_served

lint: ## check format, clippy's warnings, and licences and sources of the dependencies
	@scripts/setup.sh lint
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo deny --locked check licenses bans sources

format: ## format the code
	cargo fmt --all

bench: ## measure redirects beside other servers; writes docs/benchmarks.md
	@scripts/setup.sh bench
	cargo bench --locked --bench redirects

budget: ## count the instructions of a redirect, and compare with the budget that is committed
	@scripts/setup.sh budget
	@scripts/budget.sh

deb: ## build the Debian package, target/debian/merlink_*.deb
	@scripts/setup.sh build deb
	$(RELEASE)
	target/release/merlink manual target/package
	cargo deb --locked --no-build
	@dpkg-deb --field target/debian/merlink_*.deb Depends | grep -q libc6 || { \
		echo "the package doesn't name the C library among its dependencies: is dpkg-shlibdeps here?" >&2; exit 1; }

test-alerts: ## break two nodes under a real Prometheus: each fault must call with its own alert and no other (4 minutes)
	@scripts/setup.sh test-all
	$(RELEASE)
	@scripts/test-alerts.sh

slow-clients: ## measure what others notice of 5,000 silent and 500 slow connections (a minute)
	@scripts/setup.sh run slow
	$(RELEASE)
	@scripts/slow-clients.sh

validate: ## check the deployment files against their schemas (what make test can't do without downloads)
	@scripts/validate-deploy.sh

fresh-test: ## follow the README on a fresh Debian 12 with Rust alone, in a chroot: before a release, and when setup.sh or README change
	@scripts/setup.sh fresh
	@scripts/fresh-test.sh

setup: ## get everything that the tasks above need
	@scripts/setup.sh run test-all engines lint api clients bench budget

clean: ## remove what was built; ./data stays
	cargo clean

help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
