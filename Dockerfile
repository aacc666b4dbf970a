# syntax=docker/dockerfile:1
# The orchestrator's commands for use with your own Kafka and PostgreSQL. The embedded servers are left out:
# deploy/requirements.lock holds what a worker needs, no Java and no database.
ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/orchestrator
# The packages first: a change of the code alone reuses this layer.
COPY deploy/requirements.lock deploy/
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/orchestrator/bin/pip install --no-deps --require-hashes --only-binary=:all: -r deploy/requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY orchestrator orchestrator
COPY consumers consumers
COPY projections projections
RUN --mount=type=cache,target=/root/.cache/pip /opt/orchestrator/bin/pip install --no-deps . \
    && /opt/orchestrator/bin/python -m compileall -q /opt/orchestrator/lib

FROM python:${PYTHON_VERSION}-slim-bookworm
LABEL org.opencontainers.image.title="journey-orchestrator" \
      org.opencontainers.image.description="Idempotent commands on Kafka, events in PostgreSQL, once in effect" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/orchestrator --create-home orchestrator
COPY --from=build /opt/orchestrator /opt/orchestrator
ENV PATH=/opt/orchestrator/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORCHESTRATOR_METRICS_HOST=0.0.0.0 \
    ORCHESTRATOR_METRICS_PORT=9464
USER 10001:10001
WORKDIR /var/lib/orchestrator
VOLUME /var/lib/orchestrator
EXPOSE 9464
# Alive, not ready: a worker that waits for its broker must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['ORCHESTRATOR_METRICS_PORT'] + '/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["orchestrator"]
CMD ["worker"]
