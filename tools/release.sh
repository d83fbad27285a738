#!/bin/sh
# A release, from a clean tag: tests, wheels, sdist, Debian packages, checksums, a bill
# of materials, the changelog's section and a table of what was run on what.
#
#   sh tools/release.sh OUT             the tag at HEAD is vVERSION, the tree is clean
#   sh tools/release.sh OUT --dry-run   whatever is committed, without the long tests
#   sh tools/release.sh OUT --no-tests WHY   all but the tests; WHY stands in the table
#   sh tools/release.sh OUT --no-clean WHY   all but installations in clean systems
#   sh tools/release.sh OUT --no-arm WHY     all but those of ARM under qemu-user
#   sh tools/release.sh OUT --no-guests WHY  all but booted Debians under qemu
#
# docs/packages.md says how a release is made.  Needs what tools/test.sh needs, and debhelper, gcc-aarch64-linux-gnu, qemu-user-static;
# as root with debootstrap, the packages' lives in clean systems and in a booted guest
# are run, too; with buildah the image.  What was not run stands in OUT/TABLE.md as such.
# OUT/.work has what each step printed.
set -eu
cd "$(dirname "$0")/.."
. tools/say.sh
usage="usage: release.sh OUT [--dry-run] [--no-tests|--no-clean|--no-arm|--no-guests WHY]..."
out=${1:?$usage}
shift
dry=
untested=
cleanless=
armless=
bootless=
while [ $# != 0 ]; do
    case $#-$1 in
    *---dry-run) dry=1 untested=--dry-run ;;
    1-*) echo "$usage" >&2; exit 2 ;;
    *---no-tests) untested=$2; shift ;;
    *---no-clean) cleanless=$2; shift ;;
    *---no-arm) armless=$2; shift ;;
    *---no-guests) bootless=$2; shift ;;
    *) echo "$usage" >&2; exit 2 ;;
    esac
    shift
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' edgestem/version.py)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
table=$out/TABLE.md
work=$out/.work
failed=

refuse() {
    [ -n "$dry" ] || { echo "release: $*" >&2; exit 1; }
    say "in earnest this would stop: $*"
}
[ -z "$(git status --porcelain)" ] || refuse "the tree is not clean: commit or stash"
[ "$(git describe --exact-match --tags 2>/dev/null)" = "v$version" ] ||
    refuse "HEAD is not tagged v$version: git tag v$version"
case $version in *dev*) refuse "$version is a version in the making" ;; esac
# The changelog's first section: this version's, with its day; a candidate has none yet.
final=$(echo "$version" | sed 's/\.\{0,1\}\(dev\|a\|b\|rc\)[0-9]*$//')
title=$(grep -m 1 "^## " CHANGELOG.md)
case $title in
"## $final ("20??-??-??")") ;;
"## $final (unreleased)") [ "$final" != "$version" ] ||
    refuse "CHANGELOG.md says that $final is unreleased: write its day there" ;;
*) refuse "CHANGELOG.md begins with $title, not with $final" ;;
esac
[ -z "$(ls "$out"/edgestem[-_]* 2>/dev/null)" ] ||
    { echo "release: $out holds another release already" >&2; exit 1; }

# row WHAT WHERE RESULT: one line of the table.
row() { echo "| $1 | $2 | $3 |" >>"$table"; }
# run WHAT WHERE COMMAND...: run it and remember how it went; its output is kept.
run() {
    what=$1
    where=$2
    shift 2
    say "$what ($where)"
    log=$work/$(echo "$what $where" | tr -c 'a-zA-Z0-9\n' _).log
    before=$(date +%s)
    if "$@" >"$log" 2>&1 </dev/null; then
        row "$what" "$where" "passed, $(($(date +%s) - before)) s"
    else
        row "$what" "$where" "FAILED ($?)"
        failed="$failed $what ($where);"
        tail -n 15 "$log"
    fi
}
unrun() { say "not run: $1 ($2): $3"; row "$1" "$2" "unrun: $3"; }

# What is missing is said now, not after an hour.
missing=
for pair in dh:debhelper qemu-aarch64-static:qemu-user-static; do
    command -v ${pair%:*} >/dev/null || missing="$missing ${pair#*:}"
done
aarch64-linux-gnu-gcc -E -include stdlib.h - </dev/null >/dev/null 2>&1 ||
    missing="$missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
[ -z "$missing" ] || refuse "apt-get install$missing"

mkdir -p "$work"
{
    echo "# edgestem $version: what was run on what"
    echo
    echo "$(git describe --always --dirty --tags), $(date -u -d "@$SOURCE_DATE_EPOCH" +%F);" \
        "built on $(uname -m), $(python3 --version)."
    echo
    echo "| what | where | result |"
    echo "|---|---|---|"
} >"$table"

here="$(uname -m), $(python3 --version)"
for tier in fast whole train; do
    if [ -n "$untested" ]; then
        unrun "tests: $tier" "$here" "$untested"
    else
        run "tests: $tier" "$here" sh tools/test.sh $tier
    fi
