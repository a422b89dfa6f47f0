{{- /*
Holds values against files/values.json, and says of each that is not taken what would be: what Helm says of a schema is where
and by which rule. It knows of JSON Schema what that file has of it, and beside that:
  x-takes     what is taken, in words                  x-hidden  the value may hold a password: it is not shown
  x-bounds    of a duration in ms, or a size in bytes  x-mode    the mode in which alone the key does something
  x-each      a pattern for each of a list, which may be a text with commas
  x-instead   unknown names that others use, with ours; x-defaults the defaults by path (helm/generate.py writes them)

Of a dict of rule, value, path, and all: the file as `rules`, the `mode`, the paths that have defaults or lead to some as keys
of `within`, and two lists of what is told, `wrong`, and `broken` where a value is of a type with which nothing further can be
looked at.
*/ -}}
{{- define "postrider.shape" -}}
{{- $here := . -}}
{{- $rule := .rule -}}
{{- if hasKey $rule "$ref" -}}
{{- $rule = .all.rules -}}
{{- range splitList "/" (index $here.rule "$ref") | rest }}{{ $rule = index $rule . }}{{ end -}}
{{- include "postrider.shape" (dict "all" .all "rule" $rule "value" .value "path" .path) -}}
{{- else -}}
{{- $types := list -}}
{{- with $rule.type }}{{ $types = ternary (list .) . (kindIs "string" .) }}{{ end -}}
{{- $is := include "postrider.shape.type" .value -}}
{{- $typed := or (not $types) (has $is $types) (and (eq $is "integer") (has "number" $types)) -}}
{{- if eq $is "null" -}}
{{- /* A map that is null is one without keys, if none has a default. */ -}}
{{- if hasKey $rule "enum" }}{{ $typed = has nil $rule.enum }}{{ end -}}
{{- if not (or $typed (and (has "object" $types) (not (and $rule.properties (hasKey .all.within .path))))) -}}
{{- include "postrider.shape.refuse" (list . $rule "broken" "; leave it out for its default (by --reset-then-reuse-values, not --reuse-values, where the release is older than the value)") -}}
{{- end -}}
{{- else if not $typed -}}
{{- include "postrider.shape.refuse" (list . $rule "broken" (ternary "; write it in quotes (--set-string)" "" (and (has "string" $types) (has $is (list "integer" "number" "boolean"))))) -}}
{{- else if eq $is "object" -}}
{{- include "postrider.shape.object" (dict "all" .all "rule" $rule "value" .value "path" .path) -}}
{{- include "postrider.shape.mode" (dict "all" .all "rule" $rule "value" .value "path" .path) -}}
{{- else -}}
{{- if and (eq $is "array") $rule.items (not (hasKey $rule "x-each")) -}}
{{- range $i, $one := .value -}}
{{- include "postrider.shape" (dict "all" $here.all "rule" $rule.items "value" $one "path" (printf "%s[%d]" $here.path $i)) -}}
{{- end -}}
{{- end -}}
{{- if not (include "postrider.shape.right" (dict "rule" $rule "value" .value "is" $is)) -}}
{{- include "postrider.shape.refuse" (list . $rule "wrong" "") -}}
{{- else -}}
{{- include "postrider.shape.mode" (dict "all" .all "rule" $rule "value" .value "path" .path) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A key that does nothing in this mode. */ -}}
{{- define "postrider.shape.mode" -}}
{{- $mode := .all.mode -}}
{{- if and (ne (index .rule "x-mode" | default $mode) $mode) .value (ne (toJson .value) (toJson (index .all.rules "x-defaults" .path))) -}}
{{- $why := ternary "it is for Kafka and PostgreSQL, which one process with a volume does not use; leave it out, or set mode: distributed" "it is for the embedded log of one process with a volume; leave it out, or set mode: single" (eq $mode "single") -}}
{{- $_ := set .all "wrong" (append .all.wrong (printf "%s is given and mode is %s: %s" .path $mode $why)) -}}
{{- end -}}
{{- end -}}

