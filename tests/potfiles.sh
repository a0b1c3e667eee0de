#!/bin/sh
# potfiles.sh - po/POTFILES.in names the sources with texts for people
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The functions whose arguments are such texts are the keywords of
# po/meson.build.
set -eu
cd "$(dirname "$0")/.."
words=$(grep -o 'keyword=[a-zA-Z_]*' po/meson.build | sed 's/.*=//' |
  grep -v '^fail$' | paste -sd '|')
have=$(mktemp) named=$(mktemp)
trap 'rm -f "$have" "$named"' EXIT
grep -lE "(^|[^a-zA-Z0-9_])($words) \(" engine/*.c gst/*.c | LC_ALL=C sort \
  >"$have"
grep -v '^#' po/POTFILES.in >"$named"
diff "$named" "$have" || { echo "po/POTFILES.in: see above" >&2; exit 1; }
