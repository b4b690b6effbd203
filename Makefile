# Everything runs in .venv, which the first target that needs it makes; later calls repeat no installation.
#
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
#
# installs PyTorch's CPU build. Without it Linux gets PyPI's CUDA build, which is several gigabytes larger.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# make test PYTHON=python3.13 has an environment of its own; by default the first of these that is there.
PYTHON ?=
PYTHONS := python3.11 python3.12 python3.13 python3
VENV := $(if $(PYTHON),.venv-$(notdir $(PYTHON)),.venv)
RUN := $(VENV)/bin/python
STAMP := $(VENV)/installed
TORCH_INDEX ?=
CONSTRAINTS := constraints.txt
PIP_INSTALL := $(RUN) -m pip install --disable-pip-version-check --quiet -c $(CONSTRAINTS) \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

# Of make bench-compare.
REF ?= HEAD~1
# Of make cluster, make submit.
MINUTES ?= 240
JOB ?= train_joint
CONFIG ?= conf/demo.yaml
ARGS ?=
# Of make predict.
SOURCE ?=
OUT ?= people
# Of make serve.
PORT ?= 8000
CLUSTER := $(RUN) -m pipeline.commands.cluster
# Two test files at once: 47 minutes in place of 60 for the slow ones, on two cores.
SIDE_BY_SIDE := -n 2 --dist loadfile

.PHONY: help setup demo predict serve test test-slow test-lowest lint format graclus bench bench-compare cluster cluster-stop submit follow cancel

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv and install the pinned packages, once.

$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(RUN) -m pip --version >/dev/null 2>&1 || { \
		for python in $(or $(PYTHON),$(PYTHONS)) ""; do \
			"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
		done; \
		[ -n "$$python" ] || { \
			echo "error: Python 3.11, 3.12 or 3.13 is needed: none of these is it: $(or $(PYTHON),$(PYTHONS))" >&2; exit 2; }; \
		"$$python" -m venv $(VENV) || { \
			echo "error: $$python cannot make $(VENV) (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 2; }; \
	}
	@echo "Installing the packages of pyproject.toml into $(VENV), once ..."
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@

demo: $(STAMP) ## The whole path on drawn people, in minutes: data, both training stages, AP, pictures.
	@$(RUN) jobs/demo.py --config conf/demo.yaml $(ARGS)

predict: $(STAMP) ## People in photographs, by the model that comes along: SOURCE=photo.jpg (or a folder) OUT=people.
	@[ -n "$(SOURCE)" ] || { echo "error: SOURCE=photo.jpg is missing: name a photograph, or a folder of them" >&2; exit 2; }
	@$(RUN) jobs/predict.py --checkpoint docs/models/lite0_hgg.pt --source "$(SOURCE)" --out "$(OUT)" $(ARGS)

serve: $(STAMP) ## An endpoint and a page to try the model that comes along: PORT=8000, ARGS="key.sub=value".
	@$(RUN) jobs/serve.py --model docs/models/lite0_hgg.pt --port $(PORT) $(ARGS)

test: lint ## Lint, then the tests but those that take more than ten seconds each.
	@$(RUN) -m pytest -m "not slow" $(SIDE_BY_SIDE)

test-slow: $(STAMP) ## The other tests: real clusters, killed and gone on with.
	@$(RUN) -m pytest -m slow $(SIDE_BY_SIDE)

# What doctor compares is the tested set, which this is not; torch 2.9 does not export (docs/export.md); pyarrow 20 writes
# the same rows as other bytes than 25, and so their fingerprints are others.
test-lowest: ## The tests of make test with the lowest versions that pyproject.toml admits, in .venv-lowest.
	@$(MAKE) --no-print-directory setup VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt
	@.venv-lowest/bin/python -m pytest -m "not slow" $(SIDE_BY_SIDE) \
		--deselect tests/commands/test_doctor.py::test_this_environment_is_the_tested_one \
		--deselect 'tests/test_names_stay.py::test_names_stay[shards]' \
		--deselect 'tests/test_names_stay.py::test_names_stay[files]' \
		--ignore tests/hgg/test_exported.py --ignore tests/hgg/test_onnx.py --ignore tests/commands/test_export.py

lint: $(STAMP) ## Ruff (rules and format) and the type checker.
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m pyrefly check

format: $(STAMP) ## Let ruff mend and format the code.
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

# torch-cluster's build imports torch, hence no isolation. Its extensions are compiled side by side by setuptools,
# which takes the number from the configuration file, as torch-cluster turns ninja off.
graclus: $(STAMP) ## Compile torch-cluster (8 to 16 minutes), for grouping.matching=graclus.
	@printf '[build_ext]\nparallel = %s\n' "$$(nproc)" > $(VENV)/graclus.cfg
	@FORCE_ONLY_CPU=1 DIST_EXTRA_CONFIG=$(CURDIR)/$(VENV)/graclus.cfg \
		$(PIP_INSTALL) --no-build-isolation --no-binary torch-cluster 'torch-cluster==1.6.3'
	@$(RUN) -c 'import torch_cluster; print("torch-cluster", torch_cluster.__version__)'

bench: $(STAMP) ## Time every piece of work here (8 minutes), and write docs/performance.md with its picture.
	@$(RUN) -m tests.benchmarks.performance

bench-compare: $(STAMP) ## Time the pieces of grouping and encoding here and at the commit REF, in turn.
	@$(RUN) -m tests.benchmarks.compare $(REF)

cluster: $(STAMP) ## A Ray cluster on this machine's loopback, ended by cluster-stop or after MINUTES=240.
	@$(CLUSTER) start --minutes $(MINUTES)

cluster-stop: $(STAMP) ## End that cluster.
	@$(CLUSTER) stop

submit: $(STAMP) ## Send a job to it and follow its log: JOB=train_joint CONFIG=conf/demo.yaml ARGS="key.sub=value".
	@$(CLUSTER) submit $(JOB) --config $(CONFIG) $(ARGS)

follow: $(STAMP) ## Follow the log of a job again: ID=raysubmit_...
	@$(CLUSTER) follow $(ID)

cancel: $(STAMP) ## End a job: ID=raysubmit_...; the same submit resumes it.
	@$(CLUSTER) cancel $(ID)
