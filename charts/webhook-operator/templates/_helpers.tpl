{{/* What the names of all objects begin with. */}}
{{- define "webhook-operator.prefix" -}}
{{- .Values.namePrefix | default .Release.Name -}}
{{- end -}}

{{- define "webhook-operator.name" -}}
{{ include "webhook-operator.prefix" . }}-webhook-operator
{{- end -}}

{{- define "webhook-operator.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (include "webhook-operator.name" .) }}
{{- end -}}

{{/* Whether the operator asks the API server who scrapes it. */}}
{{- define "webhook-operator.secureMetrics" -}}
{{- if and .Values.metrics.enabled .Values.metrics.secure }}true{{ end -}}
{{- end -}}

{{/* The account whose token monitors show. There is one if there is a monitor, and metrics are not for everyone. */}}
{{- define "webhook-operator.metricsReader" -}}
{{- $monitored := or .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- if and $monitored (include "webhook-operator.secureMetrics" .) -}}
{{ include "webhook-operator.prefix" . }}-metrics-reader
{{- end -}}
{{- end -}}

{{/* What monitors do at each port. */}}
{{- define "webhook-operator.scrape" -}}
port: metrics
interval: {{ .Values.metrics.interval }}
{{- if .Values.metrics.secure }}
scheme: https
{{- with .Values.metrics.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
authorization:
  credentials:
    name: {{ include "webhook-operator.metricsReader" . }}-token
    key: token
{{- else }}
scheme: http
{{- end }}
{{- end -}}

{{- define "webhook-operator.bridge.name" -}}
{{ include "webhook-operator.prefix" . }}-bridge
{{- end -}}

{{- define "webhook-operator.bridge.serviceAccountName" -}}
{{ .Values.bridge.serviceAccount.name | default (include "webhook-operator.bridge.name" .) }}
{{- end -}}

{{- define "webhook-operator.bridge.secretName" -}}
{{ .Values.bridge.secretName | default (include "webhook-operator.bridge.name" .) }}
{{- end -}}

{{/* The namespaces that the bridge creates events in, as a JSON list. */}}
{{- define "webhook-operator.bridge.namespaces" -}}
{{- $default := .Values.bridge.defaultNamespace | default .Release.Namespace -}}
{{- append (values .Values.bridge.routes) $default | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/*
Labels of an object: (dict "root" $ "name" "webhook-operator"). The name is that of what the object belongs to, and with
it alone pods are selected.
*/}}
{{- define "webhook-operator.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" .name
  "app.kubernetes.io/instance" .root.Release.Name
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/part-of" "horizon"
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_"))
-}}
{{- merge $labels .root.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* An object that make generate has copied from config/, with another name and the chart's labels:
(dict "root" $ "file" "policy/x.yaml" "name" "x"). */}}
{{- define "webhook-operator.copied" -}}
{{- $labels := include "webhook-operator.labels" (dict "root" .root "name" "webhook-operator") | fromYaml -}}
{{- $object := .root.Files.Get (printf "files/%s" .file) | fromYaml -}}
{{- $_ := set $object.metadata "labels" (merge $labels (default dict $object.metadata.labels)) -}}
{{- $_ := set $object.metadata "name" .name -}}
{{- $object | toYaml -}}
{{- end -}}

{{/* (dict "root" $ "image" .Values.image) */}}
{{- define "webhook-operator.image" -}}
{{ .image.repository }}:{{ .image.tag | default (printf "v%s" .root.Chart.AppVersion) }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{/*
GOMEMLIMIT of a container: what is set, or nine tenths of the memory limit, or nothing without one.
(dict "limit" .Values.goMemLimit "resources" .Values.resources)
*/}}
{{- define "webhook-operator.goMemLimit" -}}
{{- $memory := dig "limits" "memory" "" (default dict .resources) -}}
{{- $memory = kindIs "float64" $memory | ternary ($memory | int64 | toString) ($memory | toString) -}}
{{- if .limit -}}
{{ .limit }}
{{- else if $memory -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18
  "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- $unit := get $units (regexFind "[A-Za-z]*$" $memory) -}}
{{- divf (mulf (regexFind "^[0-9.]+" $memory) $unit 0.9) 1048576 | floor | int64 }}MiB
{{- end -}}
{{- end -}}

{{/* How many seconds a duration such as 1h30m has. */}}
{{- define "webhook-operator.seconds" -}}
{{- $hours := regexFind "[0-9]+h" . | trimSuffix "h" | int64 -}}
{{- $minutes := regexFind "[0-9]+m" . | trimSuffix "m" | int64 -}}
{{- $seconds := regexFind "[0-9]+s" . | trimSuffix "s" | int64 -}}
{{- add (mul $hours 3600) (mul $minutes 60) $seconds -}}
{{- end -}}

{{/* The flags of what is logged: .Values.log */}}
{{- define "webhook-operator.logArgs" -}}
{{- with .level }}
- --zap-log-level={{ . }}
{{- end }}
{{- with .encoder }}
- --zap-encoder={{ . }}
{{- end }}
{{- with .stacktraceLevel }}
- --zap-stacktrace-level={{ . }}
{{- end }}
{{- with .timeEncoding }}
- --zap-time-encoding={{ . }}
{{- end }}
- --zap-devel={{ .development }}
{{- end -}}

{{/* The flags of the operator that have values, as a YAML list. */}}
{{- define "webhook-operator.args" -}}
- --leader-elect={{ .Values.leaderElect }}
{{- with .Values.watchNamespaces }}
- --namespaces={{ join "," . }}
{{- end }}
- --metrics-bind-address={{ if .Values.metrics.enabled }}:{{ .Values.metrics.port }}{{ else }}0{{ end }}
- --metrics-secure={{ .Values.metrics.secure }}
{{- if .Values.metrics.certSecretName }}
- --metrics-cert-dir=/etc/webhook-operator-metrics
{{- end }}
- --health-probe-bind-address=:{{ .Values.probesPort }}
- --pprof-bind-address={{ .Values.pprofBindAddress }}
- --workers={{ .Values.workers | int }}
- --drain-seconds={{ .Values.drainSeconds | int }}
- --max-event-age={{ .Values.maxEventAge }}
- --event-ttl={{ .Values.eventTTL }}
{{- with .Values.egress.allow }}
- --egress-allow={{ join "," . }}
{{- end }}
{{- with .Values.egress.proxy }}
- {{ printf "--egress-proxy=%s" . | quote }}
{{- end }}
{{- with .Values.egress.proxyExcept }}
- --egress-proxy-except={{ join "," . }}
{{- end }}
- --require-ssl-verify={{ .Values.requireSSLVerify }}
{{- include "webhook-operator.logArgs" .Values.log }}
{{- end -}}

{{/* The flags of the bridge that have values, as a YAML list. */}}
{{- define "webhook-operator.bridge.args" -}}
{{- with .Values.bridge -}}
- {{ printf "--horizon-url=%s" .horizonURL | quote }}
{{- if .horizonCAConfigMap }}
- --horizon-ca-file=/etc/horizon-bridge-ca/ca.crt
{{- end }}
- --horizon-proxy-from-environment={{ .horizonProxyFromEnvironment }}
- --routes-file=/etc/horizon-bridge-routes/routes.yaml
- --state-configmap={{ include "webhook-operator.bridge.name" $ }}-state
{{- with .eventNamePrefix }}
- --name-prefix={{ . }}
{{- end }}
- --webhook-id={{ .webhookID | int64 }}
{{- with .publicURL }}
- {{ printf "--public-url=%s" . | quote }}
{{- end }}
- --catch-up-requests-per-minute={{ .catchUp.requestsPerMinute | int }}
- --catch-up-every={{ .catchUp.every }}
- --catch-up-window={{ .catchUp.window }}
- --listen-address=:{{ .port }}
{{- if .tlsSecretName }}
- --tls-cert-file=/etc/horizon-bridge-tls/tls.crt
- --tls-key-file=/etc/horizon-bridge-tls/tls.key
{{- end }}
- --max-connections={{ .maxConnections | int }}
- --drain-seconds={{ .drainSeconds | int }}
- --metrics-bind-address={{ if .metrics.enabled }}:{{ .metrics.port }}{{ else }}0{{ end }}
- --health-probe-bind-address=:{{ .probesPort }}
{{- include "webhook-operator.logArgs" .log }}
{{- end }}
{{- end -}}
