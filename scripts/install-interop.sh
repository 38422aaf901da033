#!/bin/sh
# Installs what the interop tests drive and Python does not bring: mosquitto's clients and broker,
# PostgreSQL, Node and npm, Chromium, and curl for the examples of the pages (as root, and only if the
# commands are missing), mqtt.js (into .interop).
# No package starts a service: a policy-rc.d forbids it meanwhile and is put back afterwards. Nor does
# PostgreSQL's make a cluster: a file beside createcluster.conf says so meanwhile and is removed.
set -eu
cd "$(dirname "$0")/.."

POLICY=/usr/sbin/policy-rc.d
ASIDE=$POLICY.before-tokenmq
MARK="# put here by tokenmq's scripts/install-interop.sh"
CLUSTERS=/etc/postgresql-common/createcluster.d
NO_CLUSTER=$CLUSTERS/zz-tokenmq.conf

have() {
    # Brokers live in /usr/sbin, which is not on everybody's path.
    PATH=$PATH:/usr/sbin command -v "$1" >/dev/null 2>&1
}

have_postgresql() {
    have postgres || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1
}

put_back() {
    rm -f "$POLICY" "$NO_CLUSTER"
    rmdir -p --ignore-fail-on-non-empty "$CLUSTERS" 2>/dev/null || true
    if [ -e "$ASIDE" ]; then mv "$ASIDE" "$POLICY"; fi
}

install_packages() {
    trap put_back EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # What a killed run left is known by its mark, and is nobody's to keep.
    if [ -e "$POLICY" ] && ! grep -q "$MARK" "$POLICY"; then mv "$POLICY" "$ASIDE"; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$MARK" >"$POLICY"
    chmod 755 "$POLICY"
    mkdir -p "$CLUSTERS"
    printf '%s\ncreate_main_cluster = false\n' "$MARK" >"$NO_CLUSTER"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    # shellcheck disable=SC2086 one word a package
    apt-get -q install -y --no-install-recommends $1
    put_back
    trap - EXIT INT TERM
}

missing=""
have mosquitto || missing="$missing mosquitto"
have mosquitto_sub && have mosquitto_pub || missing="$missing mosquitto-clients"
have node || missing="$missing nodejs"
have npm || missing="$missing npm"
have curl || missing="$missing curl"
have chromium || missing="$missing chromium"
have_postgresql || missing="$missing postgresql"

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "Not root, so these stay missing and their interop tests are skipped:$missing" >&2
    elif ! have apt-get; then
        echo "No apt-get here; install these yourself, or their interop tests are skipped:$missing" >&2
    else
        install_packages "$missing"
    fi
fi

if have node && have npm && ! cmp -s tests/interop/package.json .interop/package.json; then
    rm -rf .interop
    mkdir .interop
    echo '*' >.interop/.gitignore
    cp tests/interop/package.json .interop/
    if ! (cd .interop && npm install --no-package-lock --no-audit --no-fund --loglevel=error); then
        rm -rf .interop
        echo "npm could not install mqtt.js; its interop tests are skipped" >&2
        exit 1
    fi
fi
