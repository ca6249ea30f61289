"""The one table of paths, relative to the project's folder, in which DVC runs every stage."""

from pathlib import Path

PARAMETERS = Path("params.yaml")

# preflight
VALID_PARAMETERS = Path("metrics/preflight.json")
HOST = Path("metrics/host.json")

# download
TRAIN_DATA = Path("data/train.safetensors")
VALIDATION_DATA = Path("data/validation.safetensors")
TEST_DATA = Path("data/test.safetensors")
PROVENANCE = Path("data/provenance.json")

# teach
OPINIONS = Path("models/opinions.safetensors")
TEACH_METRICS = Path("metrics/teach.json")
AUGMENTED = Path("metrics/augmented.png")

# train
MODEL = Path("models/model.safetensors")
LAYERS = Path("models/layers.txt")
TRAIN_METRICS = Path("metrics/train.json")
HISTORY = Path("metrics/history.csv")

# evaluate
EVALUATE_METRICS = Path("metrics/evaluate.json")
PREDICTIONS = Path("metrics/predictions.csv")
MISCLASSIFIED = Path("metrics/misclassified.png")

# quantize
FP32_PROGRAM = Path("models/fp32.pte")
INT8_PROGRAM = Path("models/int8.pte")
EMPTY_PROGRAM = Path("models/empty.pte")
PROGRAMS = Path("models/programs.json")
QUANTIZE_METRICS = Path("metrics/quantize.json")
DISAGREEMENTS = Path("metrics/disagreements.csv")
DISAGREEING = Path("metrics/disagreements.png")

# describe
MODEL_CARD = Path("models/README.md")

# benchmark
BENCHMARK_METRICS = Path("metrics/benchmark.json")
LATENCY = Path("metrics/latency.png")

# What is neither Git's nor DVC's: verified downloads, locks, where a killed training goes on.
DOWNLOADS = Path(".state/downloads")
NO_MIRROR = Path(".state/no-mirror")
LOCKS = Path(".state/locks")
TEACH_SNAPSHOTS = Path(".state/teach")
TRAIN_SNAPSHOTS = Path(".state/train")
