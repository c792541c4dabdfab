# One image for every command: docker build -t userbert . && docker run --rm userbert --help
# It holds Python, Java and all extras, so it also serves as the image of Spark's executors and of
# trainings on Kubernetes (conf/examples).
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make openjdk-17-jre-headless procps redis-server \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/userbert

# The libraries change less often than the code: they are a layer of their own.
COPY requirements.txt requirements-uv.txt ./
RUN python3.11 -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements-uv.txt \
    && .venv/bin/uv pip install --no-cache --python .venv/bin/python --no-deps --require-hashes \
        --compile-bytecode -r requirements.txt

COPY . .
RUN make setup

ENV PATH="/opt/userbert/.venv/bin:${PATH}" USERBERT_DATA=/data
VOLUME /data
ENTRYPOINT ["userbert"]
CMD ["--help"]
