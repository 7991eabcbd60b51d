#!/usr/bin/env bash
# Measures what a redirect costs: Merlink, whole (clicks counted, its own Redis running), beside nginx with a bare
# `return 302`, which looks nothing up, counts nothing and keeps nothing. Prints a Markdown table.
#
# Both have one worker and core 0 to themselves, wrk has core 1, and they take turns, so that a noisy neighbour meets
# both. Two visitors: a program (curl) and a browser with a cookie. Numbers are medians over the turns; compare only
# those of one run. CPU is what the kernel charged to the process (/proc/PID/stat) while wrk ran.
#
# BENCH_TURNS (5), BENCH_SECONDS (10), BENCH_CONNECTIONS (64), BENCH_PORT (18080, and the two after it) change it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin"

turns=${BENCH_TURNS:-5}
seconds=${BENCH_SECONDS:-10}
connections=${BENCH_CONNECTIONS:-64}
public_port=${BENCH_PORT:-18080}
operator_port=$((public_port + 1))
nginx_port=$((public_port + 2))

merlink=$PWD/target/release/merlink
target='https://www.example.gov.sg/services/a-page-of-usual-length?language=en'
curl_agent='curl/8.5.0'
browser_agent='Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0'
browser_agent+=' Safari/537.36'
cookie='session=8f14e45fceea167a5a36dedd4bea2543; language=en'

main() {
    [[ -x $merlink ]] || fail "there is no $merlink: run make build"
    work=$(mktemp -d "${TMPDIR:-/tmp}/merlink-bench.XXXXXX")
    started=()
    trap stop_all EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    choose_cores
    for port in "$public_port" "$operator_port" "$nginx_port"; do
        ! answers "$port" / || fail "port $port is taken: set BENCH_PORT"
    done
    start_merlink
    start_nginx

    say "warming up"
    for server in merlink nginx; do
        load "$server" curl 2 >/dev/null
    done
    for ((turn = 1; turn <= turns; turn++)); do
        say "turn $turn of $turns"
        for visitor in curl browser; do
            # Who goes first changes with each turn.
            if ((turn % 2)); then order="merlink nginx"; else order="nginx merlink"; fi
            for server in $order; do
                measure "$server" "$visitor"
            done
        done
    done
    print_table
}

# The servers ########################################################################################

choose_cores() {
    server_core=() client_core=()
    if (($(nproc) >= 2)); then
        server_core=(taskset -c 0) client_core=(taskset -c 1)
        pinning="server on core 0, wrk on core 1"
    else
        pinning="NOT pinned: this machine has one core, so wrk takes its time from the server"
        say "$pinning"
    fi
}

start_merlink() {
    export MERLINK_DATA_DIR=$work/data
    export MERLINK_PUBLIC__LISTEN=127.0.0.1:$public_port
    export MERLINK_PUBLIC__BASE_URL=http://localhost:$public_port
    export MERLINK_PUBLIC__WORKERS=1
    export MERLINK_OPERATOR__LISTEN=127.0.0.1:$operator_port
    export MERLINK_REDIRECT__TRANSITION_PAGE=never
    unset MERLINK_REDIS__URL
    "${server_core[@]}" "$merlink" serve >"$work/merlink.log" 2>&1 &
    merlink_pid=$!
    started+=("$merlink_pid")
    wait_for "$operator_port" /readyz "$merlink_pid" "$work/merlink.log"

    local key code=bench
    key=$("$merlink" key create --owner bench@bench.gov.sg 2>"$work/key.log") ||
        fail "merlink key create failed: $(tail -n 1 "$work/key.log")"
    curl -sS -o "$work/created" -w '%{http_code}' -X POST "http://127.0.0.1:$public_port/api/v1/urls" \
        -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \
        -d "{\"longUrl\":\"$target\",\"shortUrl\":\"$code\"}" >"$work/status"
    [[ $(<"$work/status") == 200 ]] || fail "the link could not be created: $(<"$work/status") $(<"$work/created")"
    redirects_well "$public_port"
}

start_nginx() {
    local user=""
    [[ $(id -u) != 0 ]] || user="user root;"
    cat >"$work/nginx.conf" <<CONF
daemon off;
$user
worker_processes 1;
pid $work/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    server_tokens off;
    # The default closes a connection after 1000 requests, which would measure connecting.
    keepalive_requests 1000000000;
    client_body_temp_path $work/nginx-body;
    proxy_temp_path $work/nginx-proxy;
    fastcgi_temp_path $work/nginx-fastcgi;
    uwsgi_temp_path $work/nginx-uwsgi;
    scgi_temp_path $work/nginx-scgi;
    server {
        listen 127.0.0.1:$nginx_port;
        location = /bench { return 302 $target; }
        location / { return 404; }
    }
}
CONF
    "${server_core[@]}" nginx -c "$work/nginx.conf" -e stderr >"$work/nginx.log" 2>&1 &
    nginx_pid=$!
    started+=("$nginx_pid")
    wait_for "$nginx_port" /bench "$nginx_pid" "$work/nginx.log"
    redirects_well "$nginx_port"
}

