# The targets that people type; `make help` lists them. Everything lives in .venv and is pinned
# by constraints.txt, for the build environment too.

BIN := .venv/bin
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
UNIT := -m "not interop and not system"

.DEFAULT_GOAL := help
.PHONY: help run test check fmt lint format types imports clauses unit interop lives bench profile fuzz slow chaos soak cov docs build clean

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

run: .venv/.server ## Start service and broker with a demo, and print what to paste next.
	@exec $(BIN)/tokenmq serve --demo

test: lint format types imports clauses ## Everything; as root it first installs what the interop tests drive.
	@scripts/install-interop.sh || echo "Going on without what could not be installed." >&2
	$(BIN)/python scripts/run_tests.py --durations=10 --durations-min=1

check: lint format types imports clauses unit ## The fast one: all but what needs other programs.

fmt: .venv/.dev ## Format the code.
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

lint: .venv/.dev ## Lint.
	$(BIN)/ruff check

format: .venv/.dev ## Look whether the code is formatted.
	$(BIN)/ruff format --check

types: .venv/.dev ## Check types.
	$(BIN)/mypy

imports: .venv/.dev ## Check that imports go down only.
	$(BIN)/lint-imports

clauses: .venv/.dev ## Hold the clause tags against the statements of both standards.
	$(BIN)/python scripts/clauses.py

unit: .venv/.dev ## Tests that need nothing but Python.
	$(BIN)/pytest $(UNIT)

interop: .venv/.dev ## Tests against clients that others wrote.
	@scripts/install-interop.sh || echo "Going on without what could not be installed." >&2
	$(BIN)/pytest -m interop

lives: .venv/.dev ## Five token lives under the client while 20,000 messages flow; five minutes.
	LIVES=5 $(BIN)/pytest tests/system/client/test_life.py

bench: .venv/.dev ## Measure; docs/performance.md has what is to be held.
	$(BIN)/python -m bench

profile: .venv/.dev ## Show where the broker's time goes during a row of the bench (ROW=qos1).
	$(BIN)/python -m bench --profile $(or $(ROW),qos1)

fuzz: .venv/.dev ## A million hostile packets on live sockets; fuzz/README.md has what is judged.
	$(BIN)/python -m fuzz

slow: .venv/.dev ## 5,000 sockets that send next to nothing, and one good client.
	$(BIN)/python -m fuzz.slow

chaos: .venv/.dev ## Kill the server 200 times under load; chaos/README.md has what is judged.
	$(BIN)/python -m chaos

soak: .venv/.dev ## An hour of 1,000 clients that come and go: memory must not grow.
	$(BIN)/python -m chaos.soak

cov: .venv/.dev ## Coverage of the tests that need nothing but Python.
	$(BIN)/pytest $(UNIT) --cov --cov-report=term-missing

docs: .venv/.dev ## Write the pages that are made from the code.
	$(BIN)/python scripts/write_docs.py

build: .venv/.dev ## Build the wheel into dist.
	$(PIP) wheel --no-deps --wheel-dir dist .

clean: ## Remove what can be made again; data and .venv stay.
	rm -rf build dist .interop .bench .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench fuzz chaos -name __pycache__ -prune -exec rm -rf {} +

.venv/.server: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing tokenmq and what it needs into .venv" >&2
	@$(PIP) install -c constraints.txt -e ".[server]"
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing tokenmq and the tools of its development into .venv" >&2
	@$(PIP) install -c constraints.txt -e ".[server,dev]"
	@touch $@

.venv/bin/python:
	@scripts/make-venv.sh
