"""Write the model card: what the programs are, how accurate, and how to call them.

    dvc repro describe
    python -m stages.describe

Reads the records and metrics of earlier stages; writes models/README.md, which ships with the programs next to it.
"""

from torch import nn

from armdigits.core import paths, records, stage
from armdigits.core.files import write_bytes
from armdigits.core.parameters import Parameters
from armdigits.core.shape import Shape
from armdigits.data.dataset import read_provenance
from armdigits.models import networks
from armdigits.models.layers import layers_of
from armdigits.pictures.normalise import sizes
from armdigits.report.tables import escaped, markdown

CARD = """# {name}: an fp32 and an int8 program

A neural network with {parameters:,} parameters that classifies an image of {height}x{width} pixels{colour}, as two
[ExecuTorch](https://docs.pytorch.org/executorch/stable/) programs for the XNNPACK backend, made from the same weights:

| file | accuracy | bytes | SHA-256 |
|---|---:|---:|---|
{rows}

Accuracy: share of {test_images:,} test images, none of them used in training. The two programs give the same class for
{agreement:.2%} of them. Weights: SHA-256 `{weights}`.

## Architecture

{layers}

Sizes are for one image. The programs have each ReLU fused into the layer before it, and no dropout. Their input is
float32 [N, {channels}, {height}, {width}], {values}, N from 1 to {max_batch}, contiguous in memory. Their output is
float32 [N, {classes}]: the logits of the classes {names}.

## Training data

{name}: {train_images:,} training and {validation_images:,} validation images, {epochs} epochs. Sources and checksums:

{sources}

## Limits

- The programs cannot answer "none": every image gets {classes} probabilities.
- {placed} `armdigits/pictures/reading.py` prepares pictures of any kind.
- Images unlike those of the training data are classified worse, with probabilities that can be high all the same. The
  int8 program's expected calibration error on the test images is {calibration_error:.2%}.

## Python

```python
import torch
from executorch.runtime import Runtime

program = Runtime.get().load_program("models/int8.pte")
images = torch.zeros(1, {channels}, {height}, {width})  # float32, {values}
(logits,) = program.load_method("forward").execute([images])
probabilities = logits.softmax(1)
```

## C, without a runtime

`c/digits.h` and `c/digits.c` are the int8 program in standard C: no library, no heap. All of {equal_logits:,} logits
that were compared are equal to the int8 program's to the bit, on this machine and on these targets:

{targets}

```c
#include "digits.h"

int main(void) {{
  static const uint8_t image[DIGITS_VALUES] = {{0}}; /* rows of pixels of {channels} bytes, see digits.h */
  return digits_predict(image);
}}
```

Compile: `cc -O3 -Imodels/c main.c models/c/digits.c`. An example that reads a picture:
`cmake -S models/c -B build && cmake --build build && ./build/digits 7.pgm`.

## C++ with ExecuTorch

```cpp
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include <algorithm>

using namespace executorch::extension;

int main() {{
  Module module("models/int8.pte");
  float pixels[{channels} * {height} * {width}] = {{}};  // {values}, channel by channel, row by row
  auto images = from_blob(pixels, {{1, {channels}, {height}, {width}}});
  const auto outputs = module.forward(images);
  if (!outputs.ok()) return 1;
  const float* logits = outputs->at(0).toTensor().const_data_ptr<float>();
  return static_cast<int>(std::max_element(logits, logits + {classes}) - logits);  // the class
}}
```

Link it with ExecuTorch's `extension_module`, `extension_tensor` and `xnnpack_backend`.
"""


def table(model: nn.Module, shape: Shape) -> str:
    """The layers of the network in the order in which they run, except `nn.Identity`, in Markdown."""
    layers = [layer for layer in layers_of(model, shape) if not isinstance(layer.module, nn.Identity)]
    rows = []
    for layer in layers:
        parameters = sum(parameter.numel() for parameter in layer.module.parameters())
        output = " x ".join(map(str, layer.shape))
        rows.append((f"`{layer.name}`", f"`{layer.module}`", output, f"{parameters:,}" if parameters else ""))
    return markdown(("name", "layer", "output", "parameters"), rows, left=3)


