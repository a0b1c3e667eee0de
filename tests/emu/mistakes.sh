#!/bin/sh
# mistakes.sh - every planted mistake must be caught, with several seeds
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   mistakes.sh PROGRAM
set -u
program=$1 failed=0 n=0
for mistake in $("$program"); do
  for seed in 1 2 3; do
    output=$(HIREDVLM_EMU_SEED=$seed "$program" "$mistake" 2>&1)
    status=$?
    case $mistake in
      none | awaited-copy | ordered-streams | graph-twice | early-launches* | \
        forked-and-joined) wanted=0 ;;
      *) wanted=caught ;;
    esac
    [ "$status" = 0 ] && found=0 || found=caught
    if [ $found != $wanted ]; then
      echo "not ok: $mistake with seed $seed ended with $status: $output"
      failed=$((failed + 1))
    fi
  done
  n=$((n + 1))
  echo "ok: $mistake: $(printf '%s\n' "$output" | grep -E 'emu:|ERROR|wrong|right' |
    head -n 1)"
done
echo "$n programs, $failed failures"
[ "$n" -gt 10 ] && [ "$failed" = 0 ]
