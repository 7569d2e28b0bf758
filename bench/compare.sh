#!/usr/bin/env bash
# Three Apache ZooKeeper servers (Debian's package) and three zokor servers take turns at the same
# work on this machine; what each costs is told side by side. Usage: bench/compare.sh [--help].

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${ZOKOR_BIN:-}" ]; then
    cargo build --release --quiet --package zokor
    export ZOKOR_BIN="${CARGO_TARGET_DIR:-target}/release/zokor"
fi
exec python3 bench/compare.py "$@"
