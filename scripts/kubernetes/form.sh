# Sourced by scripts/kubernetes-check: what can be checked without a cluster. Each check ends the script if it fails.
# shellcheck shell=bash

render() { helm template sightline "$chart" --namespace sightline --values "$values/base.yaml" "$@"; }

# The manifests of the chart and of kustomize, each in a file of $work.
render_everything() {
  local name
  render >"$work/base.yaml"
  for name in autoscaling volume cameras example everything; do render --values "$values/$name.yaml" >"$work/$name.yaml"; done
  kubectl kustomize "$kubernetes/jobs" >"$work/jobs.yaml"
  for name in base overlays/autoscaling overlays/volume overlays/cameras overlays/example; do
    kubectl kustomize "$kubernetes/$name" >"$work/kustomized-$(basename "$name").yaml"
  done
  # This overlay has the jobs; the others leave them to a kustomization of their own.
  for name in base autoscaling volume cameras; do { echo ---; cat "$work/jobs.yaml"; } >>"$work/kustomized-$name.yaml"; done
}

check_generated_files() {
  "$python" "$here/manifests.py" check "$(command -v helm)" || die "the files above are not up to date"
}

check_chart() {
  helm lint --strict --quiet "$chart" --values "$values/base.yaml" || die "helm lint refuses the chart"
  helm-unittest "$chart" >"$work/unittest.log" || { cat "$work/unittest.log"; die "unit tests of the chart failed"; }
  grep -E '^Tests: +[1-9][0-9]* passed' "$work/unittest.log" || die "no unit test of the chart ran"
  "$python" "$here/facts.py" "$work/autoscaling.yaml" || die "the chart differs from the programs"
}

check_kustomize() {
  local name
  for name in base autoscaling volume cameras example; do
    "$python" "$here/same.py" "$work/kustomized-$name.yaml" "$work/$name.yaml" PersistentVolumeClaim \
      || die "kustomize and helm differ in $name"
  done
}

# Counts what was checked: kubeconform is content with nothing, too.
check_schemas() {
  local version files=("$work"/{base,everything,kustomized-volume,kustomized-example}.yaml) wanted summary
  "$python" "$here/schemas.py" "$work/schemas" "$(kubernetes_schemas)" "$(custom_kinds)" \
    "$(IFS=,; echo "${schema_versions[*]}")" "${files[@]}" || die "could not write the schemas"
  wanted=$(cat "${files[@]}" | grep -c '^kind: ')
  [ "$wanted" -gt 80 ] || die "only $wanted objects to check"
  for version in "${schema_versions[@]}"; do
    summary=$(conform "$version" "${files[@]}") || { say "$summary"; die "an object is invalid for Kubernetes $version"; }
    grep -q "Valid: $wanted, Invalid: 0, Errors: 0, Skipped: 0" <<<"$summary" || die "not all of $wanted were checked: $summary"
    echo "Kubernetes $version: $summary"
    misspelt "$version" s/enableServiceLinks/enableServiceLink/ "'enableServiceLink' not allowed"
    misspelt "$version" s/maxReplicaCount/maxReplicaCout/ "'maxReplicaCout' not allowed"
  done
}

conform() {
  local version=$1
  shift
  kubeconform -strict -summary -kubernetes-version "$version" \
    -schema-location "$work/schemas/$version/{{.ResourceKind}}{{.KindSuffix}}.json" "$@"
}

misspelt() {
  local said
  ! said=$(sed "$2" "$work/everything.yaml" | conform "$1") || die "kubeconform accepts a manifest after $2"
  grep -q "$3" <<<"$said" || die "kubeconform should say $3: $said"
}

