# Two commands do everything on a machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
BIN = .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

demo: .venv/installed
	$(BIN)/openjepa demo --out runs/demo-$$(date +%Y%m%d-%H%M%S)

test: .venv/installed-test
	$(BIN)/python -m pytest

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m types tests/test_types.py

docs: .venv/installed-test
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build
	@echo "docs/_build/index.html"

package: .venv/installed-test
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python .ci/check_package.py dist

# The page of openjepa explore, which is kept built in src/openjepa/exploring/static; needs node and npm.
web: web/node_modules
	node web/build.mjs

web/node_modules: web/package-lock.json
	cd web && npm ci --no-fund --no-audit
	touch $@

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo "installing openjepa into .venv (PyTorch is large: a few minutes the first time)"
	$(INSTALL) .
	touch $@

.venv/installed-test: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo "installing openjepa and what its tests need into .venv"
	$(INSTALL) ".[test]"
	touch $@ .venv/installed

.PHONY: demo test lint docs package web
