{{/*
The programs: where their values are, what they connect to, and what they are. Each but ingest-api, shop-api and the job that migrates
connects to the database with a role of its own. Environment, mounted secrets and network policies
follow from it. `topics` is the file of topics without a connection to Kafka. `port` is that of the API; 8000 if it has none. With `grpc` it
has a port for that too.
*/}}
{{- define "sightline.components" -}}
ingest-api:
  values: ingestApi
  kind: Deployment
  needs: [kafka, mongodb, s3, database, redis, adminToken, smtp, oidc, otlp]
detector-worker:
  values: detectorWorker
  kind: StatefulSet
  needs: [kafka, s3, engines, otlp{{ if include "sightline.facesLive" . }}, workerDatabase{{ end }}]
indexer:
  values: indexer
  kind: StatefulSet
  needs: [kafka, mongodb, otlp]
alert-stream:
  values: alertStream
  kind: Deployment
  needs: [kafka, verifierDatabase, redis, adminToken, otlp]
faces:
  values: faces
  kind: Deployment
  port: 8080
  needs: [mongodb, s3, facesDatabase, redis, adminToken, otlp, {{ ternary "kafka" "topics" (not (empty .Values.faces.uploads.existingClaim)) }}]
{{- if include "sightline.hasShop" . }}
shop-api:
  values: shopApi
  kind: Deployment
  port: 8080
  grpc: true
  needs: [media, database, redis, adminToken, smtp, oidc, otlp{{ if include "sightline.hasAudio" . }}, kafka{{ end }}]
{{- end }}
{{- if include "sightline.hasAudio" . }}
# `engines`: the servers of its providers, if there are any.
audio-worker:
  values: audioWorker
  kind: StatefulSet
  needs: [kafka, media, database, engines, otlp]
{{- end }}
{{- if .Values.camera.enabled }}
# One pod, because two would send the frames of each camera twice; no Service, no scaler and no service account, because nobody calls it and
# it calls no cluster.
camera:
  values: camera
  kind: Deployment
  alone: true
  needs: [cameras]
{{- end }}
migrate:
  kind: Job
  needs: [database, mongodb]
topics:
  kind: Job
  needs: [kafka]
{{- end }}

{{/* The settings that come from the Secret, by what needs them: variable, and key of `secret.keys`. */}}
{{- define "sightline.credentials" -}}
kafka: {variable: SIGHTLINE_KAFKA_PROPERTIES_FILE, key: kafkaProperties}
mongodb: {variable: SIGHTLINE_MONGODB_URI_FILE, key: mongodbUri}
database: {variable: SIGHTLINE_DATABASE_URL_FILE, key: databaseUrl}
verifierDatabase: {variable: SIGHTLINE_DATABASE_URL_FILE, key: verifierDatabaseUrl}
facesDatabase: {variable: SIGHTLINE_DATABASE_URL_FILE, key: facesDatabaseUrl}
workerDatabase: {variable: SIGHTLINE_DATABASE_URL_FILE, key: workerDatabaseUrl}
redis: {variable: SIGHTLINE_REDIS_URL_FILE, key: redisUrl}
adminToken: {variable: SIGHTLINE_ADMIN_TOKEN_FILE, key: adminToken}
smtp: {variable: SIGHTLINE_SMTP_URL_FILE, key: smtpUrl}
oidc: {variable: SIGHTLINE_OIDC_CLIENT_SECRET_FILE, key: oidcClientSecret}
otlp: {variable: SIGHTLINE_OTLP_HEADERS_FILE, key: otlpHeaders}
{{- end }}

{{/* Whether the shop runs; empty for no. */}}
{{- define "sightline.hasShop" -}}
{{- if or .Values.media.url .Values.media.existingClaim }}yes{{ end }}
{{- end }}

{{/* Whether books are transcribed and described; empty for no. */}}
{{- define "sightline.hasAudio" -}}
{{- if .Values.audioWorker.enabled }}
{{- if not (include "sightline.hasShop" .) }}
{{- fail "audioWorker.enabled is true, but there is no shop: set media.url or media.existingClaim, where the recordings are" }}
{{- end }}yes{{ end }}
{{- end }}

{{/* Whether the workers compare faces; empty for no. */}}
{{- define "sightline.facesLive" -}}
{{- $live := get (merge (dict) .Values.detectorWorker.settings .Values.settings) "SIGHTLINE_FACES_LIVE" }}
{{- if has $live (list "on" "true") }}
{{- if not .Values.secret.keys.workerDatabaseUrl }}
{{- fail "SIGHTLINE_FACES_LIVE is on, but secret.keys.workerDatabaseUrl is empty: the workers read the enrolled faces with a role of their own" }}
{{- end }}yes{{ end }}
{{- end }}

{{/* The services that run here, with the jobs that are on: the keys of a map, as YAML. */}}
{{- define "sightline.running" -}}
{{- $jobs := .Values.jobs }}
{{- range $name, $component := include "sightline.components" . | fromYaml }}
{{- if or $component.values (get $jobs $name) }}
{{ $name }}: {{ $component | toJson }}
{{- end }}
{{- end }}
{{- end }}
