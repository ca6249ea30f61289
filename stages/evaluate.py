"""Score the fp32 model on the test images, which no earlier stage reads.

    python -m stages.evaluate        (dvc repro evaluate)

Reads the checkpoint and data/test.safetensors; writes the metrics, the
predictions (for DVC's confusion matrix) and a figure of the most confident
mistakes. Names the classes that are never predicted. Fails when the accuracy is
below evaluate.min_accuracy, or too good to be true.
"""

from collections.abc import Sequence

import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from torch import Tensor

from armdigits.core import paths, records, stage
from armdigits.core.errors import GateFailed
from armdigits.core.files import write_bytes
from armdigits.core.parameters import Parameters
from armdigits.data.dataset import Split, read_provenance, read_split
from armdigits.models.checkpoint import read_checkpoint
from armdigits.models.scoring import calibration_error, confident_mistakes, cross_entropy, model_logits
from armdigits.report.figures import image_grid


def evaluate(
    logits: Tensor, targets: Tensor, classes: Sequence[str], dataset: str
) -> tuple[records.EvaluateMetrics, records.EvaluateDetails]:
    """Score logits float32 [N, len(classes)] against labels int64 [N] of a data set.

    Returns:
        The metrics (`accuracy` and `macro_f1` from 0 to 1, `loss` is the cross-entropy in nats), and the details:
        the number of images, the expected calibration error, precision and recall, averaged over the classes, and
        precision, recall and F1 of each class.
    """
    labels = range(len(classes))
    predicted = logits.argmax(1)
    scores = precision_recall_fscore_support(targets, predicted, labels=labels, zero_division=0)
    precision, recall, f1 = (values.tolist() for values in scores[:3])
    metrics = records.EvaluateMetrics(
        accuracy=float(accuracy_score(targets, predicted)),
        loss=cross_entropy(logits, targets),
        macro_f1=sum(f1) / len(classes),
    )
    details = records.EvaluateDetails(
        dataset=dataset,
        test_images=len(targets),
        calibration_error=calibration_error(logits, targets),
        macro_precision=sum(precision) / len(classes),
        macro_recall=sum(recall) / len(classes),
        classes={
            name: records.ClassScores(precision=precision[label], recall=recall[label], f1=f1[label])
            for label, name in enumerate(classes)
        },
    )
    return metrics, details


def never_predicted(logits: Tensor, classes: Sequence[str]) -> list[str]:
    """The classes that no image is read as. A high accuracy can hide them where other classes have most images."""
    predicted = set(logits.argmax(1).tolist())
    return [name for label, name in enumerate(classes) if label not in predicted]


def misclassified(test: Split, logits: Tensor, count: int, classes: Sequence[str], reading: str) -> bytes:
    """A PNG of at most `count` mistakes, the most confident first."""
    wrong, predicted, confidence = confident_mistakes(logits, test.targets())
    shown = wrong[:count]
    captions = [
        f"{classes[label]} read as {classes[read]}\n({probability:.0%} sure)"
        for label, read, probability in zip(test.labels[shown], predicted[:count], confidence[:count], strict=True)
    ]
    title = f"The {len(captions)} most confident of {len(wrong)} mistakes on {len(test):,} test images"
    return image_grid(title, test.images[shown].numpy(), captions, reading)


def main(parameters: Parameters) -> None:
    """Write all outputs, then check the accuracy."""
    torch.set_num_threads(parameters.train.threads)
    test = read_split(paths.TEST_DATA)
    model, _ = read_checkpoint(paths.MODEL, parameters.train, parameters.model)
    logits = model_logits(model, test.images)
    record = read_provenance()
    classes = record.classes
    metrics, details = evaluate(logits, test.targets(), classes, record.name)

    records.write(paths.EVALUATE_METRICS, metrics)
    records.write(paths.EVALUATE_DETAILS, details)
    labels = zip(test.targets().tolist(), logits.argmax(1).tolist(), strict=True)
    predictions = [records.Prediction(actual=classes[label], predicted=classes[read]) for label, read in labels]
    records.write_table(paths.PREDICTIONS, records.Prediction, predictions)
    write_bytes(
        paths.MISCLASSIFIED, misclassified(test, logits, parameters.evaluate.misclassified, classes, record.reading)
    )

    accuracy, minimum = metrics.accuracy, parameters.evaluate.min_accuracy
    print(f"accuracy {accuracy:.2%}  loss {metrics.loss:.4f}  macro F1 {metrics.macro_f1:.4f}")
    if never := never_predicted(logits, classes):
        print(f"warning: never predicted: {', '.join(never[:10])}{', ...' if len(never) > 10 else ''}")
    if accuracy < minimum:
        raise GateFailed(f"accuracy {accuracy:.4f} is below evaluate.min_accuracy ({minimum})")
    if accuracy == 1.0 and len(test) > 1000:
        raise GateFailed(f"all {len(test):,} test images are correct: look for test images in the training data")


if __name__ == "__main__":
    stage.run("evaluate", main)
