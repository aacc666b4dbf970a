# `make` alone lists the targets. Everything installs into .venv; nothing is written outside this folder but the
# data folder of the embedded servers (see README).
.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:

# PYTHON=/path/to/python3.11 names an interpreter; ARGS="..." is handed on to the command of run, bench and test.
export PYTHON
ARGS ?=
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --junitxml=build/tests.xml
TYPED := $(wildcard orchestrator consumers projections bench examples/clients/python)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## make .venv, or bring it up to date; quick when it is
	@tools/venv.sh

.PHONY: fetch
fetch: venv ## fetch what the embedded servers need (the broker's jars; a Java when none is found)
	@$(BIN)/orchestrator fetch

.PHONY: run
run: fetch ## start Kafka, PostgreSQL, a worker and shop traffic; end with a table (ARGS="--commands 1000")
	@$(BIN)/orchestrator demo $(ARGS)

.PHONY: lint
lint: venv ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports --no-logo

.PHONY: types
types: venv ## mypy --strict alone
	$(BIN)/mypy $(TYPED)

.PHONY: test
test: lint fetch ## lint, then every test but the long ones, on the real embedded servers
	$(PYTEST) -m "not long" $(ARGS)

.PHONY: test-long
test-long: lint fetch ## lint, then every test, the long chaos scenarios included
	$(PYTEST) $(ARGS)

.PHONY: bench
bench: fetch ## measure this engine beside a bare pipeline and a plain eventsourcing application
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-timers
bench-timers: fetch ## timers due at once while commands flow, and a million pending
	@$(BIN)/python -m bench.timers $(ARGS)

.PHONY: bench-entering
bench-entering: fetch ## customers entering one queue through Kafka
	@$(BIN)/python -m bench.entering $(ARGS)

.PHONY: bench-queue
bench-queue: venv ## a queue with a million waiting, without servers
	@$(BIN)/python -m bench.queue $(ARGS)

.PHONY: format
format: venv ## let ruff fix and format the code
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

.PHONY: lock
lock: venv ## resolve pyproject.toml's ranges into the locks (ARGS=--upgrade for the newest)
	@tools/lock.sh $(ARGS)

.PHONY: clean
clean: ## remove caches and build output (keeps .venv and the data of the embedded servers)
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## clean, and remove .venv too
	rm -rf .venv .venv.lock
