# An image of the server: `docker build -t vardrum .` here, or by config/compose.yml, which has what belongs beside it.

FROM docker.io/library/debian:bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates cargo gcc libc6-dev libssl-dev make python3 python3-venv
WORKDIR /src
COPY . .
# By the same way as for any other machine; then into the folder that it has in the image.
RUN make wheelhouse \
 && python3 -m venv /opt/vardrum \
 && /opt/vardrum/bin/pip install --no-cache-dir --no-index --find-links build/dist vardrum

FROM docker.io/library/debian:bookworm-slim
# libssl3 has the libcrypto that the engine uses: rebuild the image for its security updates.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libssl3 python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --home-dir /var/lib/vardrum --no-create-home --shell /usr/sbin/nologin vardrum \
 && install -d -o vardrum -g vardrum -m 0700 /var/lib/vardrum
COPY --from=build /opt/vardrum /opt/vardrum
ENV PATH=/opt/vardrum/bin:/usr/local/bin:/usr/bin:/bin \
    # Where the check below looks; http.host and http.port of the configuration.
    HEALTHZ=http://127.0.0.1:8080/healthz
USER 10001:10001
VOLUME /var/lib/vardrum
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['HEALTHZ'], timeout=4)"]
ENTRYPOINT ["vardrum"]
CMD ["serve", "--config", "/etc/vardrum/vardrum.toml"]
