# Each target installs what it needs first (Debian and Ubuntu; elsewhere it lists what is missing).
SHELL := /usr/bin/env bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-rust test-portals test-browser bench fuzz fuzz-api sanitize lint portals programs

TARGET := $(or $(CARGO_TARGET_DIR),target)
PORTALS := api/portals
# What the system itself runs on, what a person looks at it with, what peers are measured.
RUN_NEEDS := initdb=postgresql redis-server curl
TEST_NEEDS := $(RUN_NEEDS) rabbitmq-server chromium turnutils_uclient=coturn turnserver=coturn ip=iproute2 ethtool certutil=libnss3-tools openssl python3=python3-venv go=golang-go
BENCH_NEEDS := $(TEST_NEEDS) janus etcd=etcd-server
FUZZ_SECONDS ?= 60

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: portals programs ## the whole system on this machine; ARGS="--bots" and the like
	@.ci/need $(RUN_NEEDS) $(if $(findstring --bots,$(ARGS)),chromium)
	@$(TARGET)/debug/medmesh demo $(ARGS)

test: test-portals test-rust test-browser ## every test

test-rust: ## unit, property and integration tests
	@.ci/need $(TEST_NEEDS)
	cargo test --workspace --locked
	tests/fuzz/run check

test-portals: portals
	cd $(PORTALS) && npm run lint && npm test

test-browser: portals programs ## every state of the portals, and real browsers through two edges
	@.ci/need $(TEST_NEEDS)
	cd $(PORTALS) && npm run check:a11y && npm run check:keyboard
	tests/browser/run $(TARGET)/debug

portals: $(PORTALS)/node_modules/.package-lock.json
	cd $(PORTALS) && npm run build

$(PORTALS)/node_modules/.package-lock.json: $(PORTALS)/package-lock.json
	cd $(PORTALS) && npm ci --no-audit --no-fund

# The whole workspace at once: the features of shared crates are then the same for
# `make demo` and `make test`, and nothing is built twice.
programs:
	cargo build --workspace --locked

bench: portals ## us, the peer and the limit, side by side; JSON in target/bench
	@.ci/need $(BENCH_NEEDS)
	cargo build --profile dist --locked -p medmesh-edge -p medmesh-turn -p medmesh-control -p medmesh-cli -p medmesh-benches
	$(TARGET)/dist/medmesh-bench all

fuzz: ## every parser we own, FUZZ_SECONDS each; the relay ten minutes in total
	@.ci/need g++
	tests/fuzz/run $(FUZZ_SECONDS)

fuzz-api: portals programs ## everything the API's descriptions allow, and more, asked of the running system; a quarter of an hour
	@.ci/need $(RUN_NEEDS) python3=python3-venv
	tests/api/run $(TARGET)/debug

# The sanitizer is no part of stable Rust yet, hence the one variable, for these programs alone. It keeps freed
# memory for a while, so that memory which stays flat is asked of `make test` only.
sanitize: HOST = $(shell rustc -vV | sed -n 's/^host: //p')
sanitize: ## the relay, whose two modules with unsafe code talk to the kernel, under AddressSanitizer
	@.ci/need $(TEST_NEEDS)
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=$(TARGET)/sanitize \
		cargo test --locked --target $(HOST) -p medmesh-turn --lib --test it -- --skip leaves_its_memory_flat

lint: portals ## formatting, clippy, licences and duplicates of dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	.ci/deny
