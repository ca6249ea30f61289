"""Score the fp32 network on the test images, which no stage before this one has seen.

    python -m stages.evaluate        (dvc repro evaluate)

Reads the checkpoint and data/test.safetensors; writes the metrics, the predictions (DVC's confusion matrix) and a
picture of the most confident mistakes. Fails when the accuracy is too low, or too good to be true.
"""

import torch
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support
from torch import Tensor

from armdigits import paths, stage
from armdigits.checkpoint import read_checkpoint
from armdigits.dataset import CLASSES, Split, read_provenance, read_split
from armdigits.errors import GateFailed
from armdigits.files import write_bytes, write_csv, write_json
from armdigits.parameters import Parameters
from armdigits.pictures import digits_grid
from armdigits.scoring import confident_mistakes, logits_of


def evaluate(logits: Tensor, targets: Tensor) -> dict[str, float | dict[str, dict[str, float]]]:
    """The metrics of logits [N, 10] for labels [N]: shares from 0 to 1; `loss` is the cross-entropy in nats."""
    classes = range(CLASSES)
    predicted = logits.argmax(1)
    macro = precision_recall_fscore_support(targets, predicted, labels=classes, average="macro", zero_division=0)
    each = precision_recall_fscore_support(targets, predicted, labels=classes, zero_division=0)
    names = ("precision", "recall", "f1")
    return {
        "accuracy": float(accuracy_score(targets, predicted)),
        "loss": float(log_loss(targets, logits.double().softmax(1), labels=classes)),
        **{f"macro_{name}": float(value) for name, value in zip(names, macro, strict=False)},
        "classes": {
            str(digit): {name: float(values[digit]) for name, values in zip(names, each, strict=False)}
            for digit in classes
        },
    }


def misclassified(test: Split, logits: Tensor, count: int) -> bytes:
    """A PNG of the up to `count` wrong predictions with the largest probability."""
    wrong, predicted, confidence = confident_mistakes(logits, test.targets())
    shown = wrong[:count]
    captions = [
        f"{digit} read as {read}\n({sure:.0%} sure)"
        for digit, read, sure in zip(test.labels[shown], predicted[:count], confidence[:count], strict=True)
    ]
    title = f"The {len(captions)} most confident of {len(wrong)} mistakes on {len(test):,} test images"
    return digits_grid(title, test.images[shown].numpy(), captions)


def main(parameters: Parameters) -> None:
    """Write everything, then judge."""
    torch.set_num_threads(parameters.train.threads)
    test = read_split(paths.TEST_DATA)  # before the model that was made from its like: the first broken link is named
    network, _ = read_checkpoint(paths.MODEL, parameters.train)
    logits = logits_of(network, test.pixels())

    metrics = evaluate(logits, test.targets())
    write_json(paths.EVALUATE_METRICS, {"dataset": read_provenance()["name"], "test_images": len(test), **metrics})
    write_csv(
        paths.PREDICTIONS,
        ("actual", "predicted"),
        zip(test.labels.tolist(), logits.argmax(1).tolist(), strict=True),
    )
    write_bytes(paths.MISCLASSIFIED, misclassified(test, logits, parameters.evaluate.misclassified))

    accuracy, least = metrics["accuracy"], parameters.evaluate.min_accuracy
    print(f"accuracy {accuracy:.2%}  loss {metrics['loss']:.4f}  macro F1 {metrics['macro_f1']:.4f}")
    if accuracy < least:
        raise GateFailed(f"accuracy {accuracy:.4f} is below evaluate.min_accuracy ({least})")
    if accuracy == 1.0 and len(test) > 1000:
        raise GateFailed(f"every one of {len(test):,} test images right: look for test images in the training data")


if __name__ == "__main__":
    stage.run("evaluate", main)
