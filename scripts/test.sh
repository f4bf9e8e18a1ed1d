#!/bin/sh
# Runs the tests and ends with one line, `N passed, N failed`, summed over every test program.
#
#   test.sh CARGO [arguments for `cargo test`]      without arguments: the whole workspace
set -eu

cargo=$1
shift
[ $# -gt 0 ] || set -- --workspace
# Seconds a test program may run: many times what the longest takes. One that hangs must not cost the verdict of all others.
longest=900
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A failing program must not hide the ones after it; its status is kept past the pipe by way of a file.
status=0
runner="target.'cfg(all())'.runner = ['timeout', '--verbose', '--kill-after=10', '$longest']"
{ "$cargo" test --release --locked --no-fail-fast --config "$runner" "$@" 2>&1 || echo "tests: cargo ended with status $?"; } | tee "$log"
grep -q '^tests: cargo ended with status' "$log" && status=1

passed=$(sed -n 's/^test result: .* \([0-9][0-9]*\) passed; .*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
failed=$(sed -n 's/^test result: .* \([0-9][0-9]*\) failed; .*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
if [ "$status" != 0 ] && [ "$failed" = 0 ]; then
    echo "tests: the run ended without a verdict of every test program" >&2
    failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
