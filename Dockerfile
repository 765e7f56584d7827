# Scrubjay as an image: one for the server and the worker, with the embedding model inside, so that
# nothing is fetched when it runs. Builds for amd64 and arm64:
#   docker buildx build --platform linux/amd64,linux/arm64 --tag scrubjay:0.1.0 .
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
RUN pip install --no-cache-dir "uv>=0.9,<1"
ENV UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /app
# The locked dependencies first: they change less often than the code.
COPY pyproject.toml uv.lock README.md LICENSE NOTICE ./
RUN uv sync --frozen --no-group dev --all-extras --no-install-project
COPY api api
COPY bots bots
COPY cli cli
COPY engine engine
COPY ingestion ingestion
COPY mcp_server mcp_server
COPY vespa_app vespa_app
RUN uv sync --frozen --no-group dev --all-extras --no-editable

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="Scrubjay" \
      org.opencontainers.image.description="Answers your team's questions from what it has written, and shows where." \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, not a name: Kubernetes can only check a number against `runAsNonRoot`.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin scrubjay \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /app/.venv /app/.venv
COPY LICENSE NOTICE /app/
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SCRUBJAY_HOME=/data
# Everything else is read-only; /tmp must be writable (a tmpfs will do) for documents being parsed.
VOLUME /data
USER 10001:10001
EXPOSE 7337
ENTRYPOINT ["scrubjay"]
CMD ["serve"]
