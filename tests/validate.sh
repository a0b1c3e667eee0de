#!/bin/sh
# validate.sh - a scenario of GstValidate on the element over the fake engine
# SPDX-License-Identifier: LGPL-2.1-or-later
#
#   validate.sh FAKE-PLUGIN-FOLDER SCENARIO
#
# What flows over pads is compared with SCENARIO/flow-expectations/; without
# that folder it is written. Skipped where gst-validate is not installed
# (Debian 12 has none).
set -eu
command -v gst-validate-1.0 >/dev/null || { echo "no gst-validate-1.0"; exit 77; }
plugins=$1 scenario=$(cd "$(dirname "$0")/validate" && pwd)/$2.validatetest
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
GST_PLUGIN_PATH=${GST_PLUGIN_PATH:+$GST_PLUGIN_PATH:}$plugins
GST_REGISTRY=$logs/registry.bin GST_VALIDATE_LOGSDIR=$logs
export GST_PLUGIN_PATH GST_REGISTRY GST_VALIDATE_LOGSDIR
timeout 60 gst-validate-1.0 --set-test-file "$scenario"
