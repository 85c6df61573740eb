#!/bin/sh
# Has what some tests need from Debian: installs it where it may, otherwise says which tests will not run.
# Ends with 1 when something is missing and ALLOW_MISSING_PEERS is not 1.
set -eu

wanted=""
missing=""

need() { # program, package, tests
    for program in $1; do
        [ -x "$program" ] && return
        command -v "$program" >/dev/null 2>&1 && return
    done
    wanted="$wanted $2"
    missing="$missing
  $2: $3"
}

look() {
    wanted=""
    missing=""
    need "chromium-headless-shell chromium" chromium-headless-shell "the pages in a browser (tests/scenarios, tests/hub/web)"
    need "dovecot" dovecot-imapd "an IMAP server (tests/channels/test_email_*)"
    need "/usr/lib/dovecot/lmtp" dovecot-lmtpd "the same"
    need "postfix" postfix "an SMTP server (tests/channels/test_email_*)"
    need "/usr/lib/postgresql/15/bin/postgres /usr/lib/postgresql/16/bin/postgres /usr/lib/postgresql/17/bin/postgres" \
        postgresql "Debian's PostgreSQL (tests/hub/test_embedded.py, and the second round of .ci/run)"
    need "/usr/sbin/asterisk" "asterisk asterisk-core-sounds-en" "a telephone exchange (tests/*/test_*asterisk*)"
}

# Asterisk left Debian after 11, whose mirror is that of its later releases: their own list of sources says where. What
# comes from there is asked for by name only (priority 100), so that nothing else on the machine changes.
asterisk_source() {
    case "$wanted" in *asterisk*) ;; *) return 0 ;; esac
    [ -n "$(apt-cache madison asterisk)" ] && return 0
    list=/etc/apt/sources.list.d/debian.sources
    older=/etc/apt/sources.list.d/bullseye.sources
    pin=/etc/apt/preferences.d/bullseye
    [ -e "$list" ] && [ ! -e "$older" ] || return 0
    # shellcheck disable=SC1091
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    sed -E "/^Suites:/{s/$suite/bullseye/g;s/ bullseye-(updates|backports)//g}" "$list" >"$older"
    printf 'Package: *\nPin: release n=bullseye*\nPin-Priority: 100\n' >"$pin"
    apt-get update -qq || true
    [ -n "$(apt-cache madison asterisk)" ] || rm "$older" "$pin" # this mirror does not have it
}

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# Synapse, a Matrix server, brings a hundred packages that nothing else here wants: it gets an environment of its own.
synapse() {
    home=.cache/synapse
    [ -e "$home/complete" ] && return
    rm -rf "$home"
    .tools/bin/uv venv --quiet "$home" &&
        .tools/bin/uv pip install --quiet --python "$home/bin/python" matrix-synapse==1.163.2 && : >"$home/complete"
}

synapse || {
    echo "A Matrix server could not be installed: tests/channels/test_matrix_synapse.py will not run" >&2
    [ "${ALLOW_MISSING_PEERS:-}" = 1 ] || exit 1
}

look
[ -z "$wanted" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing from Debian:$wanted"
    # No cluster of its own is wanted from the package: the tests start their servers themselves.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    apt-get update -qq || true
    asterisk_source
    # shellcheck disable=SC2086
    install $wanted || for package in $wanted; do install "$package" || true; done
    look
    [ -z "$wanted" ] && exit 0
fi

echo "Not installed here, so that these tests will not run:$missing" >&2
if [ "${ALLOW_MISSING_PEERS:-}" = 1 ]; then
    exit 0
fi
echo "Install them (sudo apt-get install$wanted), or go on without: make test ALLOW_MISSING_PEERS=1" >&2
exit 1
