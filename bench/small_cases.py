"""Every pass once, beside the reference, and for compute-sanitizer and the profiler to watch.

python bench/small_cases.py                       small and odd shapes, all dtypes and layouts
python bench/small_cases.py --cases two           two of them: a plain one, and one where nothing is even
python bench/small_cases.py --cases published     training steps at the published shape, B = 4 and 64; not compared
"""

from __future__ import annotations

import argparse
import sys
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

import mnad_ext
from mnad_ext import MemoryStep, reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Shape = tuple[int, int, int, int, int]  # B, C, H, W, M
Case = tuple[Shape, torch.dtype, str]
TWO: list[Shape] = [(1, 512, 8, 8, 10), (1, 129, 1, 129, 7)]
SMALL: list[Shape] = [
    *TWO,
    (1, 1, 1, 1, 2),
    (2, 7, 3, 5, 2),
    (2, 64, 8, 8, 10),
    (1, 1024, 4, 4, 10),
    (1, 512, 8, 8, 300),
    (1, 128, 4, 8, 1024),
    # On 132 multiprocessors the largest tiles: one for each block, and several.
    (8, 64, 32, 32, 10),
    (9, 64, 32, 32, 10),
]
PUBLISHED: list[Shape] = [(B, 512, 32, 32, 10) for B in (4, 64)]
ALL = ((torch.float32, torch.float64, torch.bfloat16, torch.float16), ("contiguous", "channels-last", "cropped"))
FAST = ((torch.float32, torch.bfloat16), ("contiguous", "channels-last"))
CASES: dict[str, list[Case]] = {
    "small": list(product(SMALL, *ALL)),
    "two": list(product(TWO, *ALL)),
    "published": list(product(PUBLISHED, *FAST)),
}
# Wide enough for every rounding; the tests are strict.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3, torch.bfloat16: 3e-2, torch.float16: 1e-2}


def make_features(shape: Shape, dtype: torch.dtype, layout: str) -> Tensor:
    B, C, H, W, _ = shape
    if layout == "cropped":
        return torch.randn(B, C, H + 1, W + 1, device=DEVICE).to(dtype)[:, :, 1:, 1:]
    drawn = torch.randn(B, C, H, W, device=DEVICE).to(dtype)
    return drawn.contiguous(memory_format=torch.channels_last) if layout == "channels-last" else drawn


def run(case: Case, *, per_sample: bool) -> tuple[Tensor, Tensor, MemoryStep]:
    """Runs every pass; gives features, items and what a step made of them."""
    shape, dtype, layout = case
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
    return features, items, step


def differs(case: Case, features: Tensor, items: Tensor, step: MemoryStep) -> bool:
    """Returns whether a step is far from what the reference makes on the CPU."""
    features, items = features.detach().cpu(), items.detach().cpu()
    indices, _ = reference.assign_top2(features, items)
    expected = (
        reference.memory_read(features, items)[0],
        reference.compactness(features, items, indices[:, 0]),
        reference.separateness(features, items, indices),
    )
    actual = (step.output, step.compactness, step.separateness)
    tolerance = TOLERANCE[case[1]]
    return not all(
        torch.allclose(a.detach().cpu().double(), e.double(), rtol=tolerance, atol=tolerance)
        for a, e in zip(actual, expected, strict=True)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", choices=CASES, default="small")
    chosen = parser.parse_args().cases
    torch.manual_seed(0)
    wrong = 0
    for number, case in enumerate(CASES[chosen]):
        # One memory for all samples as published, or one for each and every gradient: by turns over the small cases.
        results = run(case, per_sample=chosen != "published" and number % 2 == 1)
        if chosen != "published" and differs(case, *results):
            wrong += 1
            print(f"not what the reference gives: {case}")
    if DEVICE == "cuda":
        torch.cuda.synchronize()  # a kernel's fault shows no earlier
    print(f"{len(CASES[chosen])} cases on {DEVICE}, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
