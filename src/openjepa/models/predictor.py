"""The predictor of I-JEPA: a narrow ViT that fills in the representations of target blocks (paper, section 3)."""

import torch
from torch import Tensor, nn

from openjepa.models.vit import Block, add_positions, initialise, sincos_positions


class Predictor(nn.Module):
    """From context tokens and the places of the targets to predicted target tokens.

    Every target block is predicted in a sequence of its own, as published, or with `joint` all blocks of an image in
    one: it costs less, and then their mask tokens see each other. A target has `out_dim` numbers, `embed_dim` of them
    unless given. `native_size` is the grid trained on where it is another: positions keep its extent.
    """

    pos_embed: Tensor

    def __init__(
        self,
        grid_size: tuple[int, int],
        embed_dim: int,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        out_dim: int | None = None,
        weight_init: str = "unit",
        joint: bool = False,
        native_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.joint, self.weight_init = joint, weight_init
        native_rows, native_columns = native_size or grid_size
        self.grid_size, self.native_size = (grid_size[0], grid_size[1]), (native_rows, native_columns)
        self.num_heads, self.mlp_ratio = num_heads, mlp_ratio
        self.embed = nn.Linear(embed_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(Block(dim, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.proj = nn.Linear(dim, out_dim or embed_dim)
        self.register_buffer("pos_embed", sincos_positions(grid_size, dim, native_size), persistent=False)
        initialise(self, weight_init, depth)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, context: Tensor, context_ids: Tensor, target_ids: Tensor) -> Tensor:
        """context [B, Nc, D], context_ids [B, Nc], target_ids [B, M, Nt] -> predicted [B, M, Nt, out_dim]."""
        sequences = target_ids.flatten(1).unsqueeze(1) if self.joint else target_ids
        context = add_positions(self.embed(context), self.pos_embed[context_ids])
        context = context.unsqueeze(1).expand(-1, sequences.shape[1], -1, -1)
        queries = self.mask_token.unsqueeze(0) + self.pos_embed[sequences]
        x = torch.cat([context, queries.to(context.dtype)], dim=2).flatten(0, 1)
        for block in self.blocks:
            x = block(x)
        return self.proj(self.norm(x[:, context_ids.shape[1] :])).view(*target_ids.shape, -1)

    def arguments(self) -> dict:
        """What builds a predictor of this shape again: Predictor(**predictor.arguments())."""
        dim, embed_dim = self.embed.weight.shape
        names = ("grid_size", "num_heads", "mlp_ratio", "weight_init", "joint", "native_size")
        return {name: getattr(self, name) for name in names} | {
            "embed_dim": embed_dim,
            "dim": dim,
            "depth": len(self.blocks),
            "out_dim": self.proj.out_features,
        }
