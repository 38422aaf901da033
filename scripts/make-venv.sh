#!/bin/sh
# Makes .venv with python3.11, else python3. Where Python cannot make one, installs
# python3-venv as root, and says what to install otherwise.
set -eu
cd "$(dirname "$0")/.."

make_with() {
    command -v "$1" >/dev/null 2>&1 || return 1
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || return 1
    # What a failed attempt leaves behind looks like an environment and is none.
    "$1" -m venv .venv >/dev/null 2>&1 || { rm -rf .venv; return 1; }
}

make_with python3.11 || make_with python3 && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing python3-venv, for this Python makes no virtual environments" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update && apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
    make_with python3.11 || make_with python3 && exit 0
fi

echo "tokenmq needs Python 3.11 or newer that can make virtual environments; on Debian: apt install python3-venv" >&2
exit 1
