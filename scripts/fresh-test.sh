#!/usr/bin/env bash
# Follows the README on a fresh Debian 12 that has Rust, make, git and curl and nothing else: `make run` and its tour, `make test`, and then
# `make test-all`, `make lint` and `make deb`. What this machine has installed can't hide a missing step, because the steps run in a chroot of their own.
#
# Needs root, debootstrap, a Rust toolchain to lend, some 8 GB below $FRESH_DIR, and half an hour on two cores. Prints the times for the README.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

FRESH_DIR=${FRESH_DIR:-target/fresh}
STEPS=${STEPS:-run tour test all lint deb}
PACKAGES=make,git,curl,procps,ca-certificates

main() {
    [ "$(id -u)" = 0 ] || fail "a chroot takes root: sudo make fresh-test"
    command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
    root=$(mkdir -p "$FRESH_DIR" && cd "$FRESH_DIR" && pwd)/debian
    trap unmount EXIT
    unmount
    rm -rf "$root"
    say "debootstrap"
    debootstrap --variant=minbase --include="$PACKAGES" bookworm "$root" "$(debian_mirror)" >"$root.log" 2>&1 || fail "debootstrap failed: $root.log"
    lend_this_machine
    git clone -q . "$root/home/merlink"
    for step in $STEPS; do
        seconds=$SECONDS
        "step_$step"
        say "$step took $((SECONDS - seconds)) s"
    done
    say "disk: $(du -sh "$root/home/merlink" | cut -f1) for the clone and its build"
    say "packages: $(inside dpkg-query -f '.\n' -W | wc -l) in all"
}

# The README's steps ###############################################################################

step_run() {
    inside make run >"$root.run.log" 2>&1 &
    running=$!
    until curl -sf -o /dev/null http://127.0.0.1:8080/robots.txt; do
        kill -0 "$running" 2>/dev/null || fail "make run ended: $root.run.log"
        sleep 1
    done
}

# The shell blocks of the tour, as they stand, in the folder of the clone. Blocks that need a person's browser aren't shell blocks.
step_tour() {
    awk '/^## A tour/ { tour = 1; next } /^## / { tour = 0 } tour && /^```sh/ { block = 1; next } /^```/ { block = 0 } tour && block' \
        README.md >"$root/home/tour.sh"
    # The console's password is mailed to who logs in with a browser.
    sed -i '/data\/outbox/d' "$root/home/tour.sh"
    inside bash -euo pipefail /home/tour.sh >"$root.tour.log" 2>&1 || fail "the tour failed: $root.tour.log"
    for expected in '"shortUrl":"passport"' 'HTTP/1.1 302 Found' '"status":"not ready"' '^410$'; do
        grep -q "$expected" "$root.tour.log" || fail "the tour didn't print $expected: $root.tour.log"
    done
    interrupt_merlink
    wait "$running" || fail "make run didn't end well: $root.run.log"
}

# The one in the chroot: its processes are seen beside this machine's own.
interrupt_merlink() {
    for process in $(pgrep -x merlink); do
        [ "$(readlink "/proc/$process/root")" != "$root" ] || kill -INT "$process"
    done
}

step_test() {
    inside make test >"$root.test.log" 2>&1 || fail "make test failed: $root.test.log"
}

# What `make test` skipped and named, with what it needs.
step_all() {
    grep -q '^Skipped' "$root.test.log" || fail "make test skipped nothing on a machine without a browser: $root.test.log"
    inside make test-all >"$root.all.log" 2>&1 || fail "make test-all failed: $root.all.log"
    ! grep -q '^Skipped' "$root.all.log" || fail "make test-all skipped something: $root.all.log"
}

step_lint() {
    inside make lint >"$root.lint.log" 2>&1 || fail "make lint failed: $root.lint.log"
}

step_deb() {
    inside make deb >"$root.deb.log" 2>&1 || fail "make deb failed: $root.deb.log"
    inside sh -c 'dpkg-deb --field target/debian/merlink_*.deb Depends' | grep -q libc6 ||
        fail "the package doesn't name the C library among its dependencies"
    # Settings that were edited outlast an upgrade, and no question is asked.
    inside sh -eu -c 'export DEBIAN_FRONTEND=noninteractive
        apt-get -q -y install ./target/debian/merlink_*.deb
        echo "# edited" >>/etc/merlink/merlink.toml
        dpkg -i target/debian/merlink_*.deb
        tail -n 1 /etc/merlink/merlink.toml | grep -q "# edited"
        merlink check --settings --config /etc/merlink/merlink.toml
        test -s /usr/share/man/man1/merlink-check.1.gz && test -s /usr/share/bash-completion/completions/merlink
        dpkg --purge merlink && ! test -e /etc/merlink' </dev/null >"$root.package.log" 2>&1 || fail "the package can't be used: $root.package.log"
}

# The machine ######################################################################################

# Processes, devices, the toolchain, and the ways to package registries: settings of apt, pip, npm and cargo, certificates, the resolver.
lend_this_machine() {
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --make-rslave "$root/dev"
    mkdir -p "$root/usr/local/rust" "$root/root/.cargo"
    mount --bind "$(rustc --print sysroot)" "$root/usr/local/rust"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    # An installer writes it, debootstrap doesn't.
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    for settings in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/pip.conf /etc/npmrc /etc/ssl/certs \
        /usr/local/share/ca-certificates ~/.cargo/config.toml ~/.npmrc ~/.config/pip; do
        [ ! -e "$settings" ] || { rm -rf "$root$settings" && mkdir -p "$root$(dirname "$settings")" && cp -rL "$settings" "$root$(dirname "$settings")/"; }
    done
}

# Runs a command in the clone, on the fresh machine, with this one's ways to registries and none of its programs.
inside() {
    env -i HOME=/root PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        $(env | grep -E '^(https?_proxy|no_proxy|HTTPS?_PROXY|NO_PROXY|PIP_|npm_config_|NPM_CONFIG_|CARGO_(HTTP|NET|REGISTRIES|SOURCE)|SSL_CERT|NODE_EXTRA_CA|REQUESTS_CA|CURL_CA)[A-Za-z_]*=[^[:space:]]*$' || true) \
        chroot "$root" sh -c 'cd /home/merlink && exec "$@"' sh "$@"
}

debian_mirror() {
    sed -nE 's/^deb (\[[^]]*\] )?([^ ]+).*/\2/p; s/^URIs: ([^ ]+).*/\1/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        grep -v security | head -n 1
}

unmount() {
    [ -z "${running:-}" ] || kill "$running" 2>/dev/null || true
    for place in proc dev usr/local/rust; do
        mountpoint -q "$root/$place" 2>/dev/null && umount -R -l "$root/$place" || true
    done
}

say() {
    printf 'fresh-test: %s\n' "$*"
}

fail() {
    say "$*" >&2
    exit 1
}

main "$@"
