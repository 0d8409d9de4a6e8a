{{/* Names are fixed: the roles in RBAC, the lease and the certificates are called so, and only one Keyrota runs in a cluster. */}}

{{/* Of one component, `dict "root" . "component" …`, or of the whole: the context itself. */}}
{{- define "keyrota.selectorLabels" -}}
app.kubernetes.io/name: keyrota
app.kubernetes.io/instance: {{ (.root | default .).Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "keyrota.labels" -}}
{{- $root := .root | default . -}}
{{ include "keyrota.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: keyrota
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "keyrota.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* One value for both roles: they must agree on it. */}}
{{- define "keyrota.externalUrl" -}}
{{ .Values.externalUrl | default (printf "https://keyrota-gateway.%s.svc" .Release.Namespace) | trimSuffix "/" }}
{{- end }}

{{- define "keyrota.consoleUrl" -}}
{{ .Values.console.externalUrl | default (printf "https://keyrota-console.%s.svc" .Release.Namespace) | trimSuffix "/" }}
{{- end }}

{{/* A Secret that is made here has a fixed name. */}}
{{- define "keyrota.tlsSecret" -}}
{{- if eq .tls.mode "secret" -}}
{{ .tls.secretName }}
{{- else -}}
keyrota-{{ .component }}-tls
{{- end }}
{{- end }}

{{- define "keyrota.commonArgs" -}}
- --operator-namespace={{ .Release.Namespace }}
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
- --log={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- with .Values.tracing.endpoint }}
- --otlp-endpoint={{ . }}
- --trace-ratio={{ $.Values.tracing.ratio }}
{{- end }}
{{- end }}

{{- define "keyrota.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "keyrota.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Probes of the health port: ready and alive are different questions. */}}
{{- define "keyrota.probes" -}}
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  initialDelaySeconds: 15
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end }}

{{/* Where Pods go, with defaults for affinity and spread that never keep one from starting. */}}
{{- define "keyrota.scheduling" -}}
{{- $selector := include "keyrota.selectorLabels" . | fromYaml -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- if .values.affinity }}
  {{- toYaml .values.affinity | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- toYaml $selector | nindent 14 }}
  {{- end }}
topologySpreadConstraints:
  {{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- toYaml $selector | nindent 8 }}
  {{- end }}
terminationGracePeriodSeconds: {{ int .values.terminationGracePeriodSeconds }}
{{- end }}

{{/* What the kubelet would mount by itself, for one container of a Pod instead of all. */}}
{{- define "keyrota.ownIdentityVolume" -}}
projected:
  defaultMode: 0440
  sources:
    - serviceAccountToken:
        path: token
        expirationSeconds: 3607
    - configMap:
        name: kube-root-ca.crt
        items: [{key: ca.crt, path: ca.crt}]
    - downwardAPI:
        items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}

{{- define "keyrota.identityPath" -}}
/var/run/secrets/kubernetes.io/serviceaccount
{{- end }}

{{/* The names that a certificate made here is for. */}}
{{- define "keyrota.serviceNames" -}}
{{- $base := printf "keyrota-%s" .component -}}
{{- $namespace := .root.Release.Namespace -}}
{{- $url := urlParse .url -}}
{{- $names := list $base (printf "%s.%s" $base $namespace) (printf "%s.%s.svc" $base $namespace) (printf "%s.%s.svc.cluster.local" $base $namespace) -}}
{{- $names = concat $names (list $url.hostname) .tls.names | uniq -}}
{{ join "," $names }}
{{- end }}

