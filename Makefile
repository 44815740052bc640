# `make help` lists the targets and the text after `##`. Each target sets up what it needs.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
# Airflow's versions stand in the names of these files, and nowhere else in a tool: the newest one, and those that MWAA runs.
NEWEST := $(patsubst constraints/airflow-%.txt,%,$(wildcard constraints/airflow-*.txt))
ON_MWAA := $(sort $(patsubst constraints/mwaa-%.txt,%,$(wildcard constraints/mwaa-*.txt)))
AIRFLOW ?= $(NEWEST)
CONSTRAINTS ?= constraints/$(if $(filter $(NEWEST),$(AIRFLOW)),airflow,mwaa)-$(AIRFLOW).txt
UV = $(VENV)/bin/uv
PY = $(VENV)/bin/python
# The oldest release in scope has an environment of its own.
OLD := $(firstword $(ON_MWAA))

# Container images often set it. Without bytecode, each of the many processes of a test run compiles all of Airflow: 4 seconds
# instead of 1 for a start, and 2.5 times the CPU of the integration tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo ui sandbox test unit integration faults soak mutation known-bad bench system system-old test-ui browser \
	setup-old test-old test-celery celery mwaa mwaa-check mwaa-page matrix matrix-quick package sbom lint workflows pre-commit hooks format \
	docs docs-links clean
.DELETE_ON_ERROR:

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(UV):
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found. Try: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Creating $(VENV) with $(PYTHON) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv

# The linters run on the newest release only; MWAA's constraints hold old ones of them.
EXTRAS = $(if $(filter $(NEWEST),$(AIRFLOW)),test$(comma)lint,test)
comma := ,

# uv, since pip alone does not resolve Airflow in reasonable time.
$(VENV)/installed-$(AIRFLOW): $(UV) pyproject.toml $(CONSTRAINTS)
	@echo "Installing Airflow $(AIRFLOW) and the provider into $(VENV) ..."
	@$(UV) pip install -p $(PY) -c $(CONSTRAINTS) 'apache-airflow==$(AIRFLOW)' -e '.[$(EXTRAS)]'
	@touch $@

setup: $(VENV)/installed-$(AIRFLOW) ## Install Airflow and the provider into .venv

demo: setup ## Run the main DAG twice, on a real Airflow and simulated services
	@$(PY) -m sandbox.standalone.demo

ui: setup ## The same, left running on port 8080
	@$(PY) -m sandbox.standalone.demo --keep

sandbox: setup ## Start only the simulated Tenable and Security Hub
	@$(PY) -m sandbox

test: unit integration test-old system faults ## Unit, integration, system and fault tests, on Airflow 3.3 and 2.11

unit: setup ## Unit tests
	$(PY) -m pytest -n 2 tests/unit $(UNIT_SUBSET)

integration: setup ## Operators and the complete job, without a scheduler
	$(PY) -m pytest -n 2 tests/integration $(SUBSET)

# FAULTS=full for every combination and the large numbers.
# The system test waits most of its time, so it goes first.
faults: setup ## Crash and fault tests; FAULTS=full for all combinations
	$(PY) -m pytest -n 2 --maxschedchunk 4 tests/system/test_crashes.py tests/faults

soak: setup ## Many runs in a row, to find leaks
	$(PY) scripts/soak.py

# MUTATE="asff.finding asff.limits" for single modules. mutmut works on a copy, in mutants/.
mutation: ## Mutation tests: change the code and count what no test notices (slow)
	@$(MAKE) --no-print-directory VENV=.venv-mutation EXTRAS=test setup
	@.venv-mutation/bin/uv pip install --quiet -p .venv-mutation --group mutation
	.venv-mutation/bin/python scripts/mutation.py $(MUTATE)

known-bad: setup ## Make known mistakes one after the other; the test that each names must fail (slow)
	$(PY) -m pytest tests/known_bad

# In a real browser, in an environment of its own; `make AIRFLOW=2.11.2 test-ui` for the old UI. SCREENSHOTS=1 takes the pictures of docs/images/ anew.
test-ui: ## UI tests in a real browser; AIRFLOW=2.11.2 for the old UI
	@scripts/install_chromium.sh
	@$(MAKE) --no-print-directory VENV=.venv-ui-$(AIRFLOW) EXTRAS=test,ui browser

