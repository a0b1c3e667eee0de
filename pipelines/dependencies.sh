# dependencies.sh - what the project needs from the distribution, and getting
# it; sourced by pipelines/demo and tests/run
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Debian 12 and Ubuntu 24.04 package names. Nothing is asked for twice: only
# packages that are not installed are named and fetched.

build_packages="meson ninja-build gcc g++ pkg-config libglib2.0-dev
 libjson-glib-dev libdnnl-dev libpango1.0-dev libgstreamer1.0-dev
 libgstreamer-plugins-base1.0-dev"
run_packages="gstreamer1.0-tools gstreamer1.0-plugins-base
 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
 fonts-dejavu-core"
test_packages="gettext libgstreamer-plugins-bad1.0-dev libgstrtspserver-1.0-dev
 gstreamer1.0-rtsp gstreamer1.0-nice gstreamer1.0-x xvfb python3-gi
 gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0"

say () { printf '%s\n' "$*"; }
fail () { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

as_root () {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "needs root to install packages, and there is no sudo"; fi
}

installed () {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# install_missing PACKAGE...
install_missing () {
  command -v dpkg-query >/dev/null || {
    say "Not a Debian system: taking for granted that these are installed:"
    say "  $*"
    return 0
  }
  missing=
  for package in "$@"; do installed "$package" || missing="$missing $package"; done
  [ -n "$missing" ] || return 0
  say "Installing:$missing"
  as_root apt-get update -q >/dev/null || fail "apt-get update failed"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends $missing >/dev/null ||
    fail "could not install:$missing"
}

# build_into FOLDER [MESON OPTION...]
build_into () {
  folder=$1; shift
  if [ -e "$folder/build.ninja" ]; then
    meson configure "$folder" "$@" >/dev/null || fail "meson configure failed"
  else
    say "Configuring $folder"
    meson setup "$folder" "$@" >"$folder.log" 2>&1 ||
      { cat "$folder.log" >&2; fail "meson setup failed"; }
  fi
  say "Building $folder"
  ninja -C "$folder" >"$folder.log" 2>&1 ||
    { grep -E 'error|warning|FAILED' "$folder.log" | head -40 >&2
      fail "the build failed; see $folder.log"; }
  rm -f "$folder.log"
}
