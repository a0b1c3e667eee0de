#!/bin/sh
# caption-camera-exact.sh - watches a camera with each caption on its frame
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-camera-exact.sh SECONDS [PROPERTY=VALUE...]
#
# Everything is shown SECONDS later, which must be more than one description
# takes. SOURCE and SINK as in caption-camera.sh.
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 1 ] || usage 2
seconds=$1; shift

gst-launch-1.0 -q ${SOURCE:-v4l2src ! videoconvert} \
  ! hiredvlm name=v latency="${seconds}000000000" "$@" \
  ! queue max-size-time="$((seconds + 2))000000000" max-size-buffers=0 \
    max-size-bytes=0 ! videoconvert \
  ! textoverlay name=o valignment=bottom ! ${SINK:-videoconvert ! autovideosink} \
  v.text_src ! queue ! o.text_sink
