# Short names for what the project's tools do; none is needed to run zaidash.

PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help test check page openapi pyz dist bench agree fire load soak peers ci clean

help: ## list what there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

test: ## run the tests
	$(PYTHON) -m pytest

check: ## look at style and types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

page: ## build static/ from frontend/
	cd frontend && npm ci && npm run build

openapi: ## describe the API anew, in docs/ and for the page; needs PyYAML
	$(PYTHON) deploy/openapi.py

pyz: ## build dist/zaidash.pyz, zaidash and its page in one file
	$(PYTHON) deploy/pyz.py

dist: pyz ## build all that is released: the one file, the wheel, the source distribution
	$(PYTHON) -m build

bench: ## measure everything but the page; takes seven minutes
	$(PYTHON) bench/bench_history.py
	$(PYTHON) bench/bench_scrape.py
	$(PYTHON) bench/load.py
	$(PYTHON) bench/bench_limits.py
	$(PYTHON) bench/peers.py --quick

load: ## put it under the load of 10,000 pages; takes two minutes
	$(PYTHON) bench/load.py

soak: ## let it live for hours, which takes six minutes
	$(PYTHON) bench/soak.py

agree: ## compare with Prometheus and the truth, over five minutes
	$(PYTHON) bench/agree.py

fire: ## kill it, fill its disk, set its clock, crowd it out; as root, takes seven minutes
	$(PYTHON) bench/fire.py

peers: ## measure next to Prometheus and VictoriaMetrics, five to ten minutes
	$(PYTHON) bench/peers.py

ci: ## run all that has to pass, as root on Debian
	.ci/run

clean: ## delete what was built here; static/ stays
	rm -rf build dist zaidash.egg-info
