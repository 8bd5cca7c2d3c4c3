# Everything that is done to this repository by command. `make help` lists it.
#
# Needed: Go, git, make and a POSIX shell. Tools are pinned in hack/tools and built into bin/tools when
# first used; so is the control plane for tests and the demo, into bin/controlplane.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

BIN := $(CURDIR)/bin
TOOLS := $(BIN)/tools
# The control plane is that of hack/controlplane/go.mod, the newest Kubernetes, or that of the directory there which
# KUBERNETES_VERSION names: make test KUBERNETES_VERSION=1.32.
OLDEST_KUBERNETES := 1.32
KUBERNETES_VERSION ?=
export KUBERNETES_VERSION
CONTROL_PLANE := $(BIN)/controlplane$(addprefix -,$(KUBERNETES_VERSION))

# The version that the binary reports.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The container image that docker-build, docker-push, deploy and build-installer are about.
IMG ?= horizoncd/webhook-operator:latest
# The image of the bridge from Horizon, for docker-build-bridge and docker-push-bridge.
BRIDGE_IMG ?= horizoncd/horizon-bridge:latest
# The name that config/manager gives the image, which deploy and build-installer replace by IMG.
MANIFEST_IMAGE := horizoncd/webhook-operator

# Where tests, demo and dev find etcd, kube-apiserver and kube-controller-manager. Who sets
# KUBEBUILDER_ASSETS brings their own.
ASSETS := $(if $(KUBEBUILDER_ASSETS),$(KUBEBUILDER_ASSETS),$(CONTROL_PLANE))

# The control plane's own kubectl serves where none is on PATH.
KUBECTL ?= $(shell command -v kubectl 2>/dev/null || echo $(ASSETS)/kubectl)
BUNDLED_KUBECTL := $(filter $(ASSETS)/kubectl,$(KUBECTL))
# Chromium or Chrome, for tests of the dashboard's pages.
BROWSER_PATH ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
DOCKER ?= docker

# Source, version and Go decide the bytes of a binary; the state of git does not. The compiler takes a fifth less of the
# processor where it collects its own garbage less often.
GO_BUILD := CGO_ENABLED=0 GOGC=400 GOMEMLIMIT=1GiB go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'
MODULES = $(patsubst %/go.mod,%,$(shell find . -path ./bin -prune -o -name go.mod -print))
API := api/v1alpha1
API_REFERENCE := docs/api-reference.md
PLUGIN_REFERENCE := docs/kubectl-horizon.md
CHART := charts/webhook-operator
# What make generate writes, or where it writes.
GENERATED := api config/crd/bases $(API_REFERENCE) $(PLUGIN_REFERENCE) $(CHART)
SHELL_FILES := .ci/run $(shell find hack test -name '*.sh' 2>/dev/null)

# The race detector needs a C compiler; without one, tests run without it rather than not at all.
RACE = $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
# Further arguments of the programs that run, demo and dev start.
ARGS ?=
# Passed on to go test: make test TESTFLAGS='-run TestX -count=1' PACKAGES=./controllers/...
TESTFLAGS ?=
TEST_TIMEOUT ?= 25m
PACKAGES ?= ./...
# For how long make fuzz runs each of its targets.
FUZZTIME ?= 10s

##@ General

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-zA-Z0-9_-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: clean
clean: ## Remove what was built: bin/ and dist/
	rm -rf bin dist

##@ Try it

# It needs no controller manager: retention removes what a deleted Webhook leaves, too. The same flags for all that is
# built let go build use each compiled package again.
.PHONY: demo
demo: build build-bridge kubectl-horizon ## Show the whole story on a control plane of its own, then end
	@hack/controlplane/build.sh '$(CONTROL_PLANE)' etcd kube-apiserver $(if $(shell command -v kubectl 2>/dev/null),,kubectl)
	@$(GO_BUILD) -o $(BIN)/build/demo ./test/demo
	@exec env KUBEBUILDER_ASSETS='$(ASSETS)' $(BIN)/build/demo $(ARGS)

