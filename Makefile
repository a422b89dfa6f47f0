# Everything a developer or CI does, by name. All targets share one target folder, so that nothing
# is compiled twice; the linker is the toolchain's own, so there are no flags to agree on.

CARGO ?= cargo
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Beside others: --locked in CI, --offline without a network.
CARGO_FLAGS ?=
SCRIPTS := crates/testkit/scripts

# How hard the kill test is; a failure prints the SEED with which it can be had again.
N ?= 200
SEED ?=
# Handed to the benchmark, for instance BENCH="--quick".
BENCH ?=
# What `make cluster` runs: quick is what `make demo` builds; release is for measuring.
CLUSTER_PROFILE ?= quick

export POSTRIDER_TEST_CLIENTS := $(TARGET)/clients
export POSTRIDER_TEST_PROMETHEUS := $(TARGET)/prometheus

# What the tests of the chart take: helm and its like, and the command that the chart starts.
export POSTRIDER_TEST_HELM := $(TARGET)/helm
export POSTRIDER_TEST_BINARY = $(TARGET)/debug/postrider

.DEFAULT_GOAL := help
.PHONY: image-lint help build demo cluster test test-log-long kill-test parked-test bench lint fmt fmt-check doc layers deny clients kafka prometheus helm-tools helm-generate helm-test k8s-test tools clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: tools ## compile the postrider command for development (target/debug/postrider)
	$(CARGO) build $(CARGO_FLAGS) -p postrider

demo: tools ## see it work: server, receiver and a few thousand events, in a temporary directory
	@[ -x $(TARGET)/quick/postrider ] || { \
		echo "The first build compiles every dependency: several minutes on two cores. Then the demonstration starts by itself."; }
	@$(CARGO) run $(CARGO_FLAGS) --profile quick -p postrider -- demo

cluster: tools kafka ## run every role as a process, on a Kafka broker and PostgreSQL, without Docker, until Ctrl-C
	$(CARGO) build $(CARGO_FLAGS) --profile $(CLUSTER_PROFILE) -p postrider
	@CARGO_TARGET_DIR=$(TARGET) $(SCRIPTS)/with-services.sh $(SCRIPTS)/cluster.sh \
		$(TARGET)/$(if $(filter dev,$(CLUSTER_PROFILE)),debug,$(CLUSTER_PROFILE))/postrider

# POSTRIDER_TEST_ROWS=100000 judges PostgreSQL's plans by fewer rows than a million, which take half a minute to load.
test: tools clients kafka prometheus helm-tools ## run every test, also those against client libraries, Kafka, PostgreSQL, Prometheus and Helm
	@CARGO_TARGET_DIR=$(TARGET) $(SCRIPTS)/with-services.sh $(CARGO) test $(CARGO_FLAGS) --workspace
	@helm/tests/run.sh

test-log-long: tools ## write steadily into the embedded log for ten minutes and watch its bounds
	POSTRIDER_TEST_STEADY_SECONDS=600 $(CARGO) test $(CARGO_FLAGS) -p postrider-log-embedded -- --nocapture steady

kill-test: tools ## kill -9 a server under load N times (N=200 SEED=…): nothing lost, few repeated
	POSTRIDER_TEST_KILLS=$(N) $(if $(SEED),POSTRIDER_TEST_SEED=$(SEED)) $(CARGO) test $(CARGO_FLAGS) -p postrider -- --nocapture --skip cluster:: kill

# Is this file free of the places at which tests stop a process? What is built to be used is asked, too, wherever it is built.
define without-fail-points
@! grep -q POSTRIDER_TEST_FAIL_POINT $(1) || { \
	echo "$(1) has fail points: only [dev-dependencies] may ask for the feature \`armed\`" >&2; exit 1; }
endef

# Of the debug build in CI, where no other is made (a release build takes ten minutes more): the places hang on a feature
# alone, never on a profile, so a build that is asked for in the same way has them in each profile or in none.
.PHONY: no-fail-points
no-fail-points: tools ## is a build that is not for tests free of the places at which tests stop a process?
	$(CARGO) build $(CARGO_FLAGS) -p postrider
	$(call without-fail-points,$(TARGET)/debug/postrider)

.PHONY: cluster-faults
cluster-faults: N = 20
cluster-faults: tools kafka ## every fault of a cluster, long: N rounds of kill -9, a minute without the store (N=20 SEED=…)
	POSTRIDER_TEST_CLUSTER_ROUNDS=$(N) POSTRIDER_TEST_OUTAGE_SECONDS=60 $(if $(SEED),POSTRIDER_TEST_SEED=$(SEED)) \
		CARGO_TARGET_DIR=$(TARGET) $(SCRIPTS)/with-services.sh $(CARGO) test $(CARGO_FLAGS) -p postrider --test it -- --nocapture cluster::

