# `make demo` needs Python 3.11 to 3.13; `make test` also needs git and about 2 GB of disk.
# Another interpreter: make PYTHON=/path/to/python3 ...

PYTHON ?=
VENV := .venv
VENV_TEST := .venv-test
JOBS ?=

RUN := $(VENV_TEST)/bin/python -m tests.checks.run_checks $(if $(JOBS),--jobs $(JOBS))
EXEC := $(VENV_TEST)/bin/python -m tests.checks.run_checks --exec
export PYTHON
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

CHECKS := lint pages sanity sanity-newest unit schema integration molecule package

.DEFAULT_GOAL := help
.PHONY: help demo plan test test-all $(CHECKS) test-cluster bench dashboard picture plan-picture benchmark docs compat requirements clean $(VENV) $(VENV_TEST)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV) ## Build, install and run the Open edX sample into build/manifests: no cluster needed
	@sh tests/checks/demo.sh $(VENV)

INVENTORY ?= playbooks/inventory/openedx
LOAD ?= $(if $(filter playbooks/inventory/openedx,$(INVENTORY)),playbooks/inventory/openedx-load.yml)
plan: $(VENV) ## Simulate a day of the sample, and write build/plan.html for a browser: make plan INVENTORY=path LOAD=path SUGGEST=1
	@$(VENV)/bin/python -m tests.checks.plan "$(INVENTORY)" "$(LOAD)" $(SUGGEST)

test: $(VENV) $(VENV_TEST) ## Run the checks below, side by side, and the demo; all but sanity-newest
	@$(RUN) most

test-all: $(VENV) $(VENV_TEST) ## Run every check, as the hosted pipeline does
	@$(RUN) all

lint: $(VENV_TEST) ## ruff, mypy (strict), yamllint and ansible-lint (production profile)
	@$(RUN) $@

pages: $(VENV_TEST) ## Generated pages and files are up to date, and every example inventory in the docs works
	@$(RUN) $@

sanity: $(VENV_TEST) ## ansible-test sanity of what is shipped, on ansible-core 2.19, without ignores
	@$(RUN) $@

sanity-newest: $(VENV_TEST) ## The same and the tests on ansible-core 2.21, with every Python from 3.11; it needs 3.12 or newer
	@$(RUN) $@

unit: $(VENV_TEST) ## Unit tests: pure Python
	@$(RUN) $@

schema: $(VENV_TEST) ## Every manifest against the schemas of Kubernetes and of the custom resources
	@$(RUN) $@

integration: $(VENV_TEST) ## The role and its modules against the API emulator, and against real brokers where present
	@$(RUN) $@

molecule: $(VENV_TEST) ## The molecule scenarios
	@$(RUN) $@

package: $(VENV_TEST) ## Build, install and verify the tarball; check its documentation and changelog; import it as Galaxy does
	@$(RUN) $@

test-cluster: $(VENV_TEST) ## The integration tests on a real cluster: make test-cluster KUBECONFIG=path
	@test -n "$(KUBECONFIG)" || { echo "Name the cluster: make test-cluster KUBECONFIG=path" >&2; exit 1; }
	@KUBECONFIG="$(abspath $(KUBECONFIG))" $(EXEC) python -m pytest tests/integration

bench: $(VENV_TEST) ## What a run costs, beside kubectl and the goals: make bench QUICK=1, make bench KUBECONFIG=path
	@$(if $(KUBECONFIG),KUBECONFIG="$(abspath $(KUBECONFIG))") $(EXEC) python -m tests.bench.bench \
		$(if $(QUICK),--quick) $(if $(TREE),--tree "$(TREE)")

dashboard: $(VENV_TEST) ## Write the dashboard of an inventory into build/dashboards: make dashboard INVENTORY=path
	@$(EXEC) python tests/checks/dashboard.py "$(INVENTORY)" build/dashboards

picture: $(VENV_TEST) ## Draw docs/images/dashboard.png from five minutes of a real site (needs matplotlib in .venv-test)
	@$(EXEC) python -m tests.checks.picture

plan-picture: $(VENV_TEST) ## Draw docs/images/plan.png from the page of `make plan` (needs chromium)
	@$(EXEC) python -m tests.checks.plan_picture

benchmark: $(VENV_TEST) ## Write docs/benchmark.md: eight loads, simulated, beside plain KEDA and the least possible (some minutes)
	@$(EXEC) python -m tests.bench.benchmark

docs: $(VENV_TEST) ## Write the page of all nested keys, the tables of rights, and the screens of docs/screens.md
	@$(EXEC) python tests/checks/key_reference.py --write
	@$(EXEC) python tests/checks/rights_table.py --write
	@$(EXEC) python -m tests.checks.screens --write

compat: ## Unit tests and sanity on another ansible release: make compat ANSIBLE=11 (10 to 14 bring core 2.17 to 2.21)
	@test -n "$(ANSIBLE)" || { echo "Name the release: make compat ANSIBLE=11" >&2; exit 1; }
	@sh tests/checks/compat.sh "$(ANSIBLE)"

# To move to newer releases: edit requirements/*.in, run `make requirements`, then `make test`.
# Each file is resolved on the oldest Python that uses it.
requirements: ## Resolve requirements/*.in into the pinned *.txt files
	@sh tests/checks/lock.sh demo 3.11 3.11
	@sh tests/checks/lock.sh test 3.11 3.11
	@sh tests/checks/lock.sh sanity-newest 3.12 3.13
	@sh tests/checks/lock.sh galaxy-importer 3.11 3.11
	@sh tests/checks/lock.sh uv 3.11 3.13

clean: ## Remove the environments, build results and caches
	rm -rf $(VENV) $(VENV_TEST) build .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache .molecule-kube collections tests/output
	find plugins roles tests extensions -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The script compares the pins with those that the environment was made from, so it runs each time and is quick.
$(VENV):
	@sh tests/checks/make_venv.sh $@ requirements/demo.txt 3.11 3.13

$(VENV_TEST):
	@sh tests/checks/make_venv.sh $@ requirements/test.txt 3.11 3.13
