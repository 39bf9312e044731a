# Every command of the project has one name here. `make` alone lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := libs/contracts libs/svckit libs/bus libs/agentsdk libs/embedded libs/cli libs/testkit \
           services/reconciler services/provisionerd services/agentgw
STAMP := $(VENV)/.installed
AWS := $(VENV)/aws
export GRPC_ENABLE_FORK_SUPPORT := 0
# Without a PATH, make itself looks in fewer places than the shell does.
export PATH ?= /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-fast lint format typecheck arch gen gen-check buf deploy-check image-check sim skew bluegreen faults corpus bench lock clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Warmpool needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@

setup: $(STAMP) ## Create .venv with every dependency pinned by hash

demo: setup ## Show the main job on embedded Postgres and NATS, then clean up
	@$(BIN)/warmpool demo $(ARGS)

up: setup ## Run the whole system on this machine until Ctrl-C
	@$(BIN)/warmpool up $(ARGS)

test: setup ## Check style, types and architecture, then run the default test suite
	@$(MAKE) --no-print-directory lint typecheck arch gen-check buf
	@$(BIN)/python -m pytest -m "not bench and not image and not long and not corpus and not faults" -n 2 --dist loadfile $(ARGS)

test-fast: setup ## Unit and architecture tests only: no IO, seconds
	@$(BIN)/python -m pytest tests/unit tests/architecture $(ARGS)

lint: setup ## Ruff: format and lint
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

format: setup ## Let ruff rewrite the tree
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --fix --quiet .

typecheck: setup ## Pyright, strict
	@$(BIN)/pyright --warnings

arch: setup ## Import-linter: who may import whom
	@$(BIN)/lint-imports --no-cache

gen: setup ## Regenerate the protobuf and gRPC code
	@$(BIN)/python tools/gen.py

gen-check: setup ## Fail if the committed generated code is not current
	@$(BIN)/python tools/gen.py --check

buf: setup ## Buf: lint the wire, and refuse changes that break a deployed peer
	@$(BIN)/buf lint
	@$(BIN)/python tools/buf_breaking.py

sim: setup ## Thousands of seeds of the simulation (SEEDS=n; the default 2000 take about 7 minutes)
	@SEEDS=$${SEEDS:-2000} $(BIN)/python -m pytest tests/sim -m sim -n 2 -q --timeout 1800 $(ARGS)

deploy-check: setup ## Hold deploy/ to the schemas of its tools and to the services' code (make test does, too)
	@$(BIN)/python -m pytest tests/deploy tests/integration/deploy -m "not image" $(ARGS)

image-check: setup ## Run the Dockerfile's own pip commands and start what they install (minutes, network)
	@$(BIN)/python -m pytest tests/deploy -m image $(ARGS)

skew: setup ## The release before this one beside today's: every pairing of services and agents
	@$(BIN)/python -m pytest tests/skew -m skew -v $(ARGS)

bluegreen: setup ## Replace every service under load with 500 agents, and count who noticed
	@$(BIN)/python -m pytest tests/e2e/test_bluegreen.py -m long -s --timeout 900 $(ARGS)

faults: setup ## End every process by force at every step of Terraform builds, and count what was made (minutes)
	@$(BIN)/python -m pytest tests/faults -m faults -v $(ARGS)

bench: setup ## Benchmarks beside their floors: prints tables, writes bench-results/*.json
	@$(BIN)/python -m pytest tests/bench -m bench -s --timeout 900 $(ARGS)

$(AWS)/.installed: tests/corpus/aws-requirements.lock
	@echo "Setting up $(AWS) (once, about a minute) ..."
	@$(PYTHON) -m venv $(AWS)
	@$(AWS)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

corpus: setup $(AWS)/.installed ## Templates of others from import to delete, with stub providers (CORPUS=a checkout of a template registry)
	@CORPUS="$(CORPUS)" AWS_PYTHON="$(AWS)/bin/python" $(BIN)/python -m pytest tests/corpus -m corpus -s $(ARGS)

lock: ## Recompile requirements.lock from requirements.in
	@$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install --quiet uv
	@$(VENV)/lock/bin/uv pip compile --quiet --prerelease=if-necessary-or-explicit --universal \
	  --generate-hashes --python-version 3.11 --no-emit-index-url requirements.in -o requirements.lock
	@$(VENV)/lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	  --no-emit-index-url tests/corpus/aws-requirements.in -o tests/corpus/aws-requirements.lock

clean: ## Remove the virtual environment and every generated directory
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis bench-results .warmpool
	@find . -name __pycache__ -o -name '*.egg-info' | xargs rm -rf
