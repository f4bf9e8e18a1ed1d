#!/bin/sh
# A whole cluster on this machine, in the foreground, with the first app.
set -eu
stoa=$1
data="${STOA_UP_DATA_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/stoa}"
mkdir -p "$data"
exec "$stoa" up --data-dir "$data" --app "$(dirname "$0")/../examples/hello.json"
