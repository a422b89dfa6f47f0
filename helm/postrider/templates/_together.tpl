{{- /* What the command itself would refuse of several keys together: a part of the checks (_checks.tpl). */ -}}

{{- /* A key of a configuration: of a dict of rules and config, and its path. */ -}}
{{- define "postrider.key" -}}
{{- $rule := index (index . 0).rules "$defs" "config" -}}
{{- $at := (index . 0).config -}}
{{- range splitList "." (index . 1) -}}
{{- $rule = index $rule.properties . -}}
{{- $at = ternary (index ($at | default dict) .) nil (kindIs "map" $at) -}}
{{- end -}}
{{- if kindIs "invalid" $at }}{{ $rule.default }}{{ else }}{{ include "postrider.text" $at }}{{ end -}}
{{- end -}}

{{- /* Of a list as that: a duration in milliseconds, a size in bytes. */ -}}
{{- define "postrider.countedKey" -}}
{{- include "postrider.counted" (include "postrider.key" .) -}}
{{- end -}}

{{- /*
What the command would refuse of values that are right one by one, told before a Job or a pod does: of a dict of the root and
the rules. For every role, as each may have some of its own.
*/ -}}
{{- define "postrider.checks.together" -}}
{{- $root := .root -}}{{- $rules := .rules -}}
{{- $wrong := list -}}
{{- range $name, $role := include "postrider.roles" $root | fromYaml -}}
{{- $of := dict "rules" $rules "config" $role.config -}}
{{- $payload := include "postrider.countedKey" (list $of "ingest.max_payload") | float64 -}}
{{- if gt (addf $payload 131072.0) (include "postrider.countedKey" (list $of "log.record") | float64) -}}
{{- $wrong = append $wrong (printf "config.ingest.max_payload is %s and config.log.record %s: a record must have 128KiB more than a payload, for what travels with it; lower the one or raise the other" (include "postrider.key" (list $of "ingest.max_payload")) (include "postrider.key" (list $of "log.record"))) -}}
{{- end -}}
{{- if gt (include "postrider.countedKey" (list $of "delivery.breaker_wait") | float64) (include "postrider.countedKey" (list $of "delivery.breaker_longest_wait") | float64) -}}
{{- $wrong = append $wrong (printf "config.delivery.breaker_wait is %s and config.delivery.breaker_longest_wait %s: the longest wait must not be below the first; raise it" (include "postrider.key" (list $of "delivery.breaker_wait")) (include "postrider.key" (list $of "delivery.breaker_longest_wait"))) -}}
{{- end -}}
{{- $kept := include "postrider.key" (list $of "retention.attempts") -}}{{- $borne := include "postrider.key" (list $of "delivery.disable_failing_after") -}}
{{- if and (ne $kept "never") (ne $borne "never") -}}
{{- if le (include "postrider.counted" $kept | float64) (include "postrider.counted" $borne | float64) -}}
{{- $wrong = append $wrong (printf "config.retention.attempts is %s and config.delivery.disable_failing_after %s: how long an endpoint has failed is read from its attempts, so these are kept longer; raise retention.attempts above it" $kept $borne) -}}
{{- end -}}
{{- end -}}
{{- if ne $name "single" -}}
{{- $parts := 0.0 -}}
{{- range list "acquire_timeout" "statement_timeout" "lock_timeout" -}}
{{- $parts = addf $parts (include "postrider.countedKey" (list $of (printf "store.%s" .)) | float64) -}}
{{- end -}}
{{- if lt (include "postrider.countedKey" (list $of "store.call_timeout") | float64) $parts -}}
{{- $wrong = append $wrong (printf "config.store.call_timeout is %s: it must not be below store.acquire_timeout, store.statement_timeout and store.lock_timeout together (%vms); raise it" (include "postrider.key" (list $of "store.call_timeout")) $parts) -}}
{{- end -}}
{{- if gt (addf (include "postrider.countedKey" (list $of "log.kafka.queue_wait") | float64) (include "postrider.countedKey" (list $of "log.kafka.delivery_timeout") | float64)) 10000.0 -}}
{{- $wrong = append $wrong (printf "config.log.kafka.queue_wait is %s and config.log.kafka.delivery_timeout %s: an event must be written within 10s; lower one of them" (include "postrider.key" (list $of "log.kafka.queue_wait")) (include "postrider.key" (list $of "log.kafka.delivery_timeout"))) -}}
{{- end -}}
{{- $classic := eq (include "postrider.key" (list $of "log.kafka.group_protocol")) "classic" -}}
{{- if and $classic (gt (mulf 3 (include "postrider.countedKey" (list $of "log.kafka.heartbeat") | float64)) (include "postrider.countedKey" (list $of "log.kafka.session_timeout") | float64)) -}}
{{- $wrong = append $wrong (printf "config.log.kafka.heartbeat is %s and config.log.kafka.session_timeout %s: at most a third of it; lower the heartbeat" (include "postrider.key" (list $of "log.kafka.heartbeat")) (include "postrider.key" (list $of "log.kafka.session_timeout"))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (uniq $wrong) -}}
{{- end -}}