# conftest exits with 1, because it reads manifests that are broken on purpose.
check_policies() {
  mkdir "$work/policies"
  "$python" "$here/policies.py" write "$work/policies" "$work"/{base,volume,cameras,example,everything,kustomized-volume,autoscaling}.yaml
  conftest test --policy "$kubernetes/policy" --data "$work/policies/data" --output json --no-color "$work"/policies/*.json \
    >"$work/conftest.json" 2>"$work/conftest.log" || [ -s "$work/conftest.json" ] || { cat "$work/conftest.log"; die "conftest failed"; }
  "$python" "$here/policies.py" judge "$work/policies" "$work/conftest.json" || die "the policies failed"
  echo "policies: $(find "$work/policies" -name 'good-*' | wc -l) manifests accepted," \
    "$(find "$work/policies" -name 'bad-*' | wc -l) broken ones refused"
}

# refuses NAME ARGUMENT…: the chart refuses these values, and the message has the name.
refuses() {
  local name=$1 said
  shift
  ! said=$(render "$@" 2>&1 >/dev/null) || die "the chart accepts $*"
  grep -qF -- "$name" <<<"$said" || die "the message about $* should name $name: $said"
  refused=$((refused + 1))
}

check_broken_values() {
  local refused=0
  refuses /publicUrl --set publicUrl=
  refuses /publicUrl --set publicUrl=sightline.example.org
  refuses /kafka/brokers --set kafka.brokers=
  refuses /kafka/brokers --set kafka.brokers=kafka
  refuses /blobs --set blobs.url=
  refuses /blobs --set blobs.existingClaim=claim
  refuses /blobs/url --set blobs.url=http://host/images
  refuses SIGHTLINE_RETENTON --set settings.SIGHTLINE_RETENTON=3d
  refuses SIGHTLINE_ADMIN_ADDR --set ingestApi.settings.SIGHTLINE_ADMIN_ADDR=0.0.0.0:9600
  refuses SIGHTLINE_DATABASE_URL --set settings.SIGHTLINE_DATABASE_URL=postgres://host/
  refuses /settings/SIGHTLINE_INDEX_BATCH --set settings.SIGHTLINE_INDEX_BATCH=500
  refuses "'replica'" --set detectorWorker.replica=3
  refuses /detectorWorker/replicas --set detectorWorker.replicas=many
  refuses /ingestApi/autoscaling/kind --set ingestApi.autoscaling.kind=keda
  refuses detectorWorker.autoscaling.max --set detectorWorker.autoscaling.kind=keda --set detectorWorker.autoscaling.max=13
  refuses /image/tag --set image.tag=latest
  refuses /image/digest --set image.digest=sha256:abc
  refuses /media/url --set media.url=http://host/media
  refuses /media --set media.existingClaim=claim
  refuses networkPolicies.servers.s3.ports --set media.endpoint=http://minio.storage:9000
  refuses /shopApi/autoscaling/kind --set shopApi.autoscaling.kind=keda
  refuses /detectors --set-json 'detectors=[]'
  refuses /detectors/0 --set-json 'detectors=["Face"]'
  refuses /secret/keys/s3SecretAccessKey --set secret.keys.s3AccessKeyId=id
  refuses /secret/keys/adminToken --set secret.keys.adminToken=
  refuses /ingress/host --set ingress.enabled=true
  refuses /stopGraceSeconds --set stopGraceSeconds=soon
  refuses /networkPolicies/servers/kafka/ports/0 --set-json 'networkPolicies.servers.kafka.ports=[99999]'
  refuses networkPolicies.servers.kafka.ports --set kafka.brokers=kafka:9093
  refuses networkPolicies.servers.s3.ports --set blobs.endpoint=http://minio.storage:9000
  refuses /secret/keys/facesDatabaseUrl --set secret.keys.facesDatabaseUrl=
  refuses /secret/keys/verifierDatabaseUrl --set secret.keys.verifierDatabaseUrl=
  refuses secret.keys.workerDatabaseUrl --set-string settings.SIGHTLINE_FACES_LIVE=on
  refuses /faces/autoscaling/kind --set faces.autoscaling.kind=keda
  refuses /ingress/rejectPath --set ingress.rejectPath=reject
  refuses "'replicas'" --set camera.replicas=2
  refuses /camera/image/tag --set camera.image.tag=latest
  refuses /camera/secret/name --set camera.secret.name=
  refuses /camera/secret/keys/token --set camera.secret.keys.token=
  refuses SIGHTLINE_SERVER --set camera.settings.SIGHTLINE_SERVER=http://elsewhere
  refuses /networkPolicies/servers/cameras/ports --set-json 'networkPolicies.servers.cameras.ports=[]'
  refuses kubeVersion --kube-version 1.29.0
  echo "values: $refused broken ones refused with their names"
}

# What the programs think of the environment of every container: every name and every value. `config check` reads it as the services
# do, and connects to nothing.
check_settings() {
  local file variables said wanted checked=0 program=${SIGHTLINE_PROGRAM:-$root/sightline}
  [ -x "$program" ] || die "there is no $program: run make build"
  program=$(realpath "$program")
  "$python" "$here/settings.py" "$work/settings" "$work"/{base,volume,example,everything}.yaml
  for file in "$work"/settings/*.env; do
    mapfile -t variables <"$file"
    said=$(cd "$work" && env -i "HOME=$work" "${variables[@]}" "$program" config check 2>&1) || die "$(basename "$file"): $said"
    checked=$((checked + 1))
  done
  said=$(cd "$work" && env -i "HOME=$work" "${variables[@]}" SIGHTLINE_PORT=tcp://10.0.0.1:80 "$program" config check 2>&1) \
    && die "the program accepts the variable of a Service"
  grep -q 'SIGHTLINE_PORT is not a setting' <<<"$said" || die "the variable of a Service is refused for another reason: $said"
  wanted=$(cat "$work"/{base,volume,example,everything}.yaml | grep -cE '^kind: (Deployment|StatefulSet|Job)$')
  [ "$checked" = "$wanted" ] || die "$checked environments were checked, not $wanted"
  echo "settings: the programs accept the environments of $checked containers"
}
