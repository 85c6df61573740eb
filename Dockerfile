# The wheel is built as it is in a checkout (make fetches uv and Node by itself), then installed alone.
FROM python:3.11-slim AS build
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN make wheel
RUN .tools/bin/uv venv --quiet /opt/switchyard \
    && VIRTUAL_ENV=/opt/switchyard .tools/bin/uv pip sync --quiet --require-hashes requirements-run.lock \
    && VIRTUAL_ENV=/opt/switchyard .tools/bin/uv pip install --quiet --no-deps dist/*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/switchyard --create-home --shell /usr/sbin/nologin switchyard
COPY --from=build /opt/switchyard /opt/switchyard
ENV PATH=/opt/switchyard/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SWITCHYARD_STATE_DIR=/var/lib/switchyard \
    SWITCHYARD_LOG_FORMAT=json
USER switchyard
WORKDIR /var/lib/switchyard
VOLUME /var/lib/switchyard
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["switchyard"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080"]
