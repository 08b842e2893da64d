# Every target sets up what it needs: a virtual environment in .venv, with the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
OLDEST := .venv-oldest

# The name of what is touched when an environment is ready says which Python made it: for another it is made anew.
MADE_BY := $(shell $(PYTHON) -c 'import re, sys; print(re.sub(r"\W+", "-", sys.implementation.cache_tag + sys.base_prefix))')
READY := .venv/.ready-$(MADE_BY)
READY_FOR_DOCS := $(READY)-docs
READY_FOR_CLUSTER := $(READY)-cluster
OLDEST_READY := $(OLDEST)/.ready-$(MADE_BY)

.PHONY: demo test test-cluster test-oldest lint format bench docs

# A pretrained encoder (29 MB), installed for this checkout alone. Everything works without it, so no network is no error.
export RESTEM_ENCODERS := $(CURDIR)/.venv/encoders
ENCODER := $(BIN)/restem encoders add musicnn

# The whole method on a generated band; nothing is downloaded but restem's own dependencies and the encoder.
demo: $(READY)
	-@$(ENCODER)
	$(BIN)/restem demo demo-out

# ARGS goes to pytest, as in `make test ARGS=tests/audio`.
test: $(READY)
	-@$(ENCODER)
	$(BIN)/pytest $(ARGS)

# The tests on a Ray cluster and on a server of S3, both on this machine, on loopback.
test-cluster: $(READY_FOR_CLUSTER)
	$(BIN)/pytest -m cluster $(ARGS)

# The tests with the lowest versions that pyproject.toml allows of what restem itself needs. torch brings 3 GB of CUDA.
test-oldest: $(OLDEST_READY)
	$(OLDEST)/bin/pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each script prints a table and writes its figures as JSON beside itself; leave the machine alone meanwhile.
bench: $(READY_FOR_CLUSTER)
	$(BIN)/python benchmarks/mel_power_adds.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/mixing.py
	$(BIN)/python benchmarks/open_files.py
	$(BIN)/python benchmarks/waiting.py
	$(BIN)/python benchmarks/separating.py
	$(BIN)/python benchmarks/sdr.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/bleed_removal.py
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/estimates.py

# Builds the documentation into site/, and fails on a link that leads nowhere. Open site/index.html; the search needs a
# server: .venv/bin/python -m http.server --directory site
docs: $(READY_FOR_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "The documentation is in site/index.html."

define CHECK_PYTHON
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "restem needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
endef

INSTALL := -m pip install --quiet --disable-pip-version-check

$(READY): pyproject.toml constraints.txt
	$(CHECK_PYTHON)
	$(PYTHON) -m venv $(if $(wildcard $@),,--clear) .venv
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[dev,export,hub,review,separators]'
	@touch $@

# Tools of the extra `dev` are as new as they can be beside the rest.
$(OLDEST_READY): pyproject.toml
	$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python $(INSTALL) uv
	$(OLDEST)/bin/uv pip compile --quiet --python $(OLDEST)/bin/python --resolution lowest-direct \
		--extra review --extra separators --output-file $(OLDEST)/lowest.txt pyproject.toml
	$(OLDEST)/bin/python $(INSTALL) -c $(OLDEST)/lowest.txt -e '.[dev,review,separators]'
	@touch $@

# With uv, which takes seconds for Ray; pip may take minutes.
$(READY_FOR_CLUSTER): $(READY)
	$(BIN)/python $(INSTALL) -c constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[cluster]'
	@touch $@

# Only `make docs` waits for what it needs.
$(READY_FOR_DOCS): $(READY)
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[docs]'
	@touch $@
