# Two commands: `make demo` runs the whole way on the machine at hand, `make test` runs the tests.
# Both make .venv themselves; only Python 3.11, git and make must be there.
.DELETE_ON_ERROR:
.PHONY: demo test lint check mutants clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
PIP := $(BIN)/python -m pip install --constraint constraints.txt

demo: .venv/.demo
	dvc repro
	@pipeline report --exit-zero
	@release status
	@release write

test: .venv/.dev
	pytest tests/unit tests/integration

lint: .venv/.dev
	ruff check .
	ruff format --check .
	mypy
	lint-imports

check: lint test

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[export,device,release]'
	@touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable '.[export,device,release,dev]'
	# Types of TensorRT's API: aside, since they would pass for TensorRT itself, and mended, since
	# they use names that Python keeps for itself.
	$(PIP) --quiet --no-deps --upgrade --target .venv/stubs tensorrt-stubs==10.13.0.35.1
	sed -i -e 's/, in: /, in_: /' -e 's/channel_axis: int)/channel_axis: int = 0)/' \
	    -e '/^bool: DataType/d' \
	    .venv/stubs/tensorrt_bindings/tensorrt.pyi
	@touch $@ .venv/.demo

.venv/bin/python:
	$(PYTHON) -m venv .venv

# Twenty minutes at most; what is left is tried by the next run. Aside: mutmut wants a newer click
# than DVC's other packages here, and runs with this one.
mutants: .venv/.mutants
	PYTHONPATH=$(CURDIR)/.venv/mutants timeout 1200 $(BIN)/python tests/mutants.py || \
	    PYTHONPATH=$(CURDIR)/.venv/mutants $(BIN)/python tests/mutants.py show

.venv/.mutants: .venv/.dev
	$(PIP) --quiet --no-deps --upgrade --target .venv/mutants mutmut==3.8.1 \
	    libcst==1.9.0 setproctitle==1.3.8 coverage==7.11.3
	@touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
