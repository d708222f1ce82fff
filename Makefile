# The ways into this project. `make` alone lists them.
#
# One cargo profile (--release) and one set of packages (--workspace) everywhere, so that nothing, above all
# libtorch's C++ bindings, is compiled twice.

CARGO_TARGET_DIR ?= target
BIN := $(CARGO_TARGET_DIR)/release
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup build quickstart figures test test-gpu dist chaos attack fuzz bench fmt clean distclean

help: ## this list
	@echo "make TARGET [VARIABLE=value], where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F'\t' '{ printf "  %-12s %s\n", $$1, $$2 }'

setup: ## checks what the build needs and installs libtorch into .venv
	@scripts/setup         # LIBTORCH_VARIANT=cuda: the complete wheel; LIBTORCH=/dir: your own libtorch

build: setup ## release binaries: coordinator, worker, lsgan
	cargo build --release --locked --workspace

quickstart: build ## trains on 10,000 pictures of clothes, or goes on with it (WORKERS=2)
	$(BIN)/lsgan up --config configs/quickstart.yaml --workers $(WORKERS)

figures: build ## draws docs/gallery anew: the paper's claims, with their numbers (FULL=1: for an hour)
	$(BIN)/lsgan figure boundary losses pearson modes stability $(if $(FULL),--full) --out docs/gallery

test: setup ## formatting, clippy, every test, the files in deploy/
	@scripts/test

dist: build ## the archive for machines without a toolchain (VARIANT=cuda: without libtorch, with what fetches it)
	scripts/dist $(if $(VARIANT),--variant $(VARIANT))

test-gpu: ## the GPU's part on a machine without a GPU (installs the complete libtorch, 5 GB)
	@scripts/test-gpu

chaos: setup ## random faults on real runs (ROUNDS=50, SEED=n)
	cargo build --release --locked --workspace --bins
	$(BIN)/chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED))

attack: setup ## hostile hosts on all ports of a run that trains, without TLS and with it (MINUTES=10 each)
	cargo build --release --locked --workspace --bins
	$(BIN)/attack --minutes $(or $(MINUTES),10)
	$(BIN)/attack --minutes $(or $(MINUTES),10) --tls

fuzz: ## hostile inputs for everything that is read from others (INPUTS=1000000 each, TARGET=tar, SEED=1)
	LSGAN_FUZZ_INPUTS=$(or $(INPUTS),1000000) LSGAN_FUZZ_SEED=$(or $(SEED),1) cargo test --release --locked --no-fail-fast \
		-p lsgan-collective -p lsgan-data -p lsgan-objects -p lsgan-runfile -p lsgan-snapshots -p lsgan-wire --lib --tests \
		-- fuzz_$(TARGET) --nocapture --test-threads=1 | grep -vE '^(running|test result|test )|^$$'

bench: setup ## measures this machine against PyTorch (PART=train, ROUNDS=3)
	@scripts/python-env .venv-peer bench/requirements.txt
	cargo build --release --locked --workspace --bins --examples
	python3 bench/run $(if $(PART),--part $(PART)) $(if $(ROUNDS),--rounds $(ROUNDS))

fmt: ## formats the Rust code
	cargo fmt --all

clean: ## removes what was built; libtorch and your runs stay
	cargo clean

distclean: clean ## removes libtorch and the Python environments also; your runs stay
	rm -rf .venv .venv-cuda .venv-peer .venv-test .azurite .libtorch
