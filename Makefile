# The only front door: people and CI call the same targets.
#
#   make run      a whole cluster on this machine, with a first app, in the foreground
#   make test     every test; the last line says how many passed and failed
#   make check    format, lints, licences
#   make e2e      the tests on real processes alone
#   make sim      a simulated cluster: SEED=n the first seed, SEEDS=m how many
#   make e2e-faults   a cluster on network namespaces, broken by a schedule drawn from SEED for FAULT_SECONDS; needs root.
#                   OTHER_STOA names another version of the program, which nodes go over to and back from
#   make conformance  client libraries of other projects, alone; `make test` runs them too
#   make mutants  plants faults in the cores one by one and shows that the simulator finds them
#   make bench    the measurements of bench/, each with its floor
#
# Everything builds with one profile into one directory outside the checkout, so that a second checkout does not
# compile RocksDB again. Name another with CARGO_TARGET_DIR.

CARGO_TARGET_DIR ?= $(HOME)/.cache/stoa/target
export CARGO_TARGET_DIR
# Cargo without a terminal stays quiet about progress; a first build takes minutes, so let it speak.
export CARGO_TERM_COLOR ?= auto

CARGO := $(shell command -v cargo 2>/dev/null || echo $(HOME)/.cargo/bin/cargo)
STOA := $(CARGO_TARGET_DIR)/release/stoa

.PHONY: run build test check fmt lint licences e2e e2e-faults conformance sim mutants bench prepare prepare-run prepare-faults prepare-docker prepare-conformance

run: prepare-run build
	@./scripts/run.sh $(STOA)

# The whole workspace, as `test` and `lint` take it: with another selection Cargo resolves other features for the tools
# that RocksDB is built with, and compiles RocksDB again.
build: prepare
	$(CARGO) build --release --locked --workspace --bins

test: prepare-run prepare-docker prepare-conformance build
	@./scripts/test.sh $(CARGO)

check: prepare fmt lint licences

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

licences:
	@./scripts/licences.sh $(CARGO)

e2e: prepare-run build
	@./scripts/test.sh $(CARGO) -p e2e

SEED ?= 1
SEEDS ?= 1
# With many seeds a line each is enough, unless one fails.
SIM_FLAGS ?= $(if $(filter 1,$(SEEDS)),,--brief)

sim: build
	@$(CARGO_TARGET_DIR)/release/sim --seed $(SEED) --seeds $(SEEDS) $(SIM_FLAGS)

FAULT_SECONDS ?= 120

e2e-faults: prepare-run prepare-faults build
	@$(CARGO_TARGET_DIR)/release/faults $(SEED) $(FAULT_SECONDS)

conformance: prepare-run prepare-conformance build
	@./scripts/test.sh $(CARGO) -p conformance

# Behind a feature that nothing else asks for, so that no program that is shipped has them.
mutants: prepare
	$(CARGO) run --release --locked -p sim --features mutants --bin mutants

bench: prepare-run build
	@./scripts/bench.sh $(CARGO)

prepare:
	@./scripts/prepare.sh build

prepare-run:
	@./scripts/prepare.sh build run

prepare-faults:
	@./scripts/prepare.sh faults

prepare-docker:
	@./scripts/prepare.sh docker

prepare-conformance:
	@./scripts/prepare.sh conformance
