"""Every pass once at small and odd shapes: something short for compute-sanitizer to watch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import mnad_ext

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [(1, 1, 1, 1, 2), (2, 7, 3, 5, 2), (1, 129, 1, 129, 7), (2, 64, 8, 8, 10), (1, 512, 8, 8, 300)]


def main() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        for B, C, H, W, M in SHAPES:
            for layout in (torch.contiguous_format, torch.channels_last):
                features = torch.randn(B, C, H, W, device=DEVICE, dtype=dtype).contiguous(memory_format=layout)
                items = F.normalize(torch.rand(B, M, C, device=DEVICE), dim=-1)
                items = (items.double() if dtype == torch.float64 else items).requires_grad_()
                step = mnad_ext.memory_step(features.requires_grad_(), items, grad_through_weights=True)
                loss = step.output.float().sum() + step.weights.square().sum()
                (loss + step.compactness.sum() + step.separateness.sum()).backward()
                mnad_ext.update_items(items.detach(), step.statistics)
                mnad_ext.assign_top2(features, items)
    print(f"{4 * len(SHAPES) * 2} cases on {DEVICE}")


if __name__ == "__main__":
    main()
