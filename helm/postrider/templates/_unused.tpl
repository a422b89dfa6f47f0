{{- /* Values that would be taken and do nothing: a part of the checks (_checks.tpl). */ -}}

{{- /* Paths of values that are given and not the default. Of a dict of value, path, defaults and the list `given`. */ -}}
{{- define "postrider.given" -}}
{{- $here := . -}}
{{- if and (kindIs "map" .value) .value -}}
{{- range $key, $value := .value -}}
{{- $below := dict "value" $value "path" (printf "%s.%s" $here.path $key) "defaults" $here.defaults "given" list -}}
{{- include "postrider.given" $below -}}
{{- $_ := set $here "given" (concat $here.given $below.given) -}}
{{- end -}}
{{- else if hasKey .defaults .path -}}
{{- if ne (toJson .value) (toJson (index .defaults .path)) }}{{ $_ := set . "given" (append .given .path) }}{{ end -}}
{{- else if not (or (kindIs "invalid" .value) (kindIs "map" .value)) -}}
{{- $_ := set . "given" (append .given .path) -}}
{{- end -}}
{{- end -}}

{{- /* Of a list of the root, the defaults, why, and paths: what is told of those that are given. */ -}}
{{- define "postrider.unused" -}}
{{- $values := (index . 0).Values -}}{{- $defaults := index . 1 -}}
{{- $given := list -}}
{{- range $path := slice . 3 -}}
{{- $at := $values -}}
{{- range splitList "." $path }}{{ if kindIs "map" $at }}{{ $at = index $at . }}{{ end }}{{ end -}}
{{- $here := dict "value" $at "path" $path "defaults" $defaults "given" list -}}
{{- include "postrider.given" $here -}}
{{- $given = concat $given $here.given -}}
{{- end -}}
{{- with $given }}{{ join ", " . }} {{ ternary "is" "are" (eq (len .) 1) }} given and {{ index $ 2 }}{{ end -}}
{{- end -}}

{{- /* What would do nothing: of a dict of the root and the rules. */ -}}
{{- define "postrider.checks.unused" -}}
{{- $root := .root -}}{{- $values := .root.Values -}}
{{- $defaults := index .rules "x-defaults" -}}
{{- $told := list -}}
{{- if eq $values.mode "single" -}}
{{- $told = append $told (list "mode is single: one process plays every role; put what it is to have under single, or set mode: distributed" "roles") -}}
{{- $told = append $told (list "mode is single: there is one process and never a second; leave it out, or set mode: distributed"
  "pod.replicas" "pod.autoscaling" "pod.podDisruptionBudget" "pod.preStopSeconds" "single.replicas" "single.autoscaling" "single.podDisruptionBudget" "single.preStopSeconds" "keda") -}}
{{- $told = append $told (list "mode is single: one process has neither Kafka nor PostgreSQL to make ready or to reach; leave it out, or set mode: distributed"
  "setup" "networkPolicy.kafka" "networkPolicy.postgres") -}}
{{- else -}}
{{- $told = append $told (list "mode is distributed, which has a process for each role and keeps nothing in a volume: put it under pod or roles.NAME, or set mode: single" "single") -}}
{{- $kinds := list -}}
{{- range $name, $role := include "postrider.roles" $root | fromYaml -}}
{{- $at := printf "roles.%s" $name -}}
{{- $kind := $role.settings.autoscaling.kind -}}
{{- $kinds = append $kinds $kind -}}
{{- $waits := has $name (list "fanout" "recorder" "worker") -}}
{{- if not $role.routes -}}
{{- $told = append $told (list "no balancer sends requests to it: leave it out" (printf "%s.preStopSeconds" $at)) -}}
{{- end -}}
{{- if eq $kind "none" -}}
{{- $told = append $told (list (printf "%s.autoscaling.kind is none: set it to hpa or keda, or leave it out and set %s.replicas" $at $at)
  (printf "%s.autoscaling.minReplicas" $at) (printf "%s.autoscaling.maxReplicas" $at) (printf "%s.autoscaling.cpu" $at) (printf "%s.autoscaling.metrics" $at)
  (printf "%s.autoscaling.scaleUp" $at) (printf "%s.autoscaling.scaleDown" $at)) -}}
{{- else -}}
{{- $told = append $told (list (printf "%s.autoscaling.kind is %s: set autoscaling.minReplicas and maxReplicas, or autoscaling.kind: none" $at $kind) (printf "%s.replicas" $at)) -}}
{{- end -}}
{{- if not (and (eq $kind "keda") $waits) -}}
{{- $told = append $told (list "it counts for fanout, recorder and worker with autoscaling.kind: keda only: leave it out" (printf "%s.autoscaling.waiting" $at) (printf "%s.autoscaling.oldestSeconds" $at)) -}}
{{- else -}}
{{- $told = append $told (list (printf "%s.autoscaling.kind is keda, which scales it by what waits: leave it out, or set kind: hpa" $at) (printf "%s.autoscaling.cpu" $at)) -}}
{{- end -}}
{{- end -}}
{{- if not (has "keda" $kinds) -}}
{{- $told = append $told (list "no role scales by it: set autoscaling.kind: keda for some, such as roles.worker.autoscaling.kind, or leave it out" "keda") -}}
{{- end -}}
{{- if not $values.roles.ingest.enabled -}}
{{- $told = append $told (list "roles.ingest.enabled is false: leave it out, or set that to true" "roles.ingest.replicas" "roles.ingest.resources" "roles.ingest.config" "roles.ingest.autoscaling") -}}
{{- end -}}
{{- range $name, $_ := $values.secrets -}}
{{- if not .name -}}
{{- $told = append $told (list (printf "secrets.%s.name is empty: name the Secret that has it, or leave it out" $name) (printf "secrets.%s" $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $wrong := list -}}
{{- range $told -}}
{{- with include "postrider.unused" (concat (list $root $defaults) .) }}{{ $wrong = append $wrong . }}{{ end -}}
{{- end -}}
{{- toYaml $wrong -}}
{{- end -}}
