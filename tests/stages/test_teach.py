import torch

from armdigits.training.augmentation import augment
from armdigits.core.parameters import load_parameters
from armdigits.models.scoring import logits_of
from armdigits.models.teacher import Teacher
from stages.teach import opinions_of
from tests.helpers import ROOT, some_images
from tests.training.test_loop import MILD, OFF


def opinions(ranges, views: int) -> tuple[Teacher, torch.Tensor]:
    torch.manual_seed(5)
    teacher = Teacher()
    recipe = load_parameters(ROOT / "params.yaml").teach.model_copy(update={"views": views, "seed": 3})
    return teacher, opinions_of(teacher, some_images(20), ranges, recipe)


def test_without_distortion_the_opinion_is_that_on_the_image_itself():
    teacher, found = opinions(OFF, views=1)
    assert torch.equal(found, logits_of(teacher, some_images(20).pixels()))


def test_the_opinion_on_an_image_is_the_mean_over_its_views():
    teacher, found = opinions(MILD, views=3)
    generator = torch.Generator().manual_seed(3)
    views = [augment(some_images(20).pixels(), MILD, generator) for _ in range(3)]
    expected = sum(logits_of(teacher, view) for view in views) / 3
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert not torch.equal(views[0], views[1])
