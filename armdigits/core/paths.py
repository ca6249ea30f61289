"""All paths in one table, relative to the project folder, in which DVC runs every stage."""

from pathlib import Path

PARAMETERS = Path("params.yaml")
METRICS = Path("metrics")  # has all results that Git tracks

# preflight
VALID_PARAMETERS = Path("metrics/preflight.json")
TEACHER = Path("metrics/teacher.json")
HOST = Path("metrics/host.json")
CHECKSUMS = Path("data/checksums.txt")

# download
TRAIN_DATA = Path("data/train.safetensors")
VALIDATION_DATA = Path("data/validation.safetensors")
TEST_DATA = Path("data/test.safetensors")
PROVENANCE = Path("data/provenance.json")

# teach
TEACHER_LOGITS = Path("models/teacher_logits.safetensors")
TEACH_DETAILS = Path("metrics/teach-details.json")
AUGMENTED = Path("metrics/augmented.png")

# train
MODEL = Path("models/model.safetensors")
LAYERS = Path("models/layers.txt")
TRAIN_METRICS = Path("metrics/train.json")
TRAIN_DETAILS = Path("metrics/train-details.json")
HISTORY = Path("metrics/history.csv")

# evaluate
EVALUATE_METRICS = Path("metrics/evaluate.json")
EVALUATE_DETAILS = Path("metrics/evaluate-details.json")
PREDICTIONS = Path("metrics/predictions.csv")
MISCLASSIFIED = Path("metrics/misclassified.png")

# quantize
FP32_PROGRAM = Path("models/fp32.pte")
INT8_PROGRAM = Path("models/int8.pte")
EMPTY_PROGRAM = Path("models/empty.pte")
PROGRAM_RECORD = Path("models/programs.json")
QUANTIZE_METRICS = Path("metrics/quantize.json")
QUANTIZE_DETAILS = Path("metrics/quantize-details.json")
DISAGREEMENTS = Path("metrics/disagreements.csv")
DISAGREEMENTS_FIGURE = Path("metrics/disagreements.png")

# export
C_HEADER = Path("models/c/digits.h")
C_SOURCE = Path("models/c/digits.c")
C_EXAMPLE = Path("models/c/example.c")
C_PROJECT = Path("models/c/CMakeLists.txt")
EXPORT_METRICS = Path("metrics/export.json")
EXPORT_DETAILS = Path("metrics/export-details.json")

# describe
MODEL_CARD = Path("models/README.md")

# benchmark
BENCHMARK_METRICS = Path("metrics/benchmark.json")
BENCHMARK_DETAILS = Path("metrics/benchmark-details.json")
LATENCY = Path("metrics/latency.png")

# Outside DVC and Git: verified downloads, locks, durations, the network that preflight built last, snapshots of an
# interrupted training, compiled libraries.
DOWNLOADS = Path(".state/downloads")
NO_MIRROR = Path(".state/no-mirror")
LOCKS = Path(".state/locks")
SECONDS = Path(".state/seconds")
BUILT_NETWORK = Path(".state/built-network")
TEACH_SNAPSHOTS = Path(".state/teach")
TRAIN_SNAPSHOTS = Path(".state/train")
C_LIBRARIES = Path(".state/c")