{{- /* "yes" for a value that is no map and of the type of its rule, if the rule takes it: of a dict of rule, value, and its type. */ -}}
{{- define "postrider.shape.right" -}}
{{- $rule := .rule -}}{{- $value := .value -}}{{- $is := .is -}}
{{- $right := true -}}
{{- if hasKey $rule "enum" }}{{ $right = has $value $rule.enum }}{{ end -}}
{{- if has $is (list "integer" "number") -}}
{{- if hasKey $rule "minimum" }}{{ $right = and $right (ge (float64 $value) (float64 $rule.minimum)) }}{{ end -}}
{{- if hasKey $rule "maximum" }}{{ $right = and $right (le (float64 $value) (float64 $rule.maximum)) }}{{ end -}}
{{- else if eq $is "string" -}}
{{- with $rule.pattern }}{{ $right = and $right (regexMatch . $value) }}{{ end -}}
{{- with $rule.maxLength }}{{ $right = and $right (le (len $value) (int .)) }}{{ end -}}
{{- if and $right (hasKey $rule "x-bounds") (regexMatch "^[0-9]" $value) -}}
{{- $counted := include "postrider.counted" $value | float64 -}}
{{- $right = and (ge $counted (float64 (index $rule "x-bounds" 0))) (le $counted (float64 (index $rule "x-bounds" 1))) -}}
{{- end -}}
{{- end -}}
{{- with index $rule "x-each" -}}
{{- $pattern := . -}}
{{- range ternary (splitList "," (toString $value)) $value (eq $is "string") -}}
{{- $one := trim (toString .) -}}
{{- if and $one (not (regexMatch $pattern $one)) }}{{ $right = false }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $right }}yes{{ end -}}
{{- end -}}

{{- define "postrider.shape.type" -}}
{{- if kindIs "invalid" . -}}null
{{- else if kindIs "map" . -}}object
{{- else if kindIs "slice" . -}}array
{{- else if kindIs "bool" . -}}boolean
{{- else if kindIs "string" . -}}string
{{- else if eq (float64 .) (floor .) -}}integer
{{- else -}}number{{- end -}}
{{- end -}}

