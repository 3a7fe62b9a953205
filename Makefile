# Two commands: `make demo` runs the whole way on the machine at hand, `make test` runs the tests.
# Both make .venv themselves; only Python 3.11 or later, git and make must be there.
.DELETE_ON_ERROR:
.PHONY: demo released fleet test test-unit test-integration test-long lint check mutants mutants-outside clean

SUITS := import sys; sys.exit(sys.version_info < (3, 11))
# The first that runs: pyenv's are on PATH and refuse, where it has another version chosen.
PYTHON ?= $(shell for one in python3.11 python3 python3.14 python3.13 python3.12; do \
    $$one -c '$(SUITS)' 2>/dev/null && { echo $$one; break; }; done)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
PIP := $(INSTALL) --quiet

# For Linux the package index has PyTorch for CUDA, several GB more: `make demo TORCH=cpu` takes it from
# PyTorch's own index. Those two packages and nothing else, which could be anybody's there; and that
# index itself could not be tried where this was written, only a copy.
TORCH_INDEX := https://download.pytorch.org/whl/cpu
ifeq ($(TORCH),cpu)
SIZE := GB
PYTORCH = $(INSTALL) --no-deps --retries 2 --timeout 20 --index-url $(TORCH_INDEX) torch torchvision || { \
    echo "error: Expected PyTorch without CUDA at $(TORCH_INDEX), but could not get it. See what" \
    "pip says above; leave TORCH=cpu out, or name a copy: make demo TORCH=cpu TORCH_INDEX=URL" >&2; exit 2; }
else
SIZE := GB (6 GB where PyTorch is the one for CUDA)
PYTORCH = :
endif

# Exit 3 or 4 of `pipeline report` where nothing was released.
demo: .venv/.demo
	@echo "dvc repro: two minutes on two idle cores, half of it for measuring three engines"
	@# What was INVALID is measured again: DVC would keep it.
	@pipeline report --invalid | xargs -I ENGINE rm -f \
	    "engines/targets/$$(sed -n 's/^target: *//p' params.yaml)/out/ENGINE/benchmark.json"
	dvc repro
	@release status
	@release write
	@pipeline report --one-passes
	@echo "Next:"
	@echo "  . .venv/bin/activate"
	@echo "  dvc plots show                # latency and accuracy, as a page (online)"
	@echo "  pipeline add-model NAME --weights best.pt --data data.yaml --imgsz 640"
	@echo "  make fleet                    # a clone and a bare repository to try release promote in"

# A release manager's clone of what the demo released, and in place of a server a bare repository that
# it pushes to. Nothing of it gets into this clone, and a second run begins anew.
FLEET := .fleet
released:
	@test -d release/records || { echo "error: Nothing is released yet. Run make demo." >&2; exit 2; }

fleet: released .venv/.demo
	@rm -rf $(FLEET)
	@git init --quiet --bare --initial-branch=main $(FLEET)/fleet.git
	@git clone --quiet --no-checkout . $(FLEET)/clone && git -C $(FLEET)/clone read-tree HEAD
	@# All that git would take from here, so that a key or a ring that is not committed counts too.
	@git --git-dir=$(FLEET)/clone/.git --work-tree=. add --all
	@cd $(FLEET)/clone && git checkout --quiet -B main && git checkout-index --all --force && \
	    git remote set-url origin "$(CURDIR)/$(FLEET)/fleet.git" && \
	    { git config user.email >/dev/null || git config user.email you@example.com; } && \
	    { git config user.name >/dev/null || git config user.name You; } && \
	    { git diff --cached --quiet || \
	    git commit --quiet --no-verify --message="The demo's releases"; } && \
	    git push --quiet --no-verify --set-upstream origin main
	@echo "Next:"
	@echo "  cd $(FLEET)/clone"
	@echo "  release status"
	@echo "  release promote MODEL --target T --to pilot --dry-run"
	@echo "What a demo cannot have (a registry, sites, an hour in the canary, a key that people trust)"
	@echo "is asked all the same: --override all --why \"trying\""

test: .venv/.dev
	pytest tests/unit tests/integration

test-unit test-integration: test-%: .venv/.dev
	pytest tests/$*

# By hand: what takes minutes by itself.
test-long: .venv/.dev
	pytest -m long tests/integration

lint: .venv/.dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports

check: lint test

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv, 2.5 $(SIZE): two to three minutes, and longer on a slow line"
	@$(PYTORCH)
	@$(PIP) --editable '.[export,device,release]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv, 3 $(SIZE): two to three minutes, and longer on a slow line"
	@$(PYTORCH)
	@$(PIP) --editable '.[export,device,release,dev]'
	# Types of TensorRT's API: aside, since they would pass for TensorRT itself, and mended, since
	# they use names that Python keeps for itself.
	@$(PIP) --no-deps --upgrade --target .venv/stubs tensorrt-stubs==10.13.0.35.1
	@sed -i -e 's/, in: /, in_: /' -e 's/channel_axis: int)/channel_axis: int = 0)/' \
	    -e '/^bool: DataType/d' \
	    .venv/stubs/tensorrt_bindings/tensorrt.pyi
	@touch $@ .venv/.demo

.venv/bin/python:
	@"$(PYTHON)" -c '$(SUITS)' 2>/dev/null || { echo "error: Expected Python 3.11 or later, got" \
	    "$$("$(PYTHON)" --version 2>/dev/null || echo none). Install one, or name it:" \
	    "make demo PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv

# Twenty minutes at most; what is left is tried by the next run. Aside: mutmut wants a newer click
# than DVC's other packages here, and runs with this one.
mutants: .venv/.mutants
	PYTHONPATH=$(CURDIR)/.venv/mutants timeout 1200 $(BIN)/python tests/mutants.py run $(MODULES) || \
	    PYTHONPATH=$(CURDIR)/.venv/mutants $(BIN)/python tests/mutants.py show

# What mutmut leaves alone; after `make mutants`, whose statistics say which tests reach what.
mutants-outside: .venv/.dev
	timeout 1200 $(BIN)/python tests/mutants_outside.py

.venv/.mutants: .venv/.dev
	@$(PIP) --no-deps --upgrade --target .venv/mutants mutmut==3.8.1 \
	    libcst==1.9.0 setproctitle==1.3.8 coverage==7.11.3
	@touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
