"""Every pass once, for compute-sanitizer and the profiler to watch.

python bench/small_cases.py                 small and odd shapes, all dtypes and layouts
python bench/small_cases.py --published     training steps at the published shape, B = 4 and 64
"""

from __future__ import annotations

import argparse
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

import mnad_ext

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Shape = tuple[int, int, int, int, int]  # B, C, H, W, M
SMALL: list[Shape] = [
    (1, 1, 1, 1, 2),
    (2, 7, 3, 5, 2),
    (1, 129, 1, 129, 7),
    (2, 64, 8, 8, 10),
    (1, 512, 8, 8, 10),
    (1, 1024, 4, 4, 10),
    (1, 512, 8, 8, 300),
    (1, 128, 4, 8, 1024),
]
PUBLISHED: list[Shape] = [(B, 512, 32, 32, 10) for B in (4, 64)]
DTYPES = {
    False: (torch.float32, torch.float64, torch.bfloat16, torch.float16),
    True: (torch.float32, torch.bfloat16),
}
LAYOUTS = {False: ("contiguous", "channels-last", "cropped"), True: ("contiguous", "channels-last")}


def make_features(shape: Shape, dtype: torch.dtype, layout: str) -> Tensor:
    B, C, H, W, _ = shape
    if layout == "cropped":
        return torch.randn(B, C, H + 1, W + 1, device=DEVICE).to(dtype)[:, :, 1:, 1:]
    drawn = torch.randn(B, C, H, W, device=DEVICE).to(dtype)
    return drawn.contiguous(memory_format=torch.channels_last) if layout == "channels-last" else drawn


def run(shape: Shape, dtype: torch.dtype, layout: str, *, per_sample: bool) -> None:
    B, C, _, _, M = shape
    features = make_features(shape, dtype, layout).detach().requires_grad_()
    items = F.normalize(torch.rand((B, M, C) if per_sample else (M, C), device=DEVICE), dim=-1)
    items = (items.double() if dtype == torch.float64 else items).requires_grad_(per_sample)
    step = mnad_ext.memory_step(features, items, grad_through_weights=per_sample)
    gradients = [torch.ones_like(value) for value in (step.output, step.compactness, step.separateness)]
    torch.autograd.backward([step.output, step.compactness, step.separateness], gradients)
    mnad_ext.update_items(items.detach(), step.statistics)
    mnad_ext.memory_read(features.detach(), items.detach())
    mnad_ext.assign_top2(features, items)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", action="store_true")
    published = parser.parse_args().published
    cases = list(product(PUBLISHED if published else SMALL, DTYPES[published], LAYOUTS[published]))
    for number, (shape, dtype, layout) in enumerate(cases):
        # One memory for all samples as published, or one for each and every gradient: by turns over the small cases.
        run(shape, dtype, layout, per_sample=not published and number % 2 == 1)
    print(f"{len(cases)} cases on {DEVICE}")


if __name__ == "__main__":
    main()
