{{/* The gateway's container, the same in both forms but for the volume that its identity is in. */}}
{{- define "keyrota.gatewayContainer" -}}
{{- $values := .root.Values.gateway -}}
- name: gateway
  image: {{ include "keyrota.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args:
    - gateway
    {{- include "keyrota.commonArgs" .root | nindent 4 }}
    - --external-url={{ include "keyrota.externalUrl" .root }}
    - --listen=0.0.0.0:8443
    - --health-listen=0.0.0.0:8081
    {{- if eq $values.mode "sidecar" }}
    - --wait-for-identity={{ include "keyrota.identityPath" .root }}
    {{- end }}
    - --tls={{ eq $values.tls.mode "off" | ternary "off" "secret" }}
    {{- if ne $values.tls.mode "off" }}
    - --tls-secret={{ include "keyrota.tlsSecret" (dict "component" "gateway" "tls" $values.tls) }}
    {{- end }}
    - --max-stale={{ $values.maxStale }}
    - --drain={{ $values.drain }}
    - --exempt-nodes={{ $values.exemptNodes }}
    {{- range $values.trustedProxies.networks }}
    - --trusted-proxy={{ . }}
    {{- end }}
    - --trusted-proxy-header={{ $values.trustedProxies.header }}
    {{- range $values.jwks.allowedHosts }}
    - --jwks-allowed-host={{ . }}
    {{- end }}
    {{- range $values.jwks.allowedNetworks }}
    - --jwks-allowed-network={{ . }}
    {{- end }}
    {{- if $values.jwks.caConfigMap }}
    - --jwks-ca-file=/etc/keyrota/jwks/ca.crt
    {{- end }}
  {{- with $values.extraEnv }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - {name: gateway, containerPort: 8443, protocol: TCP}
    - {name: gateway-health, containerPort: 8081, protocol: TCP}
  {{- include "keyrota.probes" "gateway-health" | nindent 2 }}
  {{- if eq $values.mode "deployment" }}
  # When the form changes back, Helm deletes this Pod before the next gateways are ready. While there is no other endpoint,
  # Services lead to those that end but are still ready.
  lifecycle: {preStop: {sleep: {seconds: 10}}}
  {{- end }}
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  securityContext:
    {{- include "keyrota.containerSecurity" .root | nindent 4 }}
  volumeMounts:
    - {name: {{ .identity }}, mountPath: {{ include "keyrota.identityPath" .root }}, readOnly: true}
    {{- if $values.jwks.caConfigMap }}
    - {name: jwks-ca, mountPath: /etc/keyrota/jwks, readOnly: true}
    {{- end }}
{{- end }}

{{- define "keyrota.gatewayVolumes" -}}
{{- with .Values.gateway.jwks.caConfigMap -}}
- name: jwks-ca
  configMap:
    name: {{ . }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}
