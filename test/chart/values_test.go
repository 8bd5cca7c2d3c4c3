package chart

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"
)

// Objects that the cases are about.
const (
	operatorDeployment = "Deployment " + namespace + "/horizon-webhook-operator"
	bridgeDeployment   = "Deployment " + namespace + "/horizon-bridge"
	metricsService     = "Service " + namespace + "/horizon-webhook-operator-metrics"
	bridgeService      = "Service " + namespace + "/horizon-bridge"
	serviceMonitor     = "ServiceMonitor " + namespace + "/horizon-webhook-operator"
	podMonitor         = "PodMonitor " + namespace + "/horizon-webhook-operator"
	prometheusRule     = "PrometheusRule " + namespace + "/horizon-webhook-operator"
	dashboard          = "ConfigMap " + namespace + "/horizon-webhook-operator-dashboard"
	budget             = "PodDisruptionBudget " + namespace + "/horizon-webhook-operator"
	bridgeBudget       = "PodDisruptionBudget " + namespace + "/horizon-bridge"
	operatorNetwork    = "NetworkPolicy " + namespace + "/horizon-webhook-operator"
	bridgeNetwork      = "NetworkPolicy " + namespace + "/horizon-bridge"
	operatorAccount    = "ServiceAccount " + namespace + "/horizon-webhook-operator"
	bridgeAccount      = "ServiceAccount " + namespace + "/horizon-bridge"
	webhookCRD         = "CustomResourceDefinition webhooks.horizoncd.io"
	viewerRole         = "ClusterRole horizon-webhook-viewer"
	operatorRole       = "ClusterRole horizon-webhook-operator"
	flowSchema         = "FlowSchema horizon-webhook-operator-leader-election"
	policy             = "ValidatingAdmissionPolicy horizon-delivery-records"

	pod        = "spec.template.spec."
	container0 = pod + "containers.0."
)

// expectation is something that must not hold before a value is set, and must hold afterwards.
type expectation func(t *testing.T, objs objects) error

// has expects JSON at the path of an object.
func has(object, path, want string) expectation {
	return func(t *testing.T, objs objects) error {
		t.Helper()
		if objs[object] == nil {
			return fmt.Errorf("there is no %s", object)
		}
		got, ok := at(objs[object].Object, path)
		if !ok {
			return fmt.Errorf("%s has no %s", object, path)
		}
		if toJSON(t, got) != want {
			return fmt.Errorf("%s of %s is %s, want %s", path, object, toJSON(t, got), want)
		}
		return nil
	}
}

// lacks expects nothing at the path of an object.
func lacks(object, path string) expectation {
	return func(_ *testing.T, objs objects) error {
		if objs[object] == nil {
			return fmt.Errorf("there is no %s", object)
		}
		if got, ok := at(objs[object].Object, path); ok {
			return fmt.Errorf("%s of %s is %v", path, object, got)
		}
		return nil
	}
}

// contains expects an element in the list at the path of an object.
func contains(object, path, want string) expectation {
	return func(t *testing.T, objs objects) error {
		t.Helper()
		if objs[object] == nil {
			return fmt.Errorf("there is no %s", object)
		}
		got, _ := at(objs[object].Object, path)
		list, _ := got.([]any)
		for _, element := range list {
			if toJSON(t, element) == want {
				return nil
			}
		}
		return fmt.Errorf("%s of %s has no %s: %s", path, object, want, toJSON(t, got))
	}
}

func arg(want string) expectation {
	return contains(operatorDeployment, container0+"args", strconv.Quote(want))
}

func bridgeArg(want string) expectation {
	return contains(bridgeDeployment, container0+"args", strconv.Quote(want))
}

func there(object string) expectation {
	return func(_ *testing.T, objs objects) error {
		if objs[object] == nil {
			return fmt.Errorf("there is no %s", object)
		}
		return nil
	}
}

func gone(names ...string) expectation {
	return func(_ *testing.T, objs objects) error {
		for _, object := range names {
			if objs[object] != nil {
				return fmt.Errorf("there is %s", object)
			}
		}
		return nil
	}
}

// both expects each of several things. One of them may hold before.
func both(all ...expectation) expectation {
	return func(t *testing.T, objs objects) error {
		t.Helper()
		for _, expect := range all {
			if err := expect(t, objs); err != nil {
				return err
			}
		}
		return nil
	}
}

// everywhere expects a label of all objects.
func everywhere(label, value string) expectation {
	return func(_ *testing.T, objs objects) error {
		for name, obj := range objs {
			if got := obj.GetLabels()[label]; got != value {
				return fmt.Errorf("the label of %s is %q", name, got)
			}
		}
		return nil
	}
}

// at returns what is at a path of keys and indices. A key with dots in it stands in brackets, at
// the end.
func at(in any, path string) (any, bool) {
	if key, ok := strings.CutPrefix(path, "["); ok {
		m, _ := in.(map[string]any)
		found, ok := m[strings.TrimSuffix(key, "]")]
		return found, ok
	}
	name, rest, more := strings.Cut(path, ".")
	var found any
	ok := false
	switch in := in.(type) {
	case map[string]any:
		found, ok = in[name]
	case []any:
		if i, err := strconv.Atoi(name); err == nil && i < len(in) {
			found, ok = in[i], true
		}
	}
	if !ok || !more {
		return found, ok
	}
	return at(found, rest)
}

