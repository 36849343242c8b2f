# Sourced by scripts/kubernetes-check: installation, upgrade and rollback in the cluster. Each check ends the script if it fails.
# shellcheck shell=bash

namespace=(--namespace sightline)
kube() { kubectl "${namespace[@]}" "$@"; }

release() {
  local action=$1
  shift
  helm "$action" sightline "$chart" "${namespace[@]}" --values "$values/base.yaml" --wait --timeout 180s "$@"
}

# is WHAT EXPECTED COMMAND…: compares the output of a command.
is() {
  local what=$1 wanted=$2 found
  shift 2
  found=$("$@") || die "$what: $* failed"
  [ "$found" = "$wanted" ] || die "$what: $found instead of $wanted"
}

field() { kube get "$1" --output "jsonpath={$2}"; }

prepare_namespace() {
  kubectl apply --filename "$kubernetes/namespace.yaml" >/dev/null
  custom_kinds | tr , '\n' | xargs -n 1 kubectl apply --server-side --filename >/dev/null
  kube create secret generic sightline --from-literal=admin-token=token --from-literal=database-url=postgres://host/ \
    --from-literal=verifier-database-url=postgres://host/ --from-literal=faces-database-url=postgres://host/ \
    --from-literal=mongodb-uri=mongodb://host/ --from-literal=redis-url=redis://host/ >/dev/null
  within 20 "the namespace's account" kube get serviceaccount default
  within 20 "the custom kinds" kubectl wait --for=condition=Established crd --all --timeout=0s
}

# The level that our pods pass is in force: it refuses a pod that does not.
check_pod_security() {
  local said
  ! said=$(kube run bare --image=registry.example.org/bare:1 2>&1) || die "the namespace accepts a pod without a security context"
  grep -q 'violates PodSecurity "restricted' <<<"$said" || die "a bare pod is refused for another reason: $said"
  echo "Pod Security: a bare pod is refused"
}

# The API server knows every field, and takes every object of the overlays.
check_server_side() {
  local name said
  for name in base autoscaling volume cameras example; do
    kubectl apply --dry-run=server --validate=strict --filename "$work/kustomized-$name.yaml" >"$work/applied.log" 2>&1 \
      || { cat "$work/applied.log"; die "the API server refuses kustomize's $name"; }
    ! grep -i warning "$work/applied.log" || die "the API server warns about $name"
    [ "$(grep -c created "$work/applied.log")" = "$(grep -c '^kind: ' "$work/kustomized-$name.yaml")" ] \
      || die "not every object of $name was applied"
  done
  # The selector that docs/KUBERNETES.md gives for the jobs.
  is "what is applied first" "job.batch/sightline-migrate job.batch/sightline-topics" jobs_first
  ! said=$(sed 's/enableServiceLinks/enableServiceLink/' "$work/kustomized-base.yaml" \
    | kubectl apply --dry-run=server --validate=strict --filename - 2>&1) || die "the API server accepts a misspelt field"
  grep -q 'unknown field "spec.template.spec.enableServiceLink"' <<<"$said" || die "a misspelt field is refused otherwise: $said"
  echo "API server: accepts base and overlays, refuses a misspelt field"
}

jobs_first() {
  kubectl apply --dry-run=server --output name --kustomize "$kubernetes/overlays/example" \
    --selector 'app.kubernetes.io/component in (topics, migrate)' | grep '^job' | sort | paste -sd ' '
}

check_install() {
  release install >"$work/notes.txt"
  grep -q 'get secret sightline' "$work/notes.txt" || die "the notes do not say where the token is"
  for job in topics migrate; do
    [ "$(completed "$job")" = 1 ] || die "the job $job did not run before the installation"
  done
  is "network policies" "$(grep -c '^kind: NetworkPolicy' "$work/base.yaml")" count networkpolicy
  is "disruption budgets" "$(grep -c '^kind: PodDisruptionBudget' "$work/base.yaml")" count poddisruptionbudget
  is "ready workers" 2 field statefulset/sightline-detector-worker .status.readyReplicas
  is "ready pods of the API" 2 field deployment/sightline-ingest-api .status.readyReplicas
  is "ready pods of faces" 2 field deployment/sightline-faces .status.readyReplicas
  is "ready pods of the shop" 2 field deployment/sightline-shop-api .status.readyReplicas
  echo "install: jobs completed, six services ready"
}

count() { kube get "$1" --output name | wc -l; }

# How often a job has completed: helm deletes a job that succeeded, its event stays.
completed() { kube get events --field-selector "reason=Completed,involvedObject.name=sightline-$1" --output name | wc -l; }

check_upgrade() {
  release upgrade --set image.tag=9.9.9 >/dev/null
  is "the image after the upgrade" sightline:9.9.9 field deployment/sightline-ingest-api '.spec.template.spec.containers[0].image'
  is "the updated workers" 2 field statefulset/sightline-detector-worker .status.updatedReplicas
  [ "$(completed migrate)" = 2 ] || die "the job migrate did not run before the upgrade"
  helm rollback sightline 1 "${namespace[@]}" --wait --timeout 180s >/dev/null
  is "the image after the rollback" "sightline:$version" field deployment/sightline-ingest-api \
    '.spec.template.spec.containers[0].image'
  # The way back from a migration is the backup, not a program that does not know the new tables.
  [ "$(completed migrate)" = 2 ] || die "the job migrate ran before a rollback"
  echo "upgrade and rollback: rolled out, migrated once"
}

