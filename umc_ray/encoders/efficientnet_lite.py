"""EfficientNet-Lite0: a small pretrained image network that a package index has.

The tensors carry timm's names, so that one folder serves this network and timm's
`tf_efficientnet_lite0`.

Suffixes: N images, C channels, H and W pixels, D = 1280 features.
"""

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (
    # expansion, kernel, stride, channels, blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM, HEAD = 32, 1280


class EfficientNetLite0(nn.Module):
    """The features of the last layer before the classes, averaged over the image.

    Source: Tan and Le 2019, EfficientNet: Rethinking Model Scaling for Convolutional Neural
    Networks; Lite: no squeeze and excitation, ReLU6, a fixed stem and head.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, STEM, 3, stride=2, bias=False)
        self.bn1 = _norm(STEM)
        stages, before = [], STEM
        for expansion, kernel, stride, channels, blocks in STAGES:
            stage: list[nn.Module] = []
            for i in range(blocks):
                step = stride if i == 0 else 1
                if expansion == 1:
                    stage.append(Separable(before, channels, kernel, step))
                else:
                    stage.append(InvertedResidual(before, channels, kernel, step, expansion))
                before = channels
            stages.append(nn.Sequential(*stage))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = nn.Conv2d(before, HEAD, 1, bias=False)
        self.bn2 = _norm(HEAD)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return features_ND; images scaled as the weights' config.json says."""
        hidden_NCHW = F.relu6(self.bn1(self.conv_stem(images_NCHW)))
        hidden_NCHW = self.blocks(hidden_NCHW)
        return F.relu6(self.bn2(self.conv_head(hidden_NCHW))).mean((2, 3))


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: where it is odd, one more at the end."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Pad, then convolve; x / stride pixels, rounded up, are left."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads: list[int] = []
        for size in (x_NCHW.shape[3], x_NCHW.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x_NCHW, pads))


class Separable(nn.Module):
    """The first block: a depthwise convolution, then one over the channels."""

    def __init__(self, before: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = SameConv(before, before, kernel, stride=stride, groups=before, bias=False)
        self.bn1 = _norm(before)
        self.conv_pw = nn.Conv2d(before, channels, 1, bias=False)
        self.bn2 = _norm(channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Mix places, then channels."""
        hidden_NCHW = F.relu6(self.bn1(self.conv_dw(x_NCHW)))
        mixed_NCHW: Tensor = self.bn2(self.conv_pw(hidden_NCHW))
        return mixed_NCHW


class InvertedResidual(nn.Module):
    """More channels, a depthwise convolution, fewer channels; added to the input if alike."""

    def __init__(
        self, before: int, channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = before * expansion
        self.conv_pw = nn.Conv2d(before, wide, 1, bias=False)
        self.bn1 = _norm(wide)
        self.conv_dw = SameConv(wide, wide, kernel, stride=stride, groups=wide, bias=False)
        self.bn2 = _norm(wide)
        self.conv_pwl = nn.Conv2d(wide, channels, 1, bias=False)
        self.bn3 = _norm(channels)
        self.adds = stride == 1 and before == channels

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Widen, mix places, narrow."""
        hidden_NCHW = F.relu6(self.bn1(self.conv_pw(x_NCHW)))
        hidden_NCHW = F.relu6(self.bn2(self.conv_dw(hidden_NCHW)))
        narrow_NCHW: Tensor = self.bn3(self.conv_pwl(hidden_NCHW))
        return x_NCHW + narrow_NCHW if self.adds else narrow_NCHW


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)
