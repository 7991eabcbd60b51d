#!/usr/bin/env bash
# 5,000 silent connections and 500 slow ones (slowhttptest: half of them slow heads, half slow bodies for the API), and what the others notice:
# wrk asks one link over and over on two connections, first alone, then beside them. `make slow-clients` builds what this runs and measures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

merlink=${MERLINK:-$PWD/target/release/merlink}
idle=${IDLE:-5000} slow=${SLOW:-500} seconds=${SECONDS_EACH:-20}
ulimit -n "$(ulimit -Hn)"

folder=$(mktemp -d)
children=()
finish() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

# All of them come from one address here.
MERLINK_PUBLIC__LISTEN=127.0.0.1:0 MERLINK_OPERATOR__LISTEN=127.0.0.1:0 MERLINK_DATA_DIR=$folder/data \
    MERLINK_PUBLIC__CONNECTIONS_PER_ADDRESS_MAX=0 \
    "$merlink" serve 2>"$folder/log" &
children+=($!)
listening() { sed -n "s/.*\"message\":\"listening\".*\"$1.addr\":\"\([^\"]*\)\".*/\1/p" "$folder/log"; }
until [[ -n $(listening public) ]]; do kill -0 "${children[0]}"; sleep 0.1; done
public=$(listening public) operator=$(listening operator)
key=$(MERLINK_DATA_DIR=$folder/data "$merlink" key create --owner you@agency.gov.sg 2>/dev/null)
curl -sf -o /dev/null "http://$public/api/v1/urls" -H "Authorization: Bearer $key" \
    --json '{"shortUrl": "form", "longUrl": "https://example.com/form"}'
curl -s -o /dev/null "http://$public/form"

metric() { curl -s "http://$operator/metrics" | sed -n "s/^$1 \(.*\)/\1/p"; }
connections() { metric merlink_public_connections; }
memory() { metric process_resident_memory_bytes | awk '{ printf "%.1f MB", $1 / 1e6 }'; }
measure() {
    echo "$1:"
    wrk -t1 -c2 -d"${seconds}s" --latency "http://$public/form" | grep -E '50%|99%|Requests/sec|Non-2xx|Socket'
    printf '  API, 200 requests: '
    curl -s -o /dev/null -w '%{time_total} %{http_code}\n' "http://$public/api/v1/urls?limit=1&offset=[1-200]" \
        -H "Authorization: Bearer $key" | sort -n | awk '{ times[NR] = $1; codes[$2]++ } END {
        printf "p50 %.1f ms, p99 %.1f ms;", times[int(NR / 2)] * 1000, times[int(NR * 0.99)] * 1000
        for (code in codes) printf " %s: %d", code, codes[code]; print "" }'
}

measure "alone"
echo "memory: $(memory)"

# Each asks once and is silent from then on; after 75 s it would be given up.
python3 - "$public" "$idle" <<'IDLE' &
import socket, sys, time
host, port = sys.argv[1].split(":")
held = []
for _ in range(int(sys.argv[2])):
    held.append(socket.create_connection((host, int(port))))
    held[-1].sendall(b"GET /form HTTP/1.1\r\nHost: go.example\r\n\r\n")
    held[-1].recv(4096)
time.sleep(3600)
IDLE
children+=($!)
until (($(connections) >= idle)); do sleep 0.2; done
echo "connections: $(connections), memory: $(memory)"
slow() { # HOW... : slowhttptest, in the background
    slowhttptest -c $((slow / 2)) -r $((slow / 2)) -i 1 -l $((seconds * 2 + 30)) -p 3 "$@" >/dev/null 2>&1 &
    children+=($!)
}
slow -H -u "http://$public/form"
slow -B -s 8192 -t POST -f application/json -u "http://$public/api/v1/urls"
until (($(connections) >= idle + slow / 2)); do kill -0 "${children[@]: -2}"; sleep 0.2; done
echo "connections: $(connections), memory: $(memory)"
measure "beside $idle silent and $slow slow ones"
echo "connections: $(connections), memory: $(memory)"