.PHONY: dev
dev: build build-bridge kubectl-horizon control-plane ## Leave control plane and operator running until Ctrl-C (ARGS=--horizon: a Horizon, too)
	@$(GO_BUILD) -o $(BIN)/build/dev ./test/dev
	@exec env KUBEBUILDER_ASSETS='$(ASSETS)' $(BIN)/build/dev $(ARGS)

.PHONY: dashboard
dashboard: build kubectl-horizon control-plane ## Open the dashboard in the browser, on a control plane where things happen
	@$(GO_BUILD) -o $(BIN)/build/dev ./test/dev
	@exec env KUBEBUILDER_ASSETS='$(ASSETS)' $(BIN)/build/dev --story --dashboard $(ARGS)

##@ Develop

# go build renews the time of a binary even where nothing changed. Its copy keeps it, so that the results of tests
# that start the operator stay cached.
.PHONY: build
build: ## Build the operator into bin/webhook-operator
	@$(GO_BUILD) -o $(BIN)/build/webhook-operator ./cmd/webhook-operator
	@cmp -s $(BIN)/build/webhook-operator $(BIN)/webhook-operator || \
		{ cp $(BIN)/build/webhook-operator $(BIN)/webhook-operator.new && mv -f $(BIN)/webhook-operator.new $(BIN)/webhook-operator; }

.PHONY: build-bridge
build-bridge: ## Build the bridge from Horizon into bin/horizon-bridge
	@$(GO_BUILD) -o $(BIN)/build/horizon-bridge ./cmd/horizon-bridge
	@cmp -s $(BIN)/build/horizon-bridge $(BIN)/horizon-bridge || \
		{ cp $(BIN)/build/horizon-bridge $(BIN)/horizon-bridge.new && mv -f $(BIN)/horizon-bridge.new $(BIN)/horizon-bridge; }

.PHONY: kubectl-horizon
kubectl-horizon: ## Build the kubectl plugin into bin/kubectl-horizon; kubectl horizon finds it on PATH
	@$(GO_BUILD) -o $(BIN)/kubectl-horizon ./cmd/kubectl-horizon

.PHONY: run
run: build ## Run the operator here, against the current kubeconfig; not beside a deployed one
	@exec $(BIN)/webhook-operator --zap-devel --metrics-bind-address=127.0.0.1:8080 --metrics-secure=false --health-probe-bind-address=0 $(ARGS)

.PHONY: control-plane
control-plane: ## Build etcd, kube-apiserver and kube-controller-manager, unless KUBEBUILDER_ASSETS is set
	@hack/controlplane/build.sh '$(CONTROL_PLANE)'

