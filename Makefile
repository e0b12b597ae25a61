# Everything a newcomer or a build machine needs. The gate itself is in xtask/.

.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-hsm fmt

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install SoftHSM 2, cvc5, Node.js and Python's venv if they are missing (apt-get; sudo when not root)
	@scripts/setup

build: ## Build tallyd, hsmd and tally, optimised
	cargo build --locked --release -p tally-node -p tally-hsm-adapter -p tally-cli

demo: setup ## Build and run the whole tour on a throw-away cluster
	cargo build --locked -p tally-node -p tally-hsm-adapter -p tally-cli
	$(TARGET_DIR)/debug/tally demo

test: setup ## Run every check and test, as continuous integration does
	cargo xtask ci

test-hsm: setup ## Run the HSM suite on a second PKCS#11 module too, Kryoptic (the first time it is built: minutes)
	@scripts/setup-kryoptic
	cargo build --locked --manifest-path tools/kryoptic-module/Cargo.toml --target-dir $(TARGET_DIR)/kryoptic
	TALLY_KRYOPTIC_MODULE=$(abspath $(TARGET_DIR))/kryoptic/debug/libkryoptic_pkcs11.so \
		cargo test --locked -p tally-softhsm-tests --features kryoptic

fmt: ## Format the sources
	cargo fmt --all
