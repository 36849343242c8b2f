{{/*
The environment of a component, as a list. `env` has what only this component needs. Settings of the values come last: those of the
service win over those of all services.
*/}}
{{- define "sightline.environment" -}}
{{- $values := .root.Values }}
{{- $component := get (include "sightline.components" .root | fromYaml) .component }}
{{- range .env }}
- {{ . | toJson }}
{{- end }}
{{- range $need, $credential := include "sightline.credentials" .root | fromYaml }}
{{- $key := get $values.secret.keys $credential.key }}
{{- if and $key (has $need $component.needs) }}
- {name: {{ $credential.variable }}, value: /run/secrets/sightline/{{ $key }}}
{{- end }}
{{- end }}
{{- if has "kafka" $component.needs }}
- {name: SIGHTLINE_KAFKA_BROKERS, value: {{ $values.kafka.brokers | quote }}}
{{- end }}
{{- if include "sightline.topicsFile" . }}
- {name: SIGHTLINE_TOPICS_FILE, value: /etc/sightline/topics.yaml}
{{- end }}
{{- if has "s3" $component.needs }}
{{- include "sightline.blobEnvironment" .root }}
{{- end }}
{{- if has "media" $component.needs }}
{{- include "sightline.mediaEnvironment" .root }}
{{- end }}
{{- if and (include "sightline.hasAudio" .root) (has .component (list "audio-worker" "shop-api" "topics")) }}
- {name: SIGHTLINE_AUDIO, value: "on"}
{{- if include "sightline.audioModels" . }}
- {name: SIGHTLINE_MODELS_DIR, value: /models}
{{- end }}
{{- end }}
{{- if $component.grpc }}
- {name: SIGHTLINE_GRPC_ADDR, value: "0.0.0.0:50051"}
{{- end }}
{{- if has "adminToken" $component.needs }}
- {name: SIGHTLINE_TOKEN_ISSUER, value: {{ $values.publicUrl | quote }}}
- {name: SIGHTLINE_HTTP_ADDR, value: "0.0.0.0:{{ $component.port | default 8000 }}"}
- {name: SIGHTLINE_STOP_DELAY_SECONDS, value: {{ $values.stopDelaySeconds | quote }}}
{{- end }}
{{- if $component.values }}
- {name: SIGHTLINE_PROBE_ADDR, value: "0.0.0.0:9601"}
- {name: SIGHTLINE_LOG_FORMAT, value: json}
- {name: SIGHTLINE_STOP_GRACE_SECONDS, value: {{ $values.stopGraceSeconds | quote }}}
{{- range $name, $value := merge (dict) (get $values $component.values).settings $values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether a component reads the topics.yaml of the values; empty for no. */}}
{{- define "sightline.topicsFile" -}}
{{- $needs := (get (include "sightline.components" .root | fromYaml) .component).needs }}
{{- if and .root.Values.kafka.topicsConfigMap (or (has "kafka" $needs) (has "topics" $needs)) }}yes{{ end }}
{{- end }}

{{/* Whether a component has the volume with the models for audio; empty for no. */}}
{{- define "sightline.audioModels" -}}
{{- $values := .root.Values.audioWorker }}
{{- if and $values.enabled $values.models.existingClaim (has .component (list "audio-worker" "shop-api")) }}yes{{ end }}
{{- end }}

{{- define "sightline.blobEnvironment" -}}
{{- with .Values.blobs }}
- {name: SIGHTLINE_BLOB_URL, value: {{ ternary .url "file:///blobs" (empty .existingClaim) | quote }}}
{{- if .region }}
- {name: AWS_REGION, value: {{ .region | quote }}}
{{- end }}
{{- if .endpoint }}
- {name: AWS_ENDPOINT, value: {{ .endpoint | quote }}}
{{- if hasPrefix "http://" .endpoint }}
- {name: AWS_ALLOW_HTTP, value: "true"}
{{- end }}
{{- end }}
{{- end }}
{{- include "sightline.bucketKeys" . }}
{{- end }}

{{/* The files of the shop. A bucket of theirs has the same keys as that of the images. */}}
{{- define "sightline.mediaEnvironment" -}}
{{- with .Values.media }}
- {name: SIGHTLINE_MEDIA_URL, value: {{ ternary .url "file:///media" (empty .existingClaim) | quote }}}
{{- if .region }}
- {name: SIGHTLINE_MEDIA_S3_REGION, value: {{ .region | quote }}}
{{- end }}
{{- if .endpoint }}
- {name: SIGHTLINE_MEDIA_S3_ENDPOINT, value: {{ .endpoint | quote }}}
{{- end }}
{{- end }}
{{- include "sightline.bucketKeys" . }}
{{- end }}

{{- define "sightline.bucketKeys" -}}
{{- with .Values.secret }}
{{- if .keys.s3AccessKeyId }}
- {name: AWS_ACCESS_KEY_ID, valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .keys.s3AccessKeyId }}}}}
- {name: AWS_SECRET_ACCESS_KEY, valueFrom: {secretKeyRef: {name: {{ .name }}, key: {{ .keys.s3SecretAccessKey }}}}}
{{- end }}
{{- end }}
{{- end }}
