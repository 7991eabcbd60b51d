#!/usr/bin/env bash
# Runs a command beside a new Merlink with its own Redis in a folder that goes away: `tests/api/with-server.sh COMMAND ...`.
# The command finds $API_URL (http://127.0.0.1:<port>/api/v2), $API_DOCUMENT, $API_KEY of an administrator, and $API_PYTHON,
# where the programs of requirements.txt are.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

merlink=${BINARY:-target/debug/merlink}
folder=$(mktemp -d)
server=""

stop() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    rm -rf "$folder"
}
trap stop EXIT

export MERLINK_DATA_DIR=$folder/data MERLINK_PUBLIC__LISTEN=127.0.0.1:0 MERLINK_OPERATOR__LISTEN=127.0.0.1:0
export MERLINK_LIMITS__API_PER_MINUTE=0 MERLINK_LIMITS__MISSES_PER_MINUTE=0
# Whatever address is invented may own links.
export MERLINK_OFFICERS__EMAIL_DOMAINS='*' MERLINK_OFFICERS__ADMINS=root@agency.gov.sg
"$merlink" serve 2>"$folder/log" &
server=$!

# Until it says that it listens, and Redis answers.
for _ in $(seq 200); do
    # One line says both. Read once: it may come between two looks.
    listening=$(grep '"message":"listening"' "$folder/log" || true)
    address=$(sed -n 's/.*"public.addr":"\([^"]*\)".*/\1/p' <<<"$listening")
    operator=$(sed -n 's/.*"operator.addr":"\([^"]*\)".*/\1/p' <<<"$listening")
    [ -n "$operator" ] && curl -sf "http://$operator/readyz" >/dev/null && break
    kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.1
done

API_KEY=$("$merlink" key create --owner root@agency.gov.sg --name test --scope links:read --scope links:write \
    --scope stats:read --scope keys:write --scope admin 2>/dev/null)
# The clients hand links to these, which takes officers whom the service knows.
for officer in py ts; do
    "$merlink" officer invite "$officer@iras.gov.sg" 2>/dev/null
done
export API_KEY API_URL="http://$address/api/v2" API_DOCUMENT="http://$address/api/v2/openapi.json"
export API_PYTHON="$PWD/tests/api/.venv/bin"

status=0
"$@" || status=$?
# That anybody may be an officer is meant here.
if grep -E '"level":"(WARN|ERROR)"|panicked' "$folder/log" | grep -v 'a setting is weak: environment MERLINK_OFFICERS__EMAIL_DOMAINS' >&2; then
    echo "the server's log has warnings" >&2
    status=1
fi
exit "$status"
