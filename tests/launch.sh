#!/bin/sh
# launch.sh - runs the scripts of pipelines/ and looks at what they made
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   launch.sh MODEL-WRITER CASE
#
# The programs of examples/ lie beside the model writer.
#
# The model is tiny and random: its captions are nonsense and always the same.
# The film is the demo's, 14 seconds, so a caption every two seconds is seven.
set -eu
# Meson names programs from the build folder, which is left below.
absolute () { case "$1" in /* | "") echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
writer=$(absolute "$1") case=$2 serving=
examples=${writer%/*}
source=$(cd "$(dirname "$0")/.." && pwd)
pipelines=$source/pipelines
film=$pipelines/sample.webm
work=$(mktemp -d)
trap '[ -z "$serving" ] || kill $serving; rm -rf "$work"' EXIT INT TERM
cd "$work"
"$writer" "$work/model"
options="model-path=$work/model max-tokens=12"
every="$options interval=2000000000"

fail () { printf 'launch.sh: %s: %s\n' "$case" "$*" >&2; exit 1; }

# need ELEMENT...: skips where the distribution's plugins lack one
need () {
  for element in "$@"; do
    gst-inspect-1.0 --exists "$element" || {
      printf 'no element %s\n' "$element"
      exit 77
    }
  done
}

# example NAME [ARGUMENT...]
example () {
  name=$1; shift
  [ -x "$examples/example-$name" ] || { echo "$name was not built"; exit 77; }
  "$examples/example-$name" "$@"
}

# fake SECONDS: from here on the element has an engine that takes so long
fake () {
  GST_PLUGIN_PATH=$examples/fake FAKE_SECONDS=$1
  GST_REGISTRY=$work/registry.bin
  export GST_PLUGIN_PATH FAKE_SECONDS GST_REGISTRY
}

expect () { [ "$1" = "$2" ] || fail "$3: expected $2, found $1"; }

# The texts of the film, one a line, as the JSON output has them.
texts () {
  "$pipelines/caption-json.sh" "$film" $every >film.jsonl
  sed 's/^{"text":"\(.*\)","prompt":.*/\1/' film.jsonl
}

# wait_for FILE: until something is in it, for a minute
wait_for () {
  for i in $(seq 600); do
    [ -s "$1" ] && return
    sleep 0.1
  done
  fail "nothing was written into $1"
}

# serve PATH LINE...: an RTSP server of these lines; its address is in $url
serve () {
  [ -x "$examples/example-rtsp-server" ] || {
    echo "built without gst-rtsp-server"
    exit 77
  }
  "$examples/example-rtsp-server" 0 "$@" >url.txt &
  serving=$!
  wait_for url.txt
  url=$(sed s/^rtsp/rtspt/ url.txt) # over TCP, which loses nothing
}

# serve_folder: this folder by HTTP, at $url
serve_folder () {
  command -v python3 >/dev/null || { echo "no python3"; exit 77; }
  python3 -u -m http.server 0 --bind 127.0.0.1 >http.txt 2>&1 &
  serving=$!
  wait_for http.txt
  url=$(sed -n 's/.*\(http:[^ )]*\).*/\1/p;q' http.txt)
}

# screen: a display of its own for what runs from here on
screen () {
  command -v Xvfb >/dev/null || { echo "no Xvfb"; exit 77; }
  # Else it begins anew, and refuses who comes then, when its last client left.
  Xvfb -displayfd 5 -screen 0 800x600x24 -nolisten tcp -noreset 5>display.txt \
    >xvfb.txt 2>&1 &
  serving=$!
  wait_for display.txt
  DISPLAY=:$(cat display.txt)
  export DISPLAY
}

# How many values above 200 the greys of a JPEG picture have. Captions on small
# pictures are too thin for that.
bright () {
  gst-launch-1.0 -q filesrc location="$1" ! jpegdec ! videoconvert \
    ! video/x-raw,format=GRAY8 ! filesink location=bright.raw
  LC_ALL=C tr -d '\000-\310' <bright.raw | wc -c
}

# plain FILE: text from what some demuxers give as markup; srtenc keeps both.
plain () {
  sed -i "s/&apos;/'/g; s/&quot;/\"/g; s/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g" "$1"
}

# The cues of an SRT file that say something, one a line: times, text.
cues () {
  tr -d '\0\r' <"$1" | awk '/-->/ { time = $0; getline; if ($0 != "") print time, $0 }'
}

