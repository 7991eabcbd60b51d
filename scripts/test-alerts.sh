#!/usr/bin/env bash
# Breaks a real two-node Merlink under the eyes of a real Prometheus that has the real rules, and sees that each fault calls with its own
# alert, with no other, and that the alert ends with the fault. Durations are a thirtieth of the rules', made from them by sed, so that
# all of it takes some four minutes; thresholds are as they are.
#
#   scripts/test-alerts.sh [BINARY]       target/release/merlink if not said; `make test-alerts` builds it first
#
# The disk is a small tmpfs, which only root can mount: for others that part is left out, and said to be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

merlink=$(realpath "${1:-target/release/merlink}")
work=$(mktemp -d)
port=$((20000 + RANDOM % 12000))
prometheus=$port node_a=$((port + 1)) node_b=$((port + 2)) redis=$((port + 5)) collector=$((port + 6))
pids=() mounted=

main() {
    trap clean_up EXIT
    mkdir "$work/a" "$work/b" "$work/redis" "$work/prometheus"
    # Disks of their own: what others write on this machine's, in a thirtieth of the time, would look like a disk that fills up.
    if mount -t tmpfs -o size=512m tmpfs "$work/a" 2>/dev/null; then
        mounted=yes
        mount -t tmpfs -o size=512m tmpfs "$work/b"
    fi
    start_redis
    start_collector
    start_node a "$node_a"
    start_node b "$node_b"
    local key
    key=$(MERLINK_REDIS__URL=redis://127.0.0.1:$redis MERLINK_DATA_DIR=$work/key "$merlink" key create --owner amy@agency.gov.sg 2>/dev/null)
    curl -sf "http://127.0.0.1:$node_a/api/v1/urls" -H "Authorization: Bearer $key" \
        --json '{"shortUrl":"form","longUrl":"https://example.com"}' >/dev/null
    visit "$node_a" form & pids+=($!)
    visit "$node_b" form & pids+=($!)
    start_prometheus

    say "healthy for 20 s"
    nothing_calls_for 20

    say "Redis is killed"
    kill -9 "$redis_pid"
    calls_and_nothing_else MerlinkRedisAway
    start_redis
    ends

    say "a node is killed"
    kill -9 "$b_pid"
    calls_and_nothing_else MerlinkNodeDown
    start_node b "$node_b"
    ends

    if [[ $mounted ]]; then
        say "a disk is filled"
        dd if=/dev/zero of="$work/a/filler" bs=4M 2>/dev/null || true
        calls_and_nothing_else MerlinkDiskFilling
        rm "$work/a/filler"
        ends
    else
        say "left out: filling a disk needs root"
    fi

    say "codes are guessed"
    visit "$node_a" 'guess-[1-50]' 300 & local flood=$!
    pids+=("$flood")
    calls_and_nothing_else MerlinkUnknownCodeFlood
    kill "$flood"
    ends

    say "the collector of traces is killed while an officer's program works"
    work_with "$key" & pids+=($!)
    kill -9 "$collector_pid"
    calls_and_nothing_else MerlinkTracesLost
    start_collector
    ends
    say "all as the rules say"
}

# The world #########################################################################################

start_redis() {
    redis-server config/redis.conf --port "$redis" --dir "$work/redis" --daemonize no >"$work/redis.log" 2>&1 &
    redis_pid=$!
    pids+=("$redis_pid")
    until redis-cli -p "$redis" ping 2>/dev/null | grep -q PONG; do sleep 0.1; done
}

start_node() { # NAME PORT
    env MERLINK_DATA_DIR="$work/$1/data" MERLINK_PUBLIC__LISTEN="127.0.0.1:$2" MERLINK_OPERATOR__LISTEN="127.0.0.1:$(($2 + 2))" \
        MERLINK_REDIS__URL="redis://127.0.0.1:$redis" MERLINK_CLICKS__JOURNAL_BYTES_MAX=64MiB \
        MERLINK_TRACES__OTLP_URL="http://127.0.0.1:$collector/v1/traces" \
        "$merlink" serve >>"$work/$1.log" 2>&1 &
    printf -v "$1_pid" %s $!
    pids+=($!)
    until curl -sf -o /dev/null "http://127.0.0.1:$(($2 + 2))/readyz"; do sleep 0.1; done
}

# Takes all that it is sent.
start_collector() {
    python3 -c '
import http.server, sys
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Collector).serve_forever()' "$collector" 2>"$work/collector.log" &
    collector_pid=$!
    pids+=("$collector_pid")
}

