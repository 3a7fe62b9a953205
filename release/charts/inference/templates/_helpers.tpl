{{/* What selects the pod: the same in every release of it, since a Deployment's cannot change. */}}
{{- define "inference.selector" -}}
app.kubernetes.io/name: inference
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "inference.labels" -}}
{{ include "inference.selector" . }}
app.kubernetes.io/component: inference
app.kubernetes.io/part-of: vision-pipeline
app.kubernetes.io/version: {{ .Values.model.version | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The release's image, by digest; the tag is for people. */}}
{{- define "inference.image" -}}
{{ printf "%s:%s" .Values.image.repository .Values.image.tag }}
{{- end }}

{{- define "inference.probe" -}}
httpGet:
  path: {{ .Values.healthcheck.inferenceTest | ternary "/health/inference" "/health/live" }}
  port: http
{{- /* The pod answers within the deadline, whatever the engine does. */}}
timeoutSeconds: {{ add 1 (div (add 999 .Values.healthcheck.deadlineMilliseconds) 1000) }}
{{- end }}
