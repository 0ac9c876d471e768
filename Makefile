# Everything is built below this directory: .venv/ is the environment, .cache/ what was downloaded for it.
# With uv on the PATH the environment is built with uv, else with venv and pip ("make UV=" forces that).

PYTHON ?= python3
UV ?= $(shell command -v uv 2>/dev/null)
ARGS ?=
EXAMPLES ?= 20000

export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv
export UV_PYTHON_DOWNLOADS ?= never
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
export npm_config_cache ?= $(CURDIR)/.cache/npm
export npm_config_update_notifier ?= false
export MPLCONFIGDIR ?= $(CURDIR)/.cache/matplotlib
# pip asks a rustc on the PATH for its version, and rustup's rustc makes ~/.rustup before it answers.
ifeq ($(wildcard $(HOME)/.rustup),)
export RUSTUP_HOME ?= $(CURDIR)/.cache/rustup
endif

BIN := .venv/bin
# Written last, with the directory that the environment was built in: an interrupted build has none, and
# an environment that was copied or moved here (its scripts name the old place) has another.
READY := .venv/.ready
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
$(READY): rebuild
endif
SOURCES = $(wildcard sidecar tests benchmarks dashboards)

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-containers test-releases fuzz compat lint format bench bench-attribution dashboards images lock clean rebuild

help: ## List these targets
	@echo "Usage: make TARGET [ARGS='...'] [PYTHON=python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-15s %s\n", $$1, $$2 }'

venv: $(READY) ## Build .venv/ with the openclaw-sidecar command in it

demo: venv ## Show a recovery on a real gateway
	@echo "==> openclaw-sidecar demo $(ARGS)"
	@$(BIN)/openclaw-sidecar demo $(ARGS)

test: venv ## Run the tests (ARGS goes to pytest)
	@echo "==> pytest $(ARGS)"
	@$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

test-containers: venv ## Run the main job on gateway and sidecar in containers (podman, runc, root)
	@echo "==> pytest -m containers $(ARGS): a minute"
	@$(BIN)/python -m pytest -m containers tests/e2e/test_containers.py $(ARGS)

test-releases: venv ## Run the main job on whole gateways that make test leaves out
	@echo "==> whole gateways of the releases that make test leaves out: about twenty minutes"
	@OPENCLAW_SIDECAR_TEST_VERSIONS=2026.5.22 $(BIN)/python -m pytest tests/e2e/test_unwatched_fence.py $(ARGS)
	@OPENCLAW_SIDECAR_TEST_VERSIONS="2026.5.28 2026.6.8" $(BIN)/python -m pytest tests/e2e/test_main_job.py $(ARGS)
	@OPENCLAW_SIDECAR_TEST_VERSIONS="2026.8.1 2026.9.1 2026.9.3 2026.9.4 2026.9.5" $(BIN)/python -m pytest -n 2 --dist loadscope \
		$(addprefix tests/e2e/,test_rows.py test_row_custody.py test_row_sessions.py test_lost_turns.py test_database_locks.py test_helpers.py) $(ARGS)

fuzz: venv ## Try strange input for longer than make test does (EXAMPLES=20000 of each kind)
	@echo "==> tests/fuzz: $(EXAMPLES) examples of each kind"
	@OPENCLAW_SIDECAR_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/fuzz -n 2 --timeout 0 $(ARGS)

compat: venv ## Drive every release, and write docs/compatibility.md
	@echo "==> compatibility with every release: a few seconds for each, half a minute with sessions in a database"
	@$(BIN)/python -m tests.compat

lint: venv ## Check style, format and types
	@echo "==> ruff check"
	@$(BIN)/ruff check
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check
	@echo "==> mypy $(SOURCES)"
	@$(BIN)/mypy $(SOURCES)

format: venv ## Rewrite the code in the project's format
	@echo "==> ruff check --fix, ruff format"
	@$(BIN)/ruff check --fix --exit-zero
	@$(BIN)/ruff format

bench: venv ## Measure (ARGS goes to the benchmarks)
	@echo "==> benchmarks $(ARGS)"
	@$(BIN)/python -m benchmarks $(ARGS)

bench-attribution: venv ## Label 10,000 changes, and see what the sidecar makes of them
	@echo "==> attribution $(ARGS): twice four and a half minutes"
	@$(BIN)/python -m benchmarks.attribution $(ARGS)

dashboards: venv ## Write the JSON of dashboards/ anew
	@echo "==> dashboards/*.json"
	@$(BIN)/python -m dashboards

images: venv ## Draw docs/images/ anew from a scripted hour
	@echo "==> docs/images/*.png: about a minute"
	@$(BIN)/python -m tests.dashboards.pictures

# What runtime.txt locks in the same words is left out of dev.txt.
define BEYOND_RUNTIME
NR == FNR { if (/^[^ #]/) locked[$$0]; next }
FNR == 1 { print "-r runtime.txt" }
/^[^ #]/ { left_out = $$0 == "-r runtime.txt" || $$0 in locked }
!left_out
endef
export BEYOND_RUNTIME

lock: ## Choose the locked versions anew (ARGS=--upgrade for newer ones)
	@echo "==> locking requirements/"
	@uv="$(UV)"; if [ -z "$$uv" ]; then \
		$(PYTHON) -m venv --clear .cache/lock && .cache/lock/bin/python -m pip install -q uv && uv=.cache/lock/bin/uv; \
	fi && \
	set -- pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make lock" $(ARGS) pyproject.toml && \
	"$$uv" "$$@" --output-file requirements/runtime.txt && \
	"$$uv" "$$@" --extra dev --constraints requirements/runtime.txt --output-file requirements/dev.txt && \
	mkdir -p .cache && awk "$$BEYOND_RUNTIME" requirements/runtime.txt requirements/dev.txt > .cache/dev.txt && \
	mv .cache/dev.txt requirements/dev.txt
	@! grep -n '://' requirements/*.txt || { echo "a locked requirement names a host" >&2; exit 1; }

clean: ## Remove .venv/, .cache/ and what tools left behind
	@echo "==> removing .venv .cache build dist and tool caches"
	@rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find sidecar $(filter-out sidecar,$(SOURCES)) -type d -name __pycache__ -prune -exec rm -rf {} +

rebuild:

$(READY): pyproject.toml requirements/dev.txt requirements/runtime.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "openclaw-sidecar needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@if [ "$$(cat $@ 2>/dev/null)" != "$(CURDIR)" ]; then \
		echo "==> creating .venv with $$($(PYTHON) --version)" && \
		if [ -n "$(UV)" ]; then "$(UV)" venv --quiet --clear --python "$(PYTHON)" .venv; else $(PYTHON) -m venv --clear .venv; fi; \
	fi
	@rm -f $@
	@echo "==> installing requirements/dev.txt and openclaw-sidecar with $(if $(UV),uv,pip: about a minute)"
ifneq ($(UV),)
	@"$(UV)" pip sync --python $(BIN)/python --require-hashes requirements/dev.txt
	@"$(UV)" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@"$(UV)" pip check --python $(BIN)/python
else
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip check
endif
	@echo "$(CURDIR)" > $@
	@echo "==> .venv is ready"
