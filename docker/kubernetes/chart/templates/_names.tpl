{{/* Beginning of every name. Short, because names of pods add up to 21 characters to the name of a component. */}}
{{- define "sightline.name" -}}
{{- $name := .Release.Name }}
{{- if not (contains "sightline" $name) }}{{ $name = printf "%s-sightline" $name }}{{ end }}
{{- $name | trunc 30 | trimSuffix "-" }}
{{- end }}

{{- define "sightline.fullname" -}}
{{ include "sightline.name" .root }}-{{ .component }}
{{- end }}

{{- define "sightline.selector" -}}
app.kubernetes.io/name: sightline
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "sightline.labels" -}}
{{ include "sightline.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* The image of the values `image`. */}}
{{- define "sightline.image" -}}
{{- $version := .root.Chart.AppVersion }}
{{- with .image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $version }}
{{- end }}
{{- end }}
{{- end }}

{{/* As `contracts::groups` names the consumer group of the workers with these detectors. */}}
{{- define "sightline.workerGroup" -}}
sightline.detector-worker.{{ .Values.detectors | sortAlpha | uniq | join "+" }}
{{- end }}

{{/* The seconds from the request to stop a pod until it is killed. */}}
{{- define "sightline.stopSeconds" -}}
{{ add .Values.stopGraceSeconds .Values.stopDelaySeconds 5 }}
{{- end }}
