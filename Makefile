# One command each for what people do here; the work is in scripts/. `make help` lists them.
.PHONY: help up build setup test test-real lint bench compose-secret clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

up: build ## set up, build, fetch the model and run everything in the foreground
	scripts/with-env ./sightline models pull
	@exec scripts/with-env ./sightline up

build: setup ## build the sightline command and leave it at ./sightline
	scripts/with-env sh -c 'cargo build --release --locked -p sightline && install -s -m 755 "$$CARGO_TARGET_DIR/release/sightline" ./sightline'

setup: ## install what building and running needs (root or sudo; a moment when all is there)
	@scripts/setup

test: setup ## all tests that need no server; ends with a list of what did not run
	@scripts/test

test-real: setup ## the tests that need servers, on real Kafka, MongoDB, PostgreSQL, Redis and OpenID provider started for them
	@scripts/test --real

lint: setup ## formatting, clippy and documentation, with warnings as errors
	@scripts/lint

bench: setup ## take the figures of docs/BENCHMARKS.md anew on this machine (an hour; scripts/bench --quick: some minutes)
	@scripts/bench

compose-secret: ## make the operator's token for docker compose, once
	@scripts/compose-secret

clean: ## delete the build's output; downloads and models stay in the cache
	scripts/with-env cargo clean
	rm -f ./sightline
