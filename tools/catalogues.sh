#!/bin/sh
# Brings the translators' files up to date with the texts in code and templates.
# With --check it only tells, by its exit code, whether they are.
set -eu
bin=.venv/bin
mkdir -p build
"$bin/pybabel" --quiet extract --mapping-file=babel.cfg --keyword=_ --keyword=N_ --keyword=say --keyword=_say --keyword=ngettext:1,2 --no-location --sort-output \
    --project=Switchyard --output-file=build/messages.pot hub channels webhooks core
if "$bin/pybabel" --quiet update --domain=switchyard --input-file=build/messages.pot --output-dir=hub/locale --no-wrap --no-fuzzy-matching \
    --ignore-obsolete --ignore-pot-creation-date "$@"; then
    exit 0
fi
echo "The translations lag behind the texts: run \`make catalogues\`, translate what is empty, and commit." >&2
exit 1
