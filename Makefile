# Each target's first line carries its help after two hashes; every recipe is one line.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: up test check fix bench live clean help sync oracle vespa-smoke

# The environment is made when the lock or the metadata is newer than its stamp.
STAMP := .venv/.scrubjay-synced
RUN := .venv/bin/

$(STAMP): pyproject.toml uv.lock Makefile scripts/bootstrap.sh
	@sh scripts/bootstrap.sh && touch $@

sync: $(STAMP) ## install everything into .venv (done by the others when needed)

up: $(STAMP) ## start Scrubjay with the sample knowledge base; Ctrl-C stops it
	@sh scripts/bootstrap.sh launcher && exec ./scrubjay up

test: $(STAMP) ## run the tests, in a process for each core and one more
	@$(RUN)pytest -q -n auto --dist loadfile

check: $(STAMP) ## everything static: format, lint, types, import arrows, lock, spelling
	@$(RUN)ruff format --check . && $(RUN)ruff check . && $(RUN)mypy && $(RUN)lint-imports && sh scripts/bootstrap.sh uv lock --check && $(RUN)typos

fix: $(STAMP) ## format, repair what can be repaired, rewrite the reference pages
	@$(RUN)ruff format . && $(RUN)ruff check --fix . && $(RUN)python -m cli.reference

oracle: ## fetch Vespa's own Java code, which judges vespa_app (needs a JDK of 17 or newer, and Maven)
	@mvn -B -q -f tests/vespa_oracle/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.vespa-oracle

bench: $(STAMP) ## measure against the promises; results go to benchmarks/results/
	@$(RUN)python -m benchmarks

live: $(STAMP) ## ask the configured language model 60 questions of the sample, and report (may cost money)
	@$(RUN)python -m benchmarks.live

vespa-smoke: $(STAMP) ## run the index's suite on a real Vespa in a container (needs Docker, 8 GB)
	@docker compose -f deploy/compose.smoke.yml up --detach --wait && { SCRUBJAY_VESPA_URL=http://127.0.0.1:8080 $(RUN)pytest -q tests/engine/index/test_vespa_cluster.py; status=$$?; docker compose -f deploy/compose.smoke.yml down --volumes; exit $$status; }

clean: ## remove everything made here: environment, caches, launcher, data folder
	@sh scripts/bootstrap.sh clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-11s %s\n", $$1, $$2}'
