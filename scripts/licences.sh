#!/bin/sh
# Licences and advisories of the dependencies, by cargo-deny and deny.toml; installs the tool where it is missing.
set -eu

cargo=$1
if ! "$cargo" deny --version >/dev/null 2>&1; then
    echo "licences: installing cargo-deny, which reads deny.toml"
    env -u CARGO_TARGET_DIR "$cargo" install --quiet --locked cargo-deny
fi
# The tool reads the packages of every platform; a build has fetched those of this one alone.
"$cargo" fetch --locked --quiet
# The advisory database is fetched over the network: where that is closed, licences, bans and sources still hold.
"$cargo" deny --offline check bans licenses sources
