#!/bin/sh
# caption-camera.sh - watches a camera with captions; video never stalls
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-camera.sh [PROPERTY=VALUE...]
#
# SOURCE and SINK replace the camera and the window, for instance
#   SOURCE="rtspsrc location=rtsp://host/stream latency=200 ! decodebin3"
# Captions are about the recent past; caption-camera-exact.sh puts them on
# their frames.
set -eu
. "$(dirname "$0")/launch.sh"

gst-launch-1.0 -q ${SOURCE:-v4l2src ! videoconvert} \
  ! hiredvlm name=v "$@" ! queue ! videoconvert \
  ! textoverlay name=o valignment=bottom ! ${SINK:-videoconvert ! autovideosink} \
  v.text_src ! queue ! o.text_sink
