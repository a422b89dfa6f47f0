{{- /*
What there is to run, by name: what each needs of the outside, `settings` (those under `pod` with its own over them), and
`config` (that of all with its own over it). All that is asked of a role is answered here.

Connections to PostgreSQL are what a role can use, one of them for the feed of configuration; where `config` names a number,
that counts for all. With the command's own default twelve processes would be too many for a server's default of a hundred.
*/ -}}
{{- define "postrider.roles" -}}
{{- $roles := dict -}}
{{- $facts := dict
  "ingest"     (dict "routes" true  "reads" false "store" true  "calls" false "connections" 4)
  "fanout"     (dict "routes" false "reads" true  "store" true  "calls" false "connections" 3)
  "worker"     (dict "routes" false "reads" true  "store" true  "calls" true  "connections" 3)
  "pump"       (dict "routes" false "reads" true  "store" false "calls" false)
  "deadletter" (dict "routes" false "reads" true  "store" true  "calls" false "connections" 5)
  "recorder"   (dict "routes" false "reads" true  "store" true  "calls" false "connections" 4)
  "api"        (dict "routes" true  "reads" false "store" true  "calls" false "connections" 8)
-}}
{{- if eq .Values.mode "single" -}}
{{- $_ := set $roles "single" (dict "routes" true "reads" false "store" false "calls" true "own" .Values.single) -}}
{{- else -}}
{{- range $name, $fact := $facts -}}
{{- $own := index $.Values.roles $name | default dict -}}
{{- if not (and (hasKey $own "enabled") (not $own.enabled)) }}{{ $_ := set $roles $name (set $fact "own" $own) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $name, $role := $roles -}}
{{- $settings := deepCopy $.Values.pod -}}
{{- include "postrider.over" (list $settings $role.own) -}}
{{- $config := ternary (dict "store" (dict "max_connections" $role.connections)) dict (hasKey $role "connections") -}}
{{- include "postrider.over" (list $config $.Values.config) -}}
{{- include "postrider.over" (list $config $settings.config) -}}
{{- $_ := set (set (unset $role "own") "settings" $settings) "config" $config -}}
{{- end -}}
{{- toYaml $roles -}}
{{- end -}}

{{- /* The most replicas that a role may have. */ -}}
{{- define "postrider.most" -}}
{{- if eq .autoscaling.kind "none" -}}{{ int .replicas }}{{- else -}}{{ int .autoscaling.maxReplicas }}{{- end -}}
{{- end -}}

{{- /* The fewest. */ -}}
{{- define "postrider.fewest" -}}
{{- if eq .autoscaling.kind "none" -}}{{ int .replicas }}{{- else -}}{{ int .autoscaling.minReplicas }}{{- end -}}
{{- end -}}

{{- /* How many connections to PostgreSQL all processes open: of a list of the root, and at which of these two. */ -}}
{{- define "postrider.connections" -}}
{{- $sum := 0 -}}
{{- $replicas := printf "postrider.%s" (index . 1) -}}
{{- range include "postrider.roles" (index . 0) | fromYaml -}}
{{- if .store -}}
{{- $sum = add $sum (mul (int (((.config.store | default dict).max_connections) | default 16)) (include $replicas .settings | int)) -}}
{{- end -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{- /* Deployment or StatefulSet, of settings. */ -}}
{{- define "postrider.kind" -}}
{{- if .staticMembership -}}StatefulSet{{- else -}}Deployment{{- end -}}
{{- end -}}

{{- /*
Puts the second of two maps over the first, key by key. Sprig's own merge leaves out whatever is empty (0, false, ""), so that
a role could not take back what all have.
*/ -}}
{{- define "postrider.over" -}}
{{- $below := index . 0 -}}
{{- range $key, $value := index . 1 -}}
{{- $there := index $below $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $there) -}}
{{- include "postrider.over" (list $there $value) -}}
{{- else if kindIs "invalid" $value -}}
{{- if not (kindIs "map" $there) }}{{ $_ := set $below $key nil }}{{ end -}}
{{- else -}}
{{- $_ := set $below $key (deepCopy $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
