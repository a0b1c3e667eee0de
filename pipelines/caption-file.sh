#!/bin/sh
# caption-file.sh - burns captions into a film
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-file.sh FILM OUT.mkv [PROPERTY=VALUE...]
#
# For instance prompt="What is on the road?" interval=2000000000.
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 2 ] || usage 2
film=$1 out=$2; shift 2

gst-launch-1.0 -q filesrc location="$film" ! decodebin3 \
  ! hiredvlm name=v "$@" ! queue ! videoconvert \
  ! textoverlay name=o valignment=bottom ! videoconvert \
  ! x264enc speed-preset=veryfast ! h264parse ! matroskamux \
  ! filesink location="$out" \
  v.text_src ! queue ! o.text_sink