def _of_images(provenance: records.Provenance) -> dict[str, object]:
    """What the card says of the images."""
    channels, height, width = provenance.shape
    box = sizes(height, width).box
    placed = {
        "ink": f"One sign per image, placed as in MNIST: scaled to fit {box}x{box} pixels, its centre of mass in the\n"
        f"  middle of {height}x{width}. Rotated or shifted ones are classified badly.",
        "photo": "The image is the middle of the whole picture, upright and in sRGB.",
    }
    values = {"ink": "from 0 (background) to 1 (ink)", "photo": "from 0 (black) to 1"}
    return {
        "channels": channels,
        "height": height,
        "width": width,
        "colour": " in colour" if channels == 3 else "",
        "values": values[provenance.reading],
        "placed": placed[provenance.reading],
    }


def card(
    model: nn.Module,
    provenance: records.Provenance,
    train: records.TrainDetails,
    evaluate: records.EvaluateDetails,
    quantize: records.QuantizeMetrics,
    quantized: records.QuantizeDetails,
    export: records.ExportDetails,
    record: records.Programs,
    max_batch: int,
) -> str:
    """The text in Markdown.

    Args:
        model: without dropout.
        provenance: the record of the data set.
        train, evaluate, quantized, export: the details of these stages.
        quantize: the metrics of this stage.
        record: the record of the programs.
        max_batch: the largest batch that the programs accept.
    """
    rows = [
        f"| `{path.name}` | {accuracy:.2%} | {quantized.program(path).bytes:,} | `{record.digest(path)}` |"
        for path, accuracy in (
            (paths.FP32_PROGRAM, quantize.fp32.accuracy),
            (paths.INT8_PROGRAM, quantize.int8.accuracy),
        )
    ]
    return CARD.format(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        rows="\n".join(rows),
        test_images=evaluate.test_images,
        agreement=quantize.agreement,
        calibration_error=quantized.program(paths.INT8_PROGRAM).calibration_error,
        targets="\n".join(
            f"- `{name}`: {target.code_bytes + target.constant_bytes:,} bytes, {target.instructions:,} instructions an "
            "image"
            for name, target in export.emulated().items()
        ),
        equal_logits=export.compared,  # a logit that differs fails the stage export
        weights=record.weights_sha256,
        layers=table(model, provenance.shape),
        **_of_images(provenance),
        classes=len(record.classes),
        names=", ".join(map(escaped, record.classes)),
        max_batch=max_batch,
        name=escaped(provenance.name),
        train_images=provenance.of(paths.TRAIN_DATA).images,
        validation_images=provenance.of(paths.VALIDATION_DATA).images,
        epochs=train.epochs,
        sources="\n".join(f"- `{name.replace('`', ' ')}`: `{digest}`" for name, digest in provenance.source.items()),
    )


def main(parameters: Parameters) -> None:
    """Read everything, write the card."""
    record = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    provenance = read_provenance()
    text = card(
        networks.build(parameters.model.name, provenance.shape, len(record.classes), use_dropout=False),
        provenance,
        records.read(paths.TRAIN_DETAILS, records.TrainDetails, "train"),
        records.read(paths.EVALUATE_DETAILS, records.EvaluateDetails, "evaluate"),
        records.read(paths.QUANTIZE_METRICS, records.QuantizeMetrics, "quantize"),
        records.read(paths.QUANTIZE_DETAILS, records.QuantizeDetails, "quantize"),
        records.read(paths.EXPORT_DETAILS, records.ExportDetails, "export"),
        record,
        parameters.quantize.max_batch,
    )
    write_bytes(paths.MODEL_CARD, text.encode())


if __name__ == "__main__":
    stage.run("describe", main)