browser: setup
	$(PY) -m pytest -p no:anyio tests/ui

system: setup ## The complete DAG under a real scheduler and triggerer, and `make demo`
	$(PY) -m pytest tests/system/test_scheduler.py tests/system/test_demo.py

# Two targets at a time may need it, and only one may make it.
setup-old: ## Install Airflow 2.11 into .venv-2.11.2
	@$(MAKE) --no-print-directory VENV=.venv-$(OLD) AIRFLOW=$(OLD) setup

# Without the unit tests that neither Airflow nor its pins can change (scripts/matrix.py has the list), and without the
# integration tests that do the same with every Airflow.
test-old: setup-old ## Unit and integration tests on Airflow 2.11
	@$(MAKE) --no-print-directory VENV=.venv-$(OLD) AIRFLOW=$(OLD) unit integration \
		UNIT_SUBSET="$(shell $(PYTHON) scripts/matrix.py --without-airflow)" \
		SUBSET="$(addprefix --ignore=tests/integration/test_,asset_index.py object_store.py plugin_output.py unserved.py whole_job.py)"

# The whole DAG under Airflow 2.11's scheduler, which runs one task at a time on SQLite: without the four runs that `make matrix` adds.
system-old: setup-old ## The complete DAG under Airflow 2.11's scheduler
	.venv-$(OLD)/bin/python -m pytest tests/system/test_scheduler.py -k "not backfill and not without_findings"

# The set of docker-compose.yaml as processes, in an environment of its own: Celery's provider brings much that nothing else here needs.
test-celery: ## Celery tests: two workers, PostgreSQL, Redis, S3; one worker is killed
	@$(MAKE) --no-print-directory VENV=.venv-celery EXTRAS=test,test-celery celery

celery: setup
	@scripts/test_services.sh
	$(PY) -m pytest tests/celery

# Tenable's own tool, in an environment of its own; without the two bounds it no longer starts.
.venv-peer/installed: $(UV)
	@echo "Installing tenable_aws_sechub into .venv-peer ..."
	@$(UV) venv --quiet -p $(PY) .venv-peer
	@$(UV) pip install --quiet -p .venv-peer/bin/python tenable_aws_sechub 'restfly<2' 'pytenable<26'
	@touch $@

# All of it takes some 25 minutes on 2 quiet cores; `make bench BENCH="--quick transform import"` some minutes. `make bench BENCH=--render` fills the docs.
bench: setup .venv-peer/installed ## Compare with Tenable's own tool (25 minutes); BENCH="--quick transform" for less
	@$(PY) -m benchmarks $(BENCH)

# Amazon MWAA does not have the newest one yet: there the newest of its own is the default.
MWAA = $(if $(filter $(ON_MWAA),$(AIRFLOW)),$(AIRFLOW),$(lastword $(ON_MWAA)))

# `make mwaa INTO=folder` merges it into what an environment has; MERGE takes the further options of the command.
mwaa: $(UV) ## Build the bundle for Amazon MWAA: plugins.zip, requirements.txt, dags/
	@$(PY) scripts/mwaa_bundle.py $(if $(INTO),--into $(INTO) $(MERGE),--airflow $(MWAA))

mwaa-check: $(UV) ## Build the MWAA bundle and install it without an index
	@$(PY) scripts/mwaa_bundle.py --airflow $(MWAA) --check

# The commands of docs/mwaa.md against stand-ins. The AWS CLI and moto are in .venv-aws, since the CLI pins botocore.
mwaa-page: setup .venv-aws/installed ## Run the commands of docs/mwaa.md with the AWS CLI against stand-ins
	$(PY) -m pytest tests/system/test_mwaa_page.py

# The versions that `make test` leaves out. Everything on all of them:
# make matrix MATRIX="--sessions smoke unit integration system".
CELLS = $(filter-out $(OLD),$(ON_MWAA)) $(NEWEST)-py3.13
MATRIX ?= --cells $(CELLS) --jobs 2
matrix: $(UV) ## Smoke and unit tests on the remaining Airflow and Python versions
	@$(PY) scripts/matrix.py $(MATRIX)

# What CI has the time for.
matrix-quick: $(UV) ## Imports, provider discovery and DAG parsing on the remaining versions, as CI runs them
	@$(PY) scripts/matrix.py --cells $(CELLS) --sessions smoke

