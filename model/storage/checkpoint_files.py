"""The names of a model's files, readable without torch."""

MANIFEST_FILE = "manifest.json"
VOCABULARY_FILE = "vocabulary.json"
WEIGHTS_FILE = "weights.safetensors"
ALIGNMENT_FILE = "alignment.safetensors"  # the map of an aligned model
TITLES_FILE = "titles.safetensors"  # which titles a model has rows for, if it reads no words
