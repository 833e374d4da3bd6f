# syntax=docker/dockerfile:1
# The hub's image: `docker build -t towncrier .`; docker-compose.yml runs three of it.

# The version of rust-toolchain.toml, which stays outside: it would fetch rustfmt and clippy.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# Members of the workspace, which cargo wants to see whole.
COPY tests/e2e tests/e2e
COPY tests/auditor tests/auditor
COPY configs configs
COPY crates crates
# What was fetched and built stays on the builder, so that a change builds the changed crates only.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p towncrier \
    && install -D target/release/towncrier /out/towncrier

# Debian 12 is bookworm, so the glibc is the one of above.
FROM debian:12.12-slim
LABEL org.opencontainers.image.title="towncrier" \
      org.opencontainers.image.description="A hub for Server-Sent Events" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /out/towncrier /usr/local/bin/towncrier
# Nobody in particular; the hub writes no file.
USER 65532:65532
WORKDIR /
EXPOSE 8080
# Alone it listens on the container's loopback only: whoever opens it to a network says so by TOWNCRIER__HTTP__LISTEN, and
# how its clients prove who they are, or that they need not.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["/usr/local/bin/towncrier", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/towncrier"]
CMD ["serve"]
