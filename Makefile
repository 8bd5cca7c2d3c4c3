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
CONTROL_PLANE := $(BIN)/controlplane

# The version that the binary reports.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The container image that docker-build, docker-push, deploy and build-installer are about.
IMG ?= horizoncd/webhook-operator:latest
# The name that config/manager gives the image, which deploy and build-installer replace by IMG.
MANIFEST_IMAGE := horizoncd/webhook-operator

KUBECTL ?= $(shell command -v kubectl 2>/dev/null || echo $(CONTROL_PLANE)/kubectl)
DOCKER ?= docker

# Where tests, demo and dev find etcd, kube-apiserver and kube-controller-manager. Who sets
# KUBEBUILDER_ASSETS brings their own.
ASSETS := $(if $(KUBEBUILDER_ASSETS),$(KUBEBUILDER_ASSETS),$(CONTROL_PLANE))

GO_BUILD := go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
MODULES := . hack/controlplane hack/tools hack/tools/actionlint
API := api/v1alpha1
API_REFERENCE := docs/api-reference.md

# The race detector needs a C compiler; without one, tests run without it rather than not at all.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
# Passed on to go test: make test TESTFLAGS='-run TestX -count=1' PACKAGES=./controllers/...
TESTFLAGS ?=
PACKAGES ?= ./...

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

.PHONY: demo
demo: build control-plane ## Show the whole story on a control plane of its own, then end
	@go build -o $(BIN)/demo/demo ./test/demo
	@exec env KUBEBUILDER_ASSETS='$(ASSETS)' $(BIN)/demo/demo $(ARGS)

.PHONY: dev
dev: build control-plane ## Leave control plane and operator running until Ctrl-C (bin/dev/kubeconfig)
	@go build -o $(BIN)/dev/dev ./test/dev
	@exec env KUBEBUILDER_ASSETS='$(ASSETS)' $(BIN)/dev/dev $(ARGS)

##@ Develop

.PHONY: build
build: ## Build the operator into bin/webhook-operator
	@CGO_ENABLED=0 $(GO_BUILD) -o $(BIN)/webhook-operator ./cmd

.PHONY: run
run: ## Run the operator from source against the current kubeconfig
	go run ./cmd $(ARGS)

.PHONY: control-plane
control-plane: ## Build etcd, kube-apiserver and kube-controller-manager, unless KUBEBUILDER_ASSETS is set
	@hack/controlplane/build.sh '$(CONTROL_PLANE)'

.PHONY: generate
generate: $(TOOLS)/controller-gen $(TOOLS)/crd-ref-docs ## Write deep copies, CRDs, apply configurations and docs/api-reference.md
	@$(TOOLS)/controller-gen object:headerFile=hack/boilerplate.go.txt paths=./$(API)
	@rm -f config/crd/bases/*.yaml
	@$(TOOLS)/controller-gen crd paths=./$(API) output:crd:artifacts:config=config/crd/bases
	@rm -rf $(API)/applyconfiguration
	@$(TOOLS)/controller-gen applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./$(API)
	@mkdir -p $(dir $(API_REFERENCE))
	@$(TOOLS)/crd-ref-docs --log-level=ERROR --config=hack/crd-ref-docs.yaml --source-path=$(API) \
		--renderer=markdown --output-path=$(API_REFERENCE)

##@ Tools

# tool builds one tool at the version that a go.mod pins, and again only when that go.mod changes.
# $(1) is the module's directory, $(2) the package. Deferred: $@ is the binary.
define tool
	@echo "building $(notdir $@)"
	@mkdir -p $(TOOLS)
	@cd $(1) && go build -trimpath -o $@ $(2)
	@touch $@
endef

.PHONY: tools
tools: $(TOOLS)/controller-gen $(TOOLS)/crd-ref-docs ## Build all tools into bin/tools (each is also built when first used)

$(TOOLS)/controller-gen: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,sigs.k8s.io/controller-tools/cmd/controller-gen)

$(TOOLS)/crd-ref-docs: hack/tools/go.mod hack/tools/go.sum
	$(call tool,hack/tools,github.com/elastic/crd-ref-docs)
