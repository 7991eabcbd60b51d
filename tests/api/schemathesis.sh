#!/usr/bin/env bash
# Invents requests by API v2's own document and compares each answer with it: `tests/api/with-server.sh tests/api/schemathesis.sh CASES`.
# About so many cases; the exact number is in the summary. They are the same each time; another SEED makes others. One worker:
# with two, Python 3.11 at times fails to parse in both at once ("AST constructor recursion depth mismatch").
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

cases=$1
operations=$(curl -s "$API_DOCUMENT" | grep -c '"operationId"')
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=. "$API_PYTHON/schemathesis" --config-file schemathesis.toml run "$API_DOCUMENT" \
    --url "$API_URL" --checks all --workers 1 --no-color \
    --max-examples $(((cases + operations - 1) / operations)) --continue-on-failure --seed "${SEED:-1}"
