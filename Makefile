# Everything a developer or an operator of one machine does. `make` alone prints what there is.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
UPGRADE ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet --quiet
RUNTIME := $(VENV)/.installed-runtime
DEVELOPMENT := $(VENV)/.installed-development
# No index URLs and no host names: a lock has to work behind any mirror.
LOCK := $(BIN)/python -m uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --universal --python-version 3.11 $(UPGRADE)

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  PYTHON=python3.12 chooses the interpreter (3.11 or newer); ARGS="-k focus" is passed to pytest.'
	@echo '  SIXTEEN_PORT, SIXTEEN_DATA_DIR, SIXTEEN_DEMO=0, SIXTEEN_DATABASE_URL, SIXTEEN_REDIS_URL change what run does.'

.PHONY: venv
venv: $(RUNTIME) ## Create .venv with what running needs

.PHONY: run
run: $(RUNTIME) ## Start everything on this machine, until Ctrl-C
	@exec $(BIN)/python -m deploy.embedded.run

.PHONY: test
test: $(DEVELOPMENT) ## Run the tests against embedded PostgreSQL and Redis
	@exec $(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: $(DEVELOPMENT) ## Lint, check the format, the types and the import rules
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(DEVELOPMENT) ## Format the code and apply the safe fixes
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

.PHONY: bench
bench: $(DEVELOPMENT) ## Measure against references in the same run (at most 10 minutes)
	@exec $(BIN)/python -m tests.bench $(ARGS)

.PHONY: clients
clients: $(DEVELOPMENT) ## Generate clients in eleven ways; compile and use five of them (Node.js and Java are needed)
	@exec $(BIN)/python -m tests.clients

.PHONY: fuzz
fuzz: $(DEVELOPMENT) ## Try the whole document for 15 minutes (ARGS="--seconds 3600 --seed 7")
	@exec $(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: farm
farm: $(DEVELOPMENT) ## Deliver 20,000 webhooks to 200 receivers, 60 of them bad (some minutes)
	@SIXTEEN_FARM=full exec $(BIN)/python -m pytest tests/delivery/test_farm.py -s $(ARGS)

.PHONY: webhooks-js
webhooks-js: $(DEVELOPMENT) ## Verify webhooks with the official JavaScript library and WebCrypto (Node.js is needed)
	@cd tests/clients_js && npm ci --no-audit --no-fund --silent
	@exec $(BIN)/python -m pytest tests/delivery/test_javascript.py $(ARGS)

.PHONY: openapi
openapi: $(DEVELOPMENT) ## Publish the OpenAPI documents in docs/openapi, unless that would break clients
	@exec $(BIN)/python -m tests.contract.published

.PHONY: lock
lock: $(DEVELOPMENT) ## Write the lock files anew (UPGRADE=--upgrade takes the newest versions)
	$(LOCK) --extra api --extra scoring --extra embedded pyproject.toml -o requirements.lock
	$(LOCK) --extra api --extra scoring pyproject.toml -c requirements.lock -o requirements-services.lock
	$(LOCK) --all-extras pyproject.toml -c requirements.lock -o requirements-dev.lock
	printf 'hatchling\neditables\n' | $(LOCK) - -c requirements-dev.lock -o requirements-build.lock

.PHONY: clean
clean: ## Remove .venv and caches (the data in .data stays)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What belongs to somebody else is neither half changed nor removed.
define USABLE
	@for place in $(VENV) $(BIN); do \
		if test -e $$place && ! { test -r $$place && test -w $$place && test -x $$place; }; then \
			echo "$$place belongs to $$(stat -c %U $$place 2>/dev/null || echo 'another user'), and $$(id -un) cannot" \
				'change it: run make as its owner, or with an environment of your own (VENV=/path/to/one).' >&2; \
			exit 1; \
		fi; \
	done
endef

$(BIN)/python:
	$(USABLE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: make $(or $(MAKECMDGOALS),venv) PYTHON=/path/to/python3.11' >&2; exit 1; }
	@made=$$(test -e $(VENV) || echo yes); $(PYTHON) -m venv $(VENV) || \
		{ test -z "$$made" || rm -rf $(VENV); echo 'No virtual environment could be made: install the venv module (python3-venv).' >&2; exit 1; }

$(RUNTIME): requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	$(USABLE)
	@echo 'Installing what running needs …'
	@$(PIP) install --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The development lock holds all that the runtime locks hold, so it counts as both.
$(DEVELOPMENT): requirements-dev.lock pyproject.toml | $(BIN)/python
	$(USABLE)
	@echo 'Installing what development needs …'
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(RUNTIME) $@
