# Every target sets up what it needs on a fresh Debian 12 and may be repeated.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
export UV_PROJECT_ENVIRONMENT := $(VENV)
# Some container images set it, and every process that a test starts would compile all of its modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo docs recording screenshots test test-rigs check audit fuzz simulate simulate-bugs bench packages image format set-up tools clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: set-up tools  ## The main job in about a minute: two regions, releases under load, rollback, a bad release stopped
	@$(VENV)/bin/python -m deploy.demo

test: set-up tools  ## The tests, those on real HAProxy, real processes and real disks included; minutes
	@$(VENV)/bin/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder

test-rigs: set-up tools  ## Long tests: a real OpenStack, where its rig is there; an installation on three machines; minutes
	@./deploy/set-up containers
	@REPAVE_TEST_RIGS=1 $(VENV)/bin/python -m pytest -m rig

check: set-up  ## Lint (security rules too), format, types, import contracts, hashes of locked dependencies
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/python -m deploy.audit

audit: set-up  ## Known vulnerabilities of the locked dependencies; says so where it can't ask
	@$(VENV)/bin/python -m deploy.audit --online

fuzz: set-up  ## MINUTES=N for each boundary: protocol, packages, specs, settings, the API's routes
	@$(VENV)/bin/python -m tests.security.fuzz --minutes $(MINUTES)

MINUTES ?= 2
SEEDS ?= 1000
simulate: set-up  ## SEEDS=N seeds of faults in all tiers, then every single fault: the proof of the promises
	@$(VENV)/bin/python -m repave_simulation --tier 1 --seeds $(SEEDS) --coverage
	@$(VENV)/bin/python -m repave_simulation --tier 2 --seeds $(shell expr $(SEEDS) / 4 + 1) --coverage
	@$(VENV)/bin/python -m repave_simulation --tier 3 --seeds $(shell expr $(SEEDS) / 10 + 1) --coverage
	@$(VENV)/bin/python -m repave_simulation --tier 1 --exhaustive

simulate-bugs: set-up  ## Plant bugs, one after the other, and see that the simulation finds each in fewer than 100 seeds
	@$(VENV)/bin/python -m tests.simulation.bugs

bench: set-up tools  ## What it costs and how fast it is, beside a floor script that does the same work
	@$(VENV)/bin/python -m tests.benchmarks

recording: set-up tools  ## Record the demo: docs/demo.cast for asciinema, docs/demo.svg for the README
	@$(VENV)/bin/python -m deploy.recording

screenshots: set-up tools  ## Every screen of the dashboard, in two themes and three widths, in dist/screens
	@$(VENV)/bin/python -m deploy.screens

docs: set-up  ## The documentation as a site in dist/docs, with a search, for reading without a network
	@$(VENV)/bin/python -m deploy.docs

packages: set-up  ## Debian packages of this checkout in dist/: repave, repave-controller, repave-agent
	@$(VENV)/bin/python -m deploy.debian

image: set-up  ## An OCI image of this checkout in dist/, made without a container engine
	@./deploy/set-up image
	@$(VENV)/bin/python -m deploy.image

format: set-up  ## Put every file into the one format
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

set-up: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml uv.lock hatch_build.py $(wildcard protos/repave_protos/*/*.proto)
	@./deploy/set-up python
	@touch $@

tools:
	@./deploy/set-up tools

clean:  ## Forget what set-up made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
