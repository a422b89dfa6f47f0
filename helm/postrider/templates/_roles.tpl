{{- /*
What there is to run, by name, each with what it needs of the outside and with its settings: those under `pod` with its
own over them. All that is asked of a role is answered here.
*/ -}}
{{- define "postrider.roles" -}}
{{- $roles := dict -}}
{{- $facts := dict
  "ingest"     (dict "routes" true  "reads" false "store" true  "calls" false)
  "fanout"     (dict "routes" false "reads" true  "store" true  "calls" false)
  "worker"     (dict "routes" false "reads" true  "store" true  "calls" true)
  "pump"       (dict "routes" false "reads" true  "store" false "calls" false)
  "deadletter" (dict "routes" false "reads" true  "store" true  "calls" false)
  "recorder"   (dict "routes" false "reads" true  "store" true  "calls" false)
  "api"        (dict "routes" true  "reads" false "store" true  "calls" false)
-}}
{{- if eq .Values.mode "single" -}}
{{- $_ := set $roles "single" (dict "routes" true "reads" false "store" false "calls" true "settings" (mustMergeOverwrite (deepCopy .Values.pod) (deepCopy .Values.single))) -}}
{{- else -}}
{{- range $name, $fact := $facts -}}
{{- $own := index $.Values.roles $name | default dict -}}
{{- if not (and (hasKey $own "enabled") (not $own.enabled)) -}}
{{- $_ := set $roles $name (set $fact "settings" (mustMergeOverwrite (deepCopy $.Values.pod) (deepCopy $own))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $roles -}}
{{- end -}}

{{- /* The most replicas that a role may have. */ -}}
{{- define "postrider.most" -}}
{{- if eq .autoscaling.kind "none" -}}{{ int .replicas }}{{- else -}}{{ int .autoscaling.maxReplicas }}{{- end -}}
{{- end -}}

{{- /* Deployment or StatefulSet, of settings. */ -}}
{{- define "postrider.kind" -}}
{{- if .staticMembership -}}StatefulSet{{- else -}}Deployment{{- end -}}
{{- end -}}
