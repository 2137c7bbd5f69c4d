"""The vision transformer of I-JEPA: a plain ViT without class token that can read any subset of its patches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openjepa.models.cpu_bf16 import affine, affine_gelu

# name: (embed_dim, depth, num_heads, mlp_ratio); all but nano and micro are the field's standard sizes.
SIZES = {
    "vit_nano": (128, 4, 4, 4.0),
    "vit_micro": (192, 4, 6, 4.0),
    "vit_tiny": (192, 12, 3, 4.0),
    "vit_small": (384, 12, 6, 4.0),
    "vit_base": (768, 12, 12, 4.0),
    "vit_large": (1024, 24, 16, 4.0),
    "vit_huge": (1280, 32, 16, 4.0),
    "vit_giant": (1408, 40, 16, 48 / 11),
}


def take(tokens: Tensor, ids: Tensor) -> Tensor:
    """Select tokens [B, N, D] by ids [B * masks_per_image, ...] (int64), giving [B * masks_per_image, ..., D].

    The rows of an image follow each other; nothing is copied for them but what is selected.
    """
    index = ids.reshape(len(tokens), -1).unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
    return tokens.gather(1, index).view(*ids.shape, tokens.shape[-1])


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images [B, C, H, W] into rows of pixels [B, N, C * patch_size**2], row by row from the top left."""
    return F.pixel_unshuffle(images, patch_size).flatten(2).transpose(1, 2)