# What goes to a package index and to CloudFormation, by their own checkers; and the installation lines of the docs.
package: $(UV) ## Build and check the wheel, the sdist, the CloudFormation templates, the install lines
	@rm -rf dist/package
	@$(UV) build --quiet --out-dir dist/package .
	@$(UV) tool run --quiet twine check --strict dist/package/*.whl dist/package/*.tar.gz
	@$(UV) tool run --quiet cfn-lint deploy/cloudformation/*.yaml && echo "deploy/cloudformation: cfn-lint finds nothing"
	@$(PY) scripts/install_lines.py

# Tools for the repository itself: one environment per group of [dependency-groups] in pyproject.toml, without Airflow.
TOOL_GROUPS = aws docs tools sbom
$(TOOL_GROUPS:%=.venv-%/installed): .venv-%/installed: $(UV) pyproject.toml
	@echo "Installing the dependency group '$*' into .venv-$* ..."
	@$(UV) venv --quiet --clear -p $(PY) .venv-$*
	@$(UV) pip install --quiet -p .venv-$* --group $*
	@touch $@

# Describes an environment with nothing but the built wheel, installed with the constraints of the newest Airflow.
# cyclonedx-py does not resolve the dynamic version in pyproject.toml, and counts extras as required. It gets a copy with
# the wheel's version and without extras.
WHEEL_VERSION = $(word 2,$(subst -, ,$(notdir $(wildcard dist/package/*.whl))))
sbom: package .venv-sbom/installed ## Write a CycloneDX SBOM of the built wheel and its dependencies to dist/sbom
	@rm -rf dist/sbom build/sbom && mkdir -p dist/sbom build/sbom
	@sed -e 's/^dynamic = .*/version = "$(WHEEL_VERSION)"/' -e '/^\[project.optional-dependencies\]/,/^$$/d' \
		pyproject.toml > build/sbom/pyproject.toml
	@$(UV) venv --quiet --clear -p $(PY) .venv-wheel
	@$(UV) pip install --quiet -p .venv-wheel -c $(CONSTRAINTS) 'apache-airflow==$(AIRFLOW)' dist/package/*.whl
	@.venv-sbom/bin/cyclonedx-py environment --output-reproducible --mc-type library \
		--pyproject build/sbom/pyproject.toml --output-file dist/sbom/airflow-provider-tenable.cdx.json .venv-wheel

lint: setup workflows ## Ruff, strict mypy, import-linter, and `make workflows`
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

# Both work offline: check-jsonschema ships the schemas, and zizmor skips the audits that need GitHub.
CHECK_SCHEMA = .venv-tools/bin/check-jsonschema --builtin-schema
workflows: .venv-tools/installed ## Check .github against GitHub's schemas and, with zizmor, for security problems
	@$(CHECK_SCHEMA) vendor.github-workflows .github/workflows/*.yml
	@$(CHECK_SCHEMA) custom.github-workflows-require-timeout .github/workflows/*.yml
	@$(CHECK_SCHEMA) vendor.dependabot .github/dependabot.yml
	@$(CHECK_SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(CHECK_SCHEMA) vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	@.venv-tools/bin/zizmor --quiet --offline --strict-collection .

pre-commit: setup .venv-tools/installed ## Run all pre-commit hooks on all files
	@.venv-tools/bin/pre-commit run --all-files

hooks: setup .venv-tools/installed ## Install the pre-commit hooks into this clone
	@.venv-tools/bin/pre-commit install

# Always a full build: an incremental one does not repeat the warnings of unchanged pages.
SPHINX = .venv-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky --fresh-env \
	-d build/doctrees -c docs
docs: .venv-docs/installed ## Build the documentation site in build/docs and check its links
	@rm -rf build/docs
	@$(SPHINX) -b html . build/docs
	@$(PY) scripts/check_site.py build/docs

docs-links: .venv-docs/installed ## Check external links in the documentation (needs the Internet)
	@$(SPHINX) -b linkcheck . build/links

format: setup ## Format the code and apply ruff's fixes
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean: ## Remove environments and build output
	rm -rf .venv .venv-* .demo .airflow build dist mutants *.egg-info
