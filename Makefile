# Everything a newcomer needs: `make demo`, `make test`. PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: help demo test check check-lower-bounds docs bench gpu gpu-files kill-trials ray soak fuzz lock release sbom audit conformance format protos sim data zoo-data train-shipped clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

# The environment is made once, and again only when what it installs changes.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Genie needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## label and simulate the sample robot video; results in demo-out/
	$(BIN)/genie demo --out demo-out

test: $(STAMP) ## run all tests
	$(BIN)/pytest -n 2
	$(BIN)/pytest -m soak tests/reliability/test_soak.py

check: $(STAMP) ## style, types, import contracts, contract lint, stale generated code, Dockerfile, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mdformat --check README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md docs
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	$(BIN)/python scripts/protos.py --check
	$(BIN)/hadolint Dockerfile
	$(BIN)/mkdocs build --quiet

docs: $(STAMP) ## build the documentation: site/index.html
	$(BIN)/mkdocs build --quiet

check-lower-bounds: $(STAMP) ## the tests, with the lowest version of every dependency that pyproject.toml allows (20 minutes)
	$(BIN)/python scripts/lower_bounds.py

bench: $(STAMP) ## measure the published figures (half an hour on an idle machine); NAMES="a b" for some rows only
	$(BIN)/python -m benchmarks $(NAMES)

# Without the environment: on a GPU machine PYTHON is the one that has PyTorch.
gpu: ## measure everything on a GPU in under 9 minutes, part by part, resumable (docs/gpu.md); OPTIONS="--dry-run"
	$(PYTHON) -m benchmarks.gpu $(OPTIONS)

gpu-files: $(STAMP) ## fetch what a GPU machine without a network lacks: wheels and clips, into runs/gpu-files
	$(BIN)/python scripts/gpu_files.py $(OPTIONS)

kill-trials: $(STAMP) ## SIGKILL to client, server, exports, at random and at every step on the disk (20 minutes); OPTIONS="--random 300"
	$(BIN)/python -m tests.reliability $(OPTIONS)

$(VENV)/.ray-installed: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,ray]'
	@touch $@

ray: $(VENV)/.ray-installed ## `genie label --engine ray` on a Ray of this machine, with killed workers and drivers (Ray is 80 MB)
	$(BIN)/pytest tests/e2e/test_label_ray.py

soak: $(STAMP) ## four times the work that a server can do, beside clients that misbehave (10 minutes); OPTIONS="--seconds 60"
	$(BIN)/python -m tests.reliability.soak $(OPTIONS)

$(VENV)/.fuzz-installed: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,fuzz]'
	@touch $@

fuzz: $(VENV)/.fuzz-installed ## a million mutated inputs to every parser and the running server (half an hour on idle cores); TARGETS="png hdf5" OPTIONS="--share 0.1"
	$(BIN)/python -m tests.fuzz $(TARGETS) $(OPTIONS)

$(VENV)/.supply-installed: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,supply]'
	@touch $@

lock: $(VENV)/.supply-installed ## resolve what goes into the image again, with hashes: deploy/requirements/
	$(BIN)/python scripts/lock.py

release: sbom ## wheel, source distribution and SBOMs of a release: dist/
	$(BIN)/python -m hatchling build --directory dist

sbom: $(VENV)/.supply-installed ## what goes into the image, as CycloneDX, for each variant: dist/genie-*.cdx.json
	mkdir -p dist
	for variant in cpu cuda; do $(BIN)/cyclonedx-py requirements deploy/requirements/$$variant.txt --pyproject pyproject.toml \
	    --output-reproducible --output-format JSON --output-file dist/genie-$$variant.cdx.json || exit 1; done

audit: $(VENV)/.supply-installed ## known vulnerabilities of what goes into the image; asks PyPI, or OPTIONS="--vulnerability-service osv"
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement deploy/requirements/cpu.txt $(OPTIONS)
	$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement deploy/requirements/cuda.txt $(OPTIONS)

conformance: $(STAMP) ## other projects' own loaders on what Genie writes, each in its own environment (up to 25 GB)
	$(BIN)/python conformance/run.py $(TOOLS)

format: $(STAMP) ## format code and documentation
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mdformat README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md docs

protos: $(STAMP) ## make the Python of the gRPC contract again
	$(BIN)/python scripts/protos.py

DATA := runs/data/panda_random_train.hdf5 runs/data/panda_lab_train.hdf5

$(VENV)/.sim-installed: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,sim]'
	@touch $@

sim: $(VENV)/.sim-installed ## install the simulator too (needs a C compiler): for make data and the simulator's tests

# Order-only: data once made stays, whatever else is installed later.
runs/data/panda_random_train.hdf5: | $(VENV)/.sim-installed
	mkdir -p $(@D)
	$(BIN)/genie make-data $@ --looks randomised --episodes 1000 --seed 200

runs/data/panda_lab_train.hdf5: | $(VENV)/.sim-installed
	mkdir -p $(@D)
	$(BIN)/genie make-data $@ --looks laboratory --episodes 300 --seed 100

data: $(DATA) ## make the shipped model's training data (needs an OpenGL library: libosmesa6 or libegl1)

zoo-data: | $(VENV)/.sim-installed ## make simulated sets of many robots, cameras and motions in runs/data/zoo; ONLY="NAME ..." for some
	$(BIN)/python scripts/zoo_data.py runs/data/zoo $(if $(ONLY),--only $(ONLY))

# Tokenizer and latent action model need nothing of each other: on few cores two processes are faster than one after the other.
TRAIN := ../../$(BIN)/genie train $(notdir $(DATA)) --preset tiny --half --out ../tiny

train-shipped: $(DATA) ## train the shipped model again; interrupt and run again to resume
	export OMP_WAIT_POLICY=passive && cd runs/data && { \
	    $(TRAIN) --threads 1 --only lam & lam=$$!; \
	    $(TRAIN) --threads 2 --only tokenizer && wait $$lam && $(TRAIN) --threads 3; }

clean: ## remove the environment and the demo's results
	rm -rf $(VENV) demo-out
