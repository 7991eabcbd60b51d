#!/usr/bin/env bash
# Checks the deployment files with what a machine has for it: Kubernetes against its schemas (kubernetes-validate, by pip into a folder of
# its own), compose by its client, the unit by systemd. Says what it had to leave out. What make test checks isn't repeated here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0

check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@"; then echo "ok: $what"; else echo "FAILED: $what"; failed=1; fi
}

kubernetes() {
    local venv=target/validate
    [[ -x $venv/bin/kubernetes-validate ]] || {
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate==1.37.0
    }
    "$venv/bin/kubernetes-validate" --quiet --strict -k 1.31 deploy/kubernetes/*.yaml
}

compose() {
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
if docker compose version >/dev/null 2>&1; then check "compose" compose; else echo "left out: compose, no docker compose here"; fi
if command -v systemd-analyze >/dev/null; then check "systemd unit" unit; else echo "left out: the unit, no systemd-analyze here"; fi
exit $failed
