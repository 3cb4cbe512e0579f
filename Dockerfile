# A worker, and the dev server of temporal-dev.yml: one image, so that both have the versions that pyproject.toml pins.
FROM python:3.11-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY skyflow ./skyflow
RUN pip install --no-cache-dir '.[all]' && rm -rf /src

# Owned by the user of the processes, so that a volume that is mounted there is, too.
RUN useradd --create-home skyflow && install -d -o skyflow /data
USER skyflow
WORKDIR /home/skyflow

# SIGTERM drains the worker.
CMD ["python", "-m", "skyflow.worker"]
