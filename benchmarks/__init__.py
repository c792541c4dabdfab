"""One script a claim about speed: `python -m benchmarks.NAME`; its last line is JSON."""

import model  # noqa: F401  sets how torch's threads wait, which counts before torch is imported
