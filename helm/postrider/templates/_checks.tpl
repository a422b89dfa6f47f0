{{- /*
What is wrong: all of it at once, each with what to do. First what is wrong by itself (_shape.tpl), then what is wrong only
together. At the head of every template, because Helm begins with any of them; looked at once, as all share one map of values.
*/ -}}
{{- define "postrider.checks" -}}
{{- if not (hasKey .Values "postriderChecked") -}}
{{- $rules := .Files.Get "files/values.json" | fromJson -}}
{{- $mode := ternary .Values.mode "distributed" (has .Values.mode (list "single" "distributed")) -}}
{{- $within := dict -}}
{{- range $path, $default := index $rules "x-defaults" -}}
{{- $at := list -}}
{{- range splitList "." $path -}}
{{- $at = append $at . -}}
{{- if not (and (eq (join "." $at) $path) (kindIs "map" $default)) }}{{ $_ := set $within (join "." $at) true }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $told := dict "rules" $rules "mode" $mode "within" $within "wrong" list "broken" list -}}
{{- include "postrider.shape" (dict "all" $told "rule" $rules "value" .Values "path" "") -}}
{{- $wrong := concat $told.broken $told.wrong -}}
{{- if not $told.broken -}}
{{- range list "mode" "config" "roles" "outside" -}}
{{- $wrong = concat $wrong (include (printf "postrider.checks.%s" .) $ | fromYamlArray) -}}
{{- end -}}
{{- range list "unused" "together" -}}
{{- $wrong = concat $wrong (include (printf "postrider.checks.%s" .) (dict "root" $ "rules" $rules) | fromYamlArray) -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\nThese values cannot be installed:\n\n  * %s%s" (join "\n  * " $wrong) (ternary "\n\nWhat is wrong only together is looked at when these are right." "" (gt (len $told.broken) 0))) -}}
{{- end -}}
{{- $_ := set .Values "postriderChecked" true -}}
{{- end -}}
{{- end -}}

{{- define "postrider.checks.mode" -}}
{{- $wrong := list -}}
{{- $kafka := (.Values.config.log | default dict).kafka | default dict -}}
{{- $secrets := .Values.secrets -}}
{{- if not .Values.image.repository -}}
{{- $version := .Chart.AppVersion -}}
{{- $wrong = append $wrong (printf "image.repository is empty: no image of Postrider is published; build one in the root of the repository and push it (docker build -f deploy/Dockerfile -t registry.example.com/postrider:%s . && docker push registry.example.com/postrider:%s), and say where it is (--set image.repository=registry.example.com/postrider)" $version $version) -}}
{{- end -}}
{{- if eq .Values.mode "distributed" -}}
{{- if not $kafka.brokers -}}
{{- $wrong = append $wrong "config.log.kafka.brokers is empty: name some brokers of your Kafka cluster (--set 'config.log.kafka.brokers=kafka-1:9092\\,kafka-2:9092'), or install one process with a volume, which needs no server: --set mode=single" -}}
{{- end -}}
{{- if not $secrets.storeUrl.name -}}
{{- $wrong = append $wrong "secrets.storeUrl.name is empty: put the URL of your PostgreSQL database into a Secret (kubectl create secret generic postrider-store --from-literal=url=postgres://USER:PASSWORD@HOST:5432/DATABASE) and name it (--set secrets.storeUrl.name=postrider-store), or install one process with a volume, which needs no server: --set mode=single" -}}
{{- end -}}
{{- else -}}
{{- if $kafka.brokers -}}
{{- $wrong = append $wrong "mode is single and config.log.kafka.brokers given: one process with a volume uses no Kafka; leave config.log.kafka out, or set mode: distributed" -}}
{{- end -}}
{{- if or $secrets.storeUrl.name $secrets.kafkaUser.name $secrets.kafkaTls.name $secrets.snapshot.name -}}
{{- $wrong = append $wrong "mode is single and secrets.* names a Secret: one process with a volume uses neither PostgreSQL nor Kafka; leave secrets out, or set mode: distributed" -}}
{{- end -}}
{{- end -}}
{{- toYaml $wrong -}}
{{- end -}}

{{- define "postrider.checks.config" -}}
{{- $wrong := list -}}
{{- $config := .Values.config -}}
{{- $log := $config.log | default dict -}}
{{- $kafka := $log.kafka | default dict -}}
{{- $secrets := .Values.secrets -}}
{{- range $path, $instead := dict
  "data" "the chart sets it: the volume of mode single is mounted there"
  "listen" "set listen.address and listen.port"
  "admin.listen" "set listen.address and listen.adminPort"
  "log.kind" "set mode: distributed for kafka, single for embedded"
  "store.url" "it holds a password: put it into a Secret and name that in secrets.storeUrl"
  "log.kafka.create_topics" "set setup.topics: without that Job processes create them"
  "log.kafka.username" "put name and password into a Secret and name that in secrets.kafkaUser"
  "log.kafka.password" "put name and password into a Secret and name that in secrets.kafkaUser"
  "log.kafka.key_password" "put it into the Secret of secrets.kafkaTls, and its key there into secrets.kafkaTls.keyPassword"
  "log.kafka.ca" "put it into a Secret and name that in secrets.kafkaTls"
  "log.kafka.certificate" "put it into a Secret and name that in secrets.kafkaTls"
  "log.kafka.key" "put it into a Secret and name that in secrets.kafkaTls"
  "registry.snapshot" "name a Secret with a key in secrets.snapshot: the chart then sets it"
  "registry.snapshot_key" "put it into a Secret and name that in secrets.snapshot"
  "traces.headers" "they hold a token: put them into a Secret and name that in secrets.traces"
  "log.kafka.instance_id" "set staticMembership: true for the role: its pods' names are used"
-}}
{{- $at := $config -}}
{{- range splitList "." $path -}}
{{- if kindIs "map" $at }}{{ $at = index $at . }}{{ else }}{{ $at = "" }}{{ end -}}
{{- end -}}
{{- if not (or (kindIs "invalid" $at) (eq (toString $at) "")) -}}
{{- $wrong = append $wrong (printf "config.%s is not set here: %s" $path $instead) -}}
{{- end -}}
{{- end -}}
{{- $given := dict "config" $config "pod.config" .Values.pod.config -}}
{{- range $name, $role := .Values.roles }}{{ $_ := set $given (printf "roles.%s.config" $name) ($role | default dict).config }}{{ end -}}
{{- range $at, $one := $given -}}
{{- $properties := (((($one | default dict).log | default dict).kafka) | default dict).properties | default dict -}}
{{- $names := list -}}
{{- if kindIs "string" $properties -}}
{{- range splitList ";" $properties }}{{ $names = append $names (splitList "=" . | first | trim) }}{{ end -}}
{{- else -}}
{{- $names = keys $properties | sortAlpha -}}
{{- end -}}
{{- range $name := $names -}}
{{- $instead := get (dict
  "sasl.password" "put name and password into a Secret and name that in secrets.kafkaUser"
  "ssl.key.password" "put it into the Secret of secrets.kafkaTls, and its key there into secrets.kafkaTls.keyPassword"
  "ssl.key.pem" "put it into a Secret and name that in secrets.kafkaTls"
  "ssl.keystore.password" "put the store's certificate and key into a Secret (openssl pkcs12) and name that in secrets.kafkaTls"
) $name -}}
{{- if and (not $instead) (regexMatch "password|passphrase|secret|token|private|oauthbearer" $name) -}}
{{- $instead = "it may hold a secret, which would stand in a ConfigMap" -}}
{{- end -}}
{{- if $instead -}}
{{- $wrong = append $wrong (printf "%s.log.kafka.properties has %s: %s" $at $name $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $protocol := $kafka.protocol | default "plaintext" -}}
{{- if and (hasPrefix "sasl" $protocol) (not $secrets.kafkaUser.name) -}}
{{- $wrong = append $wrong (printf "config.log.kafka.protocol is %s and secrets.kafkaUser.name empty: put name and password into a Secret (kubectl create secret generic postrider-kafka --from-literal=username=… --from-literal=password=…) and name it there" $protocol) -}}
{{- end -}}
{{- if and $secrets.kafkaUser.name (not (hasPrefix "sasl" $protocol)) (eq .Values.mode "distributed") -}}
{{- $wrong = append $wrong (printf "secrets.kafkaUser.name is given and config.log.kafka.protocol %s: set it to sasl_ssl or sasl_plaintext, or leave the Secret out" $protocol) -}}
{{- end -}}
{{- if and $secrets.kafkaTls.name (not (hasSuffix "ssl" $protocol)) (eq .Values.mode "distributed") -}}
{{- $wrong = append $wrong (printf "secrets.kafkaTls.name is given and config.log.kafka.protocol %s: set it to ssl or sasl_ssl, or leave the Secret out" $protocol) -}}
{{- end -}}
{{- if ne (empty $secrets.kafkaTls.certificate) (empty $secrets.kafkaTls.key) -}}
{{- $wrong = append $wrong "secrets.kafkaTls.certificate and secrets.kafkaTls.key go together: name both keys of the Secret, or neither" -}}
{{- end -}}
{{- $copies := int ($kafka.replication | default 3) -}}
{{- $insync := int ($kafka.min_insync_replicas | default 2) -}}
{{- if gt $insync $copies -}}
{{- $wrong = append $wrong (printf "config.log.kafka.min_insync_replicas is %d and config.log.kafka.replication %d: no more copies can be in sync than there are" $insync $copies) -}}
{{- end -}}
{{- $traces := $config.traces | default dict -}}
{{- if and (or $secrets.traces.name $traces.sampling) (not $traces.endpoint) -}}
{{- $wrong = append $wrong "config.traces.sampling or secrets.traces.name is given and config.traces.endpoint empty: say where spans are sent (--set config.traces.endpoint=http://collector.monitoring:4318), or leave them out" -}}
{{- end -}}
{{- if eq (int .Values.listen.port) (int .Values.listen.adminPort) -}}
{{- $wrong = append $wrong (printf "listen.port and listen.adminPort are both %d: choose two" (int .Values.listen.port)) -}}
{{- end -}}
{{- toYaml $wrong -}}
{{- end -}}

{{- define "postrider.checks.roles" -}}
{{- $wrong := list -}}
{{- $kafka := (.Values.config.log | default dict).kafka | default dict -}}
{{- $partitions := int ($kafka.partitions | default 16) -}}
{{- range $name, $role := include "postrider.roles" . | fromYaml -}}
{{- $settings := $role.settings -}}
{{- $at := ternary "single" (printf "roles.%s" $name) (eq $name "single") -}}
{{- if and $settings.staticMembership (not $role.reads) -}}
{{- $wrong = append $wrong (printf "%s.staticMembership is true: only roles that read the log have a membership (fanout, worker, pump, deadletter, recorder)" $at) -}}
{{- end -}}
{{- if ne $name "single" -}}
{{- $scaling := $settings.autoscaling -}}
{{- $most := int (include "postrider.most" $settings) -}}
{{- if and $role.reads (gt $most $partitions) -}}
{{- $wrong = append $wrong (printf "%s may have %d replicas, and config.log.kafka.partitions is %d: those beyond it have no work; lower %s.%s, or have more partitions before the first install" $at $most $partitions $at (ternary "replicas" "autoscaling.maxReplicas" (eq $scaling.kind "none"))) -}}
{{- end -}}
{{- if and (ne $scaling.kind "none") (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.minReplicas is %d and maxReplicas %d: the fewest must not be above the most" $at (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq $scaling.kind "keda") (not $.Values.keda.prometheus.serverAddress) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.kind is keda and keda.prometheus.serverAddress empty: say where Prometheus is (http://prometheus.monitoring:9090), or scale by hpa" $at) -}}
{{- end -}}
{{- if and (eq $scaling.kind "keda") $scaling.metrics -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.metrics is for kind hpa: KEDA scales by what waits; leave it out, or set kind: hpa" $at) -}}
{{- end -}}
{{- $byCpu := or (eq $scaling.kind "hpa") (and (eq $scaling.kind "keda") (not (has $name (list "fanout" "recorder" "worker")))) -}}
{{- if and $byCpu (not (($settings.resources | default dict).requests | default dict).cpu) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.kind is %s and %s.resources.requests.cpu not set: percent of it is what is aimed at; set it, or kind: none" $at $scaling.kind $at) -}}
{{- end -}}
{{- end -}}
{{- $needed := int (include "postrider.longest" (list $ $name $role)) -}}
{{- if and (not (kindIs "invalid" $settings.terminationGracePeriodSeconds)) (lt (int $settings.terminationGracePeriodSeconds) $needed) -}}
{{- $wrong = append $wrong (printf "%s.terminationGracePeriodSeconds is %d, and to stop may take %d s (preStopSeconds, the drains of config, and what is left to write): leave it out, or lower those" $at (int $settings.terminationGracePeriodSeconds) $needed) -}}
{{- end -}}
{{- end -}}
{{- toYaml $wrong -}}
{{- end -}}

{{- define "postrider.checks.outside" -}}
{{- $wrong := list -}}
{{- $apart := and (eq .Values.mode "distributed") .Values.roles.ingest.enabled -}}
{{- range $way := list "ingress" "gateway" -}}
{{- $values := index $.Values $way -}}
{{- if $values.enabled -}}
{{- if not (concat $values.hosts.api $values.hosts.ingest) -}}
{{- $wrong = append $wrong (printf "%s.enabled is true and %s.hosts empty: name the API's host (--set %s.hosts.api[0]=postrider.example.com)" $way $way $way) -}}
{{- end -}}
{{- if and $values.hosts.ingest (not $apart) -}}
{{- $wrong = append $wrong (printf "%s.hosts.ingest is given and no intake runs apart from the API: move its names to %s.hosts.api, which takes events as well, or set roles.ingest.enabled in mode distributed" $way $way) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.gateway -}}
{{- if and .enabled (not .parentRefs) (not (and .className .listeners)) -}}
{{- $wrong = append $wrong "gateway.enabled is true and there is no Gateway: name one that exists in gateway.parentRefs, or give gateway.className and gateway.listeners to have one made" -}}
{{- end -}}
{{- if and .parentRefs .listeners -}}
{{- $wrong = append $wrong "gateway.parentRefs and gateway.listeners are both given: either use a Gateway that exists, or have one made" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.tls (not .Values.ingress.enabled) -}}
{{- $wrong = append $wrong "ingress.tls is given and ingress.enabled false: set it to true, or leave tls out" -}}
{{- end -}}
{{- toYaml $wrong -}}
{{- end -}}