{{- /* The keys of a map: none that is unknown, none without a value that has a default. */ -}}
{{- define "postrider.shape.object" -}}
{{- $here := . -}}
{{- $rule := .rule -}}
{{- $known := $rule.properties | default dict -}}
{{- range $key, $value := .value -}}
{{- $path := ternary $key (printf "%s.%s" $here.path $key) (eq $here.path "") -}}
{{- if hasKey $known $key -}}
{{- include "postrider.shape" (dict "all" $here.all "rule" (index $known $key) "value" $value "path" $path) -}}
{{- else if kindIs "map" $rule.additionalProperties -}}
{{- $each := ternary (set (deepCopy $rule.additionalProperties) "x-hidden" true) $rule.additionalProperties (hasKey $rule "x-hidden") -}}
{{- include "postrider.shape" (dict "all" $here.all "rule" $each "value" $value "path" $path) -}}
{{- else if hasKey $rule "additionalProperties" -}}
{{- $names := keys $known | sortAlpha -}}
{{- $words := include "postrider.shape.meant" (list $here $key $names) | default (printf "known there are %s" (join ", " $names)) -}}
{{- $_ := set $here.all "wrong" (append $here.all.wrong (printf "%s is not known: %s" $path $words)) -}}
{{- end -}}
{{- end -}}
{{- range $key, $below := $known -}}
{{- $path := ternary $key (printf "%s.%s" $here.path $key) (eq $here.path "") -}}
{{- if and (not (hasKey $here.value $key)) (hasKey $here.all.within $path) -}}
{{- include "postrider.shape" (dict "all" $here.all "rule" $below "value" nil "path" $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* What was meant, or nothing; of a list of the dict of the map, a key that it does not have, and those that it has. */ -}}
{{- define "postrider.shape.meant" -}}
{{- $here := index . 0 -}}{{- $key := index . 1 -}}
{{- $rules := $here.all.rules -}}
{{- $prefix := ternary "" (printf "%s." $here.path) (eq $here.path "") -}}
{{- $top := eq $here.path "" -}}
{{- $near := "" -}}
{{- $least := max 2 (div (len $key) 3) | int -}}
{{- range index . 2 -}}
{{- $far := include "postrider.distance" (list (include "postrider.shape.bare" $key) (include "postrider.shape.bare" .)) | int -}}
{{- if hasPrefix (lower $key) (lower .) }}{{ $far = 1 }}{{ end -}}
{{- if and (le $far $least) (lt $far (len .)) }}{{ $near = . }}{{ $least = int (sub $far 1) }}{{ end -}}
{{- end -}}
{{- if and $top (hasKey (index $rules "x-instead") $key) }}did you mean {{ index $rules "x-instead" $key }}?
{{- else if and $top (hasKey (index $rules "$defs" "pod").properties $key) }}did you mean pod.{{ $key }}, or roles.NAME.{{ $key }} for one role?
{{- else if and $top (hasKey $rules.properties.roles.properties $key) }}did you mean roles.{{ $key }}?
{{- else if and $top (hasKey (index $rules "$defs" "config").properties $key) }}did you mean config.{{ $key }}?
{{- else if $near }}did you mean {{ $prefix }}{{ $near }}?
{{- end -}}
{{- end -}}

{{- /* A name without what only tells ways of writing apart. */ -}}
{{- define "postrider.shape.bare" -}}
{{- lower . | replace "_" "" | replace "-" "" -}}
{{- end -}}

{{- /* How many letters two words differ by (Levenshtein). */ -}}
{{- define "postrider.distance" -}}
{{- $b := splitList "" (index . 1) -}}
{{- $row := list 0 -}}
{{- range $j, $_ := $b }}{{ $row = append $row (add $j 1 | int) }}{{ end -}}
{{- range $i, $letter := splitList "" (index . 0) -}}
{{- $next := list (add $i 1 | int) -}}
{{- range $j, $other := $b -}}
{{- $both := add (index $row $j) (ternary 0 1 (eq $letter $other)) -}}
{{- $next = append $next (min $both (add (index $row (add $j 1)) 1) (add (last $next) 1) | int) -}}
{{- end -}}
{{- $row = $next -}}
{{- end -}}
{{- last $row -}}
{{- end -}}

{{- /* Of a list of the dict of a value, its rule, the list that it is told in, and what is to be said further. */ -}}
{{- define "postrider.shape.refuse" -}}
{{- $here := index . 0 -}}{{- $rule := index . 1 -}}{{- $list := index . 2 -}}
{{- $is := include "postrider.shape.type" $here.value -}}
{{- $shown := ternary "null or missing" (printf "%s" (toJson $here.value | trunc 80)) (eq $is "null") -}}
{{- if index $rule "x-hidden" }}{{ $shown = "wrong (it is not shown)" }}{{ end -}}
{{- $_ := set $here.all $list (append (index $here.all $list) (printf "%s is %s: it takes %s%s" $here.path $shown (include "postrider.shape.takes" $rule) (index . 3))) -}}
{{- end -}}

{{- /* What a rule takes, in words. */ -}}
{{- define "postrider.shape.takes" -}}
{{- $types := ternary (list .type) (.type | default list) (kindIs "string" .type) -}}
{{- $words := dict "boolean" "true or false" "string" "text" "array" "a list" "object" "a map of keys" "integer" "a whole number" "number" "a number" -}}
{{- if index . "x-takes" }}{{ index . "x-takes" }}
{{- else if .enum }}{{ join " or " (without .enum nil) }}
{{- else -}}
{{- range $i, $type := without $types "null" }}{{ if $i }} or {{ end }}{{ index $words $type }}{{ end -}}
{{- if hasKey . "minimum" }} from {{ int64 .minimum }}{{ end -}}
{{- if hasKey . "maximum" }} to {{ int64 .maximum }}{{ end -}}
{{- end -}}
{{- end -}}

{{- /* A duration in milliseconds, or a size in bytes. */ -}}
{{- define "postrider.counted" -}}
{{- $units := dict "ms" 1 "s" 1e3 "m" 6e4 "h" 3.6e6 "d" 8.64e7 "B" 1 "KiB" 1024 "MiB" 1048576 "GiB" 1073741824 "TiB" 1099511627776 -}}
{{- mulf (regexFind "^[0-9]+" . | float64) (index $units (regexFind "[A-Za-z]+$" .)) -}}
{{- end -}}
