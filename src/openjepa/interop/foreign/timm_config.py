"""config.json of a folder of timm: the architecture, its arguments, and how images are preprocessed."""

from typing import Annotated

from pydantic import Field

from openjepa.errors import UsageError
from openjepa.interop.weights.shapes import Channels, Mean, Side, Std
from openjepa.optional import require
from openjepa.safety.schema import Name, Schema

# Arguments that say what is computed. Others, as a file or an address to load, are refused.
NAMES = """
act_layer always_partition attn_pool_mlp_ratio attn_pool_num_heads attn_type channels class_token cls_token
conv_bias conv_mlp depth depths dims drop_path_rate drop_rate dynamic_img_pad dynamic_img_size embed_dim
embed_dims fc_norm final_norm fix_init global_pool head_dim head_hidden_size head_init_scale head_norm_first
img_size in_chans init_values kernel_sizes layers ls_init_value mlp_ratio mlp_ratios no_embed_class norm_eps
norm_layer num_classes num_heads num_kv_heads num_reg_tokens output_stride patch_size pool_include_prefix
pos_embed pre_norm proj_bias qk_norm qkv_bias qkv_fused ref_feat_shape reg_tokens rope_grid_indexing
rope_grid_offset rope_rotate_half rope_temperature rope_type scale_attn_inner scale_attn_norm scale_mlp
scale_mlp_norm stem_type stem_width strict_img_size swiglu_align_to swiglu_mlp use_abs_pos_emb use_fc_norm
use_grn use_post_norm use_post_transformer_norm use_pre_transformer_norm use_rel_pos_bias use_rot_pos_emb
use_shared_rel_pos_bias weight_init window_size
"""
ARGUMENTS = frozenset(NAMES.split())
DEEPEST = 512

Number = Annotated[float, Field(ge=-65536, le=65536)]
Whole = Annotated[int, Field(ge=-65536, le=65536)]
Scalar = bool | Whole | Number | Annotated[str, Field(pattern=r"^\w{0,40}$")] | None
Value = Scalar | Annotated[list[Scalar], Field(max_length=16)]


class PretrainedConfig(Schema):
    """What of pretrained_cfg decides how images are preprocessed; None where timm's own for the model holds."""

    input_size: tuple[Channels, Side, Side] | None = None
    mean: tuple[Mean, ...] | None = None
    std: tuple[Std, ...] | None = None
    interpolation: str | None = None
    crop_pct: Annotated[float, Field(gt=0.05, le=1.5)] | None = None
    crop_mode: str | None = None
    license: Name | None = None


class TimmConfig(Schema):
    """config.json of a folder of timm."""

    architecture: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,100}$")]
    model_args: Annotated[dict[str, Value], Field(max_length=100)] = Field(default_factory=dict)
    pretrained_cfg: PretrainedConfig = PretrainedConfig()


def check_arguments(config: TimmConfig, name: str) -> None:
    """Raise UsageError for an architecture that timm does not know and for arguments that are refused."""
    timm = require("timm", "timm")
    if not timm.is_model(config.architecture):
        raise UsageError(f"{name} is of the architecture {config.architecture}, which timm {timm.__version__} lacks")
    if unknown := config.model_args.keys() - ARGUMENTS:
        raise UsageError(
            f"{name} has the argument {min(unknown)[:60]!r} in model_args of config.json, which is not taken"
        )
    for key in ("depth", "depths", "layers"):
        value = config.model_args.get(key)
        numbers = value if isinstance(value, list) else [value]
        if sum(n for n in numbers if isinstance(n, int)) > DEEPEST:
            raise UsageError(f"{name} has more than {DEEPEST} blocks in model_args.{key}: it cannot be used")
