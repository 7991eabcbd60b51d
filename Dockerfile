# Merlink with its own Redis, in one image:
#
#   docker build --build-arg REVISION="$(git rev-parse --short=12 HEAD)" -t merlink .
#   docker run --read-only --cap-drop ALL --security-opt no-new-privileges -v merlink:/data -p 8080:8080 merlink
#
# Nothing is written outside /data, so the root file system can be read-only and needs no /tmp. Port 8081 has metrics
# and health: publish it to your monitoring only, never to the world. With MERLINK_REDIS__URL set, the Redis inside
# stays unused and /data holds the click journal alone, which still has to outlive the container.

ARG DEBIAN=bookworm
ARG RUST=1.95

FROM rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /merlink

# The dependencies, built with an empty crate in our place: this layer changes with Cargo.toml and Cargo.lock alone.
# What cargo built of the empty crate must go. It compares times, and the copied sources keep theirs, which are older:
# cargo would take the empty program for up to date, and ship it.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cargo build --release --locked \
    && cargo clean --release --locked --package merlink \
    && rm -r src

# The crate itself: .dockerignore lets in what it is built from and nothing else.
COPY . .
ARG REVISION=unknown
RUN MERLINK_COMMIT="$REVISION" cargo build --release --locked

FROM debian:${DEBIAN}-slim
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Merlink" \
      org.opencontainers.image.description="A link shortener for governments, with its own Redis inside" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The one package that Merlink starts a program of. No version is pinned, so that a rebuild gets security fixes.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 merlink \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin merlink \
    && install -d -o merlink -g merlink -m 0700 /data

COPY --from=build /merlink/target/release/merlink /usr/local/bin/merlink

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data

# Inside a container, localhost is nobody's: listen on every address of it.
ENV MERLINK_DATA_DIR=/data \
    MERLINK_PUBLIC__LISTEN=0.0.0.0:8080 \
    MERLINK_OPERATOR__LISTEN=0.0.0.0:8081
EXPOSE 8080 8081

# Alive, not ready. Some orchestrators restart what is unhealthy, and a Merlink whose Redis is away must not be
# restarted: it goes on redirecting from memory, and a new one would begin with nothing in it. Whether to send it
# traffic is the load balancer's question, to /readyz. Asks itself, so that the image needs no HTTP client.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 CMD ["merlink", "check", "--alive"]

# SIGTERM makes it finish the requests and write the clicks that it has, then end with 0. Give it as long as a
# load balancer needs, with `docker stop --time` or the like; a kill loses no click either, it only delays them.
STOPSIGNAL SIGTERM
ENTRYPOINT ["merlink"]
CMD ["serve"]
