#!/bin/sh
# gpu.sh - everything that only a GPU can show; see tests/run --gpu
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Builds for the GPU that is there, then runs on it: the kernel cases against
# plain C, the goldens (graphs on and off among them), the engine, the element
# and the shipped model's accuracy; the kernel cases, a golden folder and a
# caption again under each tool of compute-sanitizer; and prints
# hiredvlm-bench's tables. Every step leaves a log in build-gpu/gpu-logs.
set -u
cd "$(dirname "$0")/.." || exit 1
. pipelines/dependencies.sh

# skip WORDS: nothing was tested, and that is no failure
skip () { say "tests/run --gpu: skipped: $*"; exit 0; }

command -v nvidia-smi >/dev/null || skip "there is no NVIDIA driver"
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null |
  head -n 1 | tr -d '. ')
case "$arch" in '' | *[!0-9]*) skip "the driver knows no GPU" ;; esac
command -v nvcc >/dev/null || fail "needs nvcc to build for compute capability $arch"

install_missing $build_packages $run_packages $test_packages
build_into build-gpu -Dwerror=true -Dcuda=enabled "-Dgpu_archs=$arch"

build=$PWD/build-gpu logs=$PWD/build-gpu/gpu-logs
rm -rf "$logs"
mkdir -p "$logs"
export HIREDVLM_CUDA_MODULE="$build/kernels/cuda/libhiredvlm-cuda.so"
export HIREDVLM_MODEL_DIR="$PWD/models" HIREDVLM_DEVICE=cuda
export G_TEST_SRCDIR="$PWD/tests" GOLDEN_DEVICE=cuda ENGINE_DEVICE=cuda
export GST_PLUGIN_PATH="$build/gst" GST_REGISTRY="$build/registry-gpu.bin"
passed=0 failed=0

# step NAME COMMAND...: one line about it; its output goes to a log
step () {
  name=$1; shift
  if "$@" >"$logs/$name.log" 2>&1; then
    passed=$((passed + 1))
    say "ok: $name"
  else
    failed=$((failed + 1))
    say "FAILED: $name: build-gpu/gpu-logs/$name.log ends with"
    tail -n 5 "$logs/$name.log"
  fi
}

test=$build/tests pipelines=$build/pipelines
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader |
  tee "$logs/device.log"

for device in cuda cuda:f32; do
  step "kernels-$device" "$test/test-kernels" --device $device
done
step goldens "$test/test-golden" -m slow
step policies env POLICY_DEVICE=cuda "$test/test-policy-examples"
step flexattention "$test/test-flex-model"
step tidal "$test/test-tidal" -p /tidal/all-listed/cuda:f32 \
  -p /tidal/batch/cuda:f32
step engine "$test/test-engine" -p /engine/cancel -p /engine/length \
  -p /engine/load -p /engine/sampling -p /engine/sharing
step waits "$test/test-waits"
step accuracy "$test/test-accuracy" -m slow
step element-device "$test/test-element-device"
[ ! -x "$test/test-element-cuda-memory" ] ||
  step element-cuda-memory "$test/test-element-cuda-memory"
step element sh tests/emu/element.sh emulated "$test/launch-model" \
  "$pipelines/hiredvlm-describe" "$pipelines/hiredvlm-bench"

# sanitize TOOL NAME COMMAND...
sanitize () {
  tool=$1 what=$2; shift 2
  step "$tool-$what" compute-sanitizer --tool "$tool" --error-exitcode 9 \
    --target-processes all "$@"
}

if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    sanitize $tool kernels "$test/test-kernels" --device cuda --few
    sanitize $tool golden "$test/test-golden" -p /golden/llava -m quick
    sanitize $tool element "$pipelines/hiredvlm-describe" --max-tokens 4 \
      --set device=cuda pipelines/sample.webm
  done
else
  failed=$((failed + 1))
  say "FAILED: compute-sanitizer is not installed (it comes with the toolkit)"
fi

# The figures that the project's goals are about.
for size in 672x672 1920x1080; do
  for budget in 0.2 1; do
    step "speed-$size-$budget" "$pipelines/hiredvlm-bench" --device cuda \
      --shape llava-v1.6-vicuna-7b --weights bf16 --size $size \
      --token-budget $budget --tokens 64
    cat "$logs/speed-$size-$budget.log"
  done
done
step speed-kernels "$test/test-kernels" --bench --device cuda

say "$passed passed, $failed failed on the GPU"
[ "$failed" = 0 ]
