#!/bin/sh
# caption-json.sh - prints a film's captions as JSON, one object a line
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-json.sh FILM [PROPERTY=VALUE...]
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 1 ] || usage 2
film=$1; shift

gst-launch-1.0 -q filesrc location="$film" ! decodebin3 \
  ! hiredvlm name=v "$@" ! fakesink \
  v.text_src ! application/x-json ! fdsink
