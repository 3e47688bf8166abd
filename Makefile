# make demo    build, train and find anomalies, small          make lint    everything that reads and doesn't run
# make test    build and run the tests                         make cuda    compile and check every CUDA kernel
# make bench   times beside other ways of computing            make docs    the documentation, into build/site
# make clean   remove what was built                      make wheel   a wheel for others, checked where no compiler is
#
# Each does its own set-up in .venv. PYTHON=python3.12 names another interpreter.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := $(wildcard csrc/*.cpp csrc/*/*.cpp csrc/*/*.h csrc/*/*.cu csrc/*/*.cuh)
TEST_SOURCES := $(wildcard tests/*/*.cpp tests/*/*.h tests/*/*.cu bench/*.cpp bench/*/*.cpp examples/*/*.cpp examples/*/*.h)
NVCC ?= nvcc
NVCC_FLAGS := -std=c++17 -O3 --expt-relaxed-constexpr -Icsrc -Werror all-warnings -Xcompiler=-Wall,-Wextra,-Werror -Xptxas=-v \
	-gencode=arch=compute_75,code=sm_75 -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90
CUDA_OBJECTS := $(patsubst csrc/cuda/%.cu,build/cuda-check/%.o,$(wildcard csrc/cuda/*.cu))

# What is to be measured, for all alike, is not the system's giving of fresh pages: malloc keeps and joins what is freed.
# Small pieces in its caches would keep large ones apart, and every output would lie in fresh pages.
KEEP_MEMORY := GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296:$\
glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0

.PHONY: demo test bench lint cuda docs wheel clean

demo: .venv/installed
	$(BIN)/mnad demo --out demo

# Each process has one core. Where they share them, threads of a small network wait for each other nearly all the time.
test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

bench: .venv/installed
	@mkdir -p build
	$(KEEP_MEMORY) $(BIN)/python -m pytest bench -c bench/pytest.ini --benchmark-json=build/bench.json
	BENCH_COMMAND="make bench" $(BIN)/python bench/plot_results.py build/bench.json build/bench

lint: .venv/installed .venv/lint-tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(SOURCES) $(TEST_SOURCES)

cuda: .venv/cuda-tools $(CUDA_OBJECTS)
	$(BIN)/python bench/cuda_resources.py bench/results/cuda-resources.json csrc/cuda/plan.h $(CUDA_OBJECTS)

docs: .venv/docs-tools
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "the documentation is in build/site/index.html"

# TORCH_VERSIONS="2.11.0 2.13.0 2.15.0" checks it beside several; each of the default index is 5 GB with its CUDA libraries.
TORCH_VERSIONS ?= $(shell sed -n 's/^torch==//p' constraints.txt)
wheel: .venv/installed
	wheel=$$($(BIN)/python build_tools/make_wheel.py dist) && $(BIN)/python build_tools/check_wheel.py "$$wheel" $(TORCH_VERSIONS)

# Each source has a folder for the cubins that nvcc keeps, and a log of what ptxas says of registers and spills.
build/cuda-check/%.o: csrc/cuda/%.cu $(SOURCES) Makefile
	@mkdir -p $(@D)/$*
	@$(NVCC) --version > $(@D)/$*.log
	$(NVCC) $(NVCC_FLAGS) --keep --keep-dir $(@D)/$* -c $< -o $@ 2>> $(@D)/$*.log || { cat $(@D)/$*.log >&2; exit 1; }

clean:
	rm -rf build dist .venv *.egg-info mnad_ext/_C.*.so

.venv/bin/python:
	$(PYTHON) -m venv .venv || { echo "python3-venv is missing; Debian, Ubuntu: apt-get install python3-venv"; exit 1; }

# torch first, so that the extension is built against it and no other one is downloaded.
.venv/installed: .venv/bin/python constraints.txt pyproject.toml setup.py $(wildcard build_tools/*.py) $(SOURCES)
	$(PIP) torch setuptools wheel pybind11 ninja
	$(PIP) --no-build-isolation -e ".[test]"
	@touch $@

.venv/lint-tools: .venv/bin/python constraints.txt
	$(PIP) ruff mypy clang-format
	@touch $@

# ruff formats the signatures of the API reference.
.venv/docs-tools: .venv/bin/python constraints.txt
	$(PIP) mkdocs-material "mkdocstrings[python]" ruff
	@touch $@

.venv/cuda-tools: .venv/bin/python constraints.txt
	$(PIP) nvidia-cuda-nvdisasm rich
	@touch $@
