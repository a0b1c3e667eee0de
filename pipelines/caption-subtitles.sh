#!/bin/sh
# caption-subtitles.sh - writes a film's captions as WebVTT or SRT
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-subtitles.sh FILM OUT.vtt [PROPERTY=VALUE...]
#   caption-subtitles.sh FILM OUT.srt [PROPERTY=VALUE...]
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 2 ] || usage 2
film=$1 out=$2; shift 2

# webvttenc escapes nothing, so it gets markup.
case "$out" in
  *.srt) format=utf8 encoder=srtenc ;;
  *) format=pango-markup encoder=webvttenc ;;
esac
gst-launch-1.0 -q filesrc location="$film" ! decodebin3 \
  ! hiredvlm name=v "$@" ! fakesink \
  v.text_src ! text/x-raw,format=$format ! $encoder \
  ! filesink location="$out"
