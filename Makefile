# make             install into .venv, run the miniature, print its methods table
# make run CONFIG=experiments/mine.yaml   the same for your own experiment (or for several files)
# make status      show the progress of the miniature (make status NAME=grid for another experiment)
# make transformers  install the optional package for models of that library
# make parquet     install the optional package for image sets in Parquet files
# make text        install the optional packages for text classification
# make test        install (with all optional packages), run all tests but those that need SLURM,
#                  those of a GPU last, where there is one
# make gpu         test and measure on a machine with a GPU, in 8 minutes (make gpu WHEELS=FOLDER)
# make test-slurm  run the tests that start SLURM on this machine (needs root and Debian)
# make lint        check the code with ruff, snakefmt and snakemake --lint
# make format      rewrite the code in the project's format
# make docs        rewrite the tables of docs/ that come from registries and records
# make seeds       run the evidence for all claims (experiments/evidence), resumable, about 7 hours
# make ablations   run training variants, slices, tasks and weaker pre-training (after make run)
# make small       run the small-data study on PACS (hours, needs data/pacs)
# make published   make tables and figures of the paper's released numbers, in seconds
# make fuzz        try 21,000 broken configurations, checkpoints and images (six minutes)
# make torture     kill a small run 100 times, resume it, and compare its results (half an hour)
# make bench       measure memory and speed of mixing, training, evaluation and drawing
# make bench-scale measure memory and speed with CLIP ViT-B/32 and 1,000 classes
# make bench-text  measure the speed of texts in batches with and without sorting by length
# make lock        pin the newest versions of the packages in envs/requirements.in

PYTHON ?= python3
BIN := .venv/bin
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake

ifneq ($(filter %.yaml,$(MAKECMDGOALS)),)
$(error several files need quotes: make run CONFIG="one.yaml two.yaml")
endif
ifdef config
$(error config=$(config): this variable is written in capitals: make run CONFIG=$(config))
endif

.PHONY: run unlocked install transformers parquet text status test gpu test-slurm lint format docs \
  seeds ablations small published bench bench-scale bench-text fuzz torture lock

# A killed run leaves Snakemake's lock behind. flock tells whether another `make` is running here,
# and tools/ready.py whether a `snakemake` is. If none is, the lock is stale and is removed. With
# -o, jobs that outlive a killed `make` do not hold its lock.
run: install
	@mkdir -p .snakemake
	@flock -n -o -E 75 .snakemake/make.lock $(MAKE) --no-print-directory unlocked || { \
	  status=$$?; [ $$status = 75 ] && $(BIN)/python tools/ready.py && \
	  echo "error: another make begins a run here, and one folder runs one experiment at a time" >&2; exit $$status; }

unlocked:
	@$(BIN)/python tools/ready.py --configfile config.yaml $(CONFIG)
	@[ -z "$$(ls .snakemake/locks 2>/dev/null)" ] || $(SNAKEMAKE) --unlock --quiet all
	$(SNAKEMAKE) --quiet rules $(if $(CONFIG),--configfile $(CONFIG))
	@$(BIN)/python tools/print_methods.py --configfile config.yaml $(CONFIG)

install: .venv/.installed

.venv/.installed: envs/requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python {v[0]}.{v[1]} found, 3.11 or newer expected; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar off -r envs/requirements.txt
	@touch $@

transformers parquet text: %: .venv/.%

.venv/.transformers .venv/.parquet .venv/.text: .venv/.%: envs/requirements-%.txt .venv/.installed
	$(BIN)/python -m pip install --progress-bar off -r $<
	@touch $@

status: NAME = miniature
status:
	@$(BIN)/python tools/status.py results/$(NAME)

test: install transformers parquet text
	$(BIN)/python -m pytest --numprocesses logical
	$(BIN)/python -m pytest -m cuda -v tests/unit/test_cuda.py

# A machine without a network has no .venv, but the packages of its own Python.
gpu:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) tools/gpu.py $(if $(WHEELS),--wheels $(WHEELS))

test-slurm: install
	$(BIN)/python -m pytest tests/slurm

lint: install
	$(BIN)/ruff check envs profiles scripts tools tests
	$(BIN)/ruff format --check envs profiles scripts tools tests
	$(BIN)/snakefmt --check Snakefile rules
	$(SNAKEMAKE) --lint

format: install
	$(BIN)/ruff check --fix envs profiles scripts tools tests
	$(BIN)/ruff format envs profiles scripts tools tests
	$(BIN)/snakefmt Snakefile rules

docs: install
	$(BIN)/python tools/docs_tables.py

seeds: install
	$(BIN)/python tools/replicate.py $(ARGS)

ablations: install
	$(SNAKEMAKE) tables --quiet rules --configfile experiments/weak.yaml
	$(SNAKEMAKE) --quiet rules --config 'claims={weaker: weak}' \
	  --configfile experiments/ablations.yaml experiments/tasks.yaml

small: install models/lite0/tf_efficientnet_lite0.safetensors
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/small.py $(ARGS)

models/lite0/tf_efficientnet_lite0.safetensors: | install
	$(BIN)/python tools/fetch_lite0.py

published: install
	$(SNAKEMAKE) published --quiet rules
	@$(BIN)/python tools/print_methods.py results/published

bench: install
	$(BIN)/python tools/bench.py

bench-scale: install
	$(BIN)/python tools/bench_scale.py

bench-text: install text
	$(BIN)/python tools/bench_text.py

fuzz: install
	$(BIN)/python tools/fuzz.py

torture: install
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/torture.py

lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet uv
	.venv-lock/bin/uv pip compile --universal --python-version 3.11 --no-emit-index-url --upgrade \
	  --custom-compile-command "make lock" --output-file envs/requirements.txt envs/requirements.in
	.venv-lock/bin/uv pip compile --universal --python-version 3.11 --no-emit-index-url --upgrade \
	  --custom-compile-command "make lock" --output-file envs/requirements-transformers.txt \
	  envs/requirements-transformers.in
	.venv-lock/bin/uv pip compile --universal --python-version 3.11 --no-emit-index-url --upgrade \
	  --custom-compile-command "make lock" --output-file envs/requirements-text.txt \
	  envs/requirements-text.in
	rm -r .venv-lock
	$(PYTHON) envs/conda.py
