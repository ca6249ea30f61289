"""The import of torchvision, which also works beside a torch that was built without CUDA.

The default index's torchvision for x86-64 is linked against CUDA. Beside a CPU build of torch, its compiled extension
cannot be loaded, and `import torchvision` fails with `operator torchvision::nms does not exist`, because it registers
fake kernels for operators that the extension would have declared. Declaring the two operators here is enough: nothing
in this project calls them.
"""

from importlib.util import find_spec
from pathlib import Path

import torch


def _compiled_extension_loads() -> bool:
    package = find_spec("torchvision")
    try:
        for folder in (package and package.submodule_search_locations) or []:
            for extension in Path(folder).glob("_C.*"):
                torch.ops.load_library(extension)
    except OSError:
        return False
    return True


if not _compiled_extension_loads():
    _declarations = torch.library.Library("torchvision", "DEF")  # the declarations live as long as this object
    for _operator in ("nms", "qnms"):
        _declarations.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision.datasets import mnist  # noqa: E402
from torchvision.transforms import ToTensor  # noqa: E402

__all__ = ["ToTensor", "mnist"]
