# zaidash in an image that holds nothing else: Python with the part of its library that zaidash
# uses, no shell, no package manager. See "Container" in README.md.
#
#   docker build -t zaidash .
#
# BASE may be any Debian with CPython 3.11 or later, as `python3`, and ca-certificates.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# When given, it has to be the one in zaidash.py: for who builds from a tag.
ARG VERSION=
# The time of all files, seconds since the epoch.
ARG SOURCE_DATE_EPOCH=0
WORKDIR /src
COPY zaidash.py LICENSE ./
COPY static ./static
COPY deploy/slim.py ./deploy/
RUN SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH}" \
    python3 deploy/slim.py --version="${VERSION}" /rootfs /volume

FROM scratch
# Version, revision and time are known outside alone, and an empty label is worse than none: whoever
# publishes an image gives them with --label.
LABEL org.opencontainers.image.title="zaidash" \
      org.opencontainers.image.description="The live dashboard for zai-proxy" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /rootfs/ /
# A tree of its own: not every builder keeps the owner of what it copies.
COPY --from=build --chown=65532:65532 /volume/ /
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
# Said here, or a volume that cannot be written would get another name for its file.
ENV DB_PATH=/data/dashboard.db
# Relative paths, and temporary files where there is no /tmp, end up here as well.
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
# -I: no variable of the environment and no file in the working directory reaches Python.
ENTRYPOINT ["/usr/bin/python3", "-I", "/app"]
# It asks at LISTEN_ADDR. There is no shell and no curl.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/bin/python3", "-I", "/app", "--healthcheck"]
