# The few doors to the project. Everything runs in .venv, from locked dependencies.

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin

.PHONY: setup demo test check fmt lock bench clean

setup: .venv/.ready ## a working .venv/bin/bountyguard

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python 3.11 or 3.12 is needed, this is {v.major}.{v.minor}; try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup ## take the sample drop through the whole line, and show what was held and why
	@$(BIN)/bountyguard --home demo-home run data/demo/drop || test $$? -eq 1

check: setup ## format, lint, types, import contracts, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

test: check ## everything that guards the project
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: setup ## every benchmark, beside its peers; hours. One alone: .venv/bin/python benchmarks/NAME.py --help
	@for each in $$(grep -l __main__ benchmarks/*.py); do \
		echo "== $$each"; PYTHONPATH=. $(BIN)/python $$each || echo "$$each did not end well"; \
	done

fmt: setup ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## resolve the dependencies anew
	$(BIN)/uv pip compile pyproject.toml --group dev --group bench --python-version 3.11 --universal \
		--generate-hashes --no-emit-index-url --no-header --no-annotate --quiet -o requirements.lock

clean: ## forget everything that was made here
	rm -rf .venv demo-home .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
