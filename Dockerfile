# The library's image. BASE is any image with Python 3.11 or newer and its venv module; both stages stand on it, so
# that the virtual environment made in the first finds its interpreter in the second.
ARG BASE=python:3.13.9-slim-trixie
ARG DATABASE=postgres:18.1-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/library
# hadolint ignore=DL3008  # of this stage nothing stays, and the base names the release
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
# Tools stay in /opt/tools, in this stage; /opt/library has no pip.
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/library
COPY requirements.txt ./
RUN /opt/tools/bin/pip --python /opt/library/bin/python install --require-hashes --requirement requirements.txt
COPY requirements-assets.txt requirements.in pyproject.toml README.md alembic.ini ./
COPY alembic alembic
COPY app app
COPY scripts/assets.py scripts/assets.py
RUN /opt/tools/bin/python scripts/assets.py \
  && /opt/tools/bin/pip --python /opt/library/bin/python install --no-deps --no-build-isolation --editable . \
  && find /opt/library app alembic -name __pycache__ -type d -prune -exec rm -rf {} + \
  && find /opt/library -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} + \
  && rm -rf /opt/library/lib/python3*/site-packages/setuptools* /opt/library/lib/python3*/site-packages/*distutils* \
  && find /opt/library/lib '(' -name '*.[ch]' -o -name '*.py[ix]' -o -name '*.px[di]' ')' -delete \
  && find /opt/library/lib -name '*.so' '(' -path '*/uvloop/*' -o -path '*/asyncpg/*' ')' -exec strip --strip-unneeded {} + \
  && /opt/library/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/library/lib app alembic \
  && mkdir -p /var/lib/library/uploads

# The database server's image: PostgreSQL as it is published, pgBackRest, Patroni for docker-compose.ha.yml, and the
# commands that make backups, restore them and try that out. Debian's Python is the minor version for which the packages
# were installed above.
FROM ${DATABASE} AS database
# hadolint ignore=DL3008  # the base names the release
RUN apt-get update \
  && apt-get install --yes --no-install-recommends patroni pgbackrest python3 python3-etcd \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o postgres -g postgres -m 700 /var/lib/library-backups /var/lib/postgresql-2 /var/lib/postgresql-3 \
  && printf '#!/bin/sh\nexec python3 -m app.cli "$@"\n' >/usr/local/bin/library && chmod 755 /usr/local/bin/library
COPY --from=build /opt/library/lib/python3.13/site-packages /opt/library
COPY --from=build /srv/library/app /srv/library/app
COPY --from=build /srv/library/alembic /srv/library/alembic
COPY --from=build /srv/library/alembic.ini /srv/library/pyproject.toml /srv/library/
ENV PYTHONPATH=/srv/library:/opt/library PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LOG_FORMAT=json

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="library-service" \
      org.opencontainers.image.description="A library: catalogue, readers, bookings and loans, as an API and web pages" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/library/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    DATA_DIR=/var/lib/library HOST=0.0.0.0 PORT=8000 LOG_FORMAT=json
# The base's own pip is a way to bring in code, and nothing here needs it.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
           /usr/lib/python3*/ensurepip /usr/share/python-wheels
COPY --from=build /opt/library /opt/library
COPY --from=build /srv/library/app /srv/library/app
COPY --from=build /srv/library/alembic /srv/library/alembic
COPY --from=build /srv/library/alembic.ini /srv/library/pyproject.toml /srv/library/
COPY --from=build --chown=10001:10001 /var/lib/library /var/lib/library
WORKDIR /srv/library
USER 10001:10001
VOLUME ["/var/lib/library"]
EXPOSE 8000
# Liveness only: whether requests should come here is /health/ready, which the deploy asks.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health\", timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["library", "serve"]