.PHONY: release-test
release-test: tools kafka ## put this build in the place of an older one, and back, under load (FROM=COMMIT; builds that: ten minutes)
	@[ -n "$(FROM)" ] || { echo "say which commit the older build is of: make release-test FROM=COMMIT" >&2; exit 2; }
	@$(SCRIPTS)/older.sh $(FROM) $(TARGET)/older
	POSTRIDER_TEST_OLDER=$(TARGET)/older/postrider CARGO_TARGET_DIR=$(TARGET) $(SCRIPTS)/with-services.sh \
		$(CARGO) test $(CARGO_FLAGS) -p postrider --test it -- --ignored --nocapture --test-threads=1 releases::

parked-test: tools ## park 300,000 deliveries for one endpoint beside a neighbour's retry
	POSTRIDER_TEST_PARKED=300000 $(CARGO) test $(CARGO_FLAGS) -p postrider -- --nocapture parked

bench: tools ## measure a release build; prints a table and writes JSON to target/bench/
	@echo "A release build takes about 10 minutes on two cores the first time."
	$(CARGO) build $(CARGO_FLAGS) --release -p postrider -p postrider-testkit --bin postrider --bin postrider-bench
	$(call without-fail-points,$(TARGET)/release/postrider)
	@mkdir -p $(TARGET)/bench
	$(TARGET)/release/postrider-bench --server $(TARGET)/release/postrider --out $(TARGET)/bench $(BENCH)

.PHONY: bench-kafka
bench-kafka: tools kafka ## the same on Kafka and PostgreSQL, with the platform's roles as processes
	$(CARGO) build $(CARGO_FLAGS) --release -p postrider -p postrider-testkit --bin postrider --bin postrider-bench
	$(call without-fail-points,$(TARGET)/release/postrider)
	@mkdir -p $(TARGET)/bench
	POSTRIDER_TEST_KAFKA_JARS=$(abspath $(TARGET))/kafka/libs $(TARGET)/release/postrider-bench --engine kafka \
		--server $(TARGET)/release/postrider --out $(TARGET)/bench $(BENCH)

lint: tools ## clippy on everything, warnings denied
	$(CARGO) clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

fmt: ## format the code
	$(CARGO) fmt --all

fmt-check: ## is the code formatted?
	$(CARGO) fmt --all --check

doc: tools ## build the API documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(CARGO_FLAGS) --workspace --no-deps

layers: tools ## does every crate depend only on the layers below it?
	$(CARGO) run $(CARGO_FLAGS) --quiet -p postrider-testkit --bin check-layers

deny: tools ## licences, banned crates and sources of all dependencies
	@command -v cargo-deny >/dev/null || { \
		echo "Installing cargo-deny: about 3 minutes."; $(CARGO) install --quiet --locked cargo-deny@0.20.2; }
	$(CARGO) deny check bans licenses sources

clients: ## install the official client libraries that the tests use (target/clients)
	@$(SCRIPTS)/clients.sh $(POSTRIDER_TEST_CLIENTS)

kafka: ## fetch the Kafka broker that the tests start (target/kafka)
	@$(SCRIPTS)/kafka.sh $(TARGET)/kafka

prometheus: ## fetch Prometheus and promtool, for the tests of dashboards and alerts (target/prometheus)
	@$(SCRIPTS)/prometheus.sh $(TARGET)/prometheus

helm-tools: ## install helm, kubectl and Kubernetes' schemas, for the tests of the chart (target/helm)
	@$(SCRIPTS)/helm.sh $(POSTRIDER_TEST_HELM)

helm-generate: ## bring what the chart has from elsewhere up to date: the schema of `config`, the table of values
	@helm/generate.py

helm-test: tools helm-tools ## hold the chart against schemas, golden files (UPDATE=1 writes them) and the command
	$(CARGO) build $(CARGO_FLAGS) -p postrider
	@helm/tests/run.sh

k8s-test: tools kafka helm-tools ## install the chart on a real control plane (first: ten minutes to build it), run its pods' commands
	@helm/tests/k8s/build.sh $(TARGET)/k8s
	$(CARGO) build $(CARGO_FLAGS) -p postrider
	@CARGO_TARGET_DIR=$(TARGET) $(SCRIPTS)/with-services.sh helm/tests/k8s/run.sh $(TARGET)/k8s

image-lint: ## hold deploy/Dockerfile against a linter, deploy/compose.yaml against its schema
	@$(SCRIPTS)/images.sh $(TARGET)/images
	@$(TARGET)/images/python/bin/python deploy/lint.py $(TARGET)/images

tools:
	@$(SCRIPTS)/tools.sh

clean: ## remove everything that was built
	$(CARGO) clean