# A failed migration must stop the upgrade before a pod changes. No node takes the job's pod, so the job runs into its deadline.
check_failed_migration() {
  local said
  kubectl cordon node-1 node-2 >/dev/null
  ! said=$(release upgrade --set image.tag=8.8.8 --set jobs.deadlineSeconds=1 2>&1) || die "helm upgrades after a failed migration"
  kubectl uncordon node-1 node-2 >/dev/null
  grep -q 'pre-upgrade hooks failed' <<<"$said" || die "the upgrade failed for another reason: $said"
  is "the image after a failed migration" "sightline:$version" field deployment/sightline-ingest-api \
    '.spec.template.spec.containers[0].image'
  echo "failed migration: no pod was changed"
}

# A roll-out that never becomes ready, here because no node is good enough, is repaired by a rollback alone. The pods of StatefulSets
# are the ones in question.
check_broken_rollout() {
  local said
  ! said=$(release upgrade --set detectorWorker.nodeSelector.no=such --set indexer.nodeSelector.no=such --timeout 6s 2>&1) \
    || die "helm takes a roll-out that never becomes ready for a success"
  within 40 "one ready worker in the broken roll-out" ready statefulset/sightline-detector-worker 1
  helm rollback sightline 1 "${namespace[@]}" --wait --timeout 180s >/dev/null || die "the rollback does not repair the roll-out"
  is "ready workers after the repair" 2 field statefulset/sightline-detector-worker .status.readyReplicas
  is "ready indexers after the repair" 2 field statefulset/sightline-indexer .status.readyReplicas
  echo "broken roll-out: one pod less, and a rollback repairs it"
}

# With scalers, an upgrade keeps the number of replicas that they chose.
check_scaling() {
  release upgrade --values "$values/autoscaling.yaml" >/dev/null
  is "scaled objects" 2 count scaledobject
  within 40 "the scaler's minimum of the API" replicas deployment/sightline-ingest-api 2
  kube scale statefulset/sightline-detector-worker --replicas 5 >/dev/null
  release upgrade --values "$values/autoscaling.yaml" --set settings.SIGHTLINE_LOG=debug >/dev/null
  is "workers after an upgrade" 5 field statefulset/sightline-detector-worker .spec.replicas
  echo "scaling: an upgrade keeps the replicas that a scaler chose"
}

# Under Pod Security "restricted", as every pod. Its Secret is one of its own.
check_camera() {
  kube create secret generic sightline-camera --from-literal=cameras.yaml='cameras: []' --from-literal=token=token >/dev/null
  release upgrade --values "$values/cameras.yaml" >/dev/null
  is "ready pods of the camera program" 1 field deployment/sightline-camera .status.readyReplicas
  release upgrade >/dev/null
  is "the camera program that was switched off" "" kube get deployment,networkpolicy --selector app.kubernetes.io/component=camera --output name
  echo "camera: one pod, and none after it was switched off"
}

ready() { [ "$(field "$1" .status.readyReplicas)" = "$2" ]; }

replicas() { [ "$(field "$1" .spec.replicas)" = "$2" ]; }

# Both pods of the API are on one node, and there is no place for others: the budget lets one go and keeps the other.
check_drain() {
  local said
  kubectl cordon node-2 >/dev/null
  kube delete pod --selector app.kubernetes.io/component=ingest-api --wait=false >/dev/null
  within 30 "both pods of the API on node-1" ready_on_node_1
  ! said=$(drain node-1 7s 2>&1) || die "a drain evicts every pod of a service at once"
  grep -q "would violate the pod's disruption budget" <<<"$said" || die "the drain failed for another reason: $said"
  is "ready pods during the drain" 1 field deployment/sightline-ingest-api .status.readyReplicas
  kubectl uncordon node-2 >/dev/null
  drain node-1 60s >/dev/null 2>&1 || die "the drain fails although there is another node"
  kubectl uncordon node-1 >/dev/null
  echo "drain: one pod of a service at a time"
}

drain() { kubectl drain "$1" --pod-selector app.kubernetes.io/component=ingest-api --delete-emptydir-data --timeout "$2"; }

ready_on_node_1() {
  local nodes
  nodes=$(kube get pod --selector app.kubernetes.io/component=ingest-api --field-selector status.phase=Running \
    --output 'jsonpath={range .items[*]}{.spec.nodeName} {.status.containerStatuses[0].ready}{"\n"}{end}')
  [ "$nodes" = $'node-1 true\nnode-1 true' ]
}

check_uninstall() {
  local kinds=deployment,statefulset,job,service,networkpolicy,poddisruptionbudget,serviceaccount,horizontalpodautoscaler,scaledobject
  helm uninstall sightline "${namespace[@]}" --wait --timeout 180s >/dev/null
  is "objects after the uninstallation" "" kube get "$kinds" --selector app.kubernetes.io/name=sightline --output name
  echo "uninstall: nothing is left"
}
