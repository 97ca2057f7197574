# The edge server alone: no demo, no training, no tests.

FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/likewise
ENV PATH=/opt/likewise/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
# The dependencies are a layer of their own, so that a change of the code does not install them again.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > needs.txt \
    && pip install --quiet -c constraints.txt -r needs.txt
COPY server ./server
RUN PIP_CONSTRAINT=/build/constraints.txt pip install --quiet --no-deps .

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 likewise \
    && useradd --system --uid 10001 --gid likewise --no-create-home --home-dir /data likewise \
    && mkdir -p /data /keys /functions \
    && chown likewise:likewise /data /keys
COPY --from=build /opt/likewise /opt/likewise
COPY functions /functions
ENV PATH=/opt/likewise/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LIKEWISE_HOST=0.0.0.0 \
    LIKEWISE_PORT=8080 \
    LIKEWISE_FUNCTIONS=/functions \
    LIKEWISE_DATA_DIR=/data \
    LIKEWISE_CREATE_KEY=true
USER likewise
VOLUME ["/data", "/functions"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['LIKEWISE_PORT'] + '/readyz', timeout=2)"]
CMD ["likewise", "serve"]
