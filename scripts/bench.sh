#!/bin/sh
# Every measurement, one line of JSON each; bench/README.md says what each means and how it is taken.
set -eu

cargo=$1
"$cargo" build --release --locked --workspace --bins
bin="$CARGO_TARGET_DIR/release"
for program in bench-alloc bench-state bench-masters launch_rate post_to_running discovery batch_day batch_jobs; do
    echo "bench: $program" >&2
    "$bin/$program"
done
