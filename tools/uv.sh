#!/bin/sh
# Puts the pinned uv into .tools, with whatever way to install from PyPI this machine has.
# Usage: tools/uv.sh PYTHON
set -eu
python=$1

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "There is no $python. Install Python 3.11 or newer, or say: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old: 3.11 or newer is needed. Say: make PYTHON=/path/to/a/newer/python3"

if ! "$python" -m pip --version >/dev/null 2>&1; then
    # Debian ships Python without pip. The venv module can make one, where it is installed.
    if "$python" -m venv .tools/pip >/dev/null 2>&1; then
        python=.tools/pip/bin/python
    elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing python3-pip from Debian"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-pip >/dev/null
        # The one for the system's Python; with it packages can be installed for any other.
        python=/usr/bin/python3
    else
        fail "$python has no pip, which is needed once, to fetch uv." \
            "On Debian: sudo apt-get install python3-pip     Elsewhere: $python -m ensurepip"
    fi
fi

mkdir -p .tools
PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-input --no-warn-script-location \
    --target .tools --upgrade --require-hashes --requirement tools/uv.txt
rm -rf .tools/pip
touch .tools/bin/uv