.PHONY: generate
generate: $(TOOLS)/controller-gen $(TOOLS)/crd-ref-docs ## Write deep copies, CRDs, apply configurations, the two references in docs/, and the chart's copies
	@$(TOOLS)/controller-gen object:headerFile=hack/boilerplate.go.txt paths=./$(API)
	@rm -f config/crd/bases/*.yaml
	@$(TOOLS)/controller-gen crd paths=./$(API) output:crd:artifacts:config=config/crd/bases
	@rm -rf $(API)/applyconfiguration
	@$(TOOLS)/controller-gen applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./$(API)
	@mkdir -p $(dir $(API_REFERENCE))
	@$(TOOLS)/crd-ref-docs --log-level=ERROR --config=hack/crd-ref-docs.yaml --source-path=$(API) \
		--renderer=markdown --output-path=$(API_REFERENCE)
	@go run ./hack/reference >$(PLUGIN_REFERENCE)
	@rm -rf $(CHART)/files && mkdir -p $(addprefix $(CHART)/files/,crds monitoring policy rbac)
	@cp config/crd/bases/*.yaml $(CHART)/files/crds
	@cp config/policy/delivery_records*.yaml $(CHART)/files/policy
	@cp config/rbac/*role.yaml $(CHART)/files/rbac
	@cp config/network-policy/network_policy.yaml $(CHART)/files
	@cp config/monitoring/prometheus_rule.yaml config/monitoring/dashboard.json $(CHART)/files/monitoring
	@go run ./hack/chart

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint $(TOOLS)/shfmt ## Format Go and shell code
	@$(TOOLS)/golangci-lint fmt
	@$(TOOLS)/shfmt -w $(SHELL_FILES)

.PHONY: lint-fix
lint-fix: fmt ## Repair what the linters can repair by themselves
	@$(TOOLS)/golangci-lint run --fix
	@$(TOOLS)/golangci-lint run --fix --config=.golangci-api.yml ./api/...

##@ Check

.PHONY: browser
browser: ## Install the browser that tests of the pages need, if there is none
	@hack/browser/install.sh

# Tests that start the operator take the binary from WEBHOOK_OPERATOR, those of the pages a browser from BROWSER_PATH,
# those of the chart and of what watches the operator their tools from variables of the tools' names: go test then sees
# the one change and the other appear, and does not take cached results for new ones.
TEST_TOOLS ?= helm kustomize luahealth promcheck promtool
.PHONY: test
test: build control-plane $(addprefix $(TOOLS)/,gotestsum $(TEST_TOOLS)) ## Run all tests, those against the real API server too
	@$(if $(RACE),,echo 'no C compiler found: testing without the race detector')
	@KUBEBUILDER_ASSETS='$(ASSETS)' WEBHOOK_OPERATOR='$(BIN)/webhook-operator' BROWSER_PATH='$(BROWSER_PATH)' \
		PROMTOOL='$(TOOLS)/promtool' PROMCHECK='$(TOOLS)/promcheck' LUAHEALTH='$(TOOLS)/luahealth' \
		HELM='$(TOOLS)/helm' KUSTOMIZE='$(TOOLS)/kustomize' \
		$(TOOLS)/gotestsum --format=pkgname-and-test-fails --format-hide-empty-pkg \
		-- $(RACE) -timeout=$(TEST_TIMEOUT) $(TESTFLAGS) $(PACKAGES)

# Apart from the others, since kube-state-metrics takes longer to build than its test.
.PHONY: test-kube-state-metrics
test-kube-state-metrics: $(TOOLS)/kube-state-metrics ## Test what kube-state-metrics makes of Webhooks
	@KUBE_STATE_METRICS='$(TOOLS)/kube-state-metrics' $(MAKE) --no-print-directory test \
		TEST_TOOLS=promcheck PACKAGES=./test/monitoring TESTFLAGS='-run=KubeStateMetrics'

# The suites that ask most of the API server, which need none of TEST_TOOLS. What the others ask of it is the same on any
# version.
.PHONY: test-oldest
test-oldest: ## Run the tests of CRDs, controllers, manifests and whole processes on the oldest Kubernetes
	@$(MAKE) --no-print-directory test KUBERNETES_VERSION=$(OLDEST_KUBERNETES) \
		TEST_TOOLS= PACKAGES='./api/... ./controllers/... ./test/e2e ./test/manifests'

.PHONY: bench
bench: build build-bridge control-plane ## Measure throughput, latency, isolation and sizes against yardsticks (SHORT=1: in three minutes)
	@$(GO_BUILD) -o $(BIN)/build/bench ./test/bench
	@exec env KUBEBUILDER_ASSETS='$(ASSETS)' $(BIN)/build/bench $(if $(SHORT),--short) $(ARGS)

.PHONY: chaos
chaos: build build-bridge control-plane ## Kill, pause and cut off what runs, and count what is lost (SHORT=1: in five minutes; SEED=n: once more)
	@$(GO_BUILD) -o $(BIN)/build/chaos ./test/chaos
	@exec env KUBEBUILDER_ASSETS='$(ASSETS)' $(BIN)/build/chaos $(if $(SHORT),--short) $(if $(SEED),--seed=$(SEED)) $(ARGS)

.PHONY: hostile
hostile: control-plane ## Play what hostile receivers and careless tenants do, and what is behind denied addresses
	@$(GO_BUILD) -overlay=test/hostile/testdata/overlay.json -o $(BIN)/build/hostile-operator ./cmd/webhook-operator
	@$(GO_BUILD) -o $(BIN)/build/hostile ./test/hostile
	@exec env KUBEBUILDER_ASSETS='$(ASSETS)' $(BIN)/build/hostile $(ARGS)

# One after the other: go test takes one target at a time. What a fuzzer finds is left in testdata/fuzz of its package.
.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (10s)
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n 1 dirname | sort -u); do \
		targets=$$(go test -list '^Fuzz' ./$$dir) || exit 1; \
		for target in $$(echo "$$targets" | grep '^Fuzz'); do \
			echo "$$dir $$target" && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$dir || exit 1; \
		done; \
	done

.PHONY: lint
lint: $(TOOLS)/golangci-lint $(TOOLS)/actionlint $(TOOLS)/shfmt ## Run the linters for Go, API types, workflows and shell scripts
	@echo 'golangci-lint' && $(TOOLS)/golangci-lint run
	@echo 'kube-api-linter' && $(TOOLS)/golangci-lint run --config=.golangci-api.yml ./api/...
	@echo 'golangci-lint of hack/release' && cd hack/release && $(TOOLS)/golangci-lint run --config=../../.golangci.yml
	@echo 'go vet' && go vet ./... && for dir in argo-cd prometheus release; do (cd hack/$$dir && go vet ./...) || exit 1; done
	@echo 'actionlint' && $(TOOLS)/actionlint
	@echo 'shfmt' && $(TOOLS)/shfmt -d $(SHELL_FILES)

.PHONY: verify
verify: verify-format verify-generated verify-manifests verify-modules ## Check formats, generated files, manifests and go.mod files

.PHONY: vulncheck
vulncheck: $(TOOLS)/govulncheck ## Look for known vulnerabilities (asks an online database)
	@$(TOOLS)/govulncheck ./...

.PHONY: verify-format
verify-format:
	@echo 'gofmt'
	@files=$$(gofmt -l $$(find . -path ./bin -prune -o -name '*.go' -print)) && [ -z "$$files" ] || \
		{ echo "Not formatted, run gofmt -w on them:" $$files >&2; exit 1; }

# Generates in a copy, so that the work tree stays as it is.
.PHONY: verify-generated
verify-generated: $(TOOLS)/controller-gen $(TOOLS)/crd-ref-docs
	@echo 'generated files'
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && trap 'exit 130' INT TERM && \
	cp -Rp Makefile go.mod go.sum api charts config docs hack internal "$$copy" && \
	$(MAKE) --no-print-directory -C "$$copy" generate TOOLS='$(TOOLS)' && stale= && \
	for path in $(GENERATED); do diff -ruN "$$path" "$$copy/$$path" || stale=1; done && \
	if [ -n "$$stale" ]; then echo 'Generated files are out of date: run make generate and commit the result.' >&2; exit 1; fi

.PHONY: verify-manifests
verify-manifests: $(TOOLS)/kustomize
	@echo 'manifests'
	@for dir in argo-cd bridge bridge-routed crd default disruption-budget kube-state-metrics monitoring monitoring-plain namespaced network-policy samples; do $(TOOLS)/kustomize build config/$$dir >/dev/null || exit 1; done

.PHONY: verify-modules
verify-modules:
	@stale=; for dir in $(MODULES); do echo "go mod tidy: $$dir" && (cd $$dir && go mod tidy -diff) || stale=1; done; \
	if [ -n "$$stale" ]; then echo 'Run go mod tidy in these modules and commit the result.' >&2; exit 1; fi

##@ Install on the cluster of the current kubeconfig

.PHONY: install
install: $(TOOLS)/kustomize $(BUNDLED_KUBECTL) ## Install the CRDs
	$(TOOLS)/kustomize build config/crd | $(KUBECTL) apply --server-side -f -

.PHONY: uninstall
uninstall: $(TOOLS)/kustomize $(BUNDLED_KUBECTL) ## Remove the CRDs, and with them all webhooks, events and deliveries
	$(TOOLS)/kustomize build config/crd | $(KUBECTL) delete --ignore-not-found -f -

.PHONY: deploy
deploy: dist/install.yaml $(BUNDLED_KUBECTL) ## Install the operator with the image IMG, CRDs included
	$(KUBECTL) apply --server-side -f dist/install.yaml

.PHONY: undeploy
undeploy: dist/install.yaml $(BUNDLED_KUBECTL) ## Remove the operator and the CRDs
	$(KUBECTL) delete --ignore-not-found -f dist/install.yaml

##@ Release

.PHONY: build-installer
build-installer: dist/install.yaml ## Write dist/install.yaml: everything that an installation with the image IMG needs

# Always written anew: it depends on IMG. The overlay leaves config/ as it is.
.PHONY: dist/install.yaml
dist/install.yaml: $(TOOLS)/kustomize
	@mkdir -p dist $(BIN)/install
	@cd $(BIN)/install && rm -f kustomization.yaml && $(TOOLS)/kustomize create --resources ../../config/default && \
		$(TOOLS)/kustomize edit set image $(MANIFEST_IMAGE)=$(IMG)
	@$(TOOLS)/kustomize build $(BIN)/install >$@
	@grep -qF 'image: $(IMG)' $@ || { echo 'config/default does not name the image $(MANIFEST_IMAGE)' >&2; rm $@; exit 1; }
	@echo 'wrote $@'

# The version of a release: VERSION where that is given, else the newest one of the changelog.
RELEASE = $(if $(filter command environment,$(origin VERSION)),$(VERSION),v$(shell sed -n 's/^## \[\([0-9.]*\)\].*/\1/p' CHANGELOG.md | head -n 1))
# What the images and the archives of operator and bridge are for, and the plugin beside these. Fewer are quicker.
PLATFORMS ?= linux/amd64 linux/arm64
PLUGIN_PLATFORMS ?= darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
ALL_PLATFORMS = $(PLATFORMS) $(PLUGIN_PLATFORMS)

