{{/*
The pod of a component: `root`, `component`, `command`, `env` (its own environment), `state` (the volume of its state, if any), `secret`
(name and keys of a Secret of its own, which it gets in the place of the common one and of the further files).
It passes Pod Security "restricted".
*/}}
{{- define "sightline.pod" -}}
{{- $component := get (include "sightline.components" .root | fromYaml) .component }}
{{- $values := get .root.Values (default "" $component.values) | default dict }}
{{- $isService := not (empty $component.values) -}}
# The variables that Kubernetes makes of Services begin with SIGHTLINE_, too, and the programs refuse settings that they do not know.
enableServiceLinks: false
automountServiceAccountToken: false
{{- if $isService }}
{{- if not $component.alone }}
serviceAccountName: {{ include "sightline.name" .root }}
{{- end }}
terminationGracePeriodSeconds: {{ include "sightline.stopSeconds" .root }}
{{- else }}
restartPolicy: OnFailure
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{ . | toJson }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ . | toJson }}
{{- end }}
{{- with $values.affinity }}
affinity: {{ . | toJson }}
{{- end }}
{{- if $isService }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "sightline.selector" . | nindent 8 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
containers:
  # The same name in every pod, so that one kustomize patch can change all of them.
  - name: sightline
    image: {{ include "sightline.image" (dict "root" .root "image" ($values.image | default .root.Values.image)) }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    command: {{ .command | toJson }}
    env:
      {{- include "sightline.environment" . | trim | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    {{- if $isService }}
    ports:
      {{- if has "adminToken" $component.needs }}
      - {name: http, containerPort: {{ $component.port | default 8000 }}}
      {{- end }}
      {{- if $component.grpc }}
      - {name: grpc, containerPort: 50051}
      {{- end }}
      - {name: probe, containerPort: 9601}
    {{- include "sightline.probes" . | nindent 4 }}
    resources: {{ $values.resources | toJson }}
    {{- else }}
    resources:
      requests: {cpu: 50m, memory: 64Mi}
      limits: {memory: 256Mi}
    {{- end }}
    volumeMounts:
      {{- include "sightline.mounts" . | nindent 6 }}
volumes:
  {{- include "sightline.volumes" . | nindent 2 }}
{{- end }}

{{/* A start may take two minutes: a worker loads its models. Each check of /readyz has a limit of 3 s. */}}
{{- define "sightline.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: probe}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /healthz, port: probe}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: probe}
  periodSeconds: 5
  timeoutSeconds: 4
  failureThreshold: 2
{{- end }}

{{/* Keys of the Secret that a component reads, as a list. */}}
{{- define "sightline.secretKeys" -}}
{{- $keys := list }}
{{- $needs := (get (include "sightline.components" .root | fromYaml) .component).needs }}
{{- range $need, $credential := include "sightline.credentials" .root | fromYaml }}
{{- $key := get $.root.Values.secret.keys $credential.key }}
{{- if and $key (has $need $needs) }}{{ $keys = append $keys $key }}{{ end }}
{{- end }}
{{- $keys | toJson }}
{{- end }}

{{- define "sightline.mounts" -}}
{{- $needs := (get (include "sightline.components" .root | fromYaml) .component).needs -}}
- {name: tmp, mountPath: /tmp}
{{- if or .secret (include "sightline.secretKeys" . | fromJsonArray) }}
- {name: secrets, mountPath: /run/secrets/sightline, readOnly: true}
{{- end }}
{{- if include "sightline.topicsFile" . }}
- {name: topics, mountPath: /etc/sightline, readOnly: true}
{{- end }}
{{- if and .root.Values.blobs.existingClaim (has "s3" $needs) }}
- {name: blobs, mountPath: /blobs}
{{- end }}
{{- if and .root.Values.media.existingClaim (has "media" $needs) }}
- {name: media, mountPath: /media}
{{- end }}
{{- if and .root.Values.faces.uploads.existingClaim (eq .component "faces") }}
- {name: uploads, mountPath: /uploads}
{{- end }}
{{- if include "sightline.audioModels" . }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- if .state }}
- {name: state, mountPath: /var/lib/sightline}
{{- end }}
{{- range ternary (list) .root.Values.files (not (empty .secret)) }}
- {name: {{ .name }}, mountPath: {{ .mountPath }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "sightline.volumes" -}}
{{- $needs := (get (include "sightline.components" .root | fromYaml) .component).needs -}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- $secret := .secret | default (dict "name" .root.Values.secret.name "keys" (include "sightline.secretKeys" . | fromJsonArray)) }}
{{- with $secret.keys }}
- name: secrets
  secret:
    secretName: {{ $secret.name }}
    # Octal 0440: the program reads it as a member of the group fsGroup.
    defaultMode: 288
    items:
      {{- range . }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- if include "sightline.topicsFile" . }}
- name: topics
  configMap: {name: {{ .root.Values.kafka.topicsConfigMap }}}
{{- end }}
{{- if and .root.Values.blobs.existingClaim (has "s3" $needs) }}
- name: blobs
  persistentVolumeClaim: {claimName: {{ .root.Values.blobs.existingClaim }}}
{{- end }}
{{- if and .root.Values.media.existingClaim (has "media" $needs) }}
- name: media
  persistentVolumeClaim: {claimName: {{ .root.Values.media.existingClaim }}}
{{- end }}
{{- if and .root.Values.faces.uploads.existingClaim (eq .component "faces") }}
- name: uploads
  persistentVolumeClaim: {claimName: {{ .root.Values.faces.uploads.existingClaim }}}
{{- end }}
{{- if include "sightline.audioModels" . }}
- name: models
  persistentVolumeClaim: {claimName: {{ .root.Values.audioWorker.models.existingClaim }}, readOnly: true}
{{- end }}
{{- if and .state (eq .state "empty") }}
- name: state
  emptyDir: {sizeLimit: 64Mi}
{{- end }}
{{- range ternary (list) .root.Values.files (not (empty .secret)) }}
- name: {{ .name }}
  {{- if .secret }}
  secret: {secretName: {{ .secret }}, defaultMode: 288}
  {{- else }}
  configMap: {name: {{ .configMap }}}
  {{- end }}
{{- end }}
{{- end }}
