# make demo   a first result in minutes, from nothing but Python >= 3.11 and a package index
# make test   lint, types and tests
# make docs   the pages of docs/ as a site, in site/
# make wheel  the package to install, in dist/
# make soak   100 kills at random moments, and the same numbers bit for bit
# make fuzz   changed files for every reader (COUNT=1250 SEED=0), see docs/reliability.md
# make beauty the run on real data (RAW=folder with reviews_Beauty_5.json.gz and meta_Beauty.json.gz)

# Pages of 2 MB: training on a CPU under Linux is about a quarter faster.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PRESET ?= demo
KILLS ?= 50
COUNT ?= 1250
SEED ?= 0
RAW ?= ../shared/data/amazon_beauty_2014

.PHONY: demo test lint format types unit docs wheel fuzz bench soak beauty lowest clean

demo: $(VENV)/.installed
	$(BIN)/python -m launch.prepare --source=synthetic --preset=$(PRESET) --out=datasets/$(PRESET) --overwrite
	$(BIN)/python -m launch.audit --data=datasets/$(PRESET)
	rm -rf runs/$(PRESET)
	$(BIN)/python -m launch.main --config=lcr_jax/configs/$(PRESET).py --workdir=runs/$(PRESET)

test: lint types unit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-test
	$(BIN)/mypy

unit: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

docs: $(VENV)/.installed-test
	$(BIN)/python -m mkdocs build --strict

# Without what an older build has left in build/, which would be packed again.
wheel: $(VENV)/.installed-test
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

fuzz: $(VENV)/.installed-test
	$(BIN)/python tests/fuzz/run.py --count=$(COUNT) --seed=$(SEED)

bench: $(VENV)/.installed
	$(BIN)/python -m launch.bench data

# 50 kills of LCR and 50 of GenSR, each with all its stages, on a dataset of 64 users.
soak: $(VENV)/.installed
	rm -rf runs/soak datasets/soak
	$(BIN)/python -m launch.prepare --source=synthetic --preset=tiny --out=datasets/soak
	$(BIN)/python -m launch.soak --workdir=runs/soak/lcr --kills=$(KILLS) --config.data.path=datasets/soak \
	  --config=lcr_jax/configs/tiny.py --config.second.kind=reinforce --config.second.epochs=1 \
	  --config.second.eval_every_epochs=0.5 --config.second.rollouts=3 --config.reasoner.steps=1
	$(BIN)/python -m launch.soak --workdir=runs/soak/gensr --kills=$(KILLS) --config.data.path=datasets/soak \
	  --config=gensr_jax/configs/tiny.py --config.text.vocabulary=256 --config.train.batch_size=64 \
	  --config.cf.epochs=4 --config.cf.eval_every_epochs=2 --config.train.log_every_steps=1 \
	  --config.train.checkpoint_every_steps=3
	$(BIN)/python -m launch.soak --table=runs/soak/lcr,runs/soak/gensr

beauty: $(VENV)/.installed
	$(BIN)/python -m launch.prepare --source=amazon_2014 --raw=$(RAW) --out=datasets/beauty --category=Beauty --overwrite
	$(BIN)/python -m launch.main --config=lcr_jax/configs/beauty.py --config.data.path=datasets/beauty --workdir=runs/beauty

# The oldest versions that setup.cfg allows, and the tests on them.
lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint lowest.txt --editable ".[all,docs,test]"
	$(VENV)-lowest/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[all]"
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[all,docs,test]"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist site *.egg-info