release = $(BIN)/build/release -version '$(RELEASE)' -platforms '$(PLATFORMS)' -plugin-platforms '$(ALL_PLATFORMS)' $(if $(STRICT),-strict)

# Built when first used, as all tools are, and by make tools.
RELEASE_TOOLS := $(addprefix $(TOOLS)/,crane cyclonedx-gomod validate-krew-manifest)
tools: $(RELEASE_TOOLS)

$(TOOLS)/crane: hack/release/go.mod hack/release/go.sum
	$(call build-tool,hack/release,github.com/google/go-containerregistry/cmd/crane)

$(TOOLS)/cyclonedx-gomod: hack/release/go.mod hack/release/go.sum
	$(call build-tool,hack/release,github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod)

$(TOOLS)/validate-krew-manifest: hack/release/go.mod hack/release/go.sum
	$(call build-tool,hack/release,sigs.k8s.io/krew/cmd/validate-krew-manifest)

# What is made here is what the release workflow publishes. SBOMs ask no proxy: all modules but this one are there since
# they were built, and whether a proxy knows this one must not matter.
.PHONY: release-dry-run
release-dry-run: release-preflight $(RELEASE_TOOLS) $(TOOLS)/kustomize ## Make and check all of a release that needs no registry, into dist/ (VERSION=v0.1.0)
	@rm -rf dist && mkdir dist
	@for platform in $(PLATFORMS); do $(call build-for,webhook-operator horizon-bridge kubectl-horizon) || exit 1; done
	@for platform in $(PLUGIN_PLATFORMS); do $(call build-for,kubectl-horizon) || exit 1; done
	@echo 'packing images and archives' && $(release) images archives
	@$(TOOLS)/validate-krew-manifest -manifest dist/horizon.yaml -skip-install
	@echo 'writing SBOMs' && for binary in dist/bin/*/*; do \
		platform=$$(basename $$(dirname $$binary)) && program=$$(basename $$binary .exe) && \
		GOPROXY=off $(TOOLS)/cyclonedx-gomod bin -json -std -licenses -noserial -notimestamp -version '$(RELEASE)' \
			-output "dist/$${program}_$(RELEASE)_$$platform.cdx.json" $$binary 2>dist/sbom.log || { cat dist/sbom.log >&2; exit 1; }; \
	done && rm dist/sbom.log
	@$(MAKE) --no-print-directory dist/install.yaml IMG="$$(grep '^$(MANIFEST_IMAGE):' dist/images.txt)"
	@$(MAKE) --no-print-directory release-chart
	@$(release) notes checksums check

# STRICT=1 is for a version that is published now.
.PHONY: release-preflight
release-preflight: $(BIN)/build/release ## Check that a version may be released (VERSION=v0.1.0)
	@$(release) preflight

# The archive has the times of the files, which git archive sets to that of the commit.
.PHONY: release-chart
release-chart: $(TOOLS)/helm
	@rm -rf $(BIN)/build/chart && mkdir -p $(BIN)/build/chart && git archive HEAD $(CHART) | tar -xf - -C $(BIN)/build/chart
	@$(TOOLS)/helm package $(BIN)/build/chart/$(CHART) --destination dist

.PHONY: release-push
release-push: $(TOOLS)/crane ## Push the images in dist/ to REGISTRY, or where their names say
	@while IFS=@ read -r image digest; do \
		pushed=$$($(TOOLS)/crane push dist/images/$$(basename "$${image%:*}") '$(if $(REGISTRY),$(REGISTRY)/)'"$$image") && \
		[ "$${pushed#*@}" = "$$digest" ] && echo "pushed $$pushed" || exit 1; \
	done <dist/images.txt

.PHONY: plugin-archives
plugin-archives: $(BIN)/build/release ## Build kubectl-horizon for all platforms, with the manifest for krew, into dist/
	@rm -rf dist && mkdir dist
	@for platform in $(ALL_PLATFORMS); do $(call build-for,kubectl-horizon) || exit 1; done
	@$(release) archives checksums

# Builds programs for $$platform, into dist/bin.
build-for = dir=dist/bin/$$(echo $$platform | tr / _) && echo "building $(1) for $$platform" && mkdir -p $$dir && \
	GOOS=$${platform%/*} GOARCH=$${platform\#*/} $(subst main.version=$(VERSION),main.version=$(RELEASE),$(GO_BUILD)) -o $$dir/ $(addprefix ./cmd/,$(1))

