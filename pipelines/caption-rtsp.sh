#!/bin/sh
# caption-rtsp.sh - takes an RTSP stream and publishes it with captions on it
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-rtsp.sh rtsp://HOST/IN rtsp://HOST/OUT [PROPERTY=VALUE...]
#
# OUT is where a server takes streams (RECORD), as MediaMTX does. A server of
# your own: examples/rtsp-server.c.
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 2 ] || usage 2
in=$1 out=$2; shift 2

gst-launch-1.0 -q rtspsrc location="$in" latency=200 ! decodebin3 \
  ! hiredvlm name=v "$@" ! queue ! videoconvert \
  ! textoverlay name=o valignment=bottom ! videoconvert \
  ! x264enc speed-preset=veryfast tune=zerolatency ! h264parse \
  ! rtspclientsink location="$out" \
  v.text_src ! queue ! o.text_sink
