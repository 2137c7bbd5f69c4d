"""Settings of the published method at small sizes: block masks, one per image, and a predictor of two blocks."""

PLAIN = {
    "masks": None,
    "context_ratio": 0.25,
    "masks_per_image": 1,
    "crop_scale": (0.3, 1.0),
    "predictor_depth": 2,
    "batch_size": 64,
    "lr": 1e-3,
    "weight_decay": (0.05, 0.05),
}
