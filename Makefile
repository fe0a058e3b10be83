# `make run` starts a demonstration visit, `make test` proves everything; both do all the set-up themselves.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
# PEP 517's own list of what the build needs, so that it stands in one place.
BUILD_NEEDS = $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")')
WHEEL_NEEDS = $$($(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["wheel"], sep="\n")')
CRATES := codecs sfu/engine bench/native
RUST := $(shell find $(CRATES) -name target -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
# What clippy of Debian 12 (0.1.63) warns of, and later ones don't: its makers found these too strict, or mended them.
OLD_CLIPPY := format-push-string drop-non-drop drop-copy unusual-byte-groupings derive-partial-eq-without-eq redundant-clone
# Tests that don't mind others beside them, and those that do.
BESIDE := tests/unit tests/api tests/sim tests/fuzz tests/ops
ALONE := $(filter-out $(BESIDE) tests/support tests/vectors tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/)))
# Where Debian's own compiler is, beside a newer one in PATH.
DEBIAN_RUST := /usr/bin

.PHONY: help run test test-rust test-python test-debian-rust fuzz lint format build wheel wheelhouse bench bench-crowd bench-load bench-network bench-peers bench-churn bench-booking bench-faults walk operate picture clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

run: $(VENV)/.run ## a demonstration visit; ARGS="…" is handed to `vardrum demo`
	exec $(BIN)/vardrum demo $(ARGS)

test: test-rust test-debian-rust test-python ## all tests, real browsers included

# All fuzzing of one run takes a minute: two thirds in the engine, one in Python.
test-rust: export FUZZ_SECONDS ?= 40
test-python: export FUZZ_SECONDS ?= 20

test-rust: $(VENV)/.system-test
	for crate in $(CRATES); do cargo test --quiet --offline --locked --manifest-path $$crate/Cargo.toml; done

test-debian-rust: $(VENV)/.system-test ## the engine with the distribution's compiler, without a network
	if [ -x $(DEBIAN_RUST)/rustc ]; then \
	  RUSTC=$(DEBIAN_RUST)/rustc $(DEBIAN_RUST)/cargo build --quiet --offline --locked --release \
	    --manifest-path sfu/engine/Cargo.toml --target-dir build/cargo-debian; \
	else echo "no $(DEBIAN_RUST)/rustc: the engine was built with $$(rustc --version) only"; fi

# What needs no browser and measures no media runs in as many processes as there are cores; the rest alone, after it.
test-python: $(VENV)/.test
	$(BIN)/python -m pytest --numprocesses auto --dist loadscope $(ARGS) $(BESIDE)
	$(BIN)/python -m pytest $(ARGS) $(ALONE)

fuzz: SECONDS ?= 600
fuzz: export FUZZ_SEED ?= $(shell date +%s)
fuzz: $(VENV)/.test ## nearly valid input to every parser for SECONDS=600, counted; another beginning each time
	FUZZ_SECONDS=$$(($(SECONDS) * 2 / 3)) cargo test --quiet --offline --locked --manifest-path sfu/engine/Cargo.toml --test fuzz
	FUZZ_SECONDS=$$(($(SECONDS) / 3)) $(BIN)/python -m pytest -q tests/fuzz/test_parsers.py

lint: $(VENV)/.system-lint $(VENV)/.test ## ruff, mypy, rustfmt and clippy, warnings as errors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p vardrum
	old=; case "$$(cargo clippy --version)" in "clippy 0.1.6"*) old="$(OLD_CLIPPY:%=-A clippy::%)";; esac; \
	for crate in $(CRATES); do \
	  cargo fmt --manifest-path $$crate/Cargo.toml -- --check; \
	  cargo clippy --quiet --offline --locked --all-targets --manifest-path $$crate/Cargo.toml -- -D warnings $$old; \
	done

format: $(VENV)/.system-lint $(VENV)/.test ## let ruff and rustfmt lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	for crate in $(CRATES); do cargo fmt --manifest-path $$crate/Cargo.toml; done

build: $(VENV)/.run ## a wheel in build/wheels, engine included
	$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-build-isolation --no-deps --wheel-dir build/wheels .

