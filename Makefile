# Every target sets up what it needs: a virtual environment in .venv, with the versions in constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
READY_FOR_DOCS := .venv/.ready-for-docs

.PHONY: demo test lint format bench docs

# The whole method on a generated band; nothing is downloaded but restem's own dependencies.
demo: $(READY)
	$(BIN)/restem demo demo-out

# ARGS goes to pytest, as in `make test ARGS=tests/audio`.
test: $(READY)
	$(BIN)/pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Each script prints a table and writes its figures as JSON beside itself; leave the machine alone meanwhile.
bench: $(READY)
	$(BIN)/python benchmarks/mel_power_adds.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/mixing.py
	$(BIN)/python benchmarks/waiting.py
	$(BIN)/python benchmarks/separating.py
	$(BIN)/python benchmarks/sdr.py

# Builds the documentation into site/, and fails on a link that leads nowhere. Open site/index.html; the search needs a
# server: .venv/bin/python -m http.server --directory site
docs: $(READY_FOR_DOCS)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "The documentation is in site/index.html."

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "restem needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,review,separators]'
	@touch $@

# Only `make docs` waits for what it needs.
$(READY_FOR_DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
