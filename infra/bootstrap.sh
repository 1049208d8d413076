#!/bin/bash
# Installs the system packages that a target of the Makefile needs: infra/bootstrap.sh demo|up|check|test
# As root on Debian or Ubuntu it installs what is missing; otherwise it prints the line to run and exits with 3.
# Does nothing, in a few milliseconds, when nothing is missing. infra/bootstrap.sh python prints which Python is ours.
set -euo pipefail

target=${1:-test}
packages=()
complaints=()

need() { # need PROGRAM PACKAGE…: the packages, unless the program is there
  command -v "$1" >/dev/null || packages+=("${@:2}")
}

at_least() { # at_least HAVE WANT: compares versions
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -1)" = "$2" ]
}

# The distribution's Python before any other: it is built with profile-guided optimisation, which those that people build
# for themselves often lack and `python -m benchmarks.worker_throughput` shows; and bcc is packaged for it.
find_python() {
  local each
  for each in /usr/bin/python3 python3; do
    if "$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$each"
      return
    fi
  done
  return 1
}

need_python() {
  if ! command -v python3 >/dev/null; then
    packages+=(python3 python3-venv)
  elif ! find_python >/dev/null; then
    complaints+=("$(python3 --version) is too old: flamebus needs 3.11 or newer, as /usr/bin/python3 or first on PATH.")
  elif ! python3 -c 'import ensurepip' 2>/dev/null; then
    packages+=(python3-venv)
  fi
}

need_kernel_tools() { # the compiler of BPF programs; our programs need no kernel headers
  [ -d /usr/lib/python3/dist-packages/bcc ] || packages+=(python3-bpfcc)
}

need_page_tools() {
  [ -f dashboard/web/package.json ] || return 0
  need node nodejs npm
  need npm npm
}

need_servers() { # only where no Docker engine answers are servers built here
  docker version >/dev/null 2>&1 && return 0
  need java default-jdk-headless
  need mvn maven default-jdk-headless
  need go golang
  need cargo cargo
  need gcc gcc libc6-dev
  need pkg-config pkg-config
}

check_versions() { # after installing: a distribution's own version may be too old, and then only a person can help
  if [ "$target" != check ] && [ -f dashboard/web/package.json ] && command -v node >/dev/null; then
    at_least "$(node -p process.versions.node)" 20.19 ||
      complaints+=("Node $(node -p process.versions.node) is too old for the page's build: it needs 20.19 or newer (nodejs.org).")
  fi
  if { [ "$target" = up ] || [ "$target" = test ]; } && ! docker version >/dev/null 2>&1; then
    # Go 1.21 and later fetch the toolchain a module asks for by themselves; older ones cannot.
    at_least "$(go env GOVERSION | tr -d go)" 1.21 ||
      complaints+=("$(go version) is too old to build InfluxDB: it needs 1.21 or newer (go.dev/dl, or bookworm-backports).")
    at_least "$(cargo --version | cut -d' ' -f2)" 1.70 ||
      complaints+=("$(cargo --version) is too old to build InfluxDB: it needs 1.70 or newer (rustup.rs).")
    at_least "$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')" 17 || complaints+=("Java is too old for Kafka: it needs 17.")
  fi
}

install() {
  local line="apt-get update && apt-get install --yes --no-install-recommends ${packages[*]}"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Some system packages are missing. As root, run (or install the like with your package manager):" >&2
    echo "  $line" >&2
    exit 3
  fi
  echo "installing ${packages[*]}" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends "${packages[@]}" >/dev/null
}

cd "$(dirname "$0")/.."
if [ "$target" = python ]; then find_python; exit; fi
need_python
case $target in
  demo) need_kernel_tools; need_page_tools; need cc gcc libc6-dev ;;
  up) need_kernel_tools; need_page_tools; need_servers ;;
  check) need_page_tools ;;
  test) need_kernel_tools; need_page_tools; need_servers; need gcc gcc libc6-dev; need chromium chromium; need git git ;;
  *) echo "infra/bootstrap.sh: unknown target '$target' (demo, up, check, test)" >&2; exit 2 ;;
esac
if [ ${#packages[@]} -gt 0 ]; then install; fi
check_versions
if [ ${#complaints[@]} -gt 0 ]; then
  printf '%s\n' "${complaints[@]}" >&2
  exit 3
fi
