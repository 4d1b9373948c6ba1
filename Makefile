# `make help` lists the targets. `make demo` and `make test` work on a bare Debian or Ubuntu machine with a Rust toolchain.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test lint shader-tests units bench train compare compare-loops compare-training regression published reduced radon tomography photographs pnp clean

CARGO ?= cargo
# Mesa's device selection complains on stderr where no session has set this.
export XDG_RUNTIME_DIR ?= /tmp
# The same random cases in every `make test`; `cargo test` alone draws new ones.
export PROPTEST_RNG_SEED ?= 1

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: ## install a software Vulkan driver if the machine has no Vulkan driver (Debian/Ubuntu)
	@./.ci/setup-vulkan

build: setup ## build both binaries
	$(CARGO) build --release --locked

demo: build ## denoise a bundled photograph; pictures and run.json go to demo-out/
	./target/release/reconstruct demo -o demo-out

test: setup lint shader-tests ## everything that CI runs

lint: ## formatting, clippy and documentation, warnings as errors
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps --document-private-items

# A software driver compiles a kernel on one core: two suites at a time, long ones first; the output of each comes when it ends.
JOBS ?= 2
LONG = programs filters networks solvers
SUITES = $(LONG) $(filter-out $(LONG),$(basename $(notdir $(wildcard tests/*.rs))) $(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs))))
CHECKED = filters networks solvers splines operators trainings
# Tests of kernels that others call, too: many times, or in blocks that take a driver minutes to compile with checks.
REPEATS = --skip certified_constants_hold_for_pairs --skip norm:: --skip descent:: --skip the_plans_of --skip weights_beyond_one_binding --skip ridge:: --skip large_filters --skip every_style

shader-tests: ## all tests, and the device tests with runtime checks inside the shaders
	$(CARGO) test --release --locked --no-run
	$(MAKE) --keep-going -j$(JOBS) $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(SUITES:%=suite-%) $(CHECKED:%=checked-%) checked-programs units

suite-%:
	$(CARGO) test --release --locked --test $*

units:
	$(CARGO) test --release --locked --lib --bins
	$(CARGO) test --release --locked --doc

checked-programs:
	KNOTWORK_SHADER_CHECKS=1 $(CARGO) test --release --locked --test programs cli_kernels::

checked-%:
	KNOTWORK_SHADER_CHECKS=1 $(CARGO) test --release --locked --test $* -- $(REPEATS)

bench: setup ## time the kernels
	$(CARGO) bench --locked

CONFIG ?= assets/configs/wcrr.toml
OUT ?= training
train: build ## train CONFIG on the folder IMAGES into the folder OUT, or go on there: make train IMAGES=photos CONFIG=assets/configs/wcrr.toml OUT=training
	./target/release/train ridge $(CONFIG) --images "$(IMAGES)" -o $(OUT) $(if $(wildcard $(OUT)/last.safetensors),--resume)

PUBLISHED = "$(KNOTWORK_SHARED)/data/pretrained/wcrr/checkpoint_6000.pth"
SIDE_BY_SIDE = ./target/release/train import $(PUBLISHED) -o target/wcrr.safetensors && python3 benches/compare/side_by_side.py --bin target/release/reconstruct --checkpoint $(PUBLISHED) --model target/wcrr.safetensors

compare: build ## whole processes side by side with PyTorch (STORE=1 keeps the ratios); needs python3, benches/compare/requirements.txt and KNOTWORK_SHARED
	$(SIDE_BY_SIDE) $(if $(STORE),--store benches/compare/ratios.json)

regression: build ## the same again, compared with the ratios in benches/compare/ratios.json; fails if knotwork got slower
	$(SIDE_BY_SIDE) --check benches/compare/ratios.json

compare-loops: build ## an iteration by image size and the activation alone side by side with PyTorch; needs the same
	./target/release/train import $(PUBLISHED) -o target/wcrr.safetensors
	python3 benches/compare/inner_loops.py --bin target/release/reconstruct --checkpoint $(PUBLISHED) --model target/wcrr.safetensors

compare-training: build ## training steps by batch size side by side with PyTorch; needs the same
	./target/release/train import $(PUBLISHED) --collapse -o target/collapsed.safetensors
	./target/release/train reduce target/collapsed.safetensors -o target/reduced.safetensors
	python3 benches/compare/training_step.py --bin target/release/train --checkpoint $(PUBLISHED) --model target/collapsed.safetensors --reduced target/reduced.safetensors --images "$(KNOTWORK_SHARED)/data/bsd400"

published: build ## published models on twelve test images against PyTorch; needs KNOTWORK_SHARED and python3 with numpy, scikit-image
	python3 benches/compare/set12.py

reduced: build ## the published WCRR with 101 knots and after `train reduce`, on twelve images; needs the same as published
	python3 benches/compare/reduced.py

radon: build ## the Radon transform beside scikit-image and ASTRA on the CPU: agreement and time; needs python3, benches/compare/requirements.txt
	python3 benches/compare/radon_skimage.py

tomography: build ## filtered back projection, total variation and the shipped model on phantoms, noise 0.5, 1 and 2
	sh benches/ct.sh target/tomography

photographs: build ## the same for deblurring, up-scaling, inpainting and MRI, on a photograph and a phantom
	sh benches/photographs.sh target/photographs

DENOISER ?= target/denoiser/model.safetensors
pnp: build ## plug-and-play with the denoiser of the file DENOISER on phantoms, CT and MRI, down to a residual of 1e-5
	sh benches/pnp.sh "$(DENOISER)" target/pnp

clean: ## remove what was built
	$(CARGO) clean
	rm -rf demo-out
