#!/bin/sh
# Installs what building and running Stoa needs and this machine lacks, saying what and why.
#
#   prepare.sh build        what the compiler needs
#   prepare.sh build run    and what a cluster on this machine uses besides
#   prepare.sh faults       what comes between processes and their disks and clocks, to break them
#   prepare.sh docker       what tests of Docker's containers use
#   prepare.sh conformance  what client libraries of other projects are installed with
#
# Where a package cannot be installed it says so and exits 1, except for HAProxy, without which routing is off
# and everything else works, for Docker, without which its tests are skipped, and for what breaks clocks and disks.
set -eu

missing=""
want() { missing="$missing $1"; echo "prepare: $1 is missing: $2"; }

have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/x86_64-linux-gnu/libclang*.so* /usr/lib/*/libclang*.so* \
        /usr/lib64/libclang.so* 2>/dev/null | grep -v -e 'libclang-cpp' | grep -q .
}

for part in "$@"; do
    case "$part" in
    build)
        if ! command -v cargo >/dev/null 2>&1 && [ ! -x "$HOME/.cargo/bin/cargo" ]; then
            echo "prepare: the Rust toolchain is missing. Install the stable one with rustup, then come back." >&2
            exit 1
        fi
        command -v c++ >/dev/null 2>&1 || want g++ "RocksDB, which keeps the masters' log, is written in C++"
        have_libclang || want libclang-dev "the bindings to RocksDB are generated with it"
        ;;
    run)
        command -v python3 >/dev/null 2>&1 || want python3 "examples/hello.json serves its page with it"
        [ -n "${STOA_HAPROXY:-}" ] || command -v haproxy >/dev/null 2>&1 || [ -x /usr/sbin/haproxy ] \
            || want haproxy "it routes the apps' service ports"
        ;;
    faults)
        ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || want faketime "a process's clock is set with it"
        [ -e /usr/lib/fiu/fiu_posix_preload.so ] || want fiu-utils "a process's syncs fail with it"
        ;;
    docker)
        command -v dockerd >/dev/null 2>&1 || want docker.io "agents run tasks in containers of Docker's, which its tests do"
        # A shell and its tools in one file without libraries: the image of those tests.
        { [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1; } || want busybox-static "the tests of Docker's containers make their image of it"
        ;;
    conformance)
        command -v go >/dev/null 2>&1 || want golang-go "a Go client library is compiled with it"
        command -v npm >/dev/null 2>&1 || want npm "a JavaScript client library is installed with it"
        command -v python3 >/dev/null 2>&1 || want python3 "a Python client library runs on it"
        # Distributions' Pythons come without the module that makes environments.
        python3 -c 'import ensurepip' 2>/dev/null || want python3-venv "a Python client library is installed with it"
        python3 -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null \
            || want python3-dev "a Python client library has a part in C"
        command -v cc >/dev/null 2>&1 || want gcc "a Python client library has a part in C"
        ;;
    esac
done

[ -n "$missing" ] || exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null 2>&1; then sudo="sudo"; else
        echo "prepare: cannot install$missing: not root, and sudo is not there. Install them and come back." >&2
        exit 1
    fi
fi

install() {
    if command -v apt-get >/dev/null 2>&1; then
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    elif command -v dnf >/dev/null 2>&1; then
        $sudo dnf install -y -q $(echo "$@" | sed -e 's/libclang-dev/clang-devel/' -e 's/g++/gcc-c++/')
    else
        return 1
    fi
}

if command -v apt-get >/dev/null 2>&1; then $sudo apt-get update -qq || true; fi
for package in $missing; do
    echo "prepare: installing $package"
    if ! install "$package"; then
        if [ "$package" = docker.io ] || [ "$package" = busybox-static ]; then
            echo "prepare: $package could not be installed: the tests of Docker's containers are skipped." >&2
            continue
        fi
        if [ "$package" = faketime ] || [ "$package" = fiu-utils ]; then
            echo "prepare: $package could not be installed: faults that need it become kills." >&2
            continue
        fi
        if [ "$package" = haproxy ]; then
            echo "prepare: HAProxy could not be installed: routing is off, everything else works." >&2
            continue
        fi
        echo "prepare: $package could not be installed by this system's package manager. Install it and come back." >&2
        exit 1
    fi
done
