#!/bin/sh
# caption-hls.sh - makes a film an HLS presentation with WebVTT captions
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   caption-hls.sh FILM FOLDER [PROPERTY=VALUE...]
#
# Serve FOLDER by HTTP and open master.m3u8. The captions are one WebVTT
# segment, so this is for films: webvttenc cannot cut a live stream's.
set -eu
. "$(dirname "$0")/launch.sh"
[ $# -ge 2 ] || usage 2
film=$1 out=$2; shift 2
mkdir -p "$out"

# Not hlssink2: gst-launch's pipeline (1.22) often loses that one's end on a busy
# machine, where it begins to play while hlssink2 still tells of its preroll.
gst-launch-1.0 -q filesrc location="$film" ! decodebin3 \
  ! hiredvlm name=v "$@" ! queue ! videoconvert \
  ! x264enc speed-preset=veryfast key-int-max=60 \
  ! h264parse config-interval=-1 ! mpegtsmux \
  ! hlssink location="$out/video%05d.ts" playlist-location="$out/video.m3u8" \
    target-duration=4 max-files=0 playlist-length=0 \
  v.text_src ! text/x-raw,format=pango-markup ! webvttenc \
  ! filesink location="$out/captions.vtt"

# Time 0 of the film is this in mpegtsmux' segments, in ticks of 90 kHz.
sed -i '1s/$/\nX-TIMESTAMP-MAP=MPEGTS:324000000,LOCAL:00:00:00.000/' \
  "$out/captions.vtt"
seconds=$(sed -n 's/^#EXTINF:\([0-9.]*\),.*/\1/p' "$out/video.m3u8" |
  awk '{ sum += $1 } END { printf "%.3f", sum }')
bandwidth=$(cat "$out"/video*.ts | wc -c |
  awk -v s="$seconds" '{ printf "%d", $1 * 8 / s * 1.5 }')
cat >"$out/captions.m3u8" <<END
#EXTM3U
#EXT-X-VERSION:3
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-TARGETDURATION:$((${seconds%.*} + 1))
#EXTINF:$seconds,
captions.vtt
#EXT-X-ENDLIST
END
cat >"$out/master.m3u8" <<END
#EXTM3U
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="Captions",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,URI="captions.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=$bandwidth,SUBTITLES="captions"
video.m3u8
END
