# The project's verbs; `make help` lists them. Each does one thing that a person would otherwise have to look up.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := bash

BIN := .venv/bin
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
COMPILED := requirements requirements-gunicorn requirements-dev requirements-assets requirements-deploy requirements-stack requirements-bench
ARGS ?=
# The full sizes have tests that take longer than a process is given anywhere else (pyproject.toml); their own limits stay.
PATIENT := -o faulthandler_timeout=0

.PHONY: help
help: ## List these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: setup assets ## Start the service on http://localhost:8000, with a demonstration library if it has none
	@ENVIRONMENT="$${ENVIRONMENT:-development}" exec $(BIN)/library serve --demo

.PHONY: test
test: setup-tests assets ## Run every test; ARGS="tests/unit -k isbn" passes options to pytest
	@$(BIN)/python -m pytest -p tests.ci -n 3 --ignore tests/integration/stack --ignore tests/deployment $(if $(FULL)$(CASES),$(PATIENT)) $(ARGS)  # they wait more than they work

.PHONY: coverage
coverage: setup-tests assets ## Run every test and count the lines of app/ that they reach; ARGS="tests/unit --cov-fail-under=0"
	@mkdir -p build
	@$(BIN)/python -m pytest -p tests.ci -n 3 --ignore tests/integration/stack --ignore tests/deployment \
		--cov --cov-report=term --cov-report=xml:build/coverage.xml --cov-fail-under=60 $(ARGS)

.PHONY: restore-test
restore-test: setup-tests assets ## Back up and restore by the shipped files, at the sizes of a release, and compare
	@FULL=1 $(BIN)/python -m pytest -p tests.ci -n 0 $(PATIENT) tests/integration/backups $(ARGS)

.PHONY: stack-test
stack-test: setup-stack ## Build the image, start all that docker-compose.yml names, and test it (root); FULL=1
	@FULL=$(FULL) $(BIN)/python -m pytest -p tests.ci -n 0 -p no:randomly $(if $(FULL),$(PATIENT)) tests/integration/stack $(ARGS)

.PHONY: bench
bench: setup-bench assets ## Measure every goal of performance, beside the machine's limit and peers; QUICK=1, ARGS="--only P1,P4"
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

.PHONY: soak
soak: setup-chaos ## Lend and book 100,000 times through kills, then ask 200,000 times and look for leaks; FULL=1, QUICK=1, ARGS="--part reading"
	@$(BIN)/python -m benchmarks.soak $(if $(QUICK),--quick) $(if $(FULL),--full) $(ARGS)

.PHONY: chaos
chaos: setup-chaos assets ## Break ten things under load, one after another, and judge what came of it (root); FULL=1, ARGS="--list"
	@$(BIN)/python -m tests.chaos $(if $(FULL),--full) $(ARGS)

