#!/usr/bin/env bash
# Checks the deployment files: Kubernetes against its schemas and compose against its specification (by pip, into a folder of their own),
# compose by its client too, the unit by systemd, and nginx's HTTP/3 by an nginx that has it, where a machine has these. Says what it had to leave out. What make test checks isn't
# repeated here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

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
    "$venv/bin/kubernetes-validate" --quiet --strict -k 1.31 deploy/kubernetes/base/merlink.yaml
}

# Each overlay as kubectl makes it, with the component, whose kind is the Prometheus operator's and in no schema of Kubernetes.
kustomize() {
    local overlay folder made
    pip_has kubernetes-validate==1.37.0
    folder=$(mktemp -d)
    cp -r deploy/kubernetes "$folder/"
    for overlay in production small; do
        made=$folder/$overlay.yaml
        kubectl kustomize "deploy/kubernetes/overlays/$overlay" >"$made"
        "$venv/bin/kubernetes-validate" --quiet --strict -k 1.31 "$made"
        echo 'components: [../../components/monitoring]' >>"$folder/kubernetes/overlays/$overlay/kustomization.yaml"
        kubectl kustomize "$folder/kubernetes/overlays/$overlay" | grep -q '^kind: ServiceMonitor'
    done
    rm -rf "$folder"
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
    said=$(systemd-analyze verify deploy/systemd/merlink.service deploy/systemd/ports/merlink.socket 2>&1 | grep -v 'is not executable' || true)
    [[ -z $said ]] || { echo "$said"; return 1; }
    systemd-analyze security --offline=true --threshold=19 deploy/systemd/merlink.service | tail -n 1
}

# The site as its comments say it for HTTP/3: make test has it without. Certificate and logs are the folder's, so that anybody can run it.
nginx_with_http3() {
    local folder
    folder=$(mktemp -d)
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=go.agency.gov.sg \
        -keyout "$folder/privkey.pem" -out "$folder/fullchain.pem" 2>/dev/null
    {
        echo "pid $folder/pid; error_log stderr; events {} http {"
        sed -E "s/ ssl http2/ ssl/; s/^    # (http2 on|listen .*quic|add_header Alt-Svc|quic_retry)/    \1/; s#/etc/ssl/merlink#$folder#" \
            deploy/nginx/merlink.conf
        echo "}"
    } >"$folder/nginx.conf"
    grep -q '^    listen 443 quic' "$folder/nginx.conf" && nginx -q -t -c "$folder/nginx.conf"
}

check "Kubernetes" kubernetes
if kubectl kustomize --help >/dev/null 2>&1; then
    check "Kubernetes, each overlay" kustomize
else
    echo "left out: Kubernetes' overlays, no kubectl here"
fi
check "compose, by its specification" compose_by_specification
if docker compose version >/dev/null 2>&1; then
    check "compose, by its client" compose_by_client
else
    echo "left out: compose by its client, no docker compose here"
fi
if nginx -V 2>&1 | grep -q http_v3_module; then
    check "nginx with HTTP/3" nginx_with_http3
else
    echo "left out: nginx with HTTP/3, which this machine's hasn't"
fi
if command -v systemd-analyze >/dev/null; then check "systemd unit" unit; else echo "left out: the unit, no systemd-analyze here"; fi
exit $failed
