import json

import torch
from torch import Tensor

from armdigits.core import paths, records
from armdigits.core.parameters import Augmentation, load_parameters
from armdigits.models.checkpoint import read_teacher_logits
from armdigits.models.scoring import model_logits
from armdigits.models.teacher import Teacher
from armdigits.training.augmentation import augment
from stages.teach import teacher_logits
from tests.helpers import PARAMETERS, copy_project, run_stage_here, some_images, write_some_data
from tests.training.test_loop import MILD, OFF


def logits_of_20_images(ranges: Augmentation, views: int) -> tuple[Teacher, Tensor]:
    """A teacher with random weights, and its logits."""
    torch.manual_seed(5)
    teacher = Teacher()
    recipe = load_parameters(PARAMETERS).teach.model_copy(update={"views": views, "seed": 3})
    return teacher, teacher_logits(teacher, some_images(20), ranges, recipe)


def test_without_augmentation_the_logits_are_those_of_the_images():
    teacher, found = logits_of_20_images(OFF, views=1)
    assert torch.equal(found, model_logits(teacher, some_images(20).pixels()))


def test_the_logits_of_an_image_are_the_mean_over_its_views():
    teacher, found = logits_of_20_images(MILD, views=3)
    generator = torch.Generator().manual_seed(3)
    views = [augment(some_images(20).pixels(), MILD, generator) for _ in range(3)]
    expected = torch.stack([model_logits(teacher, view) for view in views]).mean(0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert not torch.equal(views[0], views[1])


def test_without_a_teacher_the_file_has_no_logits_and_train_refuses_it_where_they_are_needed(folder, capsys):
    copy_project(folder)
    write_some_data()
    records.write(paths.TEACHER, records.TeacherNeed(needed=False))
    assert run_stage_here("teach") == 0
    assert read_teacher_logits(paths.TEACHER_LOGITS).shape == (0, 10)
    assert json.loads(paths.TEACH_DETAILS.read_bytes()) == {"dataset": "digits", "teacher": None}
    assert paths.AUGMENTED.exists()
    assert capsys.readouterr().out == "no teacher is trained: train.teacher_weight is 0\n"
    assert run_stage_here("train") == 2
    assert capsys.readouterr().err == (
        "train: models/teacher_logits.safetensors: has no logits, as train.teacher_weight was 0 when teach ran; "
        "run: dvc repro train\n"
    )
