import math

import pytest
import torch
from torch import Tensor

from umc_ray.encoders.gradients import GradientFeatures


def ramp(towards: float) -> Tensor:
    """A 1 x 1 x 32 x 32 image that brightens in one direction (radians, y downwards)."""
    down, across = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    return (0.5 + (across * math.cos(towards) + down * math.sin(towards)) / 100)[None, None]


def inner_cell(images_N1HW: Tensor, features: GradientFeatures) -> Tensor:
    """Histogram of a cell away from the border, as shares of one."""
    cells = (features.side - features.cell) // features.stride + 1
    histograms = features(images_N1HW).square().reshape(features.orientations, cells, cells)
    middle = histograms[:, cells // 2, cells // 2]
    return middle / middle.sum()


@pytest.mark.parametrize("orientation", range(8))
def test_a_ramp_votes_for_the_direction_in_which_it_brightens(orientation: int) -> None:
    shares = inner_cell(ramp(orientation * math.pi / 4), GradientFeatures())
    torch.testing.assert_close(shares, torch.eye(8)[orientation], atol=1e-4, rtol=0)


def test_a_direction_between_two_orientations_is_shared_linearly() -> None:
    shares = inner_cell(ramp(0.25 * math.pi / 4), GradientFeatures())
    expected = torch.tensor([0.75, 0.25, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(shares, expected, atol=1e-4, rtol=0)


def test_the_last_orientation_shares_with_the_first() -> None:
    shares = inner_cell(ramp(-0.5 * math.pi / 4), GradientFeatures())
    expected = torch.tensor([0.5, 0, 0, 0, 0, 0, 0, 0.5])
    torch.testing.assert_close(shares, expected, atol=1e-4, rtol=0)


def test_brightness_and_contrast_do_not_count() -> None:
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    features = GradientFeatures()
    torch.testing.assert_close(features(images), features(0.2 + 0.5 * images), atol=1e-4, rtol=0)


def test_features_have_unit_length_and_the_stated_dimension_at_any_image_size() -> None:
    features = GradientFeatures(orientations=6)
    for height, width in ((8, 8), (32, 32), (50, 20)):
        features_ND = features(torch.rand(2, 1, height, width))
        assert features_ND.shape == (2, features.dimension) == (2, 6 * 7 * 7)
        torch.testing.assert_close(features_ND.norm(dim=1), torch.ones(2))


def test_an_even_image_has_no_features() -> None:
    assert GradientFeatures()(torch.full((1, 1, 20, 20), 0.7)).abs().max() == 0
