# make demo | make ui | make test | make lint; everything else they need they set up themselves.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
AIRFLOW ?= 3.3.2
CONSTRAINTS ?= constraints/$(if $(filter 3.3.2,$(AIRFLOW)),airflow,mwaa)-$(AIRFLOW).txt
UV = $(VENV)/bin/uv
PY = $(VENV)/bin/python
# The oldest release in scope has an environment of its own.
OLD = 2.11.2

.PHONY: setup demo ui sandbox test unit integration faults soak mutation bench system system-old test-ui browser setup-old test-old test-celery celery mwaa mwaa-check matrix package lint format clean
.DELETE_ON_ERROR:

$(UV):
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found. Try: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Creating $(VENV) with $(PYTHON) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv

# The linters run on the newest release only; MWAA's constraints hold old ones of them.
EXTRAS = $(if $(filter 3.3.2,$(AIRFLOW)),test$(comma)lint,test)
comma := ,

# uv, since pip alone does not resolve Airflow in reasonable time.
$(VENV)/installed-$(AIRFLOW): $(UV) pyproject.toml $(CONSTRAINTS)
	@echo "Installing Airflow $(AIRFLOW) and the provider into $(VENV) ..."
	@$(UV) pip install -p $(PY) -c $(CONSTRAINTS) 'apache-airflow==$(AIRFLOW)' -e '.[$(EXTRAS)]'
	@touch $@

setup: $(VENV)/installed-$(AIRFLOW)

demo: setup
	@$(PY) -m sandbox.standalone.demo

ui: setup
	@$(PY) -m sandbox.standalone.demo --keep

sandbox: setup
	@$(PY) -m sandbox

test: unit integration test-old system faults

unit: setup
	$(PY) -m pytest -n 2 tests/unit

integration: setup
	$(PY) -m pytest -n 2 tests/integration

# FAULTS=full for every combination and the large numbers.
# The system test waits most of its time, so it goes first.
faults: setup
	$(PY) -m pytest -n 2 --maxschedchunk 4 tests/system/test_crashes.py tests/faults

soak: setup
	$(PY) scripts/soak.py

mutation: setup
	$(PY) scripts/mutation.py

# In a real browser, in an environment of its own; `make AIRFLOW=2.11.2 test-ui` for the old UI. SCREENSHOTS=1 takes the pictures of docs/images/ anew.
test-ui:
	@scripts/install_chromium.sh
	@$(MAKE) --no-print-directory VENV=.venv-ui-$(AIRFLOW) EXTRAS=test,ui browser

browser: setup
	$(PY) -m pytest -p no:anyio tests/ui

system: setup
	$(PY) -m pytest tests/system/test_scheduler.py tests/system/test_demo.py

# Two targets at a time may need it, and only one may make it.
setup-old:
	@$(MAKE) --no-print-directory VENV=.venv-$(OLD) AIRFLOW=$(OLD) setup

test-old: setup-old
	@$(MAKE) --no-print-directory VENV=.venv-$(OLD) AIRFLOW=$(OLD) unit integration

# The whole DAG under Airflow 2.11's scheduler, which runs one task at a time on SQLite: without the four runs that `make matrix` adds.
system-old: setup-old
	.venv-$(OLD)/bin/python -m pytest tests/system/test_scheduler.py -k "not backfill and not without_findings"

# The set of docker-compose.yaml as processes, in an environment of its own: Celery's provider brings much that nothing else here needs.
test-celery:
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
bench: setup .venv-peer/installed
	@$(PY) -m benchmarks $(BENCH)

# Amazon MWAA has no 3.3.2 yet: its newest is the default there.
MWAA = $(if $(filter 3.3.2,$(AIRFLOW)),3.3.1,$(AIRFLOW))

mwaa: $(UV)
	@$(PY) scripts/mwaa_bundle.py --airflow $(MWAA)

mwaa-check: $(UV)
	@$(PY) scripts/mwaa_bundle.py --airflow $(MWAA) --check

# The versions that `make test` does not run whole; all of it: make matrix MATRIX="--sessions smoke unit integration system".
MATRIX ?= --cells 3.0.6 3.2.1 3.3.1 3.3.2-py3.13 --jobs 2
matrix: $(UV)
	@$(PY) scripts/matrix.py $(MATRIX)

# What goes to a package index, and what goes to CloudFormation, by the checkers of their own.
package: $(UV)
	@rm -rf dist/package
	@$(UV) build --quiet --out-dir dist/package .
	@$(UV) tool run --quiet twine check --strict dist/package/*.whl dist/package/*.tar.gz
	@$(UV) tool run --quiet cfn-lint deploy/cloudformation/*.yaml && echo "deploy/cloudformation: cfn-lint finds nothing"

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:
	rm -rf .venv .venv-* .demo .airflow build dist *.egg-info
