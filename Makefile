# Short names for the sessions of noxfile.py, which makes every environment with uv. `make help` lists them: the text
# after `##`. ARGS goes to pytest: make unit ARGS="tests/unit/asff -x".
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
# Versions of Airflow, which scripts/environments.py reads from the names of the files in constraints/. Each is asked for
# once, when a recipe needs it.
NEWEST = $(eval NEWEST := $$(shell $$(PYTHON) scripts/environments.py newest))$(NEWEST)
OLD = $(eval OLD := $$(shell $$(PYTHON) scripts/environments.py oldest))$(OLD)
AIRFLOW ?= $(NEWEST)
NOX = @.venv-nox/bin/nox --non-interactive --session
PY = .venv/bin/python
# make's own settings would reach the tests. Container images often set the other: without bytecode, each of the many
# processes of Airflow compiles all of it.
unexport MAKEFLAGS PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo ui sandbox test unit integration faults soak quarter mutation known-bad bench system system-old test-ui \
	setup-old test-old test-celery mwaa mwaa-check mwaa-page matrix matrix-quick package sbom lint workflows \
	pre-commit hooks format docs docs-links clean
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.venv-nox/bin/nox:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found. Try: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Creating .venv-nox with $(PYTHON) ..."
	@$(PYTHON) -m venv .venv-nox
	@.venv-nox/bin/python -m pip install --quiet --disable-pip-version-check uv nox

setup: .venv-nox/bin/nox ## Install Airflow and the provider into .venv
	$(NOX) setup

setup-old: .venv-nox/bin/nox ## Install the oldest supported Airflow into an environment of its own
	$(NOX) setup-old

demo: setup ## Run the main DAG on three days, on a real Airflow and simulated services
	@$(PY) -m sandbox.standalone.demo

ui: setup ## The same, left running on port 8080
	@$(PY) -m sandbox.standalone.demo --keep

sandbox: setup ## Start only the simulated Tenable and Security Hub
	@$(PY) -m sandbox

test: unit integration test-old system faults ## Unit, integration, system and fault tests, on Airflow 3.3 and 2.11

unit: setup ## Unit tests
	$(NOX) "unit($(AIRFLOW))" -- $(ARGS)

integration: setup ## Operators and the complete job, without a scheduler
	$(NOX) "integration($(AIRFLOW))" -- $(ARGS)

system: setup ## The complete DAG under a real scheduler and triggerer, and `make demo`
	$(NOX) "system($(AIRFLOW))" -- $(ARGS)

# FAULTS=full for every combination and the large numbers.
faults: setup ## Crash and fault tests; FAULTS=full for all combinations
	$(NOX) faults -- $(ARGS)

test-old: setup-old ## Unit and integration tests that depend on Airflow, on Airflow 2.11
	$(NOX) unit-old
	$(NOX) integration-old -- $(ARGS)

# Without the five runs that `make matrix` adds: on SQLite, Airflow 2.11's scheduler runs one task at a time.
system-old: setup-old ## The complete DAG under Airflow 2.11's scheduler
	$(NOX) "system($(OLD))" -- $(addprefix tests/system/test_,scan_and_import.py scheduler.py stopped_worker.py) \
		-k "not backfill and not without_findings and not failed_is_removed"

test-celery: .venv-nox/bin/nox ## Celery tests: two workers, PostgreSQL, Redis, S3; one worker is killed
	$(NOX) test-celery -- $(ARGS)

# SCREENSHOTS=1 retakes the pictures in docs/images/.
test-ui: .venv-nox/bin/nox ## UI tests in a real browser; AIRFLOW=2.11.2 for the old UI
	$(NOX) "test-ui($(AIRFLOW))" -- $(ARGS)

soak: setup ## Many runs in a row, to find leaks
	$(NOX) soak

# ARGS="--days 30 --estate tiny" for less.
quarter: setup ## Live through 90 days of a deployment, and compare hubs and Tenable after each
	@$(PY) scripts/quarter.py $(ARGS)

# MUTATE="asff.finding asff.limits" for single modules. mutmut works on a copy, in mutants/.
mutation: .venv-nox/bin/nox ## Mutation tests: change the code and count what no test notices (slow)
	$(NOX) mutation -- $(MUTATE)

known-bad: setup ## Make known mistakes one after the other; the test that each names must fail
	$(NOX) known-bad -- $(ARGS)

# BENCH=--render writes the figures into the docs. CONTRIBUTING.md says how long the slow targets take.
bench: setup ## Compare with Tenable's own tool (25 minutes); BENCH="--quick transform" for less
	$(NOX) bench -- $(BENCH)

# Everything on every version: make matrix MATRIX="--cells all --sessions smoke unit integration system".
MATRIX ?= --jobs 2
matrix: .venv-nox/bin/nox ## Smoke and unit tests on the remaining Airflow and Python versions
	@.venv-nox/bin/python scripts/matrix.py $(MATRIX)

# What CI has the time for.
matrix-quick: .venv-nox/bin/nox ## Imports, provider discovery and DAG parsing on the remaining versions, as CI runs them
	@.venv-nox/bin/python scripts/matrix.py --sessions smoke

# Without AIRFLOW=, the newest Airflow that Amazon MWAA runs, which may be older than the newest of all.
MWAA = $(if $(filter file,$(origin AIRFLOW)),,--airflow $(AIRFLOW))
# `make mwaa INTO=folder` merges it into what an environment has; MERGE takes the further options of the command.
mwaa: setup ## Build the bundle for Amazon MWAA: plugins.zip, requirements.txt, dags/
	$(NOX) mwaa -- $(if $(INTO),--into $(INTO) $(MERGE),$(MWAA))

mwaa-check: setup ## Build the MWAA bundle and install it without an index
	$(NOX) mwaa -- $(MWAA) --check

mwaa-page: setup ## Run the commands of docs/mwaa.md with the AWS CLI against stand-ins
	$(NOX) mwaa-page

package: setup ## Build and check the wheel, the sdist, the CloudFormation templates, the install lines
	$(NOX) package

sbom: package ## Write a CycloneDX SBOM of the built wheel and its dependencies to dist/sbom
	$(NOX) sbom

lint: setup workflows ## Ruff, strict mypy, import-linter, and `make workflows`
	$(NOX) lint

workflows: .venv-nox/bin/nox ## Check .github against GitHub's schemas and, with zizmor, for security problems
	$(NOX) workflows

pre-commit: setup ## Run all pre-commit hooks on all files
	$(NOX) pre-commit

hooks: setup ## Install the pre-commit hooks into this clone
	$(NOX) pre-commit -- install

docs: setup ## Build the documentation site in build/docs and check its links
	$(NOX) docs

docs-links: setup ## Check external links in the documentation (needs the Internet)
	$(NOX) docs -- linkcheck

format: setup ## Format the code and apply ruff's fixes
	$(NOX) format

clean: ## Remove environments and build output
	rm -rf .venv .venv-* .venv.lock .demo .airflow build dist mutants *.egg-info