.PHONY: $(BIN)/build/release
$(BIN)/build/release:
	@cd hack/release && go build -trimpath -o $@ .

.PHONY: test-release
test-release: $(if $(SHORT),,$(RELEASE_TOOLS) $(TOOLS)/kustomize $(TOOLS)/helm) ## Test what makes releases: one of this commit among it, unless SHORT=1
	@cd hack/release && TOOLS='$(TOOLS)' go test $(if $(SHORT),-short) -timeout=$(TEST_TIMEOUT) ./...

.PHONY: docker-build
docker-build: ## Build the container image IMG
	$(DOCKER) build --build-arg VERSION=$(VERSION) --tag $(IMG) .

.PHONY: docker-push
docker-push: ## Push the container image IMG
	$(DOCKER) push $(IMG)

.PHONY: docker-build-bridge
docker-build-bridge: ## Build the container image BRIDGE_IMG
	$(DOCKER) build --build-arg VERSION=$(VERSION) --target bridge --tag $(BRIDGE_IMG) .

.PHONY: docker-push-bridge
docker-push-bridge: ## Push the container image BRIDGE_IMG
	$(DOCKER) push $(BRIDGE_IMG)

##@ Tools

TOOL_NAMES := actionlint controller-gen crd-ref-docs golangci-lint gotestsum govulncheck helm kube-state-metrics kustomize luahealth promcheck promtool shfmt