// Settings in which some values have a meaning.
var (
	bridgeOn  = []string{"bridge.enabled=true", `bridge.horizonURL="https://horizon.example.com"`}
	networkOn = []string{"networkPolicy.enabled=true", `networkPolicy.apiServer.cidrs=["192.0.2.10/32"]`}
	monitored = []string{"metrics.serviceMonitor.enabled=true"}
	withPods  = []string{"metrics.podMonitor.enabled=true"}
	withPDB   = []string{"podDisruptionBudget.enabled=true"}
)

func with(settings ...[]string) []string { return slices.Concat(settings...) }

// cases have each value once, or more often where it has several effects: given `with`, `set`
// makes `want` true.
var cases = []struct {
	value string
	set   string
	with  []string
	want  expectation
}{
	{"namePrefix", `"acme"`, nil, both(
		there("Deployment "+namespace+"/acme-webhook-operator"), there("ClusterRole acme-webhook-viewer"),
		there("ValidatingAdmissionPolicy acme-delivery-records"), gone(operatorDeployment, viewerRole, policy),
		has("ValidatingAdmissionPolicyBinding acme-delivery-records", "spec.policyName", `"acme-delivery-records"`),
		has("ClusterRoleBinding acme-webhook-operator", "subjects.0.name", `"acme-webhook-operator"`),
		has("FlowSchema acme-webhook-operator-leader-election", "spec.rules.0.subjects.0.serviceAccount.name", `"acme-webhook-operator"`))},
	{"namePrefix", `"acme"`, with(monitored, []string{"metrics.prometheusRule.enabled=true", "metrics.grafanaDashboard.enabled=true"}), both(
		there("PrometheusRule "+namespace+"/acme-webhook-operator"), there("ConfigMap "+namespace+"/acme-webhook-operator-dashboard"),
		has("ClusterRoleBinding acme-metrics-reader", "roleRef.name", `"acme-metrics-reader"`), there("ClusterRole acme-metrics-reader"),
		has("ServiceMonitor "+namespace+"/acme-webhook-operator", "spec.endpoints.0.authorization.credentials.name", `"acme-metrics-reader-token"`),
		has("Secret "+namespace+"/acme-metrics-reader-token", "metadata.annotations.[kubernetes.io/service-account.name]", `"acme-metrics-reader"`))},
	{"namePrefix", `"acme"`, bridgeOn, both(
		contains("Deployment "+namespace+"/acme-bridge", container0+"args", `"--state-configmap=acme-bridge-state"`),
		has("Role "+namespace+"/acme-bridge", "rules.0.resourceNames", `["acme-bridge-state"]`),
		there("ConfigMap "+namespace+"/acme-bridge-state"),
		has("RoleBinding "+namespace+"/acme-bridge-events", "roleRef.name", `"acme-event-creator"`))},
	{"commonLabels", `{"team":"platform"}`, with(bridgeOn, networkOn, monitored), everywhere("team", "platform")},
	{"commonLabels", `{"team":"platform"}`, nil, both(
		has(operatorDeployment, "spec.template.metadata.labels.team", `"platform"`), lacks(operatorDeployment, "spec.selector.matchLabels.team"))},

	{"image.repository", `"registry.example.com/operator"`, nil, has(operatorDeployment, container0+"image", `"registry.example.com/operator:v0.1.0"`)},
	{"image.tag", `"v9"`, nil, has(operatorDeployment, container0+"image", `"horizoncd/webhook-operator:v9"`)},
	{"image.digest", `"` + digest + `"`, nil, has(operatorDeployment, container0+"image", `"horizoncd/webhook-operator:v0.1.0@`+digest+`"`)},
	{"image.pullPolicy", `"Always"`, nil, has(operatorDeployment, container0+"imagePullPolicy", `"Always"`)},
	{"imagePullSecrets", `[{"name":"login"}]`, nil, has(operatorDeployment, pod+"imagePullSecrets", `[{"name":"login"}]`)},
	{"imagePullSecrets", `[{"name":"login"}]`, bridgeOn, has(bridgeDeployment, pod+"imagePullSecrets", `[{"name":"login"}]`)},
	{"replicas", `3`, nil, has(operatorDeployment, "spec.replicas", `3`)},

	{"watchNamespaces", `["music","video"]`, nil, both(
		arg("--namespaces=music,video"), there("Role music/horizon-webhook-operator"), there("Role video/horizon-webhook-operator"),
		has("RoleBinding video/horizon-webhook-operator", "subjects.0.namespace", `"`+namespace+`"`),
		gone(operatorRole, "ClusterRoleBinding horizon-webhook-operator"))},
	{"watchNamespaces", `["2026"]`, nil, both(there("Role 2026/horizon-webhook-operator"), there("RoleBinding 2026/horizon-webhook-operator"))},
	{"egress.allow", `["10.96.0.0/12","fd00::1"]`, nil, arg("--egress-allow=10.96.0.0/12,fd00::1")},
	{"egress.allow", `["10.96.0.0/12","fd00::1","10.1.1.1"]`, networkOn, contains(operatorNetwork, "spec.egress",
		`{"to":[{"ipBlock":{"cidr":"10.96.0.0/12"}},{"ipBlock":{"cidr":"fd00::1/128"}},{"ipBlock":{"cidr":"10.1.1.1/32"}}]}`)},
	{"egress.proxy", `"http://proxy:3128"`, nil, arg("--egress-proxy=http://proxy:3128")},
	{"egress.proxyExcept", `[".svc","10.96.0.0/12"]`, []string{`egress.proxy="http://proxy:3128"`}, arg("--egress-proxy-except=.svc,10.96.0.0/12")},
	{"requireSSLVerify", `true`, nil, arg("--require-ssl-verify=true")},
	{"workers", `1000000`, nil, arg("--workers=1000000")},
	{"maxEventAge", `"1h30m"`, nil, arg("--max-event-age=1h30m")},
	{"eventTTL", `"0"`, nil, arg("--event-ttl=0")},
	{"eventTTL", `"72h"`, nil, arg("--event-ttl=72h")},
	{"drainSeconds", `20`, nil, arg("--drain-seconds=20")},
	{"terminationGracePeriodSeconds", `16`, nil, has(operatorDeployment, pod+"terminationGracePeriodSeconds", `16`)},
	{"leaderElect", `false`, []string{"replicas=1"}, both(arg("--leader-elect=false"), has(operatorDeployment, "spec.strategy", `{"type":"Recreate"}`))},
	{"log.level", `"debug"`, nil, arg("--zap-log-level=debug")},
	{"log.encoder", `"console"`, nil, arg("--zap-encoder=console")},
	{"log.stacktraceLevel", `"panic"`, nil, arg("--zap-stacktrace-level=panic")},
	{"log.timeEncoding", `"iso8601"`, nil, arg("--zap-time-encoding=iso8601")},
	{"log.development", `true`, nil, arg("--zap-devel=true")},
	{"probesPort", `9081`, nil, both(arg("--health-probe-bind-address=:9081"),
		contains(operatorDeployment, container0+"ports", `{"containerPort":9081,"name":"probes"}`))},
	{"pprofBindAddress", `"127.0.0.1:6060"`, nil, arg("--pprof-bind-address=127.0.0.1:6060")},
	{"extraArgs", `["--kubeconfig=/config"]`, nil, arg("--kubeconfig=/config")},
	{"extraEnv", `[{"name":"HTTPS_PROXY","value":"http://proxy"}]`, nil,
		contains(operatorDeployment, container0+"env", `{"name":"HTTPS_PROXY","value":"http://proxy"}`)},
	{"extraVolumes", `[{"name":"ca","configMap":{"name":"ca"}}]`, nil, has(operatorDeployment, pod+"volumes", `[{"configMap":{"name":"ca"},"name":"ca"}]`)},
	{"extraVolumeMounts", `[{"name":"ca","mountPath":"/ca"}]`, nil, has(operatorDeployment, container0+"volumeMounts", `[{"mountPath":"/ca","name":"ca"}]`)},
	{"resources", `{"requests":{"cpu":"2","memory":"1Gi"},"limits":{"memory":"1Gi"}}`, nil, both(
		has(operatorDeployment, container0+"resources", `{"limits":{"memory":"1Gi"},"requests":{"cpu":"2","memory":"1Gi"}}`), goMemLimit("921MiB"))},
	{"resources", `{"limits":{"memory":"1G"}}`, nil, goMemLimit("858MiB")},
	{"resources", `{"limits":{"memory":"1.5Gi"}}`, nil, goMemLimit("1382MiB")},
	{"resources", `{"limits":{"memory":1073741824}}`, nil, goMemLimit("921MiB")},
	{"resources", `{"limits":{"memory":null}}`, nil, lacks(operatorDeployment, container0+"env.1")},
	{"goMemLimit", `"300MiB"`, nil, goMemLimit("300MiB")},
	{"goMemLimit", `"300000000"`, nil, goMemLimit("300000000")},
	{"goMemLimit", `"off"`, nil, goMemLimit("off")},
	{"podSecurityContext", `{"runAsUser":1000}`, nil, has(operatorDeployment, pod+"securityContext.runAsUser", `1000`)},
	{"podSecurityContext", `{"runAsGroup":1000}`, bridgeOn, has(bridgeDeployment, pod+"securityContext.fsGroup", `1000`)},
	{"securityContext", `{"readOnlyRootFilesystem":false}`, nil, has(operatorDeployment, container0+"securityContext.readOnlyRootFilesystem", `false`)},
	{"securityContext", `{"readOnlyRootFilesystem":false}`, bridgeOn, has(bridgeDeployment, container0+"securityContext.readOnlyRootFilesystem", `false`)},
	{"podLabels", `{"a":"b"}`, nil, both(has(operatorDeployment, "spec.template.metadata.labels.a", `"b"`), lacks(operatorDeployment, "spec.selector.matchLabels.a"))},
	{"podAnnotations", `{"a":"b"}`, nil, has(operatorDeployment, "spec.template.metadata.annotations", `{"a":"b"}`)},
	{"nodeSelector", `{"a":"b"}`, nil, has(operatorDeployment, pod+"nodeSelector", `{"a":"b"}`)},
	{"tolerations", `[{"key":"a"}]`, nil, has(operatorDeployment, pod+"tolerations", `[{"key":"a"}]`)},
	{"affinity", `{"nodeAffinity":{}}`, nil, has(operatorDeployment, pod+"affinity", `{"nodeAffinity":{}}`)},
	{"topologySpreadConstraints", `[]`, nil, lacks(operatorDeployment, pod+"topologySpreadConstraints")},
	{"priorityClassName", `"high"`, nil, has(operatorDeployment, pod+"priorityClassName", `"high"`)},
	{"podDisruptionBudget.enabled", `true`, nil, has(budget, "spec.maxUnavailable", `1`)},
	{"podDisruptionBudget.minAvailable", `1`, withPDB, both(has(budget, "spec.minAvailable", `1`), lacks(budget, "spec.maxUnavailable"))},
	{"podDisruptionBudget.maxUnavailable", `"50%"`, withPDB, has(budget, "spec.maxUnavailable", `"50%"`)},
	{"serviceAccount.create", `false`, []string{`serviceAccount.name="mine"`}, gone("ServiceAccount " + namespace + "/mine")},
	{"serviceAccount.name", `"mine"`, nil, both(
		there("ServiceAccount "+namespace+"/mine"), gone(operatorAccount), has(operatorDeployment, pod+"serviceAccountName", `"mine"`),
		has("ClusterRoleBinding horizon-webhook-operator", "subjects.0.name", `"mine"`),
		has("ClusterRoleBinding horizon-webhook-operator-metrics-auth", "subjects.0.name", `"mine"`),
		has("RoleBinding "+namespace+"/horizon-webhook-operator-leader-election", "subjects.0.name", `"mine"`),
		has(flowSchema, "spec.rules.0.subjects.0.serviceAccount.name", `"mine"`))},
	{"serviceAccount.name", `"mine"`, []string{`watchNamespaces=["music"]`}, has("RoleBinding music/horizon-webhook-operator", "subjects.0.name", `"mine"`)},
	{"serviceAccount.annotations", `{"a":"b"}`, nil, has(operatorAccount, "metadata.annotations", `{"a":"b"}`)},

	{"crds.enabled", `false`, nil, gone(webhookCRD, "CustomResourceDefinition webhookevents.horizoncd.io", "CustomResourceDefinition webhookdeliveries.horizoncd.io")},
	{"crds.keep", `false`, nil, lacks(webhookCRD, "metadata.annotations.[helm.sh/resource-policy]")},
	{"clusterResources.create", `false`, []string{"crds.enabled=false"}, nothingOfTheCluster},
	{"clusterResources.create", `false`, with(bridgeOn, []string{"crds.enabled=false", `watchNamespaces=["music"]`, "metrics.serviceMonitor.enabled=true"}), nothingOfTheCluster},
	{"roles.create", `false`, nil, both(
		gone(viewerRole, "ClusterRole horizon-webhook-editor", "ClusterRole horizon-delivery-resender", "ClusterRole horizon-event-creator"), there(operatorRole))},
	{"roles.aggregate", `false`, nil, both(there(viewerRole), lacks(viewerRole, "metadata.labels.[rbac.authorization.k8s.io/aggregate-to-view]"),
		lacks("ClusterRole horizon-webhook-editor", "metadata.labels.[rbac.authorization.k8s.io/aggregate-to-edit]"),
		lacks("ClusterRole horizon-delivery-resender", "metadata.labels.[rbac.authorization.k8s.io/aggregate-to-admin]"))},
	{"flowSchema.create", `false`, nil, gone(flowSchema)},
	{"admissionPolicy.create", `false`, nil, gone(policy, "ValidatingAdmissionPolicyBinding horizon-delivery-records")},

	{"networkPolicy.enabled", `true`, []string{networkOn[1]}, there(operatorNetwork)},
	{"networkPolicy.enabled", `true`, with(bridgeOn, []string{networkOn[1]}), there(bridgeNetwork)},
	{"networkPolicy.apiServer.cidrs", `["198.51.100.1/32"]`, networkOn,
		contains(operatorNetwork, "spec.egress", `{"ports":[{"port":6443,"protocol":"TCP"}],"to":[{"ipBlock":{"cidr":"198.51.100.1/32"}}]}`)},
	{"networkPolicy.apiServer.port", `443`, with(bridgeOn, networkOn),
		contains(bridgeNetwork, "spec.egress", `{"ports":[{"port":443,"protocol":"TCP"}],"to":[{"ipBlock":{"cidr":"192.0.2.10/32"}}]}`)},
	{"networkPolicy.dns", `[{"podSelector":{}}]`, networkOn, has(operatorNetwork, "spec.egress.0.to", `[{"podSelector":{}}]`)},
	{"networkPolicy.dns", `[]`, networkOn, has(operatorNetwork, "spec.egress.0.ports", `[{"port":6443,"protocol":"TCP"}]`)},
	{"networkPolicy.metricsFrom", `[{"podSelector":{}}]`, networkOn, has(operatorNetwork, "spec.ingress.0.from", `[{"podSelector":{}}]`)},
	{"networkPolicy.extraEgress", `[{"to":[{"podSelector":{}}]}]`, networkOn, contains(operatorNetwork, "spec.egress", `{"to":[{"podSelector":{}}]}`)},

	{"metrics.enabled", `false`, nil, both(arg("--metrics-bind-address=0"),
		gone(metricsService, "ClusterRole horizon-webhook-operator-metrics-auth", "ClusterRole horizon-metrics-reader"),
		has(operatorDeployment, container0+"ports", `[{"containerPort":8081,"name":"probes"}]`))},
	{"metrics.port", `9443`, nil, both(arg("--metrics-bind-address=:9443"), has(metricsService, "spec.ports.0.port", `9443`),
		contains(operatorDeployment, container0+"ports", `{"containerPort":9443,"name":"metrics"}`))},
	{"metrics.secure", `false`, nil, both(arg("--metrics-secure=false"),
		gone("ClusterRole horizon-webhook-operator-metrics-auth", "ClusterRoleBinding horizon-webhook-operator-metrics-auth", "ClusterRole horizon-metrics-reader"))},
	{"metrics.secure", `false`, withPods, both(has(podMonitor, "spec.podMetricsEndpoints", `[{"interval":"30s","port":"metrics","scheme":"http"}]`),
		gone("Secret "+namespace+"/horizon-metrics-reader-token", "ServiceAccount "+namespace+"/horizon-metrics-reader", "ClusterRoleBinding horizon-metrics-reader"))},
	{"metrics.certSecretName", `"certificate"`, nil, both(arg("--metrics-cert-dir=/etc/webhook-operator-metrics"),
		has(operatorDeployment, pod+"volumes.0.secret", `{"secretName":"certificate"}`),
		has(operatorDeployment, container0+"volumeMounts.0.mountPath", `"/etc/webhook-operator-metrics"`))},
	{"metrics.service.create", `false`, nil, gone(metricsService)},
	{"metrics.service.annotations", `{"a":"b"}`, nil, has(metricsService, "metadata.annotations", `{"a":"b"}`)},
	{"metrics.serviceMonitor.enabled", `true`, nil, both(there(serviceMonitor), there("Secret "+namespace+"/horizon-metrics-reader-token"))},
	{"metrics.serviceMonitor.labels", `{"release":"prometheus"}`, monitored, has(serviceMonitor, "metadata.labels.release", `"prometheus"`)},
	{"metrics.podMonitor.enabled", `true`, nil, both(there(podMonitor), there("Secret "+namespace+"/horizon-metrics-reader-token"))},
	{"metrics.podMonitor.labels", `{"release":"prometheus"}`, withPods, has(podMonitor, "metadata.labels.release", `"prometheus"`)},
	{"metrics.prometheusRule.enabled", `true`, nil, there(prometheusRule)},
	{"metrics.prometheusRule.labels", `{"release":"prometheus"}`, []string{"metrics.prometheusRule.enabled=true"}, has(prometheusRule, "metadata.labels.release", `"prometheus"`)},
	{"metrics.grafanaDashboard.enabled", `true`, nil, has(dashboard, "metadata.labels.grafana_dashboard", `"1"`)},
	{"metrics.grafanaDashboard.labels", `{"folder":"a"}`, []string{"metrics.grafanaDashboard.enabled=true"}, has(dashboard, "metadata.labels.folder", `"a"`)},
	{"metrics.grafanaDashboard.annotations", `{"a":"b"}`, []string{"metrics.grafanaDashboard.enabled=true"}, has(dashboard, "metadata.annotations", `{"a":"b"}`)},
	{"metrics.interval", `"1m"`, monitored, has(serviceMonitor, "spec.endpoints.0.interval", `"1m"`)},
	{"metrics.interval", `"1m"`, withPods, has(podMonitor, "spec.podMetricsEndpoints.0.interval", `"1m"`)},
	{"metrics.tlsConfig", `{"serverName":"x"}`, monitored, has(serviceMonitor, "spec.endpoints.0.tlsConfig.serverName", `"x"`)},

	{"bridge.enabled", `true`, []string{bridgeOn[1]}, both(there(bridgeDeployment), there(bridgeService), there(bridgeAccount))},
	{"bridge.image.repository", `"registry.example.com/bridge"`, bridgeOn, has(bridgeDeployment, container0+"image", `"registry.example.com/bridge:v0.1.0"`)},
	{"bridge.image.tag", `"v9"`, bridgeOn, has(bridgeDeployment, container0+"image", `"horizoncd/horizon-bridge:v9"`)},
	{"bridge.image.digest", `"` + digest + `"`, bridgeOn, has(bridgeDeployment, container0+"image", `"horizoncd/horizon-bridge:v0.1.0@`+digest+`"`)},
	{"bridge.image.pullPolicy", `"Always"`, bridgeOn, has(bridgeDeployment, container0+"imagePullPolicy", `"Always"`)},
	{"bridge.replicas", `3`, bridgeOn, has(bridgeDeployment, "spec.replicas", `3`)},
	{"bridge.horizonURL", `"http://core"`, bridgeOn, bridgeArg("--horizon-url=http://core")},
	{"bridge.secretName", `"mine"`, bridgeOn, has(bridgeDeployment, pod+"volumes.0.secret.secretName", `"mine"`)},
	{"bridge.routes", `{"/music":"music"}`, bridgeOn, both(routes(`{"default":"`+namespace+`","routes":{"/music":"music"}}`),
		has("RoleBinding music/horizon-bridge-events", "subjects.0.namespace", `"`+namespace+`"`), there("RoleBinding "+namespace+"/horizon-bridge-events"))},
	{"bridge.defaultNamespace", `"other"`, bridgeOn, both(routes(`{"default":"other","routes":{}}`),
		there("RoleBinding other/horizon-bridge-events"), gone("RoleBinding "+namespace+"/horizon-bridge-events"))},
	{"bridge.eventNamePrefix", `"second-"`, bridgeOn, bridgeArg("--name-prefix=second-")},
	{"bridge.webhookID", `12345678`, bridgeOn, bridgeArg("--webhook-id=12345678")},
	{"bridge.publicURL", `"https://bridge.example.com"`, bridgeOn, bridgeArg("--public-url=https://bridge.example.com")},
	{"bridge.horizonCAConfigMap", `"ca"`, bridgeOn, both(bridgeArg("--horizon-ca-file=/etc/horizon-bridge-ca/ca.crt"),
		contains(bridgeDeployment, pod+"volumes", `{"configMap":{"name":"ca"},"name":"horizon-ca"}`),
		contains(bridgeDeployment, container0+"volumeMounts", `{"mountPath":"/etc/horizon-bridge-ca","name":"horizon-ca","readOnly":true}`))},
	{"bridge.horizonProxyFromEnvironment", `true`, bridgeOn, bridgeArg("--horizon-proxy-from-environment=true")},
	{"bridge.catchUp.requestsPerMinute", `60`, bridgeOn, bridgeArg("--catch-up-requests-per-minute=60")},
	{"bridge.catchUp.every", `"5m"`, bridgeOn, bridgeArg("--catch-up-every=5m")},
	{"bridge.catchUp.window", `"24h"`, bridgeOn, bridgeArg("--catch-up-window=24h")},
	{"bridge.port", `9000`, bridgeOn, both(bridgeArg("--listen-address=:9000"), contains(bridgeDeployment, container0+"ports", `{"containerPort":9000,"name":"horizon"}`))},
	{"bridge.tlsSecretName", `"tls"`, bridgeOn, both(
		bridgeArg("--tls-cert-file=/etc/horizon-bridge-tls/tls.crt"), bridgeArg("--tls-key-file=/etc/horizon-bridge-tls/tls.key"),
		contains(bridgeDeployment, pod+"volumes", `{"name":"tls","secret":{"defaultMode":288,"secretName":"tls"}}`),
		contains(bridgeDeployment, container0+"volumeMounts", `{"mountPath":"/etc/horizon-bridge-tls","name":"tls","readOnly":true}`))},
	{"bridge.maxConnections", `10`, bridgeOn, bridgeArg("--max-connections=10")},
	{"bridge.drainSeconds", `5`, bridgeOn, bridgeArg("--drain-seconds=5")},
	{"bridge.terminationGracePeriodSeconds", `36`, bridgeOn, has(bridgeDeployment, pod+"terminationGracePeriodSeconds", `36`)},
	{"bridge.metrics.enabled", `false`, bridgeOn, bridgeArg("--metrics-bind-address=0")},
	{"bridge.metrics.port", `9080`, bridgeOn, both(bridgeArg("--metrics-bind-address=:9080"), contains(bridgeDeployment, container0+"ports", `{"containerPort":9080,"name":"metrics"}`))},
	{"bridge.probesPort", `9081`, bridgeOn, both(bridgeArg("--health-probe-bind-address=:9081"), contains(bridgeDeployment, container0+"ports", `{"containerPort":9081,"name":"probes"}`))},
	{"bridge.log.level", `"debug"`, bridgeOn, bridgeArg("--zap-log-level=debug")},
	{"bridge.log.encoder", `"console"`, bridgeOn, bridgeArg("--zap-encoder=console")},
	{"bridge.log.stacktraceLevel", `"panic"`, bridgeOn, bridgeArg("--zap-stacktrace-level=panic")},
	{"bridge.log.timeEncoding", `"iso8601"`, bridgeOn, bridgeArg("--zap-time-encoding=iso8601")},
	{"bridge.log.development", `true`, bridgeOn, bridgeArg("--zap-devel=true")},
	{"bridge.extraArgs", `["--kubeconfig=/config"]`, bridgeOn, bridgeArg("--kubeconfig=/config")},
	{"bridge.extraEnv", `[{"name":"HTTPS_PROXY","value":"http://proxy"}]`, bridgeOn, contains(bridgeDeployment, container0+"env", `{"name":"HTTPS_PROXY","value":"http://proxy"}`)},
	{"bridge.resources", `{"limits":{"memory":"512Mi"}}`, bridgeOn, both(
		has(bridgeDeployment, container0+"resources.limits.memory", `"512Mi"`), contains(bridgeDeployment, container0+"env", `{"name":"GOMEMLIMIT","value":"460MiB"}`))},
	{"bridge.goMemLimit", `"99MiB"`, bridgeOn, contains(bridgeDeployment, container0+"env", `{"name":"GOMEMLIMIT","value":"99MiB"}`)},
	{"bridge.service.type", `"NodePort"`, bridgeOn, has(bridgeService, "spec.type", `"NodePort"`)},
	{"bridge.service.port", `8000`, bridgeOn, has(bridgeService, "spec.ports.0.port", `8000`)},
	{"bridge.service.annotations", `{"a":"b"}`, bridgeOn, has(bridgeService, "metadata.annotations", `{"a":"b"}`)},
	{"bridge.serviceAccount.create", `false`, with(bridgeOn, []string{`bridge.serviceAccount.name="mine"`}), gone("ServiceAccount " + namespace + "/mine")},
	{"bridge.serviceAccount.name", `"mine"`, bridgeOn, both(
		there("ServiceAccount "+namespace+"/mine"), gone(bridgeAccount), has(bridgeDeployment, pod+"serviceAccountName", `"mine"`),
		has("RoleBinding "+namespace+"/horizon-bridge", "subjects.0.name", `"mine"`), has("RoleBinding "+namespace+"/horizon-bridge-events", "subjects.0.name", `"mine"`))},
	{"bridge.serviceAccount.annotations", `{"a":"b"}`, bridgeOn, has(bridgeAccount, "metadata.annotations", `{"a":"b"}`)},
	{"bridge.podDisruptionBudget.enabled", `false`, bridgeOn, gone(bridgeBudget)},
	{"bridge.networkPolicy.from", `[{"podSelector":{}}]`, with(bridgeOn, networkOn), has(bridgeNetwork, "spec.ingress.0.from", `[{"podSelector":{}}]`)},
	{"bridge.networkPolicy.to", `[{"podSelector":{}}]`, with(bridgeOn, networkOn), contains(bridgeNetwork, "spec.egress", `{"to":[{"podSelector":{}}]}`)},
	{"bridge.podLabels", `{"a":"b"}`, bridgeOn, has(bridgeDeployment, "spec.template.metadata.labels.a", `"b"`)},
	{"bridge.podAnnotations", `{"a":"b"}`, bridgeOn, has(bridgeDeployment, "spec.template.metadata.annotations", `{"a":"b"}`)},
	{"bridge.nodeSelector", `{"a":"b"}`, bridgeOn, has(bridgeDeployment, pod+"nodeSelector", `{"a":"b"}`)},
	{"bridge.tolerations", `[{"key":"a"}]`, bridgeOn, has(bridgeDeployment, pod+"tolerations", `[{"key":"a"}]`)},
	{"bridge.affinity", `{"nodeAffinity":{}}`, bridgeOn, has(bridgeDeployment, pod+"affinity", `{"nodeAffinity":{}}`)},
	{"bridge.topologySpreadConstraints", `[]`, bridgeOn, lacks(bridgeDeployment, pod+"topologySpreadConstraints")},
	{"bridge.priorityClassName", `"high"`, bridgeOn, has(bridgeDeployment, pod+"priorityClassName", `"high"`)},

	{"extraObjects", `[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-more"}}]`, nil, there("ConfigMap horizon-more")},
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func goMemLimit(want string) expectation {
	return contains(operatorDeployment, container0+"env", `{"name":"GOMEMLIMIT","value":"`+want+`"}`)
}

// routes expects what the file of routes says.
func routes(want string) expectation {
	return func(t *testing.T, objs objects) error {
		t.Helper()
		const file = "ConfigMap " + namespace + "/horizon-bridge-routes"
		text, ok := at(objs[file].Object, "data.[routes.yaml]")
		if !ok {
			return fmt.Errorf("%s has no routes.yaml", file)
		}
		var got map[string]any
		if err := yaml.UnmarshalStrict([]byte(text.(string)), &got); err != nil {
			return err
		}
		if toJSON(t, got) != want {
			return fmt.Errorf("the routes are %s, want %s", toJSON(t, got), want)
		}
		return nil
	}
}

func nothingOfTheCluster(_ *testing.T, objs objects) error {
	for name, obj := range objs {
		if obj.GetNamespace() == "" {
			return fmt.Errorf("there is %s", name)
		}
	}
	return nil
}

// Each value changes what it says: what is expected is not so before it is set, and is so
// afterwards.
func TestEveryValueChangesWhatItSays(t *testing.T) {
	t.Parallel()
	untried := values(t)
	delete(untried, "global") // Helm's own
	for _, tc := range cases {
		delete(untried, tc.value)
	}
	for path := range untried {
		t.Errorf("no case is about %s", path)
	}
	var before sync.Map // the objects without the value, by the other settings
	for _, tc := range cases {
		t.Run(tc.value+"="+tc.set, func(t *testing.T) {
			t.Parallel()
			settings := slices.Clone(tc.with)
			if tc.value != "commonLabels" && !strings.HasPrefix(tc.value, "crds.") {
				settings = append(settings, "crds.enabled=false") // they are half of the work
			}
			once, _ := before.LoadOrStore(strings.Join(settings, " "), sync.OnceValues(func() (objects, error) { return template(t, settings...) }))
			unset, err := once.(func() (objects, error))()
			if err != nil {
				t.Fatal(err)
			}
			if tc.want(t, unset) == nil {
				t.Errorf("what is expected of %s is so without it", tc.value)
			}
			set, err := template(t, append(settings, tc.value+"="+tc.set)...)
			if err != nil {
				t.Fatal(err)
			}
			if err := tc.want(t, set); err != nil {
				t.Error(err)
			}
		})
	}
}

// What cannot be meant, or would not work, is refused with a message that says what to do.
func TestBadValuesAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		values []string
		want   string
	}{
		// The schema.
		{[]string{"replica=3"}, "additional properties 'replica' not allowed"},
		{[]string{`image.version="v1"`}, "additional properties 'version' not allowed"},
		{[]string{`bridge.url="x"`}, "additional properties 'url' not allowed"},
		{[]string{`resources={"limit":{}}`}, "additional properties 'limit' not allowed"},
		{[]string{`replicas="two"`}, "at '/replicas': got string, want integer"},
		{[]string{"replicas=-1"}, "at '/replicas'"},
		{[]string{"workers=0"}, "at '/workers'"},
		{[]string{`image.repository=""`}, "at '/image/repository'"},
		{[]string{`image.digest="sha256:1"`}, "at '/image/digest'"},
		{[]string{`image.pullPolicy="Sometimes"`}, "at '/image/pullPolicy'"},
		{[]string{`watchNamespaces=["a","a"]`}, "at '/watchNamespaces'"},
		{[]string{`watchNamespaces=["A"]`}, "at '/watchNamespaces/0'"},
		{[]string{`watchNamespaces="music"`}, "at '/watchNamespaces': got string, want array"},
		{[]string{`egress.allow=["office"]`}, "at '/egress/allow/0'"},
		{[]string{`egress.proxyExcept=["a,b"]`}, "at '/egress/proxyExcept/0'"},
		{[]string{`maxEventAge="3 days"`}, "at '/maxEventAge'"},
		{[]string{`eventTTL=""`}, "at '/eventTTL'"},
		{[]string{"drainSeconds=-1"}, "at '/drainSeconds'"},
		{[]string{`log.level="8"`}, "at '/log/level'"},
		{[]string{`log.encoder="xml"`}, "at '/log/encoder'"},
		{[]string{"probesPort=0"}, "at '/probesPort'"},
		{[]string{"metrics.port=65536"}, "at '/metrics/port'"},
		{[]string{`extraArgs=["workers"]`}, "at '/extraArgs/0'"},
		{[]string{`resources.limits.memory="1 GB"`}, "at '/resources/limits/memory'"},
		{[]string{`goMemLimit="1Gi B"`}, "at '/goMemLimit'"},
		{[]string{`goMemLimit="460Mi"`}, "at '/goMemLimit'"}, // Go ends at once with such a value
		{[]string{`podLabels={"a":1}`}, "at '/podLabels/a'"},
		{[]string{`podDisruptionBudget.minAvailable="one"`}, "at '/podDisruptionBudget/minAvailable'"},
		{[]string{`networkPolicy.apiServer.cidrs=["192.0.2.10"]`}, "at '/networkPolicy/apiServer/cidrs/0'"},
		{[]string{`bridge.horizonURL="horizon"`}, "at '/bridge/horizonURL'"},
		{[]string{`bridge.routes={"music":"music"}`}, "'music' does not match pattern '^/'"},
		{[]string{`bridge.service.type="ExternalName"`}, "at '/bridge/service/type'"},

		// What does not go together.
		{[]string{`namePrefix="a-name-that-is-longer-than-thirty-eight"`}, "set namePrefix to at most 38 characters"},
		{[]string{"leaderElect=false"}, "set replicas to 1, or leaderElect to true"},
		{[]string{"terminationGracePeriodSeconds=14"}, "terminationGracePeriodSeconds (14) has to be more than drainSeconds (10) and five seconds"},
		{[]string{"drainSeconds=25"}, "terminationGracePeriodSeconds (30) has to be more than drainSeconds (25) and five seconds"},
		{[]string{`maxEventAge="0"`}, "maxEventAge has to be more than 0"},
		{[]string{`eventTTL="14m59s"`, `maxEventAge="1m"`}, "eventTTL (14m59s) has to be 0 or at least 15m"},
		{[]string{`eventTTL="71h59m"`}, "eventTTL (71h59m) has to be 0 or at least maxEventAge (72h)"},
		{[]string{`egress.proxyExcept=[".svc"]`}, "egress.proxyExcept means nothing without egress.proxy"},
		{[]string{"serviceAccount.create=false"}, "set serviceAccount.name"},
		{[]string{"clusterResources.create=false"}, "set crds.enabled to false as well"},
		{[]string{"podDisruptionBudget.enabled=true", "podDisruptionBudget.minAvailable=0", "podDisruptionBudget.maxUnavailable=1"}, "set minAvailable or maxUnavailable, not both"},
		{[]string{"networkPolicy.enabled=true"}, "networkPolicy.apiServer.cidrs has its addresses"},
		{[]string{"metrics.serviceMonitor.enabled=true", "metrics.podMonitor.enabled=true"}, "everything would be scraped twice"},
		{[]string{"metrics.podMonitor.enabled=true", "metrics.enabled=false"}, "there is nothing to scrape"},
		{[]string{"metrics.prometheusRule.enabled=true", "metrics.enabled=false"}, "the alert HorizonMetricsUnavailable"},
		{[]string{"metrics.serviceMonitor.enabled=true", "metrics.service.create=false"}, "needs metrics.service.create"},
		{[]string{`metrics.certSecretName="tls"`, "metrics.secure=false"}, "metrics.certSecretName is of no use"},
		{[]string{`extraArgs=["--drain-seconds=60"]`}, "extraArgs has --drain-seconds, which the chart sets by a value of its own"},
		{[]string{`extraArgs=["--egress-allow=10.0.0.0/8"]`}, "extraArgs has --egress-allow"},
		{[]string{"bridge.enabled=true"}, "bridge.enabled needs bridge.horizonURL"},
		{with(bridgeOn, []string{"bridge.drainSeconds=35"}), "bridge.terminationGracePeriodSeconds (45) has to be more than bridge.drainSeconds (35), five seconds before it"},
		{with(bridgeOn, []string{"roles.create=false"}), "bridge.enabled needs roles.create"},
		{with(bridgeOn, []string{"bridge.serviceAccount.create=false"}), "set bridge.serviceAccount.name"},
		{with(bridgeOn, []string{`bridge.routes={"/music":"music","/music/player":"player"}`}), "bridge.routes must not nest: /music/player is below /music"},
		{[]string{`bridge.extraArgs=["--secret-file=/x"]`}, "bridge.extraArgs has --secret-file"},
	} {
		t.Run(strings.Join(tc.values, " "), func(t *testing.T) {
			t.Parallel()
			_, err := template(t, tc.values...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// Values that are at the edge of what is refused are taken.
func TestValuesAtTheEdge(t *testing.T) {
	t.Parallel()
	for _, values := range [][]string{
		{"terminationGracePeriodSeconds=16"},
		{"drainSeconds=24"},
		{`eventTTL="15m"`, `maxEventAge="15m"`},
		{`eventTTL="4320m"`},
		{`eventTTL="0"`, `maxEventAge="1000h"`},
		{`namePrefix="a-name-that-has-thirty-eight-character"`},
		{`global={"imageRegistry":"x"}`},
		{"resources=null"},
		append(slices.Clone(bridgeOn), "podSecurityContext=null"),
		append(slices.Clone(bridgeOn), "bridge.drainSeconds=34"),
		append(slices.Clone(bridgeOn), `bridge.routes={"/music":"music","/musical":"player"}`),
	} {
		t.Run(strings.Join(values, " "), func(t *testing.T) {
			t.Parallel()
			if _, err := template(t, values...); err != nil {
				t.Error(err)
			}
		})
	}
}
