{{- /*
A Job that runs one command of postrider with the configuration of ConfigMap NAME-COMPONENT, or of the API where that is
empty. Of a list of the root, its name, the component, the arguments, and whether the store is needed. Ends within its
metadata, so that annotations can follow: the specification comes first.
*/ -}}
{{- define "postrider.job" -}}
{{- $root := index . 0 -}}{{- $name := index . 1 -}}{{- $component := index . 2 -}}{{- $arguments := index . 3 -}}
{{- $values := $root.Values -}}
{{- $fullname := include "postrider.fullname" $root -}}
{{- $setup := eq $component "setup" -}}
{{- $configuration := ternary "setup" (ternary "single" "api" (eq $values.mode "single")) $setup -}}
{{- $account := include "postrider.serviceAccount" $root -}}
{{- if $setup }}{{ $account = printf "%s-setup" $fullname }}{{ end }}
apiVersion: batch/v1
kind: Job
spec:
  backoffLimit: {{ ternary (int $values.setup.backoffLimit) 0 $setup }}
  activeDeadlineSeconds: {{ int $values.setup.activeDeadlineSeconds }}
  template:
    metadata:
      labels: {{- include "postrider.labels" (list $root $component) | nindent 8 }}
    spec:
      {{- include "postrider.podCommon" (list $root $values.pod $account) | nindent 6 }}
      restartPolicy: Never
      containers:
        - name: postrider
          image: {{ include "postrider.image" $root }}
          imagePullPolicy: {{ $values.image.pullPolicy }}
          command: [postrider]
          args: {{ toJson $arguments }}
          envFrom:
            - configMapRef: {name: {{ $fullname }}-{{ $configuration }}}
          {{- with include "postrider.secrets" (list $root (index . 4)) | trim }}
          env: {{- . | nindent 12 }}
          {{- end }}
          securityContext: {{- include "postrider.containerSecurity" . | nindent 12 }}
          {{- with $values.pod.resources }}
          resources: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- if and $values.secrets.kafkaTls.name (eq $values.mode "distributed") }}
          volumeMounts:
            - {name: kafka-tls, mountPath: /etc/postrider/kafka, readOnly: true}
      volumes:
        - {name: kafka-tls, secret: {secretName: {{ $values.secrets.kafkaTls.name }}, defaultMode: 0440}}
          {{- end }}
metadata:
  name: {{ $fullname }}-{{ $name }}
  labels: {{- include "postrider.labels" (list $root $component) | nindent 4 }}
{{- end -}}
