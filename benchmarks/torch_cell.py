"""A ConvLSTM2D in plain PyTorch, as a good PyTorch user writes it: the yardstick of `benchmarks.recurrent`.

One convolution over [x_t; h_{t-1}] a step, channels-last memory, denormals flushed. Gate order i, f, c, o and weights
as `keras.layers.ConvLSTM2D`, "same" padding.
"""

import torch
from torch import nn


class TorchConvLSTM2D(nn.Module):
    """(B, T, H, W, C) to (B, T, H, W, filters)."""

    def __init__(self, kernel, recurrent_kernel, bias):
        super().__init__()
        torch.set_flush_denormal(True)
        self.filters = recurrent_kernel.shape[2]
        joined = torch.cat([torch.as_tensor(kernel), torch.as_tensor(recurrent_kernel)], dim=2)
        self.conv = nn.Conv2d(joined.shape[2], joined.shape[3], joined.shape[:2], padding="same")
        with torch.no_grad():
            self.conv.weight.copy_(joined.permute(3, 2, 0, 1))
            self.conv.bias.copy_(torch.as_tensor(bias))
        self.to(memory_format=torch.channels_last)

    def forward(self, video):
        frames = video.permute(1, 0, 4, 2, 3)  # a view: each frame is channels-last already
        batch, height, width = video.shape[0], *video.shape[2:4]
        h = video.new_zeros(batch, self.filters, height, width).to(memory_format=torch.channels_last)
        c, outputs = h, []
        for x in frames:
            i, f, g, o = self.conv(torch.cat([x, h], dim=1)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1).permute(0, 1, 3, 4, 2)