done
run "sdist and wheels, twice, same bytes" "x86_64, aarch64" sh tools/ci/wheels.sh "$out"
set -- "$out"/edgestem-*x86_64.whl
[ -e "$1" ] || { say "FAILED:$failed nothing to pack"; exit 1; }
run "installed from the wheel" "$here" sh -c "python3 -m venv '$work/venv' &&
    '$work/venv/bin/pip' install -q -c tools/constraints.txt '$1' &&
    '$work/venv/bin/pip' check && cd '$work' &&
    venv/bin/edgestem separate '$PWD/examples/song.ogg' -o out --force &&
    venv/bin/edgestem verify out/song '$PWD/examples/song.ogg'"
PYTHON=$work/venv/bin/python
export PYTHON
run "one second of song, bits compared" "aarch64, qemu-user" \
    sh tools/ci/wheel_arm.sh "$out"/edgestem-*aarch64.whl "$work/arm"
for release in bookworm trixie; do
    for machine in x86_64 aarch64; do
        run "Debian package" "$release, $machine" \
            sh tools/ci/deb.sh "$out"/edgestem-*$machine.whl "$out" $release
    done
done
# unless WHY WHAT WHERE COMMAND...: run it if there is no reason not to.
unless() {
    why=$1
    shift
    if [ -n "$why" ]; then
        unrun "$1" "$2" "$why"
    else
        run "$@"
    fi
}
# reason ARCH: why clean systems of this machine are left out; or nothing.
reason() { echo "${cleanless:-$([ "$1" = amd64 ] || echo "$armless")}"; }
# clean WAY FILE RELEASE/ARCH WHERE: an installation in a clean system.
clean() {
    unless "$(reason "${3#*/}")" "installed: $1" "$4" \
        sh tools/ci/clean.sh "$1" "$2" "$3" "$work/clean"
}
# lives NUMBER ARCH: of a Debian package.
lives() {
    base=$work/clean/base-$([ "$1" = 12 ] && echo bookworm || echo trixie)-$2
    unless "$(reason "$2")" "install, upgrade, remove, purge" "Debian $1, $2" \
        sh tools/ci/deb_life.sh "$out"/edgestem_*deb$1_$2.deb "$base" "$work/life"
}
if [ -n "$dry" ] || [ "$(id -u)" != 0 ]; then
    why=${dry:+--dry-run}
    unrun "in clean systems" "Debian 12, 13, sid; amd64, arm64, armhf" "${why:-not root}"
    unrun "booted: activation, reload, SIGKILL, watchdog" "Debian" "${why:-not root}"
    unrun "booted: the player" "Debian" "${why:-not root}"
else
    wheel=$1
    sdist=$(echo "$out"/edgestem-*.tar.gz)
    clean wheel "$wheel" bookworm/amd64 "Debian 12, amd64"
    clean wheel "$wheel" trixie/amd64 "Debian 13, amd64"
    clean wheel "$wheel" sid/amd64 "Debian sid, amd64"
    clean pipx "$wheel" trixie/amd64 "Debian 13, amd64"
    clean sdist "$sdist" bookworm/amd64 "Debian 12, amd64"
    clean sdist "$sdist" bookworm/armhf "Debian 12, armhf, qemu-user"
    clean wheel "$(echo "$out"/edgestem-*aarch64.whl)" bookworm/arm64 \
        "Debian 12, arm64, qemu-user"
    for machine in amd64 arm64; do
        lives 12 $machine
        lives 13 $machine
    done
    if [ -n "$cleanless" ] || command -v buildah >/dev/null; then
        unless "$cleanless" "OCI image" "Debian 13, amd64" sh tools/ci/image.sh \
            "$out"/edgestem_*deb13_amd64.deb "$work/clean/base-trixie-amd64" "$work/image"
    else
        unrun "OCI image" "Debian 13, amd64" "no buildah here"
    fi
    how=${EDGESTEM_KVM:+, KVM}
    for number in 12 13; do
        unless "$bootless" "booted: activation, reload, SIGKILL, watchdog" \
            "Debian $number, amd64$how" sh tools/ci/guest.sh \
            "$out"/edgestem_*deb${number}_amd64.deb "$work/guest"
    done
    unless "$bootless" "booted: the player" "Debian 12, amd64$how" \
        sh tools/ci/guest.sh "$out"/edgestem_*deb12_amd64.deb "$work/guest" play
fi
unrun "a board" "Raspberry Pi 3, 4, 5" "none at hand"

say "papers"
awk '/^## /{n++} n==1' CHANGELOG.md >"$out/CHANGES.md"
set -- "$out"/edgestem[-_]*
"$PYTHON" -m tools.ci.sbom "$@" >"$out/edgestem-$version.cdx.json"
(cd "$out" && sha256sum edgestem[-_]* CHANGES.md TABLE.md >SHA256SUMS)
cat "$out/SHA256SUMS"
[ -z "$failed" ] || { say "FAILED:$failed"; exit 1; }
say "done${dry:+, a dry run}: $out"
