# The two commands of a new machine: `make run` and `make test`. Both set up what is missing first.
.DEFAULT_GOAL := help
.PHONY: help docs setup check-machine object-store run test test-docs test-object-store test-pseudonyms test-faults lint audit bench airflow lock clean
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

check-machine:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "userbert needs Python 3.11, and '$(PYTHON)' is not it: install it (Debian: apt install python3.11 python3.11-venv;" \
	       "any system: pyenv install 3.11) or name it: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@$${JAVA_HOME:+$$JAVA_HOME/bin/}java -version 2>&1 | grep -qE 'version "(17|21)[."]' || { \
	  echo "userbert needs Java 17 or 21 for Spark, and 'java -version' tells of none: install it (Debian: apt install" \
	       "openjdk-17-jre-headless; macOS: brew install openjdk@17) or set JAVA_HOME" >&2; exit 2; }

setup: check-machine .venv/ready ## install everything into .venv, from locked versions, and fetch Delta's jars

.venv/ready: requirements.txt requirements-uv.txt setup.py spark_jobs/spark/delta_jars.py spark_jobs/spark/class_archive.py userbert/local/class_archive.py
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	@# Compiled now, once: importing Great Expectations takes 16 s uncompiled and 6 s compiled, and where
	@# PYTHONDONTWRITEBYTECODE is set (many container images) every process would compile it anew.
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m spark_jobs.spark.delta_jars
	-$(BIN)/python -m userbert.local.class_archive
	touch $@

object-store: .venv/object-store ## fetch what a lake on S3 needs (28 MB): docs/object-store.md

.venv/object-store: userbert/local/object_store.py | setup
	rm -rf $@
	$(BIN)/python -m userbert.local.object_store
	touch $@

run: setup ## the main job: six months of real logs to served user embeddings, through Airflow
	$(BIN)/userbert run

# `make test-docs` and `make test-pseudonyms` run them: a minute each.
FOLLOWED := tests/test_followed_guides.py::test_every_line_of_the_guide_does_what_it_says
LONG_TESTS := tests/test_guide_commands.py::test_every_command_of_the_guide_runs_as_it_stands[backfill.md] \
  $(FOLLOWED)[forgetting.md] $(FOLLOWED)[upgrade.md] $(FOLLOWED)[cluster.md] \
  tests/test_pseudonym_rotation.py \
  tests/test_pseudonyms.py::test_rotated_tables_equal_those_of_an_ingest_under_the_newer_keys
# `make test-object-store` runs these.
STORED := tests/test_object_store.py::test
LONG_TESTS += $(STORED)_forgetting_leaves_no_mention_in_any_object_or_old_version \
  $(STORED)_every_table_has_the_rows_of_a_lake_on_a_disk \
  $(STORED)_two_drivers_that_write_one_table_side_by_side_lose_no_commit

# `make test-faults` runs these.
KILLED := tests/test_landing_days.py::test_a_kill_while_views_are_brought_back_is_mended_by_the_next_run \
  tests/test_backfill.py::test_runs_side_by_side_that_are_killed_end_as_one_quiet_run
LONG_TESTS += $(KILLED)

test: setup object-store ## all tests, with real Spark, Delta, Airflow, Great Expectations, Feast and torchrun
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(LONG_TESTS:%=--deselect %)

test-docs: setup ## every command of the guides that can be followed on a tiny lake, from its first line to its last
	$(BIN)/python -m pytest tests/test_guide_commands.py tests/test_followed_guides.py tests/test_guides.py tests/test_sql_cookbook.py

test-pseudonyms: setup ## a rotation of keys over all tables, killed twice, and forgetting by raw id and by pseudonym
	$(BIN)/python -m pytest tests/test_pseudonyms.py tests/test_pseudonym_rotation.py

test-object-store: setup object-store ## the lake and landing files on S3 (moto's server), and a user forgotten there
	$(BIN)/python -m pytest tests/test_object_store.py tests/test_object_store_readers.py

test-faults: setup ## 10,000 hostile inputs of each kind, then more than 200 faults with fixed seeds, in a table
	$(BIN)/python -m pytest tests/test_hostile_input.py --hypothesis-profile=long --timeout 1200 --numprocesses 2
	$(BIN)/python -m pytest $(KILLED)
	$(BIN)/python -m tests.faults.suite

lint: setup ## ruff (lint and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

AUDITED := analyst contracts dags downstream erasure expectations experiments explorer feature_store landing model spark_jobs userbert
audit: setup ## bandit over the code, and pip-audit over the locked versions where its source is reachable
	$(BIN)/bandit -q -c pyproject.toml -r $(AUDITED)
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.txt || { code=$$?; \
	  echo "pip-audit: see above; where its source cannot be reached nothing was audited" >&2; exit $$code; }

bench: setup ## every claim about speed, measured again; the last line of each is its result as JSON
	@for name in $$(grep -l __main__ benchmarks/*.py | xargs -n1 basename -s .py); do \
	  echo "== $$name"; $(BIN)/python -m "benchmarks.$$name" || exit 1; done

docs: setup ## the guides as a site in build/site, with references made of the code
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open build/site/index.html; with the search, http://127.0.0.1:8000 after:"
	@echo "  $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000"

airflow: setup ## Airflow's UI with this project's DAGs, until Ctrl-C
	$(BIN)/userbert airflow

lock: ## resolve setup.py's versions again into requirements.txt
	$(BIN)/uv pip compile --quiet setup.py --extra all --extra dev --python-version 3.11 --no-header --generate-hashes -o requirements.txt

clean: ## remove the environment and all data below ./data
	rm -rf .venv data build ./*.egg-info .mypy_cache .ruff_cache