.PHONY: check
check: setup-dev ## Check style, types, import contracts, dependencies, locks and scripts
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/deptry .
	@$(BIN)/shellcheck scripts/*.sh postgres/*.sh .ci/run
	@$(BIN)/python scripts/check_locks.py

.PHONY: format
format: setup-dev ## Put the code in shape, and mend what the linter can mend
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --quiet --fix

.PHONY: setup
setup: ## Install what the service needs at run time into .venv
	@scripts/setup.sh run

.PHONY: setup-dev
setup-dev: ## Install what checks and tests need into .venv
	@scripts/setup.sh dev

.PHONY: setup-servers
setup-servers: ## Install the servers that tests start, and what else Debian must give (root or sudo)
	@scripts/setup-servers.sh

.PHONY: setup-tests
setup-tests: setup-servers setup-dev ## Install all that the tests need

.PHONY: setup-chaos
setup-chaos: setup-tests ## Install what `make chaos` and `make soak` need besides (root or sudo)
	@scripts/setup-servers.sh --chaos

.PHONY: setup-bench
setup-bench: setup-tests ## Install what `make bench` needs besides (root or sudo), and its peers into .venv-bench
	@scripts/setup-servers.sh --bench
	@scripts/setup.sh bench

.PHONY: setup-stack
setup-stack: setup-dev ## Install what `make stack-test` needs besides (root or sudo)
	@scripts/setup-servers.sh --stack
	@$(BIN)/python -m scripts.stack_tools

.PHONY: setup-deploy
setup-deploy: setup-dev ## Install what `make check-deploy` needs into .venv-deploy and .make/deploy
	@scripts/setup-deploy.sh

.PHONY: check-deploy
check-deploy: setup-deploy ## Check k8s/, terraform/ and .github/: schemas, policies, and that they agree with the service
	@$(BIN)/python -m pytest -p tests.ci -n 2 --dist loadfile tests/deployment $(ARGS)

.PHONY: k8s-render
k8s-render: setup-deploy ## Write build/k8s/OVERLAY.yaml; OVERLAY=production DIGEST=sha256:…
	@$(BIN)/python -m scripts.k8s_render "$(or $(OVERLAY),production)" "$(DIGEST)"

.PHONY: image
image: ## Build the image with docker, podman or buildah; TAG=… BASE=…
	@scripts/image.sh $(or $(TAG),localhost/library:latest) $(BASE)

.PHONY: publish
publish: ## Push the image and write its digest into build/digest; TAG=… REGISTRY_USER=… REGISTRY_TOKEN=…
	@scripts/publish.sh $(or $(TAG),localhost/library:latest)

.PHONY: k8s-deploy
k8s-deploy: setup-deploy ## Release on Kubernetes; STEP=canary|blue-green|release|back DIGEST=sha256:… (scripts/k8s-deploy.sh)
	@scripts/k8s-deploy.sh $(STEP) $(if $(filter back,$(STEP)),,$(DIGEST))

.PHONY: smoke
smoke: ## Ask a running service what a reader would ask first; URL=https://…
	@scripts/smoke.sh $(or $(URL),http://localhost:8000)

.PHONY: notify
notify: ## Tell the team's channel; TEXT=… WEBHOOK_URL=…
	@python3 -c 'import json, sys; print(json.dumps({"text": sys.argv[1]}))' "$(TEXT)" | curl --fail --silent --show-error --json @- "$$WEBHOOK_URL"

.PHONY: outdated
outdated: ## Write what `make lock UPGRADE=1` changed into build/outdated.diff
	@mkdir -p build
	@git diff --unified=0 -- '*.txt' | grep '^[-+][a-z].*==' >build/outdated.diff || true
	@cat build/outdated.diff

.PHONY: env
env: ## Write .env, env/library.env and secrets/ for Compose; ENVIRONMENT=production PUBLIC_URL=https://…
	@python3 scripts/make_env.py --environment $(or $(ENVIRONMENT),production) $(if $(PUBLIC_URL),--public-url $(PUBLIC_URL))

.PHONY: assets
assets: setup ## Fetch the pages' scripts and fonts (npm) into app/static/vendor
	@$(BIN)/python scripts/assets.py

.PHONY: screenshots
screenshots: setup-tests assets ## Take the pictures of the main pages into docs/images
	@$(BIN)/python scripts/screenshots.py

.PHONY: dashboard-pictures
dashboard-pictures: setup-tests assets ## Draw dashboards from a live run of the monitoring into docs/images
	@PICTURES=docs/images $(BIN)/python -m pytest -p tests.ci -n 0 tests/integration/monitoring

.PHONY: autoscaling-picture
autoscaling-picture: setup-dev ## Draw what the autoscaler makes of a day into docs/images
	@$(BIN)/python scripts/autoscaling.py

.PHONY: lock
lock: setup-dev ## Write requirements*.txt anew from requirements*.in; UPGRADE=1 takes the newest releases
	@for name in $(COMPILED); do $(LOCK) $(if $(UPGRADE),--upgrade) $$name.in -o $$name.txt || exit; done
	@$(LOCK) --no-deps $(if $(UPGRADE),--upgrade) requirements-provider.in -o requirements-provider.txt

.PHONY: sbom
sbom: setup-dev ## Write the inventory of all that the service is made of (CycloneDX) into build/sbom.json
	@mkdir -p build
	@$(BIN)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --spec-version 1.6 --of JSON -o build/sbom.json

.PHONY: scan
scan: setup-dev ## Ask whether a release in requirements*.txt has a known hole; fails where nobody can say
	@$(BIN)/python scripts/scan.py

.PHONY: clean
clean: ## Remove everything that setting up, checking and testing made; data/ stays
	@rm -rf .venv .venv-bench .venv-deploy .make .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info app/static/vendor
	@find app alembic scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
