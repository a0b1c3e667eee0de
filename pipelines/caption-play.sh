#!/bin/sh
# caption-play.sh - plays a film in a window, its captions on it
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-play.sh FILM [PROPERTY=VALUE...]
#
# draw-tokens=true darkens what the model was not shown. SINK replaces the
# window, for instance SINK="videoconvert ! ximagesink".
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 1 ] || usage 2
film=$1; shift

gst-launch-1.0 -q filesrc location="$film" ! decodebin3 \
  ! hiredvlm name=v "$@" ! queue ! videoconvert \
  ! textoverlay name=o valignment=bottom ! ${SINK:-videoconvert ! autovideosink} \
  v.text_src ! queue ! o.text_sink
