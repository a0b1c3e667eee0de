#!/bin/sh
# caption-two.sh - two films (or cameras) described by one set of weights
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-two.sh FILM FILM [PROPERTY=VALUE...]
#
# Elements of one process with the same model, device and weight type share
# it and take turns.
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 2 ] || usage 2
one=$1 two=$2; shift 2

gst-launch-1.0 -m filesrc location="$one" ! decodebin3 \
  ! hiredvlm name=one "$@" ! fakesink \
  filesrc location="$two" ! decodebin3 ! hiredvlm name=two "$@" ! fakesink |
  grep --line-buffered hiredvlm-caption