wait_for() { # PORT PATH PID LOG
    for ((i = 0; i < 200; i++)); do
        ! answers "$1" "$2" || return 0
        kill -0 "$3" 2>/dev/null || fail "it ended instead of answering: $(tail -n 3 "$4")"
        sleep 0.05
    done
    fail "no answer on port $1 after 10 s: $(tail -n 3 "$4")"
}

answers() { # PORT PATH
    curl -sf -o /dev/null --max-time 1 "http://127.0.0.1:$1$2"
}

redirects_well() { # PORT
    local agent got
    for agent in "$curl_agent" "$browser_agent"; do
        got=$(curl -s -o /dev/null -w '%{http_code} %{redirect_url}' -A "$agent" "http://127.0.0.1:$1/bench")
        [[ $got == "302 $target" ]] || fail "port $1 answered '$got' to $agent, not a redirect to the target"
    done
}

stop_all() {
    local pid
    for pid in "${started[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in "${started[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}

# The measuring ######################################################################################

# Appends "requests/s, CPU in us a request, of which in child processes" to the pair's file.
measure() { # SERVER VISITOR
    local pid before after result requests rate
    if [[ $1 == merlink ]]; then pid=$merlink_pid; else pid=$nginx_pid; fi
    before=$(cpu_ticks "$pid")
    result=$(load "$1" "$2" "$seconds")
    after=$(cpu_ticks "$pid")
    read -r requests rate <<<"$result"
    awk -v before="$before" -v after="$after" -v hz="$(getconf CLK_TCK)" -v n="$requests" -v rate="$rate" 'BEGIN {
        split(before, b); split(after, a)
        own = (a[1] - b[1]) / hz * 1e6 / n
        children = (a[2] - b[2]) / hz * 1e6 / n
        printf "%.0f %.1f %.1f\n", rate, own + children, children
    }' >>"$work/$1.$2"
}

# Prints requests and requests/s, and fails when anything but redirects came back.
load() { # SERVER VISITOR SECONDS
    local port=$nginx_port headers=(-H "User-Agent: $curl_agent")
    [[ $1 != merlink ]] || port=$public_port
    [[ $2 != browser ]] || headers=(-H "User-Agent: $browser_agent" -H "Cookie: $cookie"
        -H "Accept: text/html,application/xhtml+xml,*/*;q=0.8" -H "Accept-Language: en-SG,en;q=0.9")
    "${client_core[@]}" wrk -t1 -c"$connections" -d"${3}s" "${headers[@]}" "http://127.0.0.1:$port/bench" \
        >"$work/wrk" 2>&1 || fail "wrk failed: $(<"$work/wrk")"
    ! grep -qE 'Non-2xx or 3xx|Socket errors' "$work/wrk" || fail "errors under load from $1: $(<"$work/wrk")"
    awk '/requests in/ { n = $1 } /^Requests\/sec/ { rate = $2 } END { print n, rate }' "$work/wrk"
}

# "own children": clock ticks, all threads, spent so far by the process and by the processes that it started.
cpu_ticks() { # PID
    local own children=0 child
    own=$(ticks_of "$1")
    # shellcheck disable=SC2013 # words are what it holds
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
        children=$((children + $(ticks_of "$child")))
    done
    echo "$own $children"
}

# utime and stime, the 14th and 15th field; the second may hold spaces, so count from its closing bracket.
ticks_of() { # PID
    local stat
    stat=$(</proc/"$1"/stat)
    # shellcheck disable=SC2086 # a list of words
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

# The table ##########################################################################################

print_table() {
    local visitor
    cat <<HEAD

Redirects, Merlink beside nginx, $(date -u +%Y-%m-%d): $(cpu_model), Linux $(uname -r),
$("$merlink" --version), $(nginx -v 2>&1 | sed 's/.*: //'), wrk -t1 -c$connections -d${seconds}s, medians of $turns turns,
$pinning. Command: \`make bench\`.

| visitor | server | requests/s | lowest to highest | of nginx's | CPU µs a request | of which Redis |
|---|---|---:|---:|---:|---:|---:|
HEAD
    for visitor in curl browser; do
        row merlink "$visitor"
        row nginx "$visitor"
    done
}

row() { # SERVER VISITOR
    local rates visitor=$2 redis=-
    rates=$(cut -d' ' -f1 "$work/$1.$2" | sort -n)
    [[ $2 == curl ]] || visitor="browser, with cookie"
    # Merlink's one child is its Redis, which takes the counts; nginx's is its worker.
    [[ $1 == nginx ]] || redis=$(median 3 "$1.$2")
    printf '| %s | %s | %s | %s to %s | %s | %s | %s |\n' "$visitor" "$1" "$(median 1 "$1.$2")" \
        "$(head -n 1 <<<"$rates")" "$(tail -n 1 <<<"$rates")" \
        "$(awk -v a="$(median 1 "$1.$2")" -v b="$(median 1 "nginx.$2")" 'BEGIN { printf "%.0f %%", a / b * 100 }')" \
        "$(median 2 "$1.$2")" "$redis"
}

cpu_model() {
    sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1
}

median() { # COLUMN FILE
    cut -d' ' -f"$1" "$work/$2" | sort -n |
        awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

say() {
    printf 'merlink bench: %s\n' "$*" >&2
}

fail() {
    say "$@"
    exit 1
}

main "$@"