# Time of cue number $1 of an SRT or WebVTT file $2.
cue_time () { grep -e '-->' "$2" | sed -n "$1p" | cut -d' ' -f1; }

case "$case" in
  example-frames)
    example frames "$work/model" >out.txt
    expect "$(grep -c '^signal: ' out.txt)" 4 "captions by signal"
    expect "$(grep -c '^json: {' out.txt)" 4 "captions as JSON"
    expect "$(grep -c '^answer: ' out.txt)" 1 "answers"
    expect "$(grep -c '"prompt":"What colour is it?"' out.txt)" 1 "questions"
    ;;
  example-keep-model)
    example keep-model "$work/model" >out.txt
    expect "$(grep -c '^caption: ' out.txt)" 3 "captions"
    expect "$(grep -c '^opened' out.txt)" 1 "models opened"
    ;;
  example-webrtc)
    need webrtcbin dtlssrtpenc sctpenc
    gst-inspect-1.0 nicesrc >/dev/null || { echo "no element nicesrc"; exit 77; }
    example webrtc "$work/model" >out.txt || fail "no captions came"
    expect "$(grep -c '^received: {"text":.*}$' out.txt)" 3 "captions"
    ;;
  example-python)
    for python in python3 /usr/bin/python3 ""; do
      [ -n "$python" ] || { echo "no PyGObject for GStreamer"; exit 77; }
      "$python" -c "import gi; gi.require_version ('GstApp', '1.0')" \
        2>/dev/null && break
    done
    need decodebin3
    PYTHONDONTWRITEBYTECODE=1 PYTHONIOENCODING=utf-8 timeout 120 \
      "$python" "$source/examples/captions.py" "$film" "$work/model" >out.txt
    for way in message meta json; do
      expect "$(grep -c "^$way: " out.txt)" 7 "captions by $way"
    done
    sed -n 's/^json: //p' out.txt >json.txt
    sed -n 's/^meta: //p' out.txt | cmp - json.txt || fail "they differ"
    expect "$(grep -c '^answer: ' out.txt)" 2 "answers"
    ! grep -q '^answer: None' out.txt || fail "a question was not answered"
    ;;
  picture)
    need jpegenc jpegdec pngenc pngdec
    for kind in jpeg png; do
      gst-launch-1.0 -q videotestsrc num-buffers=1 pattern=ball \
        ! video/x-raw,width=320,height=180 ! videoconvert ! ${kind}enc \
        ! filesink location=a.$kind
      [ $kind = png ] || mv a.jpeg a.jpg
    done
    "$pipelines/caption-picture.sh" a.jpg $options >jpg.txt
    "$pipelines/caption-picture.sh" a.png $options >png.txt
    for file in jpg.txt png.txt; do
      expect "$(wc -l <$file)" 1 "lines of $file"
      [ "$(wc -c <$file)" -gt 2 ] || fail "no caption in $file"
    done
    ;;
  file)
    need decodebin3 textoverlay x264enc matroskamux
    "$pipelines/caption-file.sh" "$film" out.mkv $every
    gst-launch-1.0 filesrc location=out.mkv ! matroskademux ! h264parse \
      ! fakesink >read.txt
    grep -q 'Got EOS' read.txt || fail "the film cannot be read back"
    ;;
  subtitles)
    need decodebin3 webvttenc srtenc
    "$pipelines/caption-subtitles.sh" "$film" out.vtt $every
    "$pipelines/caption-subtitles.sh" "$film" out.srt $every
    expect "$(head -n1 out.vtt)" WEBVTT "first line"
    for file in out.vtt out.srt; do
      expect "$(grep -c -e '-->' $file)" 7 "cues of $file"
    done
    expect "$(cue_time 1 out.srt)" 00:00:00,000 "first cue"
    expect "$(cue_time 4 out.srt)" 00:00:06,000 "fourth cue"
    expect "$(cue_time 4 out.vtt)" 00:00:06.000 "fourth cue"
    ;;
  track-mkv | track-mp4)
    need decodebin3 x264enc matroskamux mp4mux qtdemux
    file=out.${case#track-}
    demuxer=matroskademux
    [ "$file" = out.mkv ] || demuxer=qtdemux
    "$pipelines/caption-subtitles.sh" "$film" wanted.srt $every
    "$pipelines/caption-track.sh" "$film" $file $every
    gst-launch-1.0 -q filesrc location=$file ! $demuxer name=d \
      d.subtitle_0 ! srtenc ! filesink location=found.srt
    cues wanted.srt >wanted.txt
    plain found.srt
    cues found.srt >found.txt
    expect "$(wc -l <wanted.txt)" 7 "cues"
    cmp wanted.txt found.txt || {
      diff wanted.txt found.txt
      fail "the track has other cues than the file"
    }
    ;;
  json)
    need decodebin3
    texts >texts.txt
    expect "$(wc -l <film.jsonl)" 7 "lines"
    expect "$(grep -c '^{"text":.*}$' film.jsonl)" 7 "objects"
    expect "$(grep -c '"timestamp":6000000000' film.jsonl)" 1 "fourth"
    cp film.jsonl before.jsonl
    texts >again.txt
    cmp texts.txt again.txt || fail "a second run says something else"
    ;;
  messages)
    need decodebin3
    "$pipelines/caption-messages.sh" "$film" $every >messages.txt
    expect "$(grep -c 'hiredvlm-caption' messages.txt)" 7 "messages"
    ;;
  compare)
    gst-launch-1.0 -q videotestsrc num-buffers=1 ! pngenc \
      ! filesink location=a.png
    PATH="$GST_PLUGIN_PATH/../pipelines:$PATH" \
      "$pipelines/compare-policies" a.png sheet.png --model "$work/model" \
      --max-tokens 6 --token-budget 0.5 >captions.txt
    expect "$(sed 's/:.*//' captions.txt | tr '\n' ' ')" \
      "all hired hired-plus prumerge-plus uniform random " "policies"
    expect "$(head -c 4 sheet.png | tail -c 3)" PNG "kind of file"
    ;;
  two)
    need decodebin3
    "$pipelines/caption-two.sh" "$film" "$film" $every >messages.txt
    expect "$(grep -c '"one"' messages.txt)" 7 "messages of the first"
    expect "$(grep -c '"two"' messages.txt)" 7 "messages of the second"
    ;;
  camera)
    need textoverlay
    # Video is traced on its way past a model that takes 3 seconds.
    export SINK="fakesink sync=true name=end"
    fake 3
    SOURCE="videotestsrc is-live=true num-buffers=180 \
      ! video/x-raw,width=320,height=240,framerate=30/1" \
      GST_TRACERS=latency GST_DEBUG=GST_TRACER:7 GST_DEBUG_FILE=trace.txt \
      "$pipelines/caption-camera.sh" interval=0
    sed -n 's/.*sink-element=(string)end.* time=(guint64)\([0-9]*\).*/\1/p' \
      trace.txt | sort -n >times.txt
    [ "$(wc -l <times.txt)" -gt 60 ] || fail "few frames came: $(wc -l <times.txt)"
    [ "$(tail -n1 times.txt)" -lt 1500000000 ] ||
      fail "a frame took $(tail -n1 times.txt) ns"
    ;;
  camera-exact)
    need textoverlay
    # Each caption on its frame, though the model takes most of a second.
    export SINK="videoconvert ! jpegenc ! multifilesink location=out-%03d.jpg \
      sync=true"
    fake 0.7
    SOURCE="videotestsrc is-live=true num-buffers=60 pattern=black \
      ! video/x-raw,width=640,height=480,framerate=15/1" \
      "$pipelines/caption-camera-exact.sh" 4 interval=1000000000
    set -- out-*.jpg
    [ $# -gt 30 ] || fail "only $# of 60 frames came"
    [ "$(bright out-030.jpg)" -gt 20 ] || fail "no caption is on its frame"
    ;;
  rtsp)
    need rtspsrc rtspclientsink decodebin3 textoverlay vp8enc vp8dec x264enc \
      openh264dec jpegenc jpegdec
    camera="videotestsrc is-live=true num-buffers=75 pattern=black \
      ! video/x-raw,width=640,height=480,framerate=15/1"
    coded="vp8enc deadline=1 keyframe-max-dist=15 ! rtpvp8pay"
    serve /camera "( $camera ! $coded name=pay0 )" \
      /captions "( rtph264depay name=depay0 ! h264parse ! openh264dec \
        ! videoconvert ! jpegenc ! multifilesink location=$work/out-%03d.jpg )" \
      /both "( $camera ! hiredvlm name=v $options ! $coded name=pay0 v.text_src \
        ! text/x-raw,format=utf8 ! rtpgstpay name=pay1 )"
    # rtspclientsink of GStreamer 1.22 does not always see that the stream has
    # ended, or that the server has hung up because of it.
    timeout -s INT 20 "$pipelines/caption-rtsp.sh" "$url/camera" \
      "$url/captions" $options >publish.txt 2>&1 || :
    set -- out-*.jpg
    [ $# -gt 30 ] || fail "only $# of 75 frames were published: $(cat publish.txt)"
    eval "last=\${$#}"
    [ "$(bright "$last")" -gt 20 ] || fail "no caption is on $last"
    timeout -s INT 30 gst-launch-1.0 -q \
      rtspsrc location="$url/both" latency=200 name=r \
      r. ! application/x-rtp,media=application ! rtpgstdepay \
      ! filesink location=captions.txt buffer-mode=unbuffered \
      r. ! application/x-rtp,media=video ! rtpvp8depay ! fakesink || :
    [ -s captions.txt ] || fail "no caption came beside the video"
    ;;
  hls)
    need decodebin3 x264enc hlssink webvttenc hlsdemux2 souphttpsrc
    # Limits of their own, so that a stage that hangs is named; together they
    # are less than the test's.
    timeout -k 5 40 "$pipelines/caption-hls.sh" "$film" out $every ||
      fail "no rendition was written"
    timeout -k 5 20 "$pipelines/caption-subtitles.sh" "$film" wanted.srt \
      $every || fail "no subtitles were written"
    expect "$(grep -c '^video.*ts$' out/video.m3u8)" 4 "segments"
    serve_folder
    # The player is not ours, and all of its sinks would wait for each other: it
    # waits for none, and if it hangs all the same it may try again.
    for try in 1 2; do
      no_proxy=127.0.0.1 timeout -k 5 30 gst-launch-1.0 -q \
        uridecodebin3 uri="${url}out/master.m3u8" name=d \
        d. ! text/x-raw ! srtenc ! filesink location=found.srt async=false \
        d. ! video/x-raw ! fakesink async=false && break
      [ $try = 1 ] || fail "a player cannot read it to its end"
    done
    plain found.srt
    # A player's time does not begin at 0.
    for file in wanted found; do
      cues $file.srt | awk -F'[:, ]' '{ start = $1 * 3600 + $2 * 60 + $3
        if (NR == 1) first = start
        sub ("^[^ ]* --> [^ ]* ", ""); print start - first, $0 }' >$file.txt
    done
    expect "$(wc -l <wanted.txt)" 7 "cues"
    cmp wanted.txt found.txt || fail "a player finds other cues"
    ;;
  play)
    need decodebin3 textoverlay ximagesink ximagesrc jpegenc jpegdec
    screen
    gst-launch-1.0 -q videotestsrc pattern=black num-buffers=150 \
      ! video/x-raw,width=640,height=480,framerate=15/1 ! vp8enc deadline=1 \
      ! matroskamux ! filesink location=black.mkv
    SINK="videoconvert ! ximagesink" "$pipelines/caption-play.sh" black.mkv \
      $options &
    player=$!
    for i in $(seq 60); do
      gst-launch-1.0 -q ximagesrc num-buffers=1 show-pointer=false \
        ! videoconvert ! jpegenc ! filesink location=screen.jpg
      seen=$(bright screen.jpg)
      [ "$seen" -lt 20 ] || break
      kill -0 $player 2>/dev/null || break
    done
    wait $player || fail "the player failed"
    [ "$seen" -ge 20 ] || fail "no caption was seen on the screen"
    [ "$seen" -lt 40000 ] || fail "that is no black film with a caption"
    ;;
  leaks)
    need decodebin3 textoverlay webvttenc
    GST_TRACERS=leaks GST_DEBUG=GST_TRACER:7 GST_DEBUG_FILE=one.txt \
      "$pipelines/caption-subtitles.sh" "$film" out.vtt $every
    SINK=fakesink GST_TRACERS=leaks GST_DEBUG=GST_TRACER:7 \
      GST_DEBUG_FILE=two.txt "$pipelines/caption-play.sh" "$film" $every \
      draw-tokens=true
    for file in one.txt two.txt; do
      grep -q 'object-alive.class' $file || fail "the tracer did not run"
      ! grep 'object-alive, type-name=.*address=(gpointer)0x' $file ||
        fail "something was left alive"
    done
    ;;
  shipped)
    need decodebin3
    HIREDVLM_MODEL_DIR=$source/models "$pipelines/caption-json.sh" "$film" \
      interval=5000000000 >film.jsonl
    expect "$(wc -l <film.jsonl)" 3 "captions"
    expect "$(grep -c triangle film.jsonl)" 3 "captions that see the triangle"
    ;;
  *) fail "no such case" ;;
esac
