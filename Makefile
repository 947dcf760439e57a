# The book and its tests, in an environment of their own: .venv, which nothing needs to activate.
#   make book            the book, at _build/html/index.html     make test      the tests
#   make book FRESH=1    every shapes score computed again       make test-all  and the long ones (trainings)
# GENCLS_MIRROR, a folder of public data, adds the world `full`. PROFILE=smoke shows only that everything runs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
FLAGS := $(if $(filter-out 0,$(FRESH)),--fresh) $(if $(PROFILE),--profile $(PROFILE)) $(if $(WORLD),--world $(WORLD))

.PHONY: book test test-all lint clean
.DEFAULT_GOAL := book

book: $(INSTALLED)
	$(BIN)/gencls book $(FLAGS)

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-all: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf _build _executed

$(INSTALLED): pyproject.toml constraints.txt
	@echo "installing the packages into .venv (once, and when pyproject.toml or constraints.txt change)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@
