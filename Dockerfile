# The labelling service with the shipped bundle: docker build -t genie . && docker run -p 127.0.0.1:50051:50051 -e GENIE_INSECURE=true genie
FROM python:3.12-slim AS build

WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY protos protos
COPY genie_core genie_core
COPY service service
COPY clients clients
RUN python -m venv /opt/genie \
    && /opt/genie/bin/pip install --no-cache-dir --constraint constraints.txt '.[service]'

FROM python:3.12-slim

RUN useradd --create-home --uid 10001 genie
COPY --from=build /opt/genie /opt/genie
ENV PATH=/opt/genie/bin:$PATH \
    GENIE_HOST=0.0.0.0 \
    GENIE_PORT=50051
USER 10001:10001
EXPOSE 50051
# Listening beyond loopback takes TLS (GENIE_TLS_CERTIFICATE, GENIE_TLS_KEY) or GENIE_INSECURE=true: docs/security.md.
# The port is published only where the container's owner says so; without GENIE_MODELS the shipped bundle is served.
# What gRPC health says: unhealthy too while no model is ready, while the server drains, and once its lanes have failed.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["sh", "-c", "genie health 127.0.0.1:${GENIE_PORT} || exit 1"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "genie_service"]
