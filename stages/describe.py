"""Write the model card: what the programs are, how good, how to call them.

    python -m stages.describe        (dvc repro describe)

Reads the records and metrics of the stages before it; writes models/README.md, which lies beside the programs and
goes where they go. A stage, because it must change whenever they do.
"""

from armdigits import paths, stage
from armdigits.dataset import read_provenance
from armdigits.files import read_json, write_bytes
from armdigits.parameters import Parameters

CARD = """# Handwritten digits: fp32 and int8 programs

A multilayer perceptron (784-96-256-10, ReLU, 102,762 parameters) that reads one handwritten digit. Two
[ExecuTorch](https://docs.pytorch.org/executorch/stable/) programs of the same weights for the XNNPACK backend:

| file | accuracy | bytes | SHA-256 |
|---|---:|---:|---|
{rows}

Accuracy is the share of {test_images:,} test images that no training step saw. The int8 program gives the same digit
as the fp32 one on {agreement:.2%} of them. Weights: SHA-256 `{weights}`.

## Trained on

{name}: {train_images:,} training and {validation_images:,} validation images, {epochs} epochs. Sources:

{sources}

## Limits

- One digit a picture, from 0 to 9. There is no answer "no digit": anything gets ten probabilities.
- The digit must be placed as in MNIST: ink 1, paper 0, scaled to fit 20x20 pixels, its centre of mass in the middle of
  28x28. Turned or shifted digits are read badly. `armdigits/preprocessing.py` does this for pictures of any kind.
- The probabilities are not calibrated. Writers and pens unlike those of the data set are read worse.
- A batch has 1 to {max_batch} images, contiguous in memory.

## Python

```python
import torch
from executorch.runtime import Runtime

program = Runtime.get().load_program("models/int8.pte")
images = torch.zeros(1, 1, 28, 28)  # float32 [N, 1, 28, 28], from 0 (paper) to 1 (ink)
(logits,) = program.load_method("forward").execute([images])
probabilities = logits.softmax(1)
```

## C++

```cpp
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

#include <algorithm>

using namespace executorch::extension;

int main() {{
  Module module("models/int8.pte");
  float pixels[28 * 28] = {{}};  // from 0 (paper) to 1 (ink), row by row
  auto images = from_blob(pixels, {{1, 1, 28, 28}});
  const auto outputs = module.forward(images);
  if (!outputs.ok()) return 1;
  const float* logits = outputs->at(0).toTensor().const_data_ptr<float>();
  return static_cast<int>(std::max_element(logits, logits + 10) - logits);  // the digit
}}
```

Link it with ExecuTorch's `extension_module`, `extension_tensor` and `xnnpack_backend`.
"""


def card(data: dict, train: dict, evaluate: dict, quantize: dict, programs: dict, parameters: Parameters) -> str:
    """The text, from the contents of the other stages' files."""
    row = "| `{0}.pte` | {accuracy:.2%} | {bytes:,} | `{1}` |"
    rows = [row.format(name, programs["programs_sha256"][f"{name}.pte"], **quantize[name]) for name in ("fp32", "int8")]
    return CARD.format(
        rows="\n".join(rows),
        sources="\n".join(f"- `{name}`: `{digest}`" for name, digest in data["source"].items()),
        name=data["name"],
        train_images=data["files"]["train.safetensors"]["images"],
        validation_images=data["files"]["validation.safetensors"]["images"],
        test_images=evaluate["test_images"],
        epochs=train["epochs"],
        agreement=quantize["agreement"],
        weights=programs["weights_sha256"],
        max_batch=parameters.quantize.max_batch,
    )


def main(parameters: Parameters) -> None:
    """Read, write."""
    text = card(
        read_provenance(),
        read_json(paths.TRAIN_METRICS, "train"),
        read_json(paths.EVALUATE_METRICS, "evaluate"),
        read_json(paths.QUANTIZE_METRICS, "quantize"),
        read_json(paths.PROGRAMS, "quantize"),
        parameters,
    )
    write_bytes(paths.MODEL_CARD, text.encode())


if __name__ == "__main__":
    stage.run("describe", main)
