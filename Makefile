# Every target sets up what it needs: `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
PEERS  := .venv-peers
PEERS_STAMP := $(PEERS)/.installed
PEERS_PIP   := $(PEERS)/bin/python -m pip --disable-pip-version-check --quiet
RADIOMICS   := .venv-radiomics
RADIOMICS_STAMP := $(RADIOMICS)/.installed

.PHONY: demo test test-radiomics validators lint soak bench bench-peers docs clean

PLUGINS := plugins/medseg-crf plugins/medseg-ct plugins/medseg-hippocampus plugins/medseg-instances plugins/medseg-nuclei plugins/medseg-phantom

$(STAMP): pyproject.toml constraints.txt $(PLUGINS:%=%/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --upgrade pip
	$(PIP) install --constraint constraints.txt --group dev --editable '.[testing,docs,engines]' $(PLUGINS:%=--editable %)
	-$(PIP) install --constraint constraints.txt pydensecrf2  # from source: without a C++ compiler its tests are skipped
	touch $@

demo: $(STAMP)  ## segment the sample DICOM study; print volumes beside the truth
	$(BIN)/medseg info sample_data/abdomen_dicom
	$(BIN)/medseg segment sample_data/abdomen_dicom --model phantom-abdomen --out demo --overwrite
	$(BIN)/python -m medseg.testing.beside_truth demo sample_data/abdomen_truth.json

# What measures the memory of its own process, and which libraries that still has to load, gets a fresh one; what
# measures how far a minute of training goes gets all processors.
ALONE := tests/run/test_budget.py tests/io/test_reading_bytes.py tests/builtin/test_work_bytes.py \
	plugins/medseg-instances/tests/detector/test_predictor.py \
	plugins/medseg-instances/tests/test_decoding_bytes.py tests/cli/test_train_real.py

test: $(STAMP) validators  ## the whole suite but soak tests and benchmarks
	$(BIN)/python -m pytest $(ALONE)
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto --dist loadfile $(ALONE:%=--ignore %)

# What judges DICOM objects in tests: two programs of Debian's dicom3tools, unpacked into .venv, which needs no root.
# Package lists are fetched into a folder of our own, so that none need be there. Where this fails, tests say so.
VALIDATORS := $(VENV)/validators
DICOM3TOOLS := dciodvfy dcentvfy
APT := apt-get -qq -o Dir::State::Lists=$$PWD/lists -o Dir::Cache=$$PWD/cache -o Debug::NoLocking=1 -o APT::Sandbox::User=root

validators: $(STAMP)  ## dciodvfy and dcentvfy, if this is Debian or like it
	@cd $(VALIDATORS) 2>/dev/null && ls $(DICOM3TOOLS) >/dev/null 2>&1 || { \
		command -v apt-get >/dev/null && rm -rf $(VALIDATORS).part && \
		mkdir -p $(VALIDATORS).part/lists/partial $(VALIDATORS).part/cache/archives/partial && \
		cd $(VALIDATORS).part && $(APT) update && $(APT) download dicom3tools && \
		dpkg-deb --fsys-tarfile dicom3tools_*.deb | tar -x --strip-components=3 $(DICOM3TOOLS:%=./usr/bin/%) && \
		rm -rf lists cache dicom3tools_*.deb ../validators && mv ../validators.part ../validators; \
	} || echo "dicom3tools could not be installed: tests of DICOM objects fail, unless MEDSEG_NO_DICOM_TOOLS=1" >&2

# It brings pandas and ITK, which other libraries load where they find them: it gets an environment of its own.
$(RADIOMICS_STAMP): pyproject.toml constraints.txt plugins/medseg-radiomics/pyproject.toml
	$(PYTHON) -m venv $(RADIOMICS)
	$(RADIOMICS)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt \
		--upgrade pip
	$(RADIOMICS)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt \
		--group dev --editable '.[testing]' --editable plugins/medseg-radiomics
	touch $@

test-radiomics: $(RADIOMICS_STAMP)  ## the tests of plugins/medseg-radiomics
	$(RADIOMICS)/bin/python -m pytest plugins/medseg-radiomics/tests

lint: $(STAMP)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy medseg tests
	for plugin in $(PLUGINS) plugins/medseg-radiomics; do $(BIN)/mypy $$plugin || exit 1; done
	$(BIN)/lint-imports

soak: $(STAMP)  ## heavy counts of the same tests
	$(BIN)/python -m pytest -s -o python_files='soak_*.py' tests/soak

bench: $(STAMP) $(PEERS_STAMP)  ## benchmarks; ratios against named peers
	for bench in tests/benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

$(PEERS_STAMP): tests/benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS_PIP) install --constraint constraints.txt torch
	$(PEERS_PIP) install --no-deps --requirement tests/benchmarks/peers/requirements.txt
	touch $@

bench-peers: $(PEERS_STAMP)  ## the peers of the benchmarks, in an environment of their own

docs: $(STAMP)  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) $(PEERS) $(RADIOMICS) demo site dist build
