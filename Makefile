# The common commands; the work is in scripts/. `make help` lists them.
.PHONY: help up build setup test test-real lint bench compose-secrets deploy docker-go-test k6 undeploy clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

up: build ## set up, build, download the model and run everything in the foreground
	scripts/with-env ./sightline models pull
	@exec scripts/with-env ./sightline up

build: setup ## build the sightline command as ./sightline, and the camera program beside it where FFmpeg's libraries are
	@scripts/build

setup: ## install the tools to build and run it (root or sudo; the second time takes a moment)
	@scripts/setup

test: setup ## run all tests that need no server; lists at the end the tests that did not run
	@scripts/test

test-real: setup ## run the tests that need servers; starts Kafka, MongoDB, PostgreSQL, Redis, S3 and an OpenID provider
	@scripts/test --real

lint: setup ## check formatting, clippy, documentation, names in documents, shell scripts; warnings are errors
	@scripts/lint

bench: setup ## measure the figures of docs/BENCHMARKS.md (one hour; scripts/bench --quick: a few minutes)
	@scripts/bench

compose-secrets: ## create the passwords and the operator's token for docker compose, once
	@scripts/compose-secrets

deploy: ## start everything with docker compose, with the settings of a demo; gRPC of the shop on 127.0.0.1:50051
	@scripts/shop-deploy up

docker-go-test: ## run the cases of the shop by a client in Go against what `make deploy` started
	@scripts/shop-deploy run go

k6: ## run the load of the shop by k6 against what `make deploy` started
	@scripts/shop-deploy run k6

undeploy: ## stop what `make deploy` started, and delete its data
	@scripts/shop-deploy down

clean: ## delete the build output; downloads and models stay in the cache
	scripts/with-env cargo clean
	rm -f ./sightline ./sightline-camera
