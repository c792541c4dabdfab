"""What a GPU does with this project's training and embedding: `python -m benchmarks.gpu`."""
