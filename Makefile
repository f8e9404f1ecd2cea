# What people type. Each target does all of its own set-up, in .venv, and says what it does.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

# Tests start hundreds of processes: the bytecode of all they import is kept, whatever is set.
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode
unexport PYTHONDONTWRITEBYTECODE

WHEELS ?= wheels

# One more than there are cores, as tests wait for much of their time.
WORKERS ?= $(shell expr $$(nproc) + 1)
PYTEST := $(BIN)/python -m pytest
ALL_TESTS := $(PYTEST) --numprocesses $(WORKERS) --dist worksteal

# Not *.p??, which is bytecode too.
NATIVE_SOURCES := $(wildcard src/epollo/*/native/*.p[xy][dix] src/epollo/*/*/native/*.p[xy][dix] \
	src/epollo/*/native/*/*.p[xy][dix])
NATIVE := setup.py $(NATIVE_SOURCES)

.NOTPARALLEL: # all of them install into .venv
.PHONY: help demo test check versions truth services bench peers testers fuzz sequences sanitize pictures workers docs wheels clean

help:
	@echo "make demo   an echo server and 100 connections: the round trips they saw"
	@echo "make test   the tests"
	@echo "make check  format, lint, types, layers of imports and tests: what CI runs"
	@echo "make versions  the tests on each Python that epollo supports"
	@echo "make truth  what takes minutes and measures: the load tester against servers whose answer"
	@echo "            is known, how long a stop takes whatever a handler does, and what is lost over"
	@echo "            reloads"
	@echo "make services  the examples, spoken to by real clients such as psql"
	@echo "make bench  the server beside its peers, in turns; writes benchmarks/results"
	@echo "make peers  the server beside libuv, tokio, Go, Netty, Erlang and Node, where installed"
	@echo "make testers  the load tester beside sockperf and redis-benchmark, on servers of theirs"
	@echo "make workers  workers: how connections are spread, and what a second core brings"
	@echo "make fuzz   random streams through both engines, which must agree"
	@echo "make sequences  every sequence of four events on a connection, and random walks"
	@echo "make sanitize  the native engine under AddressSanitizer and UBSan"
	@echo "make pictures  a page of the load tester in docs/images, light and dark; needs chromium"
	@echo "make docs   these pages and the reference of the API as a site, in build/docs"
	@echo "make wheels an sdist and wheels in dist, each tried without a compiler"

demo: $(VENV)/installed
	@echo "== an epoll echo server, and 100 connections that each wait for their reply (3 s)"
	@$(BIN)/epollo bench --connections 100 --duration 3s

test: $(VENV)/test-installed
	@echo "== the tests; TESTS='tests/filters/test_tls.py -k alpn' for some"
	@$(ALL_TESTS) $(TESTS)

check: $(VENV)/check-installed
	@echo "== format, lint, types, imports"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@PATH=$(BIN):$$PATH cython-lint --max-line-length 100 $(filter %.pyx %.pxd,$(NATIVE_SOURCES))
	@$(BIN)/mypy
	@$(BIN)/python -m tests.typing
	@PYTHONPATH=src $(BIN)/basedpyright --pythonpath $(BIN)/python --verifytypes epollo --ignoreexternal > $(VENV)/verifytypes \
		|| { cat $(VENV)/verifytypes; exit 1; }
	@PYTHONPATH=src $(BIN)/lint-imports --no-cache --no-logo
	@echo "== the tests"
	@$(ALL_TESTS)

versions: $(VENV)/versions-installed
	@echo "== the tests on each Python that epollo supports; VERSIONS='-s tests-3.13' for one"
	@$(BIN)/nox $(VERSIONS)

truth: $(VENV)/test-installed
	@echo "== the load tester against servers whose answer is known, stops and reloads, with the figures"
	@$(PYTEST) -m truth -s -v tests/bench/truth tests/control/test_servers.py tests/server/test_stopping.py \
		tests/workers/test_witness.py $(TRUTH)

services: $(VENV)/services-installed
	@echo "== real clients speak to the examples; those that are not installed are skipped"
	@$(PYTEST) -m services -v tests/services $(SERVICES)

bench: $(VENV)/bench-installed
	@echo "== the server beside its peers; BENCH='--quick' for a short look"
	@$(BIN)/python -m benchmarks $(BENCH)

peers: $(VENV)/bench-installed
	@echo "== the server beside those of other languages; PEERS='--quick' for a short look"
	@$(PIP) --group peers
	@$(BIN)/python -m benchmarks.peers $(PEERS)

testers: $(VENV)/bench-installed
	@echo "== the load tester beside sockperf and redis-benchmark; TESTERS='--quick' for a short look"
	@$(BIN)/python -m benchmarks.third_party $(TESTERS)

workers: $(VENV)/bench-installed
	@echo "== workers: spread, connections and messages per second; BALANCE='--quick' for a short look"
	@$(BIN)/python -m benchmarks.workers $(BALANCE)

fuzz: $(VENV)/fuzz-installed
	@echo "== random streams through both engines; FUZZ='--streams 1000000 --seed N' for more"
	@$(BIN)/python -m fuzz $(FUZZ)
	@$(BIN)/python -m fuzz.phases

sequences: $(VENV)/test-installed
	@echo "== every sequence of four events on a connection, and random walks"
	@$(BIN)/python -m fuzz.sequences --length 4 --walks 10000
	@echo "== and of three of all events, with and without turns of the loop between them"
	@$(BIN)/python -m fuzz.sequences --length 3 --all --hurried

sanitize: $(VENV)/test-installed
	@echo "== the native engine under AddressSanitizer and UndefinedBehaviorSanitizer"
	@PYTHON=$(BIN)/python fuzz/sanitize

pictures: $(VENV)/test-installed
	@echo "== a page of the load tester; PICTURES='RESULT.json' for one that was measured"
	@$(BIN)/python -m tests.bench.pictures $(PICTURES)

docs: $(VENV)/docs-installed
	@echo "== the site, without a warning and without a broken link"
	@rm -rf build/docs
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky \
		--doctree-dir build/doctrees --fresh-env --conf-dir docs/site . build/docs
	@$(BIN)/python -m docs.site.check build/docs
	@echo "build/docs/index.html"

wheels: $(VENV)/versions-installed
	@echo "== an sdist, and a wheel of it for each Python; WHEELS=wheels-3.13 for one"
	@rm -rf dist build/sdist
	@$(BIN)/nox --sessions sdist $(WHEELS)

clean:
	rm -rf $(VENV) .nox build dist src/epollo/*/native/*.so src/epollo/*/*/native/*.so src/epollo/*/native/*/*.so

$(VENV)/created:
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "epollo needs Python 3.11 or later; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "this Python has no venv module; on Debian: apt install python3-venv"; exit 1; }
	@touch $@

# The pip that comes with Python may be too old for --group.
$(VENV)/pip: $(VENV)/created
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml $(NATIVE)
	@echo "== installing epollo into $(VENV); its native engine, if there is a C compiler: some minutes"
	@$(PIP) --editable .
	@touch $@

$(VENV)/test-installed: $(VENV)/installed $(VENV)/pip
	@echo "== installing what the tests need"
	@$(PIP) --group test
	@touch $@

$(VENV)/services-installed: $(VENV)/installed $(VENV)/pip
	@echo "== installing what the services need"
	@$(PIP) --group services
	@touch $@

$(VENV)/check-installed: $(VENV)/installed $(VENV)/pip
	@echo "== installing what the checks need"
	@$(PIP) --group check
	@touch $@

$(VENV)/versions-installed: $(VENV)/pip pyproject.toml
	@$(PIP) --group versions
	@touch $@

$(VENV)/fuzz-installed: $(VENV)/installed $(VENV)/pip
	@$(PIP) --group fuzz \
		|| echo "== atheris cannot be installed here, so python -m fuzz.decoders cannot be run"
	@touch $@

$(VENV)/docs-installed: $(VENV)/installed $(VENV)/pip
	@echo "== installing what the site needs"
	@$(PIP) --group docs
	@touch $@

$(VENV)/bench-installed: $(VENV)/installed $(VENV)/pip
	@echo "== installing the peers"
	@$(PIP) --group bench
	@touch $@
