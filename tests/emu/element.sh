#!/bin/sh
# element.sh - the element and the tools where CUDA is absent or emulated
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   element.sh CASE MODEL-WRITER DESCRIBE BENCH
#
# absent: no module; driverless: a module, but no driver; emulated: captions of
# the processor and of the emulation are the same; small and lost: a device
# without memory, one that goes away; bench: the tool runs on it; film: frames
# of changing size, on one GPU and on two.
set -eu
# Meson names programs from the build folder, which is left below.
absolute () { case "$1" in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; }
case=$1 writer=$(absolute "$2") describe=$(absolute "$3") bench=$(absolute "$4")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cd "$work"
"$writer" model

fail () { printf 'element.sh: %s: %s\n' "$case" "$*" >&2; exit 1; }

gst-launch-1.0 -q videotestsrc num-buffers=1 pattern=smpte \
  ! video/x-raw,width=60,height=40 ! pngenc ! filesink location=a.png

# caption DEVICE [WEIGHTS]: what the element says on it
caption () {
  "$describe" -m model --max-tokens 6 --set "device=$1" \
    --set "weights=${2:-f32}" --json --detail a.png
}

# answer DEVICE [WEIGHTS]: ids and kept tokens of it
answer () {
  caption "$@" >out.txt || fail "no caption on $1"
  grep -o '"\(token\|kept\)-ids":\[[^]]*\]' out.txt
}

# refused DEVICE WORDS: a sentence with the words, and no caption
refused () {
  ! caption "$1" >out.txt 2>err.txt || fail "$1 was not refused"
  [ ! -s out.txt ] || fail "$1 printed $(cat out.txt)"
  grep -q "$2" err.txt || fail "$1: \"$2\" is not in: $(cat err.txt)"
}

# without WORDS: the plugin is whole, cuda is refused, auto is the processor
without () {
  gst-inspect-1.0 hiredvlm >inspect.txt || fail "gst-inspect-1.0"
  refused cuda "$1"
  [ "$(answer auto)" = "$(answer cpu)" ] || fail "auto is not the processor"
}

# film OUTPUT DEVICE...: an element for each device captions the same frames
film () {
  out=$1; shift
  elements= texts= n=0
  for device in "$@"; do
    elements="$elements ! hiredvlm name=v$n device=$device weights=f32
      model-path=model mode=sync interval=0 max-tokens=4"
    texts="$texts v$n.text_src ! text/x-raw,format=utf8
      ! filesink location=$out.$n"
    n=$((n + 1))
  done
  gst-launch-1.0 -q concat name=c $elements ! fakesink $texts \
    videotestsrc num-buffers=3 pattern=ball \
      ! video/x-raw,format=NV12,width=60,height=40 ! c. \
    videotestsrc num-buffers=2 pattern=smpte \
      ! video/x-raw,format=I420,width=90,height=30 ! c. >launch.txt 2>&1 ||
    fail "no film on $*: $(cat launch.txt)"
}

case "$case" in
  absent)
    export HIREDVLM_CUDA_MODULE=/nowhere/cuda.so
    without "not installed"
    ;;
  driverless)
    export HIREDVLM_EMU_DRIVER=missing
    without "there is no NVIDIA driver"
    ;;
  emulated)
    gst-inspect-1.0 hiredvlm >inspect.txt || fail "gst-inspect-1.0"
    answer cpu >cpu.txt
    answer cuda >cuda.txt
    cmp cpu.txt cuda.txt || fail "cuda says something else"
    # A small model is exact everywhere unless something else is asked for.
    answer cpu auto >cpu.txt
    answer cuda auto >cuda.txt
    cmp cpu.txt cuda.txt || fail "cuda says something else by itself"
    for device in cuda auto; do
      answer $device bf16 >cuda.txt
      [ "$(wc -l <cuda.txt)" = 2 ] || fail "no caption on $device"
    done
    ;;
  small)
    export HIREDVLM_EMU_MEMORY=8
    refused cuda "needed.*free"
    ;;
  lost)
    export HIREDVLM_EMU_LOSE_AFTER=100
    refused cuda "cuda:0"
    ;;
  bench)
    "$bench" --model model --device cuda --weights bf16 --no-probes --size 60x40 --nv12 \
      --tokens 2 --json >out.json
    grep -q '"decode":' out.json || fail "no figures"
    ;;
  film)
    export HIREDVLM_EMU_DEVICES=2
    film cpu cpu
    film cuda cuda
    film both cuda:0 cuda:1
    [ -s cpu.0 ] || fail "no text"
    for text in cuda.0 both.0 both.1; do
      cmp cpu.0 $text || fail "$text is another text"
    done
    ;;
  *) fail "no such case" ;;
esac
