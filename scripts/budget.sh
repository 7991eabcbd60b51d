#!/usr/bin/env bash
# Counts the instructions of a redirect under callgrind (benches/budget.rs) and compares them with benches/budget.txt, which is committed:
# more than 3 % above fails. Instructions don't depend on who else uses the machine, but on what compiled them: with another toolchain
# than the budget's, the numbers are printed and nothing fails. `scripts/budget.sh --write` makes today's numbers the budget.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

budget=benches/budget.txt
visits=10000
percent_max=3

main() {
    local found merlink bare
    cargo bench --locked --bench budget --no-run
    # cargo says where the program is in JSON too; its last line of words is enough.
    program=$(cargo bench --locked --bench budget --no-run 2>&1 | sed -n 's/.*benches\/budget\.rs (\(.*\))$/\1/p')
    work=$(mktemp -d "${TMPDIR:-/tmp}/merlink-budget.XXXXXX")
    trap 'rm -rf "$work"' EXIT

    found=$(toolchain)
    merlink=$(instructions merlink)
    bare=$(instructions bare)
    say "a redirect takes $merlink instructions, a bare actix-web handler's answer $bare ($found)"
    if [[ ${1:-} == --write ]]; then
        printf '# Instructions of one redirect: scripts/budget.sh --write\n%s\nmerlink %s\nbare %s\n' "$found" "$merlink" "$bare" >"$budget"
    elif [[ $found != "$(sed -n 2p "$budget")" ]]; then
        say "not compared: the budget is for $(sed -n 2p "$budget")"
    else
        compare "$merlink" "$(sed -n 's/^merlink //p' "$budget")"
    fi
}

# What the numbers depend on. Valgrind shows programs a processor of its own, which has AVX2 when the machine has it.
toolchain() {
    local avx2="without AVX2"
    ! grep -qw avx2 /proc/cpuinfo || avx2="with AVX2"
    echo "$(rustc --version), glibc $(ldd --version | sed -n '1s/.* //p'), $(valgrind --version), $(uname -m) $avx2"
}

instructions() { # SUBJECT
    local log=$work/$1.log
    valgrind --tool=callgrind --callgrind-out-file="$work/$1.out" --toggle-collect='*budget::counted*' \
        "$program" "$1" "$visits" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    awk -v visits="$visits" '/Collected/ { printf "%.0f\n", $NF / visits }' "$log"
}

compare() { # FOUND BUDGET
    if awk -v found="$1" -v budget="$2" -v max="$percent_max" 'BEGIN { exit !(found > budget * (1 + max / 100)) }'; then
        say "that is more than $percent_max % above the budget of $2. If it is worth it, run scripts/budget.sh --write and say why"
        exit 1
    elif awk -v found="$1" -v budget="$2" -v max="$percent_max" 'BEGIN { exit !(found < budget * (1 - max / 100)) }'; then
        say "that is more than $percent_max % below the budget of $2: keep it with scripts/budget.sh --write"
    fi
}

say() {
    printf 'merlink budget: %s\n' "$*" >&2
}

main "$@"
