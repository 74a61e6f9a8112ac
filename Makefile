# Everything a user types. The virtual environment is the active one, else .venv, which the first target creates.
PYTHON ?= python3
VENV ?= $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin
ifneq ($(words $(VENV)),1)
$(error $(VENV): make takes no path with a space; accepted: VENV=FOLDER without one)
endif
READY := $(VENV)/.moore-ready
PINS := $(VENV)/pins.txt
SCALE ?= mini
STUDY ?= paper-methods
DEVICE ?= cpu
ARGS ?=
WHAT ?= bench
BENCH_OUT ?= build/benchmarks
# one thread for each process: two oversubscribed torch processes are ten times slower
export OMP_NUM_THREADS ?= 1

.PHONY: help setup lint type format test test-slow test-slurm bench quick reproduce-table reproduce-ablations publish figures pages
.PHONY: check-readme claims report notebooks submit clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

setup: $(READY)  ## create the environment with locked versions

# d4rl is there for tests that compare with it; they need none of its dependencies, of which mujoco_py does not work here
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 15) else "moore needs Python 3.11 to 3.14 (MuJoCo 4 has no older builds); set PYTHON=python3.12")'
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["uv"]["constraint-dependencies"], sep="\n")' > $(PINS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(PINS) torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(PINS) -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps d4rl==1.1
	touch $@

lint: $(READY)   ## ruff, and that imports go down the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: $(READY) ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

type: $(READY)   ## mypy
	$(BIN)/mypy

test: $(READY)   ## the fast tests, 10 minutes on two cores
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --ignore tests/cluster

test-slow: $(READY) ## kill -9 at 50 random moments and 2000 mutations of a study's files, in place of the 20 and 60 of `make test`
	KILLS=50 MUTATIONS=2000 $(BIN)/python -m pytest tests/run/test_kill.py tests/studies/test_fuzz.py

test-slurm: $(READY) ## the launcher on a real Slurm, started on this machine and ended again (tests/cluster/install.sh installs it)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/cluster

bench: $(READY)  ## speed and memory against R; WHAT=peers: beside plain PyTorch; WHAT=slice: 20 runs at the paper's scale (DEVICE=cpu|cuda)
	$(BIN)/python -m tests.benchmarks $(WHAT) --out $(BENCH_OUT) --device $(DEVICE) $(ARGS)

reproduce-table: $(READY) ## train what is missing, print the table; rows and figures go to build/ (STUDY=paper-methods|all-methods|..., SCALE=mini|laptop|paper)
	$(BIN)/moore reproduce --study $(STUDY) --scale $(SCALE) $(ARGS)

quick: $(READY)  ## two methods on one task from data to table, in two minutes: to see it run, not to cite
	$(BIN)/moore reproduce --study quick --scale quick $(ARGS)

reproduce-ablations: $(READY) ## the same for the paper's sampling strategies (SCALE=mini|laptop|paper)
	$(BIN)/moore reproduce --study sampling --scale $(SCALE) $(ARGS)

submit: $(READY) ## submit what is left of GRID to SLURM (GRID=sampling PROFILE=my-cluster.yaml SCALE=mini|laptop|paper)
	$(BIN)/moore study submit $(or $(GRID),$(error GRID is missing: a study, by name or path)) --scale $(SCALE) \
		--profile $(or $(PROFILE),$(error PROFILE is missing: a file in slurm/profiles, by name or path)) $(ARGS)

publish: $(READY) ## copy the rows of a finished study to analysis/results (STUDY=... SCALE=...), which changes files in git
	$(BIN)/moore study publish $(STUDY) --scale $(SCALE) $(ARGS)

figures: $(READY) ## tables and figures of every study, from the rows in analysis/results into build/
	$(BIN)/python -m analysis.output.report $(ARGS)

pages: $(READY)  ## README's generated blocks and analysis/RESULTS.md again, from the same rows (ARGS=--pictures)
	$(BIN)/python -m analysis.output.pages $(ARGS)

check-readme: $(READY) ## fail if a generated block of README or analysis/RESULTS.md is stale
	$(BIN)/python -m analysis.output.pages --check

claims: $(READY) ## the paper's claims judged on the rows in analysis/results, every comparison with its interval
	$(BIN)/python -m analysis.claims $(ARGS)

report: $(READY) ## what `make figures` writes, and one page with all of it: build/report.html
	$(BIN)/python -m analysis.output.report --page build/report.html $(ARGS)

notebooks: $(READY) ## execute analysis/notebooks; fail where a stored text is not what the rows say now (ARGS=--write stores it)
	$(BIN)/python -m analysis.output.show $(ARGS)

clean:           ## remove generated runs, what was built from them, and caches (what is in git stays)
	rm -rf runs build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info MUJOCO_LOG.TXT
	find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +
