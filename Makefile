# Everything a newcomer or a build machine needs. The gate itself is in xtask/.

.DEFAULT_GOAL := help
.PHONY: help setup build demo test fmt

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install SoftHSM 2 and cvc5 if they are missing (apt-get; sudo when not root)
	@scripts/setup

build: ## Build tallyd and tally, optimised
	cargo build --locked --release -p tally-node -p tally-cli

demo: setup ## Build and run the whole tour on a throw-away cluster
	cargo build --locked -p tally-node -p tally-cli
	$(TARGET_DIR)/debug/tally demo

test: setup ## Run every check and test, as continuous integration does
	cargo xtask ci

fmt: ## Format the sources
	cargo fmt --all
