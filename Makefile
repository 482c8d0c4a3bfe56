# `make demo` runs the main job, `make test` passes the fast tests. Each makes its own virtual environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check spec agents real-agent systemd vm bench clean help

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY) ## Run the main job: two tasks, switches, a crash, a restart
	$(BIN)/taskctl demo

test: $(READY) ## Pass the fast tests: no network, no root, no Node
	$(BIN)/python -m pytest -n 2

check: $(READY) ## Format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

spec: $(READY) ## Write the generated part of the contract
	$(BIN)/python spec/generate.py

agents: $(READY) ## Install the real agents that the tier `real-agent` drives (npm)
	$(BIN)/python -m tests.kit.install_agents

real-agent: agents ## Drive real pi against a local mock model
	$(BIN)/python -m pytest -m real_agent tests/real_agent tests/kit_tests/test_pi_tape.py

systemd: $(READY) ## Boot systemd in a container and run the units (root, Debian packages)
	$(BIN)/python -m pytest -m systemd tests/systemd

vm: $(READY) ## Boot a virtual machine: vsock, init, the kernel command line (QEMU)
	$(BIN)/python -m pytest -m vm tests/vm

bench: $(READY) ## Measure this machine
	$(BIN)/taskctl bench

clean: ## Remove what was made here
	rm -rf $(VENV) .agents .nspawn .vm .pytest_cache .mypy_cache .ruff_cache .hypothesis
