.PHONY: check format lint types imports test fast bench

check: lint types imports test  ## everything that CI runs

format:
	ruff format skyflow tests bench examples
	ruff check --fix skyflow tests bench examples

lint:
	ruff format --check skyflow tests bench examples
	ruff check skyflow tests bench examples

types:
	mypy

imports:
	lint-imports --no-cache

test:
	python -m pytest

fast:  ## the tests that need no server
	python -m pytest -m "not e2e and not chaos"

bench:
	python -m bench