# Some five requests a second to the API.
work_with() { # KEY
    while :; do
        curl -s -o /dev/null --rate 5/s "http://127.0.0.1:$node_a/api/v1/urls?limit=1&offset=[0-99]" -H "Authorization: Bearer $1" || sleep 0.2
    done
}

# Some 20 visits a second, if not said otherwise, for as long as the test lasts; a node that is away is tried again.
visit() { # PORT PATH [RATE]
    while :; do
        curl -s -o /dev/null --rate "${3:-20}/s" "http://127.0.0.1:$1/$2?[1-100]" 2>/dev/null || sleep 0.2
    done
}

start_prometheus() {
    # A thirtieth: a minute is two seconds, an hour two minutes.
    perl -pe 's/(\[|for: |interval: |offset )(\d+)([smhd])/$1 . thirtieth($2, $3)/ge; s/86400\)/2880)/;
        sub thirtieth { my ($n, $u) = @_; my %s = (s => 1, m => 60, h => 3600, d => 86400); my $v = int($n * $s{$u} / 30) || 1; "${v}s" }' \
        deploy/prometheus/merlink.rules.yml >"$work/merlink.rules.yml"
    cat >"$work/prometheus.yml" <<YML
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [merlink.rules.yml]
scrape_configs:
  - job_name: merlink
    static_configs: [{targets: ['127.0.0.1:$((node_a + 2))', '127.0.0.1:$((node_b + 2))']}]
YML
    promtool check config "$work/prometheus.yml" >/dev/null
    prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
        --web.listen-address="127.0.0.1:$prometheus" >"$work/prometheus.log" 2>&1 &
    pids+=($!)
    # Until its first look nothing was up, which a thirtieth of a minute takes for an outage.
    until [[ $(ask 'sum(up)') == *"=> 2 "* && -z $(firing) ]]; do sleep 0.5; done
}

ask() { promtool query instant "http://127.0.0.1:$prometheus" "$1" 2>/dev/null || true; }

firing() { ask 'ALERTS{alertstate="firing"}' | grep -o 'alertname="[^"]*"' | cut -d'"' -f2 | sort -u | xargs || true; }

# What is expected ##################################################################################

nothing_calls_for() { # SECONDS
    local end=$((SECONDS + $1)) now
    while ((SECONDS < end)); do
        now=$(firing)
        [[ -z $now ]] || fail "healthy, but $now calls"
        sleep 1
    done
}

calls_and_nothing_else() { # ALERT
    local begun=$SECONDS now
    until now=$(firing) && [[ $now == "$1" ]]; do
        [[ -z $now ]] || fail "$now calls instead of $1"
        ((SECONDS - begun < 90)) || fail "$1 doesn't call within 90 s"
        sleep 0.5
    done
    say "  $1 calls after $((SECONDS - begun)) s"
    # And it stays alone for as long as others would take to join.
    local end=$((SECONDS + 10))
    while ((SECONDS < end)); do
        now=$(firing)
        [[ $now == "$1" ]] || fail "besides $1: $now"
        sleep 1
    done
}

ends() {
    local begun=$SECONDS
    until [[ -z $(firing) ]]; do
        ((SECONDS - begun < 90)) || fail "$(firing) doesn't end within 90 s"
        sleep 0.5
    done
    say "  it ends $((SECONDS - begun)) s after the fault"
}

clean_up() {
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    [[ -z $mounted ]] || umount "$work/a" "$work/b"
    rm -rf "$work"
}

say() { printf 'test-alerts: %s\n' "$*"; }

fail() {
    say "FAILED: $*"
    ask 'ALERTS'
    exit 1
}

main "$@"