.PHONY: tools
tools: $(addprefix $(TOOLS)/,$(TOOL_NAMES)) ## Build all tools into bin/tools; each is also built when first used

# Builds one tool at the version that a go.mod pins, and again only when that go.mod changes.
# $(1) is the module's directory, $(2) the package.
define build-tool
	@echo "building $(notdir $@)"
	@mkdir -p $(TOOLS)
	@cd $(1) && go build -trimpath -ldflags='-s -w' -o $@ $(2)
	@touch $@
endef

$(TOOLS)/controller-gen: hack/tools/go.mod hack/tools/go.sum
	$(call build-tool,hack/tools,sigs.k8s.io/controller-tools/cmd/controller-gen)

$(TOOLS)/crd-ref-docs: hack/tools/go.mod hack/tools/go.sum
	$(call build-tool,hack/tools,github.com/elastic/crd-ref-docs)

# golangci-lint with kube-api-linter built in. Without .golangci-api.yml it is the same as a stock one.
$(TOOLS)/golangci-lint: hack/tools/go.mod hack/tools/go.sum
	$(call build-tool,hack/tools,sigs.k8s.io/kube-api-linter/cmd/golangci-lint-kube-api-linter)

$(TOOLS)/gotestsum: hack/tools/go.mod hack/tools/go.sum
	$(call build-tool,hack/tools,gotest.tools/gotestsum)

