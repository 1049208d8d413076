# Everything a person does with this repository. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/flamebus
UV := $(or $(shell command -v uv),$(CACHE)/uv/bin/uv)
PY := .venv/bin/python
# Our Python is the machine's own: a download from elsewhere would be a second one, without bcc beside it.
export UV_PYTHON_DOWNLOADS := never

PATHS := flamebus bpf producers streams models dashboard infra tests benchmarks stubs
WEB := dashboard/web
WEB_SOURCES := $(shell find $(WEB) -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
SEED ?= 1

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##### To use it

.PHONY: demo up down status
demo: bootstrap-demo .venv/.stamp-all web ## This machine's flame graph; DURATION=30 ends it after 30 s, else Ctrl-C
	$(PY) -m flamebus demo $(if $(DURATION),--duration $(DURATION))

up: bootstrap-up .venv/.stamp-all web ## Start the whole stack on real Kafka and InfluxDB; state survives `make down`
	$(PY) -m flamebus up

down: .venv/.stamp-all ## Stop what `make up` started
	$(PY) -m flamebus down

status: .venv/.stamp-all ## Show what `make up` has started
	$(PY) -m flamebus status

##### To work on it

.PHONY: format check test servers web bench chaos fuzz schemas pictures lock wheel clean
format: .venv/.stamp-dev ## Format the code and apply safe fixes
	.venv/bin/ruff format $(PATHS)
	.venv/bin/ruff check --fix $(PATHS)

check: bootstrap-check .venv/.stamp-dev ## Format, lint, types, layers, unit and contract tests: under two minutes
	.venv/bin/ruff format --check $(PATHS)
	.venv/bin/ruff check $(PATHS)
	.venv/bin/mypy $(PATHS)
	.venv/bin/lint-imports
	$(if $(WEB_SOURCES),$(MAKE) --no-print-directory web-check)
	$(PY) -m pytest tests/unit tests/contract -q

test: bootstrap-test .venv/.stamp-dev servers web ## All tests on a real Kafka, InfluxDB, S3, kernel and browser; ARGS="-k word" for some
	$(PY) -m pytest $(ARGS)

servers: .venv/.stamp-all ## Build the servers that tests and `make up` run without Docker (once, about 10 min)
	docker version >/dev/null 2>&1 || $(PY) -m infra.build kafka influxdb s3

web: $(if $(WEB_SOURCES),dashboard/static/index.html) ## Build the page into dashboard/static

bench: bootstrap-test .venv/.stamp-dev servers ## All benchmarks (root, 30 min), each beside its baseline; UPDATE=1 takes the new figures
	missed=; for file in $$(grep -l '^    main("' benchmarks/*.py); do name=$$(basename $$file .py); \
	  $(PY) -m benchmarks.$$name $(if $(UPDATE),--update-baseline) || missed="$$missed $$name"; done; \
	$(if $(UPDATE),$(PY) -m benchmarks.document;) \
	[ -z "$$missed" ] || { echo "a bar is missed, or it failed:$$missed"; exit 1; }

chaos: bootstrap-test .venv/.stamp-dev servers ## The whole conservation suite, which kills and freezes things; SEED=1
	FLAMEBUS_CHAOS_SEED=$(SEED) $(PY) -m pytest tests/chaos -v

fuzz: .venv/.stamp-dev ## Feed a million mutated records to every decoder (10 min); SEED=1 COUNT=1000000
	$(PY) -m tests.support.fuzzing --seed $(SEED) --count $(or $(COUNT),1000000)

schemas: .venv/.stamp-dev ## Write docs/schemas and docs/asyncapi.json anew, from the code
	$(PY) -m flamebus.wire.schemas docs

pictures: bootstrap-test .venv/.stamp-dev web ## Take the pictures in docs/pictures anew, from a demonstration (3 min)
	$(PY) -m infra.pictures

lock: $(UV) ## Choose library versions anew (uv.lock)
	$(UV) lock --upgrade

wheel: .venv/.stamp-all web ## Build the wheel, with the page inside, into dist/
	$(UV) build --wheel

clean: ## Remove what was built here (the servers in the user's cache stay)
	rm -rf .venv dist build dashboard/static bpf/bytecode $(WEB)/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

##### How the above gets what it needs

.PHONY: bootstrap-demo bootstrap-up bootstrap-check bootstrap-test web-check
bootstrap-demo bootstrap-up bootstrap-check bootstrap-test: bootstrap-%:
	infra/bootstrap.sh $*

$(CACHE)/uv/bin/uv:
	python3 -m venv $(CACHE)/uv
	$(CACHE)/uv/bin/pip install --quiet --disable-pip-version-check uv

# --inexact: what another target has installed stays.
.venv/.stamp-all: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --frozen --inexact --python "$$(infra/bootstrap.sh python)" --extra all
	touch $@

.venv/.stamp-dev: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --frozen --inexact --python "$$(infra/bootstrap.sh python)" --extra dev
	touch $@ .venv/.stamp-all

$(WEB)/node_modules/.stamp: $(wildcard $(WEB)/package.json $(WEB)/package-lock.json)
	npm --prefix $(WEB) ci --no-audit --no-fund --loglevel=error
	touch $@

dashboard/static/index.html: $(WEB)/node_modules/.stamp $(WEB_SOURCES)
	npm --prefix $(WEB) run --silent build
	touch $@

web-check: $(WEB)/node_modules/.stamp
	npm --prefix $(WEB) run --silent typecheck
	npm --prefix $(WEB) run --silent test
