# What a person types. `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# SLURM=0 leaves the Slurm tests out.
SLURM ?= 1
export SLURM

# Cells of the proof: pairs, all, sample, or names. Faults of the storm, and the seed of their schedule.
CELLS ?= pairs
FAULTS ?= 50
SEED ?= 7

.PHONY: help setup demo check test test-train test-slurm catalogue cluster cluster-down bench proof storm \
	sweep-proof asha airgap

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(STAMP) ## build .venv with everything pinned; does nothing when there is nothing to do

$(STAMP): pyproject.toml constraints.txt setup.sh
	@bash setup.sh $(VENV)
	@touch $@

demo: setup ## fine-tune a real small model on this machine and show the result
	@$(BIN)/python -m launcher +model=smollm2_135m +cluster=local

check: setup ## the fast part: style, types, imports between rooms, unit tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q -n 2 -m "not train and not slurm" tests

test-train: setup ## tests that train real models
	@$(BIN)/python -m pytest -q -n 2 -m "train and not slurm" tests

test-slurm: setup ## tests on a real private Slurm cluster; SLURM=0 leaves them out
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m slurm tests/slurm

test: ## everything: check, training tests, Slurm tests
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory test-train
	@$(MAKE) --no-print-directory test-slurm

catalogue: setup ## write docs/catalogue.md from the options' files
	@$(BIN)/python -m launcher catalogue --markdown > docs/catalogue.md.new
	@mv docs/catalogue.md.new docs/catalogue.md

cluster: setup ## leave a private Slurm cluster up to try things on
	@$(BIN)/python -m tests.slurm.cluster up --suffix try

cluster-down: setup ## remove that cluster and every trace of it
	@$(BIN)/python -m tests.slurm.cluster down --suffix try

bench: setup ## measure ratios against named alternatives, write docs/benchmarks.md
	@$(BIN)/python -m benchmarks

proof: setup ## interrupt runs in every way and compare their weights bit by bit, write docs/proof.md; CELLS=all
	@$(BIN)/python -m tests.proof --cells $(CELLS)

sweep-proof: setup ## a grid of 12 trials under preemption, each as it is alone, write docs/sweep-proof.md
	@$(BIN)/python -m tests.sweep_proof

asha: setup ## a grid of 20 trained whole, and searched by successive halving from three seeds, write docs/asha.md
	@$(BIN)/python -m tests.search_proof

storm: setup ## one run under FAULTS=50 faults of SEED=7 on a real Slurm, write docs/storm.md
	@$(BIN)/python -m tests.storm --faults $(FAULTS) --seed $(SEED)

airgap: setup ## pack a run and this environment, install and train it where there is no network at all
	@$(BIN)/python -m tests.airgap
