#!/bin/sh
# caption-track.sh - adds captions to a film as a text track
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-track.sh FILM OUT.mkv [PROPERTY=VALUE...]
#   caption-track.sh FILM OUT.mp4 [PROPERTY=VALUE...]
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 2 ] || usage 2
film=$1 out=$2; shift 2

case "$out" in
  *.mp4) muxer=mp4mux ;;
  *) muxer=matroskamux ;;
esac
# mp4mux takes no video before it has the next cue, and an encoder looks
# ahead: what is encoded, and the text, wait in queues without limits.
wait="queue max-size-time=0 max-size-buffers=0 max-size-bytes=0"
gst-launch-1.0 -q filesrc location="$film" ! decodebin3 \
  ! hiredvlm name=v "$@" ! queue ! videoconvert \
  ! x264enc speed-preset=veryfast ! h264parse ! $wait ! $muxer name=m \
  ! filesink location="$out" \
  v.text_src ! text/x-raw,format=utf8 ! $wait ! m.
