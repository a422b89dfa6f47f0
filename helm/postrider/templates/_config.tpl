{{- /* A value as the environment writes it. YAML's numbers arrive here as floats. */ -}}
{{- define "postrider.text" -}}
{{- if kindIs "slice" . -}}
{{- $texts := list -}}
{{- range . }}{{ $texts = append $texts (include "postrider.text" .) }}{{ end -}}
{{- join "," $texts -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{- /* A table of librdkafka's properties, whose names have dots. */ -}}
{{- define "postrider.properties" -}}
{{- $texts := list -}}
{{- range $name, $value := . }}{{ $texts = append $texts (printf "%s=%s" $name (include "postrider.text" $value)) }}{{ end -}}
{{- join ";" $texts -}}
{{- end -}}

{{- /* Of a list of the path so far and a map: variables and their values, as YAML. Null leaves a key out. */ -}}
{{- define "postrider.variables" -}}
{{- $above := index . 0 -}}
{{- range $name, $value := index . 1 -}}
{{- $variable := printf "%s__%s" $above (upper $name) -}}
{{- if kindIs "invalid" $value -}}
{{- else if and (kindIs "map" $value) (eq $name "properties") }}
{{ $variable }}: {{ include "postrider.properties" $value | quote }}
{{- else if kindIs "map" $value -}}
{{ include "postrider.variables" (list $variable $value) }}
{{- else }}
{{ $variable }}: {{ include "postrider.text" $value | quote }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Of a list of the root and a configuration: all variables that are no secrets. In the environment, not in a file,
so that a command in a pod (`kubectl exec … -- postrider topics check`) finds the same configuration as its process.
*/ -}}
{{- define "postrider.environment" -}}
{{- $root := index . 0 -}}
{{- $values := $root.Values -}}
{{- $config := deepCopy (index . 1) -}}
{{- $chart := dict
  "listen" (printf "%s:%d" $values.listen.address (int $values.listen.port))
  "admin" (dict "listen" (printf "%s:%d" $values.listen.address (int $values.listen.adminPort)))
-}}
{{- if eq $values.mode "single" -}}
{{- $_ := set $chart "data" "/var/lib/postrider/data" -}}
{{- $_ := set $chart "log" (dict "kind" "embedded") -}}
{{- else -}}
{{- $kafka := dict "create_topics" (not $values.setup.topics) -}}
{{- with $values.secrets.kafkaTls }}{{ if .name -}}
{{- range $file := list "ca" "certificate" "key" -}}
{{- with index $values.secrets.kafkaTls $file }}{{ $_ := set $kafka $file (printf "/etc/postrider/kafka/%s" .) }}{{ end -}}
{{- end -}}
{{- end }}{{ end -}}
{{- $_ := set $chart "log" (dict "kind" "kafka" "kafka" $kafka) -}}
{{- end -}}
{{- include "postrider.over" (list $config $chart) -}}
{{- if eq $values.mode "single" }}{{ $_ := unset $config.log "kafka" }}{{ end -}}
{{ include "postrider.variables" (list "POSTRIDER" $config) | trim }}
{{- end -}}

{{- /* Of a list of the root and whether the store is needed: variables whose values lie in Secrets. */ -}}
{{- define "postrider.secrets" -}}
{{- $values := (index . 0).Values -}}
{{- $secrets := $values.secrets -}}
{{- if eq $values.mode "distributed" -}}
{{- if index . 1 }}
- {name: POSTRIDER__STORE__URL, valueFrom: {secretKeyRef: {name: {{ $secrets.storeUrl.name | quote }}, key: {{ $secrets.storeUrl.key | quote }}}}}
{{- end }}
{{- with $secrets.kafkaUser }}{{ if .name }}
- {name: POSTRIDER__LOG__KAFKA__USERNAME, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .username | quote }}}}}
- {name: POSTRIDER__LOG__KAFKA__PASSWORD, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .password | quote }}}}}
{{- end }}{{ end }}
{{- with $secrets.kafkaTls }}{{ if and .name .keyPassword }}
- {name: POSTRIDER__LOG__KAFKA__KEY_PASSWORD, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .keyPassword | quote }}}}}
{{- end }}{{ end }}
{{- end -}}
{{- with $secrets.traces }}{{ if .name }}
- {name: POSTRIDER__TRACES__HEADERS, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}}
{{- end }}{{ end }}
{{- end -}}

{{- /* A duration of the configuration (15s, 500ms, 1m) in seconds, rounded up; of a list of it and its default. */ -}}
{{- define "postrider.seconds" -}}
{{- $text := index . 0 | default (index . 1) | toString -}}
{{- $number := regexFind "^[0-9]+" $text | int -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- if eq $unit "ms" -}}{{ ceil (divf $number 1000) | int }}
{{- else if eq $unit "m" -}}{{ mul $number 60 }}
{{- else if eq $unit "h" -}}{{ mul $number 3600 }}
{{- else if eq $unit "d" -}}{{ mul $number 86400 }}
{{- else -}}{{ $number }}{{- end -}}
{{- end -}}