def sincos_positions(grid_size: tuple[int, int], dim: int, native_size: tuple[int, int] | None = None) -> Tensor:
    """Fixed position code [rows * columns, dim], float32 (Vaswani et al. 2017, section 3.5, in two dimensions).

    The first half of the channels encodes the column and the second half the row, each as sines then cosines, as the
    published weights expect. A grid other than `native_size`, the grid trained on, is laid over the same extent.
    `dim` must be divisible by 4, else ValueError.
    """
    if dim % 4:
        raise ValueError(f"a two-dimensional sin-cos code needs a width divisible by 4, got {dim}")
    device = torch.get_default_device()
    with torch.device("cpu"):  # on "meta" this arithmetic would import PyTorch's compiler, which takes a second
        code = _sincos_code(grid_size, dim // 4, native_size or grid_size)
    return code.to(device)


def _sincos_code(grid_size: tuple[int, int], count: int, native_size: tuple[int, int]) -> Tensor:
    """The code from `count` frequencies for each axis."""
    frequencies = 10000.0 ** -(torch.arange(count, dtype=torch.float64) / count)
    axes = []
    for size, native in zip(grid_size, native_size, strict=True):
        coordinates = (torch.arange(size, dtype=torch.float64) + 0.5) * native / size - 0.5
        angles = coordinates[:, None] * frequencies
        axes.append(torch.cat([angles.sin(), angles.cos()], dim=1))
    rows, columns = axes
    code = torch.cat([columns[None].expand(grid_size[0], -1, -1), rows[:, None].expand(-1, grid_size[1], -1)], dim=2)
    return code.flatten(0, 1).float()


def add_positions(tokens: Tensor, positions: Tensor) -> Tensor:
    """Their sum in the dtype of the tokens, which is what the blocks then add to: bf16 under autocast."""
    return tokens + positions.to(tokens.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention over [B, heads, N, head_dim], by the path that is fastest for device, direction and dtype."""
    if q.device.type == "cpu" and q.requires_grad and q.dtype == torch.bfloat16:
        # The fused kernel's backward takes two to five times as long as these products (benchmarks/levers.py).
        weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return weights.softmax(dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


def resample_positions(table: Tensor, grid_size: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """A learned position table [rows * columns, D] for another grid, by antialiased bicubic interpolation, as timm."""
    image = table.unflatten(0, grid_size).permute(2, 0, 1)[None]
    resized = F.interpolate(image, size=wanted, mode="bicubic", antialias=True)
    return resized[0].flatten(1).T.contiguous()


class PatchEmbed(nn.Module):
    """Linear embedding of patches, applied only to the ones asked for. Weight layout: timm's `patch_embed.proj`."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return F.linear(pixels, self.proj.weight.flatten(1), self.proj.bias)


class Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = affine(x, self.qkv).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return affine(attend(q, k, v).transpose(1, 2).flatten(2), self.proj)


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return affine(affine_gelu(x, self.fc1), self.fc2)


class LayerNorm(nn.LayerNorm):
    """A layer norm that leaves 16-bit tokens on a GPU as they are, where autocast would copy them to float32.

    The kernel computes in float32 either way; what follows is a product, which would round its input to 16 bits again.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cuda" or x.dtype == torch.float32:
            return super().forward(x)
        with torch.autocast("cuda", enabled=False):
            return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class Block(nn.Module):
    """Pre-norm transformer block; parameter names are timm's."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, round(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def initialise(module: nn.Module, scheme: str, depth: int) -> None:
    """Draw the weights of all linear layers and set their biases to zero.

    "unit" keeps the variance of what goes through: std 1 / sqrt(inputs) (LeCun et al. 1998, section 4.6), and in the
    last layer of each of the 2 * `depth` residual branches 1 / sqrt(2 * depth) of that, so that they add up to one.
    "published" is a std of 0.02 everywhere, under which a narrow network starts as little more than its position code.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            unit = layer.weight[0].numel() ** -0.5
            if name.endswith(("attn.proj", "mlp.fc2")):
                unit *= (2 * depth) ** -0.5
            nn.init.trunc_normal_(layer.weight, std=unit if scheme == "unit" else 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class VisionTransformer(nn.Module):
    """Images to patch tokens: [B, C, H, W] -> [B, N, D], or [B, Nc, D] when `ids` [B, Nc] name the visible patches.

    `ids` may have several rows an image, [B * masks_per_image, Nc], see `take`.
    `weight_init`: "unit" or "published", see `initialise`. Under "unit" standardised pixels become tokens of unit
    variance, on a par with the position code; small patches of the published scale drown in it (decisions.md).
    `native_size` is the grid trained on where it is another than the image's: positions keep its extent.
    `position_code`: "sincos", or "table" for positions that were learned elsewhere; they stay as they are in training.
    `norm_eps`, of the layer norms, is for weights that were trained with another.
    """

    pos_embed: Tensor

    def __init__(
        self,
        image_size: tuple[int, int],
        patch_size: int,
        in_chans: int = 3,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        mlp_ratio: float = 4.0,
        weight_init: str = "unit",
        native_size: tuple[int, int] | None = None,
        position_code: str = "sincos",
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        if any(side % patch_size for side in image_size):
            raise ValueError(f"patch size {patch_size} does not divide image size {image_size[0]}x{image_size[1]}")
        self.patch_size, self.embed_dim, self.in_chans = patch_size, embed_dim, in_chans
        self.image_size, self.num_heads = (image_size[0], image_size[1]), num_heads
        self.mlp_ratio, self.weight_init = mlp_ratio, weight_init
        self.grid_size = (image_size[0] // patch_size, image_size[1] // patch_size)
        self.norm_eps = norm_eps
        native_rows, native_columns = native_size or self.grid_size
        self.native_size, self.position_code = (native_rows, native_columns), position_code
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim)
        for layer in self.modules():
            if isinstance(layer, nn.LayerNorm):
                layer.eps = norm_eps
        code = sincos_positions(self.grid_size, embed_dim, self.native_size)
        self.register_buffer("pos_embed", code, persistent=position_code == "table")
        initialise(self, weight_init, depth)

    def forward(self, images: Tensor, ids: Tensor | None = None) -> Tensor:
        pixels = patchify(images, self.patch_size)
        positions = self.positions(images)
        if ids is not None:
            pixels, positions = take(pixels, ids), positions[ids]
        x = add_positions(self.patch_embed(pixels), positions)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def layers(self, images: Tensor, count: int) -> list[Tensor]:
        """Patch tokens [B, N, D] of each of the last `count` blocks (of all, where there are fewer), oldest first.

        Each goes through the final norm, so that the last equals `forward(images)`.
        """
        x = add_positions(self.patch_embed(patchify(images, self.patch_size)), self.positions(images))
        kept = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if len(self.blocks) - place <= count:
                kept.append(self.norm(x))
        return kept

    def positions(self, images: Tensor) -> Tensor:
        grid_size = (images.shape[2] // self.patch_size, images.shape[3] // self.patch_size)
        if grid_size == self.grid_size:
            return self.pos_embed
        if self.position_code == "table":
            return resample_positions(self.pos_embed, self.grid_size, grid_size)
        return sincos_positions(grid_size, self.embed_dim, self.native_size).to(self.pos_embed)

    def arguments(self) -> dict:
        """What builds a network of this shape again: VisionTransformer(**network.arguments())."""
        sizes = ("image_size", "patch_size", "in_chans", "embed_dim", "num_heads", "mlp_ratio")
        names = (*sizes, "weight_init", "native_size", "position_code", "norm_eps")
        return {name: getattr(self, name) for name in names} | {"depth": len(self.blocks)}
