# Everything works on a machine that has Python 3.11+ and make; `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
# Processes that run tests side by side. All must collect the same names, some of which come from sets: PYTHONHASHSEED.
JOBS ?= 3
BIN := $(VENV)/bin
# Marks that stand for suites of their own, and `slow`: what `make quick` leaves to `make test`.
NOT_SLOW := not (slow or corpus or browser or kill or memory or instructions or integrations or peers)
SMOKE := tests/functional/test_pictures.py tests/functional/test_keeping.py tests/functional/test_cli_url.py
COVERED := tests/unit tests/contract tests/golden
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run demo test quick coverage check lint types audit package bench bench-cold bench-images bench-crowd bench-slow-readers bench-million bench-mixed bench-articles kill lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

run: $(VENV)/.installed ## install, then run the demo: rewrite, warm, serve, kill the origin
	$(BIN)/imgmirror demo

# Development mode, but for its memory allocator: that one finds faults of C code, costs a third of all time, and is
# on for the suites of pictures (.ci/run).
PYTEST := PYTHONHASHSEED=0 PYTHONDEVMODE=1 PYTHONMALLOC=pymalloc $(BIN)/python -m pytest -q -rs -n $(JOBS) --dist worksteal

test: $(VENV)/.installed-dev ## install, then run the tests (ARGS="tests/unit"; COVERAGE=1 says what unit tests reach)
ifdef COVERAGE
	$(PYTEST) --cov --cov-report=term:skip-covered $(COVERED)
	$(PYTEST) $(COVERED:%=--ignore=%)
else
	$(PYTEST) $(ARGS)
endif

quick: $(VENV)/.installed-dev ## an answer in two minutes: unit and contract tests except the slow ones, and some of the service
	$(PYTEST) --hypothesis-profile=quick -m "$(NOT_SLOW)" tests/unit tests/contract $(SMOKE)

.PHONY: test-on
test-on: ## the tests with another interpreter, in an environment of its own (PYTHON=python3.13 ARGS="tests/unit")
	$(MAKE) test VENV=.venv-$(notdir $(PYTHON))

check: lint types audit test package ## everything that must pass: lint, format, strict types, known faults, tests, packaging

lint: $(VENV)/.installed-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## mypy, strict: both packages, tests, benchmarks
	$(BIN)/mypy
	MYPYPATH=benchmarks $(BIN)/mypy benchmarks --cache-dir .mypy_cache/benchmarks

coverage: $(VENV)/.installed-dev ## lines and branches that the quick unit and contract tests reach (a figure, no gate)
	$(PYTEST) --hypothesis-profile=quick -m "$(NOT_SLOW)" --cov --cov-report=term:skip-covered $(COVERED) $(ARGS)

audit: $(VENV)/.installed-dev ## compare floors and locks with the table of public faults (docs/advisories.toml)
	$(BIN)/python .ci/audit.py

package: $(VENV)/.installed-dev ## build the wheel and check its contents
	$(BIN)/python -m pytest -q tests/functional/test_package.py

.PHONY: cache-tests
cache-tests: $(VENV)/.installed-dev ## the public HTTP cache test suite against a service of ours (needs node; ARGS="--floor N,N")
	PYTHONPATH=.:tests/lib $(BIN)/python tests/cache_suite/run.py $(ARGS)

bench: $(VENV)/.installed-dev ## hits (memory, store, two workers, behind nginx), cold and warm pictures (ARGS="--before CHECKOUT")
	$(BIN)/python benchmarks/overall.py $(ARGS)

bench-images: $(VENV)/.installed-dev ## cold thumbnails beside peers (ARGS="--install --photos FOLDER --imgproxy FILE --imagor FILE --oximg FILE")
	$(BIN)/python benchmarks/images.py $(ARGS)

bench-cold: $(VENV)/.installed-dev ## the cost of a cold picture beside its codecs (ARGS="CHECKOUT CHECKOUT --jobs chart-webp")
	$(BIN)/python benchmarks/cold.py $(ARGS)

bench-crowd: $(VENV)/.installed-dev ## a thousand clients on one cold picture whose origin stalls
	$(BIN)/python benchmarks/crowd.py $(ARGS)

bench-slow-readers: $(VENV)/.installed-dev ## five hundred clients that ask for a large original and read nothing
	$(BIN)/python benchmarks/slow_readers.py $(ARGS)

bench-articles: $(VENV)/.installed-dev ## a hundred thousand posts beside cat, a regexp pass and markdown-it (ARGS="--posts N --before CHECKOUT")
	$(BIN)/python benchmarks/articles.py $(ARGS)

bench-mixed: $(VENV)/.installed-dev ## 200,000 requests over 50,000 sources: does memory level off (ARGS="--before CHECKOUT")
	$(BIN)/python benchmarks/mixed.py $(ARGS)

bench-million: $(VENV)/.installed-dev ## a store of a million entries beside one of a thousand
	$(BIN)/python benchmarks/million.py $(ARGS)

kill: $(VENV)/.installed-dev ## kill -9, power cuts and failing disks, many times (ROUNDS=50 CRASHES=200 CUTS=60 SEED=N)
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -q -rP -m kill -n 2 --dist worksteal --timeout=3600 tests/hostile/test_kill.py tests/hostile/test_catalogue_kill.py tests/hostile/test_moving_kill.py tests/hostile/test_crash_kill.py tests/hostile/test_crash_power.py

lock: ## write requirements.lock and requirements-dev.lock anew
	$(PIP) install uv
	$(BIN)/uv -q pip compile pyproject.toml --extra vips --group build --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --upgrade -o requirements.lock
	$(BIN)/uv -q pip compile pyproject.toml --extra vips --extra otel --group dev --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --upgrade -o requirements-dev.lock

.PHONY: site
site: $(VENV)/.installed-dev ## build the pages of docs/ as a site, with search; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build -q

.PHONY: screenshots
screenshots: $(VENV)/.installed-dev ## photograph the desk again for docs/desk.md (needs Chromium and npm)
	SCREENSHOTS=docs $(BIN)/python -m pytest -q -m browser tests/functional/test_desk_browser.py -k well_made

.PHONY: release
release: check ## everything that must pass, then wheel, sources, manual page, completions and CHANGELOG.md in dist/; signs nothing
	$(BIN)/python .ci/release.py

.PHONY: install
install: ## as root: into /opt/imgmirror, as a service of systemd (PUBLIC_URL=https://img.example.org)
	PYTHON="$(PYTHON)" PUBLIC_URL="$(PUBLIC_URL)" deploy/install.sh

clean: ## remove what was installed, built and kept by the demo
	rm -rf $(VENV) .venv-python* dist build site var .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "imgmirror needs Python 3.11 or newer: make PYTHON=python3.x"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# A lock with hashes first, the project itself after it without dependencies: pip refuses both in one call.
# Without build isolation the build back end is the locked one too.
$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
