import pytest
import torch
from torch.nn import functional

from armdigits.core.parameters import Augmentation
from armdigits.data.sources import digits
from armdigits.training.augmentation import _maps, _widen, augment, draw, transform

OFF = {"rotation": 0.0, "zoom": 0.0, "shear": 0.0, "shift": 0.0, "stroke": 0.0, "flip": 0.0, "fade": 0.0}
MILD = {"rotation": 10.0, "zoom": 0.1, "shear": 0.1, "shift": 1.0, "stroke": 0.5, "flip": 0.0, "fade": 0.0}


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    """Real digits: float32 [50, 1, 28, 28]."""
    return digits(seed=1)[1].pixels()[:50]


def augmented(pixels, seed=1, **ranges) -> torch.Tensor:
    return augment(pixels, Augmentation(**{**OFF, **ranges}), torch.Generator().manual_seed(seed))


def test_ranges_of_zero_leave_the_images_unchanged(pixels):
    torch.testing.assert_close(augmented(pixels), pixels, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in OFF if kind not in ("flip", "fade")])
def test_each_kind_changes_each_image_differently(pixels, kind):
    same = pixels[:1].repeat(20, 1, 1, 1)
    results = augmented(same, **{kind: MILD[kind]})
    assert len(results.flatten(1).unique(dim=0)) == 20
    assert not any(torch.allclose(result, same[0], atol=1e-3) for result in results)


def test_the_ranges_shrink_evenly_from_the_first_epoch_to_the_last():
    ranges = Augmentation(**{**MILD, "fade": 0.3})
    factors = [ranges.in_epoch(epoch, 5).rotation / ranges.rotation for epoch in range(1, 6)]
    assert factors == pytest.approx([1.3, 1.15, 1, 0.85, 0.7])
    assert ranges.in_epoch(1, 1).ranges() == ranges.ranges(), "a single epoch is in the middle"
    first = ranges.in_epoch(1, 5).ranges()
    assert all(value == pytest.approx(1.3 * MILD[name]) for name, value in first.items())


def test_the_same_seed_gives_the_same_bits(pixels):
    assert torch.equal(augmented(pixels, **MILD), augmented(pixels, **MILD))
    assert not torch.equal(augmented(pixels, **MILD), augmented(pixels, seed=2, **MILD))


def test_results_are_images_with_about_as_much_ink(pixels):
    results = augmented(pixels, **MILD)
    assert results.shape == pixels.shape
    assert results.dtype == torch.float32
    assert results.min() >= 0
    assert results.max() <= 1
    ink = results.sum((1, 2, 3)) / pixels.sum((1, 2, 3))
    assert 0.6 < ink.min() < ink.max() < 1.5


def test_a_shift_moves_the_ink_by_no_more_than_its_range(pixels):
    def centres(images):
        weights = images[:, 0] / images.sum((1, 2, 3))[:, None, None]
        places = torch.arange(28.0)
        return torch.stack([(weights.sum(axis) * places).sum(1) for axis in (1, 2)])

    moves = (centres(augmented(pixels, shift=2.0)) - centres(pixels)).abs()
    assert 1.0 < moves.max() <= 2.01


def test_rotations_of_up_to_90_degrees_reach_the_next_corner_and_not_the_opposite_one():
    """Some of 500 random angles up to 90 degrees are near 90: the ink of a corner is then in the next corner."""
    corner = torch.zeros(500, 1, 28, 28)
    corner[:, :, 4:10, 4:10] = 1
    turned = augmented(corner, rotation=90.0)
    elsewhere = turned[:, 0, 18:24, 4:10].mean((1, 2)).max(), turned[:, 0, 4:10, 18:24].mean((1, 2)).max()
    assert min(elsewhere) > 0.9
    assert turned[:, 0, 18:24, 18:24].mean((1, 2)).max() < 0.1, "no image is turned by 180 degrees"


def test_strokes_grow_and_shrink_by_up_to_their_range_on_each_side():
    bar = torch.zeros(500, 1, 28, 28)
    bar[..., 12:16] = 1
    widths = augmented(bar, stroke=0.75)[:, 0, 14].sum(1)
    assert 2.5 - 1e-5 <= widths.min() < 2.6
    assert 5.4 < widths.max() <= 5.5 + 1e-5


def test_a_pixel_of_growth_is_torchs_max_pooling_and_a_pixel_less_that_of_the_negative(pixels):
    one = torch.ones(len(pixels))
    assert torch.equal(_widen(pixels, one), functional.max_pool2d(pixels, 3, 1, 1))
    assert torch.equal(_widen(pixels, -one), -functional.max_pool2d(-pixels, 3, 1, 1))
    torch.testing.assert_close(_widen(pixels, one / 2), (pixels + _widen(pixels, one)) / 2)


def test_images_are_sampled_at_the_coordinates_of_torchs_affine_grid(pixels):
    many, ranges = pixels.repeat(21, 1, 1, 1), Augmentation(**{**MILD, "stroke": 0.0})
    numbers = draw(len(many), ranges, torch.Generator().manual_seed(1))
    maps = _maps(numbers, ranges, 28, 28).permute(2, 0, 1)
    grid = functional.affine_grid(maps, list(many.shape), align_corners=False)
    expected = functional.grid_sample(many, grid, align_corners=False)
    torch.testing.assert_close(transform(many, ranges, numbers), expected, atol=1e-5, rtol=0)


def test_a_wide_colour_image_changes_as_in_the_middle_of_a_square_one(pixels):
    """Neither rotation nor shear distorts it, and each channel changes in the same way."""
    ranges = Augmentation(**{**MILD, "rotation": 90.0, "shear": 0.5, "stroke": 0.0, "flip": 0.5})
    numbers = draw(len(pixels), ranges, torch.Generator().manual_seed(1))
    wide = torch.cat([pixels, 1 - pixels, pixels / 2], dim=1)[:, :, 7:21]
    square = functional.pad(wide, (0, 0, 7, 7))
    expected = transform(square, ranges, numbers)[:, :, 7:21]
    torch.testing.assert_close(transform(wide, ranges, numbers), expected, atol=1e-4, rtol=0)


def test_a_share_of_the_images_is_mirrored_whatever_the_epoch(pixels):
    ranges = Augmentation(**{**OFF, "rotation": 1e-9, "flip": 0.3, "fade": 1.0}).largest()
    results = augment(pixels[:1].repeat(1000, 1, 1, 1), ranges, torch.Generator().manual_seed(1))
    mirrored = (results - pixels[0].flip(-1)).abs().amax((1, 2, 3)) < 1e-4
    unchanged = (results - pixels[0]).abs().amax((1, 2, 3)) < 1e-4
    assert (mirrored ^ unchanged).all()
    assert 0.25 < mirrored.float().mean() < 0.35


def test_without_mirroring_no_random_number_is_drawn_for_it():
    numbers = draw(50, Augmentation(**MILD), torch.Generator().manual_seed(1))
    assert torch.equal(numbers, 2 * torch.rand(7, 50, generator=torch.Generator().manual_seed(1)) - 1)
