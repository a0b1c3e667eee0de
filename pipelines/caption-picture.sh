#!/bin/sh
# caption-picture.sh - prints what a JPEG or PNG picture shows
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-picture.sh PICTURE [PROPERTY=VALUE...]
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 1 ] || usage 2
picture=$1; shift

case "$picture" in
  *.png | *.PNG) decoder=pngdec ;;
  *) decoder=jpegdec ;;
esac
gst-launch-1.0 -q filesrc location="$picture" ! $decoder \
  ! hiredvlm name=v "$@" v.text_src ! fdsink
echo
