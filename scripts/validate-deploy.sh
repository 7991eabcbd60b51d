#!/usr/bin/env bash
# Checks the deployment files: Kubernetes against its schemas and compose against its specification (by pip, into a folder of their own),
# compose by its client too and the unit by systemd where a machine has these. Says what it had to leave out. What make test checks isn't
# repeated here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0

check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; failed=1; fi
}

venv=target/validate

# PACKAGE=VERSION...
pip_has() {
    [[ -x $venv/bin/pip ]] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
}

kubernetes() {
    pip_has kubernetes-validate==1.37.0
    "$venv/bin/kubernetes-validate" --quiet --strict -k 1.31 deploy/kubernetes/*.yaml
}

# Every name and value that the specification doesn't know is refused. Merges (`<<`) are YAML's and no business of the specification, so they are
# resolved first, as compose does.
compose_by_specification() {
    pip_has compose-spec==0.2.1 pyyaml==6.0.3
    "$venv/bin/python" -c 'import json, sys, yaml; from compose_spec import PyCompose
PyCompose.from_json(json.dumps(yaml.safe_load(sys.stdin)))' <deploy/compose.yaml
}

compose_by_client() {
    REDIS_PASSWORD=x GRAFANA_PASSWORD=x docker compose -f deploy/compose.yaml config --quiet
}

# Of `verify` only what is about the file: whether /usr/bin/merlink is there is this machine's affair.
unit() {
    local said
    said=$(systemd-analyze verify deploy/systemd/merlink.service 2>&1 | grep -v 'is not executable' || true)
    [[ -z $said ]] || { echo "$said"; return 1; }
    systemd-analyze security --offline=true --threshold=19 deploy/systemd/merlink.service | tail -n 1
}

check "Kubernetes" kubernetes
check "compose, by its specification" compose_by_specification
if docker compose version >/dev/null 2>&1; then
    check "compose, by its client" compose_by_client
else
    echo "left out: compose by its client, no docker compose here"
fi
if command -v systemd-analyze >/dev/null; then check "systemd unit" unit; else echo "left out: the unit, no systemd-analyze here"; fi
exit $failed