{{/* What a schema cannot say, in words that name the value. */}}
{{- define "keyrota.checks" -}}
{{- $v := .Values -}}
{{- if and (gt (int $v.controller.replicas) 1) (not $v.controller.leaderElection) -}}
{{- fail (printf "controller.replicas is %d and controller.leaderElection is false: two controllers would write at once. Set one of them otherwise" (int $v.controller.replicas)) -}}
{{- end -}}
{{- range $part := list "gateway" "console" -}}
{{- $tls := (get $v $part).tls -}}
{{- if and (eq $tls.mode "secret") (not $tls.secretName) -}}
{{- fail (printf "%s.tls.mode is secret: name the Secret in %s.tls.secretName" $part $part) -}}
{{- end -}}
{{- if and (ne $tls.mode "secret") $tls.secretName -}}
{{- fail (printf "%s.tls.secretName is given, but %s.tls.mode is %s: set the mode to secret" $part $part $tls.mode) -}}
{{- end -}}
{{- if and (eq $tls.mode "certManager") (not $tls.certManager.issuerRef.name) -}}
{{- fail (printf "%s.tls.mode is certManager: name the issuer in %s.tls.certManager.issuerRef.name" $part $part) -}}
{{- end -}}
{{- $ingress := (get $v $part).ingress -}}
{{- if and $ingress.enabled (not $ingress.hosts) -}}
{{- fail (printf "%s.ingress.enabled is true: name the hosts in %s.ingress.hosts" $part $part) -}}
{{- end -}}
{{- end -}}
{{- range $route := list "tlsRoute" "httpRoute" -}}
{{- $values := get $v.gateway $route -}}
{{- if and $values.enabled (or (not $values.parentRefs) (not $values.hostnames)) -}}
{{- fail (printf "gateway.%s.enabled is true: name gateway.%s.parentRefs and gateway.%s.hostnames" $route $route $route) -}}
{{- end -}}
{{- end -}}
{{- if and $v.gateway.tlsRoute.enabled (eq $v.gateway.tls.mode "off") -}}
{{- fail "gateway.tlsRoute.enabled is true, but gateway.tls.mode is off: there is no TLS to pass through" -}}
{{- end -}}
{{- if gt (int $v.gateway.autoscaling.minReplicas) (int $v.gateway.autoscaling.maxReplicas) -}}
{{- fail (printf "gateway.autoscaling.minReplicas is %d, above gateway.autoscaling.maxReplicas, which is %d" (int $v.gateway.autoscaling.minReplicas) (int $v.gateway.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- $n := $v.notifications -}}
{{- if and $n.smtp.host (or (not $n.smtp.from) (not $n.mailDomains)) -}}
{{- fail "notifications.smtp.host is given: name the sender in notifications.smtp.from, and in notifications.mailDomains the domains that mail may go to" -}}
{{- end -}}
{{- if and $n.smtp.secretName (not $n.smtp.host) -}}
{{- fail "notifications.smtp.secretName is given, but notifications.smtp.host is not" -}}
{{- end -}}
{{- if and (or $n.smtp.secretName $n.webhook.secretName) (eq $n.secretNamespace .Release.Namespace) -}}
{{- fail (printf "notifications.secretNamespace is the release's own namespace, %s, where the gateway may read Secrets: name another one" .Release.Namespace) -}}
{{- end -}}
{{- if and (or $n.smtp.secretName $n.webhook.secretName) (has $n.secretNamespace $v.watchNamespaces) -}}
{{- fail (printf "notifications.secretNamespace is %s, which is one of watchNamespaces: name another one" $n.secretNamespace) -}}
{{- end -}}
{{- if and $v.controller.publishKeysTo (not $v.watchNamespaces) -}}
{{- fail "controller.publishKeysTo is for watchNamespaces: without it the controller may write Secrets in every namespace" -}}
{{- end -}}
{{- if and $v.monitoring.podMonitor.enabled $v.monitoring.serviceMonitor.enabled -}}
{{- fail "monitoring.podMonitor.enabled and monitoring.serviceMonitor.enabled are both true: everything would be counted twice" -}}
{{- end -}}
{{- end }}

{{/* The API server tells, when there is one: two releases would fight over the same accounts. */}}
{{- define "keyrota.onlyRelease" -}}
{{- $found := lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "keyrota-controller" -}}
{{- if $found -}}
{{- $annotations := $found.metadata.annotations | default dict -}}
{{- $release := index $annotations "meta.helm.sh/release-name" | default "" -}}
{{- $namespace := index $annotations "meta.helm.sh/release-namespace" | default "" -}}
{{- if or (ne $release .Release.Name) (ne $namespace .Release.Namespace) -}}
{{- if $release -}}
{{- fail (printf "Keyrota runs in this cluster already: release %s in the namespace %s. Only one can; upgrade or uninstall that one" $release $namespace) -}}
{{- else -}}
{{- fail "Keyrota runs in this cluster already, installed without Helm (there is a ClusterRole keyrota-controller). Only one can; remove that one" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