# libcrypto stays the system's own: its security updates then reach the engine too.
wheel: $(VENV)/.wheel ## a wheel in build/dist for other machines, with the oldest glibc that it runs on in its name
	rm -rf build/dist build/lib build/bdist.* build/unchecked
	$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-build-isolation --no-deps --wheel-dir build/unchecked .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --exclude libcrypto.so.3 --wheel-dir build/dist build/unchecked/vardrum-*.whl

wheelhouse: wheel ## the wheel, and with it in build/dist all that it needs, for machines that reach no package index
	$(BIN)/python -m pip --quiet --disable-pip-version-check download --only-binary :all: --dest build/dist build/dist/vardrum-*.whl

bench: $(VENV)/.bench ## CPU per forwarded packet, beside the machine's bare cost
	$(BIN)/python -m vardrum.bench.engine $(ARGS)

bench-crowd: $(VENV)/.bench ## how many visits of native bots this machine carries, and how much delay
	$(BIN)/python -m vardrum.bench.crowd $(ARGS)

bench-load: $(VENV)/.bench ## a clinic's day with Locust, and the most visits at once; ARGS="--people 300 --processes 4"
	$(BIN)/python -m vardrum.bench.load $(ARGS)

bench-network: RUNS ?= 1
bench-network: CASES ?= three
bench-network: PEERS ?=
bench-network: $(VENV)/.test ## what a phone on bad networks sees and hears, in real browsers; RUNS=3 CASES="300 step" PEERS=janus; as root
	$(BIN)/python -m vardrum.bench.network --case $(CASES) --runs $(RUNS) $(PEERS:%=--peers %) $(ARGS)

bench-peers: $(VENV)/.bench ## CPU per forwarded packet beside Janus, with the same bots; as root, with the package `janus`
	$(BIN)/python -m vardrum.bench.peers $(ARGS)

bench-churn: $(VENV)/.bench ## half an hour of people who come and go: memory and descriptors must be flat
	$(BIN)/python -m vardrum.bench.churn $(ARGS)

bench-booking: $(VENV)/.bench ## 100 bookings and 100 arrivals a second; ARGS="--database-url postgresql://…" beside SQLite
	$(BIN)/python -m vardrum.bench.booking $(ARGS)

bench-faults: $(VENV)/.bench ## what visits survive: restart, kill -9, disk full, clock steps, loss …; as root, with the package `faketime`
	$(BIN)/python -m vardrum.bench.load.faults $(ARGS)

walk: $(VENV)/.test ## from a fresh clone to a patient in the visit, by the README's own commands, timed
	$(BIN)/python -m vardrum.tests.support.walk

operate: $(VENV)/.test wheelhouse ## the README's page for operators, by its own commands, on a fresh Debian in a folder; as root
	.ci/packages operate
	$(BIN)/python -m vardrum.tests.support.operator

picture: $(VENV)/.test ## the README's picture, taken of a running visit
	$(BIN)/python -m vardrum.tests.support.picture docs/visit.png

clean: ## all that was made here
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info sfu/_engine*.so
	rm -rf $(addsuffix /target,$(CRATES))

# The stamps live in the virtual environment: who removes it starts afresh.

$(VENV)/.made: pyproject.toml .ci/packages
	.ci/packages run
	[ -x $(BIN)/python ] || "$$(.ci/packages python)" -m venv $(VENV)
	$(PIP) $(BUILD_NEEDS)
	# mypy looks packages up by folder name, and the root is the package whatever the checkout is called.
	mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/vardrum
	touch $@

# --no-build-isolation: the build tools are there already, so a changed engine is rebuilt in seconds.
$(VENV)/.run: $(VENV)/.made $(RUST)
	$(PIP) --no-build-isolation --editable .
	touch $@

$(VENV)/.wheel: $(VENV)/.made $(RUST)
	$(PIP) $(WHEEL_NEEDS)
	touch $@

$(VENV)/.test: $(VENV)/.made $(RUST) $(VENV)/.system-test
	$(PIP) --no-build-isolation --editable '.[test]'
	.ci/browsers
	touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.made $(RUST)
	$(PIP) --no-build-isolation --editable '.[bench]'
	touch $@ $(VENV)/.run

$(VENV)/.system-test: .ci/packages | $(VENV)/.made
	.ci/packages test
	touch $@

$(VENV)/.system-lint: .ci/packages | $(VENV)/.made
	.ci/packages lint
	touch $@
