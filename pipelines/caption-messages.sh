#!/bin/sh
# caption-messages.sh - shows a film's captions as messages of the bus
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-messages.sh FILM [PROPERTY=VALUE...]
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 1 ] || usage 2
film=$1; shift

gst-launch-1.0 -m filesrc location="$film" ! decodebin3 \
  ! hiredvlm "$@" ! fakesink | grep --line-buffered hiredvlm-caption
