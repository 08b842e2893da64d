# restem in a container.
#   docker build -t restem .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" restem refine my-stems --out run
# With a GPU (NVIDIA's container toolkit): build with --build-arg TORCH=https://download.pytorch.org/whl/cu128, run with
# --gpus all. The review page listens on 127.0.0.1 only: run it with --network host.
FROM python:3.12-slim-bookworm

ARG TORCH=https://download.pytorch.org/whl/cpu

WORKDIR /opt/restem
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --extra-index-url "$TORCH" -c constraints.txt ".[review]"

# The cache of features, for whatever user it runs as.
ENV XDG_CACHE_HOME=/cache
RUN mkdir -m 1777 /cache
VOLUME /cache

USER 65534:65534
WORKDIR /data
ENTRYPOINT ["restem"]
CMD ["--help"]
