"""The model zoo: recipe, network and recorded results of each preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mnad.models import PRESETS, Autoencoder, PresetName
from mnad.reproduction import published
from recorded import NOT_RECORDED, load, percent, scale, source, table

REPRODUCED = "bench/results/reproduce-small-amd-epyc-2-cores.json"
TITLES = {"ped2": "UCSD Ped2", "avenue": "CUHK Avenue", "shanghaitech": "ShanghaiTech"}
# The rows of the table `skip-noise`.
NOISE: dict[str, str] = {
    "denoising": "denoising reconstruction with skips",
    "temporal-denoising": "the same of four frames",
    "temporal": "reconstruction of the last of four frames, no skips",
}


def megabytes(preset: PresetName) -> float:
    """Returns the size of the float32 weights, without buffers, in 10^6 bytes."""
    with torch.device("meta"):
        model = Autoencoder(PRESETS[preset].model)
    return sum(weight.numel() * 4 for weight in model.parameters()) / 1e6


def network(preset: PresetName) -> str:
    """The network and its recipe."""
    model, recipe = PRESETS[preset].model, PRESETS[preset].recipe
    memory = model.memory
    rows = [
        ["input", f"{model.frames_in} frame{'s' if model.frames_in > 1 else ''}"],
        ["target", "the next frame" if model.target == "next" else "the last input frame"],
        ["skips", "yes" if model.skips else "no"],
        ["memory", f"{memory.num_items} items, rule `{memory.update_rule}`" if memory else "none"],
        ["input noise", f"{recipe.noise:.0%} salt and pepper" if recipe.noise else "none"],
        ["decoder", "" if model.skips else f"`{model.decoder}`"],
        ["weights at width 64", f"{megabytes(preset):.2f} MB"],
        ["learning rate", f"{recipe.learning_rate:g}, cosine to 0"],
        ["weight of compactness, separateness", f"{recipe.loss_weight:g} each" if memory else "none"],
        ["lambda of the score", f"{recipe.score_weight:g}" if memory else "1"],
        ["E_t threshold of the test-time update", f"{recipe.update_threshold:g}" if memory else "none"],
        ["epochs, batch size", "60 (ShanghaiTech: 10), 4"],
    ]
    return table(["", preset], [row for row in rows if row[1]])


def results(preset: PresetName) -> str:
    """The recorded AUCs beside the published ones."""
    recorded = {result["name"]: result for result in load(REPRODUCED)}
    ours = _recorded_on_ped2(preset, recorded)
    rows = []
    for data, title in TITLES.items():
        found = ours if data == "ped2" else None
        if preset in published.MODELS:
            best, original, *_ = published.SEARCHED[preset][data]
            told = [percent(published.RECOMMENDED[preset][data]), percent(best), percent(original)]
        else:
            told = [_paper(preset) if data == "ped2" else "", "", ""]
        rows.append([title, NOT_RECORDED if found is None else percent(found), *told])
    head = ["frame AUC, %", "ours, small scale", "the paper", "the paper, best of a search", "the original paper"]
    if ours is None:
        return table(head, rows)
    stamp = recorded["table4"]["provenance"]
    return f"{table(head, rows)}\n\n{source(REPRODUCED, stamp)}\n\n{scale(stamp)}"


def _recorded_on_ped2(preset: PresetName, recorded: Mapping[str, Any]) -> float | None:
    name, model = ("skip-noise", NOISE[preset]) if preset in NOISE else ("table4", published.MODELS.get(preset))
    return next((row["ours"] for row in recorded[name]["rows"] if row["model"] == model), None)


def _paper(preset: PresetName) -> str:
    """Returns the paper's AUC on Ped2."""
    if preset == "denoising":
        return percent(published.DENOISING_PED2)
    return percent(published.RECOMMENDED[preset]["ped2"]) if preset in published.RECOMMENDED else ""


def synthetic(preset: PresetName) -> str:
    """The recorded AUCs by kind of synthetic anomaly."""
    result = next(result for result in load(REPRODUCED) if result["name"] == "figures6-9")
    rows = [
        [row["kind of anomaly"], f"{row['AUC']:.1f} %", f"{row['ratio']:.1f}x"]
        for row in result["rows"]
        if row["model"] == published.MODELS[preset]
    ]
    head = ["synthetic anomaly", "frame AUC", "error of abnormal frames"]
    return f"{table(head, rows)}\n\n{source(REPRODUCED, result['provenance'])}"


def zoo() -> str:
    """All presets, and what was recorded of them."""
    recorded = {result["name"]: result for result in load(REPRODUCED)}
    rows = []
    for name, preset in PRESETS.items():
        found = _recorded_on_ped2(name, recorded)
        rows.append(
            [
                f"[{name}]({name}.md)",
                preset.summary,
                f"{megabytes(name):.1f} MB",
                NOT_RECORDED if found is None else percent(found),
                _paper(name),
            ]
        )
    head = ["preset", "", "weights", "Ped2, ours, small scale", "Ped2, the paper"]
    stamp = recorded["table4"]["provenance"]
    return f"{table(head, rows)}\n\n{source(REPRODUCED, stamp)}\n\n{scale(stamp)}"


TABLES = {"network": network, "results": results, "synthetic": synthetic, "zoo": zoo}
