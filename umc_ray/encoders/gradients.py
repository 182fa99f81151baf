"""Image features that need no pretrained weights: where edges are and how they run.

Shape suffixes: N images, H and W pixels, O orientations, D features.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FAINTEST = 1e-4  # a gradient below is rounding: one pixel that is 1/255 off makes 7e-4


class GradientFeatures(nn.Module):
    """Histograms of oriented gradients over overlapping square cells.

    Each pixel votes with the length of its gradient, for the two orientations nearest to the
    gradient's direction (the full circle, so that dark-on-light differs from light-on-dark).
    The square root and the unit length of the whole vector make the Euclidean distance of two
    images the Hellinger distance of their histograms, and leave out the contrast.

    Source: Dalal and Triggs 2005, Histograms of Oriented Gradients for Human Detection.
    """

    def __init__(
        self, side: int = 32, cell: int = 8, stride: int = 4, orientations: int = 8
    ) -> None:
        """Fix the grid; all but `orientations` in pixels of the image resized to `side`."""
        super().__init__()
        self.side = side
        self.cell = cell
        self.stride = stride
        self.orientations = orientations
        self.dimension = orientations * ((side - cell) // stride + 1) ** 2
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        self.sobel: Tensor
        self.register_buffer("sobel", torch.stack([across, across.T]).unsqueeze(1))

    def forward(self, images_N1HW: Tensor) -> Tensor:
        """Return features_ND of unit length (zeros for an even image); pixels in 0..1."""
        size = (self.side, self.side)
        resized = F.interpolate(
            images_N1HW, size, mode="bilinear", antialias=True, align_corners=False
        )
        padded = F.pad(resized, (1, 1, 1, 1), mode="replicate")  # zeros would draw a frame
        gradients_N2HW = F.conv2d(padded, self.sobel)
        across, down = gradients_N2HW[:, :1], gradients_N2HW[:, 1:]
        lengths_N1HW = F.threshold(torch.hypot(across, down), FAINTEST, 0.0)
        votes_NOHW = lengths_N1HW * self._shares(torch.atan2(down, across))
        histograms = F.avg_pool2d(votes_NOHW, self.cell, self.stride)
        return F.normalize(histograms.sqrt().flatten(1))

    def _shares(self, angles_N1HW: Tensor) -> Tensor:
        """Divide each pixel's vote linearly between the two nearest of O orientations."""
        bins = torch.arange(self.orientations, device=angles_N1HW.device).view(1, -1, 1, 1)
        steps = angles_N1HW * (self.orientations / (2 * math.pi)) - bins
        half = self.orientations / 2
        nearest = (steps + half).remainder(self.orientations) - half  # the shorter way round
        return F.relu(1 - nearest.abs())
