{{/*
A Deployment or StatefulSet of a component. Where a scaler owns the number of replicas it is left out, so that an upgrade does not
reset it.
*/}}
{{- define "sightline.workload" -}}
{{- $component := get (include "sightline.components" .root | fromYaml) .component }}
{{- $values := get .root.Values $component.values }}
apiVersion: apps/v1
kind: {{ $component.kind }}
metadata:
  name: {{ include "sightline.fullname" . }}
  labels:
    {{- include "sightline.labels" . | nindent 4 }}
spec:
  {{- if $component.alone }}
  replicas: 1
  {{- else if eq $values.autoscaling.kind "none" }}
  replicas: {{ $values.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "sightline.selector" . | nindent 6 }}
  {{- if eq $component.kind "StatefulSet" }}
  serviceName: {{ include "sightline.fullname" . }}
  # Without an order, so that a broken roll-out can be rolled back: with one, a pod that never becomes ready blocks its own repair.
  podManagementPolicy: Parallel
  {{- with .claims }}
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Delete}
  volumeClaimTemplates: {{ . | toJson }}
  {{- end }}
  {{- else if $component.alone }}
  strategy: {type: Recreate}
  {{- else }}
  strategy:
    type: RollingUpdate
    # A new pod is ready before an old one stops.
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "sightline.labels" . | nindent 8 }}
      {{- $annotations := $values.podAnnotations }}
      {{- if .root.Values.metrics.annotations }}
      {{- $scrape := dict "prometheus.io/scrape" "true" "prometheus.io/port" "9601" "prometheus.io/path" "/metrics" }}
      {{- $annotations = merge (dict) $annotations $scrape }}
      {{- end }}
      {{- with $annotations }}
      annotations: {{ . | toJson }}
      {{- end }}
    spec:
      {{- include "sightline.pod" . | nindent 6 }}
{{- end }}

{{/* A Job that runs before an installation and before each upgrade. What it needs must exist before: it uses no object of the chart. */}}
{{- define "sightline.job" -}}
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ include "sightline.fullname" . }}
  labels:
    {{- include "sightline.labels" . | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 6
  activeDeadlineSeconds: {{ .root.Values.jobs.deadlineSeconds }}
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels:
        {{- include "sightline.labels" . | nindent 8 }}
    spec:
      {{- include "sightline.pod" . | nindent 6 }}
{{- end }}
