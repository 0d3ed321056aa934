"""Small networks with maps other than N x C x H x W, for images of 3 x 16 x 16."""

import torch
import torch.nn.functional as F
from networks import N_CLASSES, Residual
from torch import nn


def perceptron(n):
    return nn.Sequential(nn.Linear(n, 2 * n), nn.GELU(), nn.Linear(2 * n, n))


class ClassTokenTransformer(nn.Module):
    """Vision transformer with a class token, normalised queries, and a final norm."""

    class Block(nn.Module):
        def __init__(self, n, n_heads):
            super().__init__()
            self.n_heads = n_heads
            self.norm1, self.norm2 = nn.LayerNorm(n), nn.LayerNorm(n)
            self.qkv, self.proj = nn.Linear(n, 3 * n), nn.Linear(n, n)
            self.k_norm = nn.LayerNorm(n // n_heads)
            self.mlp = perceptron(n)

        def forward(self, x):
            n, length, width = x.shape
            qkv = self.qkv(self.norm1(x)).reshape(n, length, 3, self.n_heads, -1)
            q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
            mixed = F.scaled_dot_product_attention(q, self.k_norm(k), v)
            x = x + self.proj(mixed.transpose(1, 2).reshape(n, length, width))
            return x + self.mlp(self.norm2(x))

    def __init__(self, n=12):
        super().__init__()
        self.patches = nn.Conv2d(3, n, 4, 4)
        self.class_token = nn.Parameter(torch.randn(1, 1, n))
        self.positions = nn.Parameter(torch.randn(1, 17, n))
        self.blocks = nn.Sequential(self.Block(n, 3), self.Block(n, 3))
        self.norm = nn.LayerNorm(n)
        self.head = nn.Linear(n, N_CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.blocks(x + self.positions)
        return self.head(self.norm(x)[:, 0])


class PyTorchTransformer(nn.Module):
    """PyTorch's encoder layers, which have a fast path; the mean of all tokens."""

    def __init__(self, n=8):
        super().__init__()
        self.patches = nn.Conv2d(3, n, 4, 4)
        layer = nn.TransformerEncoderLayer(n, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(n, N_CLASSES)

    def forward(self, x):
        n, _, height, width = x.shape
        x = self.patches(x).reshape(n, -1, height * width // 16).permute(0, 2, 1)
        return self.head(self.encoder(x).mean(1))


class Mixer(nn.Module):
    """Linear layers over the tokens, between transpositions, and over the filters."""

    class Block(nn.Module):
        def __init__(self, n, n_tokens):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(n), nn.LayerNorm(n)
            self.tokens = nn.Linear(n_tokens, n_tokens)
            self.filters = nn.Linear(n, n)

        def forward(self, x):
            x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
            return x + self.filters(self.norm2(x)).relu()

    def __init__(self, n=10):
        super().__init__()
        self.embed = nn.Linear(3 * 16, n)
        self.blocks = nn.Sequential(self.Block(n, 16), self.Block(n, 16))
        self.head = nn.Linear(n, N_CLASSES)

    def forward(self, x):
        n, n_channels, height, width = x.shape
        x = x.reshape(n, n_channels, height // 4, 4, width // 4, 4)
        x = x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        return self.head(self.blocks(self.embed(x)).mean(1))


class WindowAttention(nn.Module):
    """Attention in windows of 2 x 2 places, N x H x W x C, shifted by one."""

    def __init__(self, n, shift):
        super().__init__()
        self.norm, self.qkv = nn.LayerNorm(n), nn.Linear(n, 3 * n)
        self.proj = nn.Linear(n, n)
        self.windows = nn.Identity()
        self.shift = shift

    def forward(self, x):
        n, height, width, n_filters = x.shape
        y = torch.roll(self.norm(x), (-self.shift, -self.shift), (1, 2))
        y = y.view(n, height // 2, 2, width // 2, 2, n_filters).transpose(2, 3)
        y = self.windows(y.reshape(-1, 4, n_filters))
        q, k, v = self.qkv(y).chunk(3, dim=-1)
        y = self.proj(torch.softmax(q @ k.mT, dim=-1) @ v)
        y = y.view(n, height // 2, width // 2, 2, 2, n_filters).transpose(2, 3)
        y = y.reshape(n, height, width, n_filters)
        return x + torch.roll(y, (self.shift, self.shift), (1, 2))


class Merging(nn.Module):
    """Four neighbours become one place of more filters."""

    def __init__(self, n):
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * n), nn.Linear(4 * n, 2 * n)

    def forward(self, x):
        rows, columns = (0, 1, 0, 1), (0, 0, 1, 1)
        parts = [x[..., r::2, c::2, :] for r, c in zip(rows, columns, strict=True)]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class ShiftedWindows(nn.Module):
    """Stages of window attention on N x H x W x C, with a merging between."""

    def __init__(self, n=6):
        super().__init__()
        self.patches = nn.Conv2d(3, n, 2, 2)
        self.stage1 = nn.Sequential(WindowAttention(n, 0), WindowAttention(n, 1))
        self.merging = Merging(n)
        self.stage2 = WindowAttention(2 * n, 0)
        self.norm = nn.LayerNorm(2 * n)
        self.head = nn.Linear(2 * n, N_CLASSES)

    def forward(self, x):
        x = self.stage1(self.patches(x).permute(0, 2, 3, 1))
        return self.head(self.norm(self.stage2(self.merging(x))).mean((1, 2)))


class ChannelsLastBlocks(nn.Module):
    """Depthwise convolutions, with linear layers over the last axis between."""

    class Block(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.depthwise = nn.Conv2d(n, n, 3, 1, 1, groups=n)
            self.norm = nn.LayerNorm(n)
            self.mlp = perceptron(n)

        def forward(self, x):
            y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
            return x + self.mlp(y).permute(0, 3, 1, 2)

    def __init__(self, n=8):
        super().__init__()
        self.stem = nn.Conv2d(3, n, 2, 2)
        self.blocks = nn.Sequential(self.Block(n), self.Block(n))
        self.head = nn.Linear(n, N_CLASSES)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


class ScoresAtPlaces(nn.Module):
    """Class scores at each place by a convolution, which are averaged."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2), Residual(8, 10))
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Conv2d(10, N_CLASSES, 1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )

    def forward(self, x):
        return self.classifier(self.features(x)).flatten(1)


class SharedActivation(nn.Module):
    """One activation module after every convolution."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.act = nn.SiLU()
        self.conv, self.conv_norm = nn.Conv2d(8, 10, 3, 2, 1), nn.BatchNorm2d(10)
        self.head = nn.Linear(10, N_CLASSES)

    def forward(self, x):
        x = self.act(self.norm(self.stem(x)))
        x = self.act(self.conv_norm(self.conv(x)))
        return self.head(x.mean((2, 3)))


class Squares(torch.autograd.Function):
    """An operation of its own, which PyTorch does not show."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


class Square(nn.Module):
    def forward(self, x):
        return Squares.apply(x)


class FourierMixing(nn.Module):
    """Tokens in an operation after which nothing is known of their axes."""

    def __init__(self, n=8):
        super().__init__()
        self.patches = nn.Conv2d(3, n, 4, 4)
        self.mlp = nn.Linear(n, n)
        self.head = nn.Linear(n, N_CLASSES)

    def forward(self, x):
        x = torch.einsum("nchw->nhwc", self.patches(x)).flatten(1, 2)
        return self.head(self.mlp(x).mean(1))


class ReducedAttention(nn.Module):
    """Attention of all tokens to the cells of a coarser map, as of pyramids."""

    def __init__(self, n=8):
        super().__init__()
        self.patches = nn.Conv2d(3, n, 2, 2)
        self.reduction = nn.Conv2d(n, n, 4, 4)
        self.norm = nn.LayerNorm(n)
        self.head = nn.Linear(n, N_CLASSES)

    def forward(self, x):
        maps = self.patches(x)
        tokens = maps.flatten(2).transpose(1, 2)
        coarse = self.reduction(maps).flatten(2).transpose(1, 2)
        x = tokens + torch.softmax(tokens @ coarse.mT, dim=-1) @ coarse
        return self.head(self.norm(x).mean(1))


class Attention(nn.Module):
    """Attention as in timm; with `functional`, the projection is not called."""

    def __init__(self, n, num_heads, functional=False, residual=False):
        super().__init__()
        self.num_heads, self.functional, self.residual = num_heads, functional, residual
        self.qkv, self.proj = nn.Linear(n, 3 * n), nn.Linear(n, n)

    def forward(self, x):
        n, length, width = x.shape
        qkv = self.qkv(x).reshape(n, length, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        y = y.transpose(1, 2).reshape(n, length, width)
        if self.functional:
            return F.linear(y, self.proj.weight, self.proj.bias)
        return x + self.proj(y) if self.residual else self.proj(y)


class AttentionBlock(nn.Module):
    """Attention and a perceptron, each after a norm and next to a residual."""

    def __init__(self, attn, n):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(n), attn
        self.norm2, self.mlp = nn.LayerNorm(n), perceptron(n)

    def forward(self, x):
        y = self.norm1(x)
        if not isinstance(self.attn, nn.MultiheadAttention):
            y = self.attn(y)
        elif self.attn.batch_first:
            y, _ = self.attn(query=y, key=y, value=y, need_weights=False)
        else:
            y = y.transpose(0, 1)
            y = self.attn(y, y, y)[0].transpose(0, 1)
        return (x + y) + self.mlp(self.norm2(x + y))


class AttentionTransformer(nn.Module):
    """Vision transformer with modules of attention, and a class token."""

    def __init__(self, build=Attention, n=12, n_heads=3, **settings):
        super().__init__()
        self.patches = nn.Conv2d(3, n, 4, 4)
        self.class_token = nn.Parameter(torch.randn(1, 1, n))
        self.positions = nn.Parameter(torch.randn(1, 17, n))
        self.blocks = nn.Sequential(
            *(AttentionBlock(build(n, n_heads, **settings), n) for _ in range(2))
        )
        self.norm, self.head = nn.LayerNorm(n), nn.Linear(n, N_CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.head(self.norm(self.blocks(x + self.positions))[:, 0])


class ShiftedAttention(nn.Module):
    """Two blocks of attention in windows of 2 x 2 places, the second one shifted."""

    def __init__(self, n=8):
        super().__init__()
        self.patches = nn.Conv2d(3, n, 4, 4)
        self.norms = nn.ModuleList([nn.LayerNorm(n), nn.LayerNorm(n)])
        self.attns = nn.ModuleList([Attention(n, 2), Attention(n, 4)])
        self.norm, self.head = nn.LayerNorm(n), nn.Linear(n, N_CLASSES)

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        n, height, width, n_filters = x.shape
        for shift, (norm, attn) in enumerate(zip(self.norms, self.attns, strict=True)):
            y = norm(x)
            if shift:
                y = torch.roll(y, (-shift, -shift), (1, 2))
            y = y.view(n, height // 2, 2, width // 2, 2, n_filters).transpose(2, 3)
            y = attn(y.reshape(-1, 4, n_filters))
            y = y.view(n, height // 2, width // 2, 2, 2, n_filters).transpose(2, 3)
            y = y.reshape(n, height, width, n_filters)
            if shift:
                y = torch.roll(y, (shift, shift), (1, 2))
            x = x + y
        return self.head(self.norm(x).mean((1, 2)))