$(TOOLS)/govulncheck: hack/tools/go.mod hack/tools/go.sum
	$(call build-tool,hack/tools,golang.org/x/vuln/cmd/govulncheck)

$(TOOLS)/helm: hack/helm/go.mod hack/helm/go.sum
	$(call build-tool,hack/helm,helm.sh/helm/v4/cmd/helm)

$(TOOLS)/kustomize: hack/tools/go.mod hack/tools/go.sum
	$(call build-tool,hack/tools,sigs.k8s.io/kustomize/kustomize/v5)

$(TOOLS)/shfmt: hack/tools/go.mod hack/tools/go.sum
	$(call build-tool,hack/tools,mvdan.cc/sh/v3/cmd/shfmt)

# Without Prometheus' service discovery, whose clients of clouds are most of what it would compile.
$(TOOLS)/promtool: hack/prometheus/go.mod hack/prometheus/go.sum
	$(call build-tool,hack/prometheus,-tags=remove_all_sd github.com/prometheus/prometheus/cmd/promtool)

$(TOOLS)/kube-state-metrics: hack/kube-state-metrics/go.mod hack/kube-state-metrics/go.sum
	$(call build-tool,hack/kube-state-metrics,k8s.io/kube-state-metrics/v2)

$(TOOLS)/luahealth: hack/argo-cd/go.mod hack/argo-cd/go.sum hack/argo-cd/main.go
	$(call build-tool,hack/argo-cd,.)

$(TOOLS)/promcheck: hack/prometheus/go.mod hack/prometheus/go.sum hack/prometheus/promcheck/main.go
	$(call build-tool,hack/prometheus,./promcheck)

$(TOOLS)/actionlint: hack/tools/actionlint/go.mod hack/tools/actionlint/go.sum
	$(call build-tool,hack/tools/actionlint,github.com/rhysd/actionlint/cmd/actionlint)

$(CONTROL_PLANE)/kubectl: control-plane
