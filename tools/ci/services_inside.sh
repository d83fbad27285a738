# Installs, checks and removes every service of an installation; sourced by
# clean_inside.sh and deb_inside.sh, which have `say`, `fail`, `quiet`, and a user pi.

# as_pi COMMAND...: an ordinary user.
as_pi() { runuser -u pi -- env HOME=/home/pi PATH="$PATH" "$@"; }

# exposure UNIT: what systemd-analyze says of it, offline.
exposure() {
    systemd-analyze security --offline=true --no-pager "$1" 2>/dev/null |
        sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]* [A-Z]*\).*/\1/p'
}

# services PROGRAM HOW: one line for each, `unit: HOW, KIND, SCOPE: EXPOSURE`.
services() {
    say "its services"
    quiet apt-get -q install -y --no-install-recommends systemd
    mkdir -p /srv/songs /srv/stems
    chown pi /srv/songs /srv/stems
    for kind in daemon play watch; do
        set -- "$1" "$2" $kind
        [ $kind != watch ] || set -- "$1" "$2" $kind /srv/songs -o /srv/stems --layout flat
        service system /etc/systemd/system "$@"
        service user /home/pi/.config/systemd/user "$@"
    done
    [ -z "$(find /home/pi/.config/systemd -type f 2>/dev/null)" ] || fail "units of pi remain"
}

# service SCOPE FOLDER PROGRAM HOW KIND WORDS...
service() {
    scope=$1 folder=$2 program=$3 how=$4 kind=$5
    shift 5
    who=
    [ $scope = system ] || who=as_pi
    flag=$([ $scope = system ] || echo --user)
    $who "$program" service install $kind "$@" $flag >/job/said || fail "install $kind $scope"
    grep -q "^to undo: " /job/said || fail "it does not say how to undo it"
    unit=edgestem-$kind.service
    [ $kind != daemon ] || unit=edgestem.service
    [ -e "$folder/$unit" ] || folder=/usr/lib/systemd/$scope # the package's own
    grep -q "^ExecStart=$program " "$folder/$unit" || fail "$unit starts something else"
    XDG_RUNTIME_DIR=/tmp systemd-analyze "--$scope" verify --man=no "$folder/$unit" \
        >/job/verify 2>&1 || true
    ! grep edgestem /job/verify || fail "systemd-analyze verify of $unit"
    echo "unit: $how, $kind, $scope: $(exposure "$folder/$unit")"
    $who "$program" service remove $kind $flag >/job/said || fail "remove $kind $scope"
    [ "$folder" = /usr/lib/systemd/$scope ] || [ ! -e "$folder/$unit" ] ||
        fail "$folder/$unit remains"
}
