#!/usr/bin/env bash
# Makes clients of API v2's document as officers' programmers would, changes nothing in them, and works with them:
# `tests/api/with-server.sh tests/api/clients.sh`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
document=$PWD/../../docs/openapi.json
made=$PWD/.clients
rm -rf "$made"
mkdir "$made"

echo "Python, by openapi-python-client"
# It asks for ruff, which tidies what it makes.
PATH="$API_PYTHON:$PATH" openapi-python-client generate --path "$document" --output-path "$made/python" >"$made/python.log" 2>&1 ||
    { cat "$made/python.log"; exit 1; }
# What it doesn't know: files in a batch, and pictures. Their operations are there without.
if grep -E '^(Unsupported|Cannot parse|ERROR|Unable)' "$made/python.log" |
    grep -vE '^Unsupported content type (application/x-ndjson|text/csv)$|Unsupported content_type image/svg\+xml, image/png'; then
    echo "the generator leaves out more than it did" >&2
    exit 1
fi
PYTHONPATH=$made/python "$API_PYTHON/python" clients.py

echo "TypeScript, by openapi-typescript, with openapi-fetch"
node_modules/.bin/openapi-typescript "$document" --output "$made/schema.d.ts" >"$made/typescript.log" 2>&1 ||
    { cat "$made/typescript.log"; exit 1; }
cp clients.mts "$made/"
node_modules/.bin/tsc --strict --target es2022 --module nodenext --lib es2022,dom,dom.iterable "$made/clients.mts"
node "$made/clients.mjs"
