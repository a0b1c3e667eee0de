#!/bin/sh
# gpu.sh - everything that only a GPU can show; see tests/run --gpu
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   gpu.sh [--built BUILD] [tests] [sanitizers] [speed]
#
# Builds for the GPU that is there, or takes a folder that was built elsewhere
# (meson setup BUILD -Dcuda=enabled -Dgpu_archs=90; copied together with the
# sources: nothing is installed or compiled then), and does all three, or those
# that are named:
#   tests       kernel cases against plain C, goldens (graphs and early launches
#               on and off among them), engine, element, the shipped model
#   sanitizers  kernel cases, a golden folder and a caption under each tool of
#               compute-sanitizer
#   speed       hiredvlm-bench's tables, and the kernels'
# Every step leaves a log in BUILD/gpu-logs.
set -u
from=$PWD
cd "$(dirname "$0")/.." || exit 1
. pipelines/dependencies.sh

STEP_SECONDS=1800 # after which a step hangs

# skip WORDS: nothing was tested, and that is no failure
skip () { say "tests/run --gpu: skipped: $*"; exit 0; }

build=
if [ "${1-}" = --built ]; then
  [ -n "${2-}" ] && build=$(cd "$from" && cd "$2" 2>/dev/null && pwd) ||
    fail "--built: expected a build folder, found \"${2-}\""
  shift 2
fi
[ $# -gt 0 ] || set -- tests sanitizers speed
for part in "$@"; do
  case $part in
    tests | sanitizers | speed) ;;
    *) fail "expected tests, sanitizers or speed, found \"$part\"" ;;
  esac
done

command -v nvidia-smi >/dev/null || skip "there is no NVIDIA driver"
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null |
  head -n 1 | tr -d '. ')
case "$arch" in '' | *[!0-9]*) skip "the driver knows no GPU" ;; esac

if [ -z "$build" ]; then
  command -v nvcc >/dev/null ||
    fail "needs nvcc to build for compute capability $arch"
  install_missing $build_packages $run_packages $test_packages
  build_into build-gpu -Dwerror=true -Dcuda=enabled "-Dgpu_archs=$arch"
  build=$PWD/build-gpu
fi

logs=$build/gpu-logs test=$build/tests pipelines=$build/pipelines
mkdir -p "$logs"
export HIREDVLM_CUDA_MODULE="$build/kernels/cuda/libhiredvlm-cuda.so"
export HIREDVLM_MODEL_DIR="$PWD/models" HIREDVLM_DEVICE=cuda
export G_TEST_SRCDIR="$PWD/tests" GOLDEN_DEVICE=cuda ENGINE_DEVICE=cuda
export GST_PLUGIN_PATH="$build/gst" GST_REGISTRY="$build/registry-gpu.bin"
[ -e "$HIREDVLM_CUDA_MODULE" ] ||
  fail "there is no CUDA module: expected $HIREDVLM_CUDA_MODULE"
passed=0 failed=0

# Where cuBLASLt came with Python's packages, the loader does not know of it.
blas=$(grep -ao 'libcublasLt[.]so[.0-9]*' "$HIREDVLM_CUDA_MODULE" | head -n 1)
if [ -n "$blas" ] && ! /sbin/ldconfig -p | grep -qF "$blas"; then
  found=$(find / -path /proc -prune -o -name "$blas" -print 2>/dev/null |
    head -n 1)
  [ -n "$found" ] || fail "$blas is not installed"
  export LD_LIBRARY_PATH="$(dirname "$found")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi

# step NAME COMMAND...: one line about it; its output goes to a log
step () {
  name=$1; shift
  if timeout "$STEP_SECONDS" "$@" >"$logs/$name.log" 2>&1; then
    passed=$((passed + 1))
    say "ok: $name"
  else
    failed=$((failed + 1))
    say "FAILED: $name: $logs/$name.log ends with"
    tail -n 5 "$logs/$name.log"
    return 1
  fi
}

run_tests () {
  for device in cuda cuda:f32; do
    step "kernels-$device" "$test/test-kernels" --device $device
  done
  step goldens "$test/test-golden" -m slow
  step goldens-in-order env HIREDVLM_CUDA_OVERLAP=0 "$test/test-golden" \
    -p /golden/llava -m slow
  step policies env POLICY_DEVICE=cuda "$test/test-policy-examples"
  step flexattention "$test/test-flex-model"
  step tidal "$test/test-tidal" -p /tidal/all-listed/cuda:f32 \
    -p /tidal/batch/cuda:f32
  step policy-baselines env POLICY_DEVICE=cuda "$test/test-policy-baselines"
  step numbers "$test/test-numbers"
  step bad-scores "$test/test-bad-scores"
  step reuse "$test/test-reuse" -p /reuse/hits
  step engine "$test/test-engine" -p /engine/cancel -p /engine/length \
    -p /engine/load -p /engine/sampling -p /engine/sharing
  step waits "$test/test-waits"
  step accuracy "$test/test-accuracy" -m slow
  step accuracy-bf16 env HIREDVLM_WEIGHTS=bf16 "$test/test-accuracy" -m slow
  step element-device "$test/test-element-device"
  [ ! -x "$test/test-element-cuda-memory" ] ||
    step element-cuda-memory "$test/test-element-cuda-memory"
  step element sh tests/emu/element.sh emulated "$test/launch-model" \
    "$pipelines/hiredvlm-describe" "$pipelines/hiredvlm-bench"
}

# sanitize TOOL NAME COMMAND...
sanitize () {
  tool=$1 what=$2; shift 2
  step "$tool-$what" compute-sanitizer --tool "$tool" --error-exitcode 9 \
    --target-processes all "$@"
}

run_sanitizers () {
  command -v compute-sanitizer >/dev/null || {
    failed=$((failed + 1))
    say "FAILED: compute-sanitizer is not installed (it comes with the toolkit)"
    return
  }
  # Some hosts of virtual machines let no tool look at their GPUs.
  step sanitizer-works compute-sanitizer --error-exitcode 9 "$test/test-kernels" \
    --device cuda --slot upload || return
  for tool in memcheck racecheck initcheck synccheck; do
    sanitize $tool kernels "$test/test-kernels" --device cuda --few
    sanitize $tool golden "$test/test-golden" -p /golden/llava -m quick
    sanitize $tool element "$pipelines/hiredvlm-describe" --max-tokens 4 \
      --set device=cuda --set weights=bf16 pipelines/sample.webm
  done
}

# bench NAME OPTION...
bench () {
  name=$1; shift
  step "speed-$name" "$pipelines/hiredvlm-bench" --device cuda \
    --shape llava-v1.6-vicuna-7b --weights bf16 --tokens 64 "$@"
  cat "$logs/speed-$name.log"
}

# The figures that the project's goals are about, and what overlap gives.
run_speed () {
  for size in 672x672 1920x1080; do
    for budget in 0.2 1; do
      bench "$size-$budget" --size $size --token-budget $budget
    done
  done
  export HIREDVLM_CUDA_OVERLAP=0
  bench 672x672-0.2-in-order --size 672x672 --token-budget 0.2
  unset HIREDVLM_CUDA_OVERLAP
  step speed-kernels "$test/test-kernels" --bench --device cuda
  cat "$logs/speed-kernels.log"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader |
  tee "$logs/device.log"
for part in "$@"; do run_$part; done
say "$passed passed, $failed failed on the GPU"
[ "$failed" = 0 ]
