{{/*
Whether the creator of an account is stamped: "true" or nothing. MutatingAdmissionPolicy is v1 from Kubernetes 1.36 on.
*/}}
{{- define "keyrota.policies.mutating" -}}
{{- $wanted := .Values.admissionPolicies.mutating | toString -}}
{{- $served := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") $served) }}true{{ end -}}
{{- end -}}
