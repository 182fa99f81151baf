"""Image features without pretrained weights: histograms of oriented gradients.

Shape suffixes: N images, H and W pixels, O orientations, D features.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_GRADIENT = 1e-4  # smaller ones are rounding errors; a step of 1/255 in a pixel gives 7e-4


class GradientFeatures(nn.Module):
    """Histograms of oriented gradients over overlapping square cells.

    Each pixel votes with the length of its gradient for the two orientations nearest to its
    direction (over the full circle, so that dark on light differs from light on dark). The vector
    is the square root of the histograms, scaled to unit length. So the Euclidean distance of two
    images is the Hellinger distance of their histograms, and contrast has no influence.

    Source: Dalal and Triggs 2005, Histograms of Oriented Gradients for Human Detection.
    """

    def __init__(
        self, side: int = 32, cell: int = 8, stride: int = 4, orientations: int = 8
    ) -> None:
        """Set the grid; `cell` and `stride` are in pixels of the image resized to `side`."""
        super().__init__()
        self.side = side
        self.cell = cell
        self.stride = stride
        self.orientations = orientations
        self.dimension = orientations * ((side - cell) // stride + 1) ** 2
        horizontal = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        self.sobel: Tensor
        self.register_buffer("sobel", torch.stack([horizontal, horizontal.T]).unsqueeze(1))

    def forward(self, images_N1HW: Tensor) -> Tensor:
        """Return features_ND of unit length (zeros for a uniform image); pixels are in 0..1."""
        size = (self.side, self.side)
        resized = F.interpolate(
            images_N1HW, size, mode="bilinear", antialias=True, align_corners=False
        )
        padded = F.pad(
            resized, (1, 1, 1, 1), mode="replicate"
        )  # zeros would add edges at the border
        gradients_N2HW = F.conv2d(padded, self.sobel)
        dx, dy = gradients_N2HW[:, :1], gradients_N2HW[:, 1:]
        lengths_N1HW = F.threshold(torch.hypot(dx, dy), MIN_GRADIENT, 0.0)
        votes_NOHW = lengths_N1HW * self._shares(torch.atan2(dy, dx))
        histograms = F.avg_pool2d(votes_NOHW, self.cell, self.stride)
        return F.normalize(histograms.sqrt().flatten(1))

    def _shares(self, angles_N1HW: Tensor) -> Tensor:
        """Split the vote of each pixel linearly between the two nearest of O orientations."""
        bins = torch.arange(self.orientations, device=angles_N1HW.device).view(1, -1, 1, 1)
        steps = angles_N1HW * (self.orientations / (2 * math.pi)) - bins
        half = self.orientations / 2
        nearest = (steps + half).remainder(
            self.orientations
        ) - half  # the shorter way around the circle
        return F.relu(1 - nearest.abs())
