# launch.sh - what the launch scripts share; sourced
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# From a source tree the plugin in build/ and the shipped model are used,
# unless the environment names others.

here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${GST_PLUGIN_PATH-}" ] && [ -e "$here/../build/gst" ]; then
  GST_PLUGIN_PATH="$here/../build/gst"
  export GST_PLUGIN_PATH
fi
if [ -z "${HIREDVLM_MODEL_DIR-}" ] && [ -e "$here/../models" ]; then
  HIREDVLM_MODEL_DIR="$here/../models"
  export HIREDVLM_MODEL_DIR
fi

# usage: prints the comment on top of the script
usage () { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '/SPDX/d'; exit "$1"; }

case "${1-}" in -h | --help) usage 0 ;; esac
