# Part of scripts/compose/run.sh: the shop with the settings of a demo, and the clients of others against it, as `make deploy`,
# `make docker-go-test` and `make k6` run them.
# shellcheck shell=bash

default_settings
unset SECRETS_DIR
# For `show_failure`.
export MAIL_SINK=/sink
use "$docker"/compose{,.dev,.shop-demo}.yaml
# Kafdrop's image cannot be had where this check runs.
"$root/scripts/shop-deploy" up ingest-api detector-worker indexer alert-stream faces shop-api mails >"$work/deploy.log" 2>&1 \
  || { cat "$work/deploy.log" >&2; fail "scripts/shop-deploy up"; }
make --no-print-directory -C "$root" docker-go-test >"$work/cases.log" 2>&1 || { grep --invert-match '^ *--- PASS\|^=== ' "$work/cases.log" >&2; fail "make docker-go-test"; }
ok "$(grep --count '^ *--- PASS' "$work/cases.log") cases of the client in Go pass"
# The engine, its services and k6 share the cores of this machine.
K6_LIGHT_MS=100 make --no-print-directory -C "$root" k6 >"$work/k6.log" 2>&1 || { cat "$work/k6.log" >&2; fail "make k6"; }
ok "the load by k6 keeps its limits"
make --no-print-directory -C "$root" undeploy >"$work/undeploy.log" 2>&1 || { cat "$work/undeploy.log" >&2; fail "make undeploy"; }
! docker volume ls --quiet | grep --quiet sightline-shop-demo || fail "make undeploy leaves volumes"
ok "make undeploy leaves nothing"
