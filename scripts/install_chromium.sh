#!/usr/bin/env bash
# A Chromium for the browser tests: the one that is there, else Debian's package, where there are apt-get and root.
set -euo pipefail

for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
    if [ -n "$name" ] && command -v "$name" >/dev/null; then
        exit 0
    fi
done

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "The browser tests need Chromium. Install it with your system's packages (Debian: 'sudo apt-get install chromium'; macOS: 'brew install --cask chromium')," >&2
    echo "or set CHROMIUM to the path of a Chromium or Chrome." >&2
    exit 1
fi

echo "Installing Chromium ..."
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
command -v chromium >/dev/null || { echo "apt-get has installed no 'chromium'. Set CHROMIUM to the path of a Chromium or Chrome." >&2; exit 1; }
