{{- /* One name and one set of labels per group: (dict "root" $ "group" $k). */ -}}
{{- define "secfwt.name" -}}
{{ printf "%s-group-%d" .root.Release.Name .group | trunc 63 }}
{{- end }}

{{- define "secfwt.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
secfwt/group: {{ .group | quote }}
{{- end }}

{{- /* The port of this party in an address host:port. */ -}}
{{- define "secfwt.port" -}}
{{ regexFind "[0-9]+$" . }}
{{- end }}
