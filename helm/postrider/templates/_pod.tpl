{{- /*
Of a list of the root, a role's name and the role: how long its process may take from the wish to stop to its end, at
most. The process stops in stages; each has what is configured for it and ten seconds to write what is left, and at the end
log and store are closed, in twenty together.
*/ -}}
{{- define "postrider.longest" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $role := index . 2 -}}
{{- $config := $role.config -}}
{{- $longest := 30 -}}
{{- if and $role.routes (ne $name "single") -}}
{{- $longest = add $longest $role.settings.preStopSeconds -}}
{{- end -}}
{{- if $role.routes -}}
{{- $http := $config.http | default dict -}}
{{- $longest = add $longest 10 (include "postrider.seconds" (list $http.leave "1s") | int) (include "postrider.seconds" (list $http.drain "10s") | int) -}}
{{- end -}}
{{- if $role.calls -}}
{{- $longest = add $longest 10 (include "postrider.seconds" (list ($config.delivery | default dict).drain "20s") | int) -}}
{{- end -}}
{{- if or (eq $name "single") (not (or $role.routes $role.calls)) -}}
{{- $longest = add $longest 20 -}}
{{- end -}}
{{- $longest -}}
{{- end -}}

{{- /* What Pod Security `restricted` asks of a pod, and of a container. */ -}}
{{- define "postrider.podSecurity" -}}
runAsNonRoot: true
{{- if not (kindIs "invalid" .) }}
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "postrider.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* What every pod has, whatever it does. Of a list of the root, settings and the service account's name. */ -}}
{{- define "postrider.podCommon" -}}
{{- $root := index . 0 -}}{{- $settings := index . 1 -}}
serviceAccountName: {{ index . 2 }}
automountServiceAccountToken: false
# A Service of the namespace that is called postrider would set variables that look like configuration.
enableServiceLinks: false
securityContext:
  {{- include "postrider.podSecurity" $settings.runAsUser | nindent 2 }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $settings.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "postrider.probe" -}}
httpGet: {path: {{ index . 0 | quote }}, port: admin}
periodSeconds: {{ int (index . 1).periodSeconds }}
failureThreshold: {{ int (index . 1).failureThreshold }}
timeoutSeconds: 3
{{- end -}}

{{- define "postrider.spread" -}}
{{- $selector := index . 0 -}}
{{- range $i, $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
{{- if $i }}{{ "\n" }}{{ end -}}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- $selector | nindent 6 }}
{{- end }}
{{- end -}}

{{- /* The pod of a role. Of a list of the root, its name and the role. */ -}}
{{- define "postrider.pod" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $role := index . 2 -}}
{{- $values := $root.Values -}}
{{- $settings := $role.settings -}}
{{- $single := eq $name "single" -}}
{{- /* Roles with configuration in memory, where it is kept. */ -}}
{{- $kept := and $values.secrets.snapshot.name (has $name (list "ingest" "fanout" "worker" "deadletter" "api")) -}}
{{- $tls := $values.secrets.kafkaTls.name -}}
{{- $fullname := include "postrider.fullname" $root -}}
{{- $selector := printf "%s\napp.kubernetes.io/component: %s" (include "postrider.selector" $root) $name -}}
{{- $grace := $settings.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $grace }}{{ $grace = include "postrider.longest" . | int }}{{ end -}}
metadata:
  labels:
    {{- include "postrider.labels" (list $root $name) | nindent 4 }}
    postrider/scrape: "true"
    {{- with $settings.labels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    # A changed configuration is a new process.
    postrider/configuration: {{ include "postrider.environment" (list $root $role.config) | sha256sum }}
    {{- with $settings.annotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  {{- include "postrider.podCommon" (list $root $settings (include "postrider.serviceAccount" $root)) | nindent 2 }}
  terminationGracePeriodSeconds: {{ int $grace }}
  {{- with $settings.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if kindIs "invalid" $settings.topologySpreadConstraints }}
  {{- if not $single }}
  topologySpreadConstraints: {{- include "postrider.spread" (list $selector) | nindent 4 }}
  {{- end }}
  {{- else }}{{ with $settings.topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml . | nindent 4 }}
  {{- end }}{{ end }}
  containers:
    - name: postrider
      image: {{ include "postrider.image" $root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: [postrider]
      args: [{{ ternary "serve" $name $single }}]
      envFrom:
        - configMapRef: {name: {{ $fullname }}-{{ $name }}}
      {{- $secrets := include "postrider.secrets" (list $root $role.store) | trim }}
      {{- if or $secrets $settings.staticMembership }}
      env:
        {{- with $secrets }}{{ . | nindent 8 }}{{ end }}
        {{- if $kept }}
        - {name: POSTRIDER__REGISTRY__SNAPSHOT, value: /var/lib/postrider/kept/snapshot}
        - {name: POSTRIDER__REGISTRY__SNAPSHOT_KEY, valueFrom: {secretKeyRef: {name: {{ $values.secrets.snapshot.name | quote }}, key: {{ $values.secrets.snapshot.key | quote }}}}}
        {{- end }}
        {{- if $settings.staticMembership }}
        - {name: POSTRIDER__LOG__KAFKA__INSTANCE_ID, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        {{- end }}
      {{- end }}
      ports:
        {{- if $role.routes }}
        - {name: http, containerPort: {{ int $values.listen.port }}, protocol: TCP}
        {{- end }}
        - {name: admin, containerPort: {{ int $values.listen.adminPort }}, protocol: TCP}
      startupProbe: {{- include "postrider.probe" (list "/health/startup" $settings.probes.startup) | nindent 8 }}
      livenessProbe: {{- include "postrider.probe" (list "/health/live" $settings.probes.live) | nindent 8 }}
      {{- $without := "" }}
      {{- if $single }}{{ $without = "?without=space,store" }}
      # With a full disk it refuses events and answers all else: nobody but it can be told what is to make room.
      {{- else if $role.routes }}{{ $without = "?without=store" }}
      # All that answer requests share the store: if they were not ready without it, none would be left to take events.
      {{- end }}
      readinessProbe: {{- include "postrider.probe" (list (printf "/health/ready%s" $without) $settings.probes.ready) | nindent 8 }}
      {{- if and $role.routes (not $single) (int $settings.preStopSeconds) }}
      lifecycle:
        preStop: {sleep: {seconds: {{ int $settings.preStopSeconds }}}}
      {{- end }}
      securityContext: {{- include "postrider.containerSecurity" . | nindent 8 }}
      {{- with $settings.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if $single }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/postrider}
        - {name: tmp, mountPath: /tmp}
      {{- else if or $tls $kept }}
      volumeMounts:
        {{- if $tls }}
        - {name: kafka-tls, mountPath: /etc/postrider/kafka, readOnly: true}
        {{- end }}
        {{- if $kept }}
        - {name: kept, mountPath: /var/lib/postrider}
        {{- end }}
      {{- end }}
  {{- if $single }}
  volumes:
    # SQLite sorts there what does not fit into memory.
    - {name: tmp, emptyDir: {}}
    {{- with $values.single.volume.existingClaim }}
    - {name: data, persistentVolumeClaim: {claimName: {{ . }}}}
    {{- end }}
  {{- else if or $tls $kept }}
  volumes:
    {{- with $tls }}
    - {name: kafka-tls, secret: {secretName: {{ . }}, defaultMode: 0440}}
    {{- end }}
    {{- if $kept }}
    # Outlives the container, not the pod.
    - {name: kept, emptyDir: {}}
    {{- end }}
  {{- end }}
{{- end -}}
