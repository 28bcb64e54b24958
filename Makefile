# Every target sets up the environment first, and rebuilds what changed: see tools/env --help.
# PYTHON=python3.12 make test picks another interpreter.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo report envelope test build edge images arm64 faults two-hosts soak bench bench-train audit docs lint format lock clean

ENV := tools/env

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## both configurations on the same seeds: one table of what compression cost and saved
	@$(ENV) python -m rl_edge_bringup demo

report: ## the study's experiment, from bags: results/report/index.html and summary.json
	@$(ENV) python -m rl_edge_bringup report $(ARGS)

envelope: ## the policy held to shares of a core, the smallest that walks: results/envelope.json
	@$(ENV) python -m rl_edge_bringup envelope $(ARGS)

test: ## all tests; ARGS='-k name' passes arguments to pytest, ARGS=-n0 runs one after the other
	@$(ENV) python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadgroup --no-loadscope-reorder $(ARGS)

build: ## set up the environment and build the packages, nothing else
	@$(ENV) --build

edge: ## the installation for the edge device, in .edge or INTO=folder (docs/deployment.md)
	@$(ENV) tools/edge --into $(or $(INTO),.edge) $(addprefix --with=,$(WITH))

images: ## the images of docker/ and an episode across two containers (root): results/images.json
	@$(ENV) tools/images

arm64: ## shipped policies on an emulated arm64 machine (qemu, root): results/arm64/arm64.json
	@$(ENV) python -m rl_edge_compress arm64 $(or $(MODELS),$(wildcard models/*/*/))

faults: ## inject every fault of tests/faults into a running loop: results/faults.json
	@$(ENV) python -m rl_edge_bringup faults

two-hosts: ## sim and policy on two hosts (network namespaces, root): results/two_hosts.json
	@$(ENV) python -m rl_edge_bringup two_hosts

soak: ## the compressed loop with recording for MINUTES=30: results/soak.json
	@$(ENV) python -m rl_edge_bringup soak minutes:=$(or $(MINUTES),30)

bench: ## measure inference, the loop over ROS 2, memory and start-up: results/bench.json
	@$(ENV) --with onnx python -m rl_edge_bringup bench

bench-train: ## measure the trainer and Stable-Baselines3 on the same work (installs PyTorch)
	@$(ENV) --with bench-train python -m rl_edge_train bench

bench-cluster: ## measure what training on a Ray cluster costs and gives: results/bench_cluster.json
	@$(ENV) --with ray python -m rl_edge_train bench-cluster

audit: edge ## known vulnerabilities, licences, and what the edge consists of: results/sbom.json
	@$(ENV) --with audit tools/audit $(or $(INTO),.edge)

docs: ## the documentation as a site, links checked: results/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(ENV) --with docs mkdocs build --quiet

lint: ## ruff and mypy over the whole workspace
	@$(ENV) ruff check .
	@$(ENV) ruff format --check .
	@$(ENV) tools/typecheck

format: ## rewrite the sources in the house style
	@$(ENV) ruff check --fix .
	@$(ENV) ruff format .

lock: ## resolve tools/requirements/*.in again, keeping the versions that still fit
	@$(ENV) tools/lock

clean: ## remove the environments and the builds; results/ stays
	rm -rf .venv .venv-* .set_up.lock build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
