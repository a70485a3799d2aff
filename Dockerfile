# The labelling service with the shipped bundles, for a CPU or (VARIANT=cuda) a CUDA device: docs/deployment.md.
#   docker build -t genie . && docker run --rm -p 127.0.0.1:50051:50051 -e GENIE_INSECURE=true genie
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build

ARG VARIANT=cpu
# Where PyTorch publishes its builds without CUDA; every file is checked against its hash, wherever it comes from.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_REQUIRE_HASHES=1
WORKDIR /src
# Dependencies lie in a layer of their own, which a change of the code leaves alone.
COPY deploy/requirements/ requirements/
RUN python -m venv /opt/builder \
    && /opt/builder/bin/pip install -r requirements/build.txt \
    && python -m venv /opt/genie \
    && /opt/genie/bin/pip install --extra-index-url "${TORCH_INDEX}" -r "requirements/${VARIANT}.txt"
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY genie_core genie_core
COPY service service
COPY clients clients
# Nothing more is fetched: the package itself, built with the tools above. pip leaves bytecode beside every module, which a
# read-only root could not be given later.
RUN /opt/builder/bin/python -m build --wheel --no-isolation --outdir /dist . \
    && PIP_REQUIRE_HASHES=0 /opt/genie/bin/pip install --no-deps /dist/*.whl \
    && /opt/genie/bin/pip check \
    && /opt/genie/bin/pip uninstall --yes pip

FROM ${BASE}

ARG VARIANT=cpu
LABEL org.opencontainers.image.title="genie" \
      org.opencontainers.image.description="Latent-action labelling and what-if simulation for robot video" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --create-home --uid 10001 genie
COPY --from=build /opt/genie /opt/genie
# The device is what the variant was built for. The NVIDIA variables mean nothing without its container runtime.
ENV PATH=/opt/genie/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    GENIE_DEVICE=${VARIANT} \
    GENIE_HOST=0.0.0.0 \
    GENIE_PORT=50051
WORKDIR /home/genie
USER 10001:10001
EXPOSE 50051
# Listening beyond loopback takes TLS (GENIE_TLS_CERTIFICATE, GENIE_TLS_KEY) or GENIE_INSECURE=true: docs/security.md.
# The port is published only where the container's owner says so; without GENIE_MODELS the shipped bundles are served.
# What gRPC health says: unhealthy too while no model is ready, while the server drains, and once its lanes have failed.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["sh", "-c", "genie health 127.0.0.1:${GENIE_PORT} || exit 1"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "genie_service"]
