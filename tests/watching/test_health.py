"""What is said of a camera's picture, on real video with made faults where there is some, and on made scenes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import av
import cv2
import numpy as np
import pytest
from mnad.runtime.errors import ConfigError
from mnad.watching.health import Condition, HealthRules, PictureHealth
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Fault = Callable[[Frame, int, str], Frame]  # of a frame, its number since the fault began, and the clip

CLIPS = ("bottle-detection", "car-detection", "one-by-one-person-detection")
WIDTH = 128  # of a frame that faults are made of
RATE = 10  # frames a second
LEARNED = 15 * RATE  # frames seen before a fault
real = pytest.mark.skipif("MNAD_VIDEOS" not in os.environ, reason="MNAD_VIDEOS names no folder of clips")
on_clips = pytest.mark.parametrize("clip", CLIPS)
thumbnail: Any = partial(cv2.resize, dsize=(64, 64), interpolation=cv2.INTER_AREA)
packed = partial(json.dumps, default=np.ndarray.tolist)


@cache
def clip_frames(clip: str) -> list[Frame]:
    """A clip at 10 frames a second, there and back."""
    frames: list[Any] = []
    with av.open(f"{os.environ['MNAD_VIDEOS']}/{clip}.mp4") as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            if frame.time >= len(frames) / RATE - 1e-6:
                frames.append(frame.to_ndarray(format="bgr24", width=WIDTH, height=WIDTH, interpolation="AREA"))
    return frames + frames[::-1]


@cache
def learned(clip: str, frames: int = LEARNED) -> dict[str, Any]:
    watch(health := PictureHealth(), clip_frames(clip)[:frames])
    return health.as_dict()


def watch(health: PictureHealth, frames: Iterable[Frame], rate: float = RATE) -> list[Condition | None]:
    buffer, said = np.empty((64, 64, 3), np.uint8), []
    for index, frame in enumerate(frames):
        buffer[:] = thumbnail(frame)
        said.append(health.see(buffer, index / rate))
    return said


def levels(values: Any, noise: float = 0, seed: int = 0) -> Frame:
    added = np.random.default_rng(seed).normal(0, noise, (*values.shape[:2], 1)) if noise else 0
    return np.asarray(np.clip(values + added, 0, 255), np.uint8)


def warped(*, zoom: float = 1, angle: float = 0, right: float = 0, down: float = 0) -> Fault:
    """Shifts are parts of the width."""
    matrix: Any = cv2.getRotationMatrix2D((WIDTH / 2, WIDTH / 2), angle, zoom)
    matrix[:, 2] += WIDTH * right, WIDTH * down
    warp: Any = cv2.warpAffine
    return lambda frame, *_: warp(frame, matrix, (WIDTH, WIDTH), borderMode=cv2.BORDER_REFLECT)


def other_scene(steps: int) -> Fault:
    return lambda _, index, clip: clip_frames(CLIPS[(CLIPS.index(clip) + steps) % 3])[index]


def infrared(frame: Frame, *_: Any) -> Frame:
    return levels(0.7 * np.repeat(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2) + 30)


def beside(frame: Frame, index: int, clip: str, first: int = 0) -> Frame:
    """Puts something of another scene, a third of the picture wide, where its first column is told."""
    column = np.arange(WIDTH)[:, None]
    other = np.roll(other_scene(1)(frame, index, clip), first, axis=1)
    return np.where((column >= first) & (column < first + WIDTH // 3), other, frame)


HAND = np.linspace(0, 50, WIDTH)[:, None] + (40, 50, 90)  # with light from one side
turned = warped(angle=15, zoom=1.15)
FAULTS: dict[str, tuple[Fault, Condition, float]] = {  # with the seconds in which they must be told
    "shifted right": (warped(right=0.15), "moved", 7),
    "shifted down": (warped(down=0.15), "moved", 6),
    "zoomed": (warped(zoom=1.3), "moved", 5),
    "turned": (turned, "moved", 5),
    "second scene": (other_scene(1), "moved", 5),
    "third scene": (other_scene(2), "moved", 5),
    "dark": (lambda frame, index, _: levels(0 * frame + 6, 5, index), "black", 1.1),
    "hand": (lambda frame, i, _: levels(0 * frame + HAND + frame.mean(axis=(0, 1)) / 10, 3, i), "covered", 4),
    "fog": (lambda frame, index, _: levels(0.12 * frame + 190, 3, index), "covered", 4),
    "spray": (lambda frame, i, _: levels(0.2 * cv2.GaussianBlur(frame, (0, 0), 4) + 140, 3, i), "covered", 4),
    "infrared": (infrared, "switched", 1.1),
    "frozen": (lambda _, __, clip: clip_frames(clip)[LEARNED], "frozen", 10),
}
COLOURLESS = ("infrared", "car-detection")  # asphalt has next to no colour that it could lose
HARMLESS: dict[str, Fault] = {
    "crossing in 10 s": lambda frame, index, clip: beside(frame, index, clip, index * 170 // (10 * RATE) - 42),
    "standing": beside,
    "shaking": lambda frame, index, _: np.roll(frame, np.random.default_rng(index).integers(-2, 3, 2), (0, 1)),
    "knocked by a pixel": warped(right=1 / 64, down=1 / 64),
    "brighter and brighter": lambda frame, index, _: levels(frame * (1 + index / 200)),
    "brighter at once": lambda frame, *_: levels(frame * 1.25 + 10),
    "darker at once": lambda frame, index, _: levels(frame * 0.25, 2, index),
    "half the contrast": lambda frame, index, _: levels(frame * 0.5 + 80, 3, index),
    "noisy": lambda frame, index, _: levels(frame, 8, index),
    "less than a second of dark": lambda frame, index, _: levels(frame * float(index % 20 > 8) + 6, 5, index),
}


@real
@on_clips
def test_nothing_is_said_of_real_cameras(clip: str) -> None:
    frames = clip_frames(clip)
    assert set(watch(PictureHealth(), frames[: len(frames) // 2])) == {None}
    assert set(watch(PictureHealth(), map(infrared, frames[: 40 * RATE]))) == {None}


@real
@on_clips
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_while_it_lasts(clip: str, fault: str) -> None:
    change, condition, within = FAULTS[fault]
    frames = clip_frames(clip)[LEARNED : LEARNED + 15 * RATE]
    first, last = int(within * RATE), 12 * RATE
    changed = [change(frame, index, clip) for index, frame in enumerate(frames[:last])]
    said = watch(PictureHealth.from_dict(learned(clip)), changed + frames[last:])
    assert set(said) <= {None, condition}
    assert set(said[first:last]) == {None if (fault, clip) == COLOURLESS else condition}
    assert set(said[last + 2 * RATE :]) == {None}


@real
@on_clips
@pytest.mark.parametrize("change", HARMLESS)
def test_a_change_that_is_no_fault_is_none(clip: str, change: str) -> None:
    for start in (LEARNED, LEARNED + 5 * RATE):
        frames = clip_frames(clip)[start : start + 12 * RATE]
        changed = [HARMLESS[change](frame, index, clip) for index, frame in enumerate(frames)]
        assert set(watch(PictureHealth.from_dict(learned(clip, start)), changed)) == {None}


@real
def test_infrared_becomes_the_reference_and_so_does_colour_again() -> None:
    frames = clip_frames(CLIPS[2])[LEARNED : LEARNED + 60 * RATE]
    seen = [*map(infrared, frames[: 40 * RATE]), *frames[40 * RATE :]]
    said = watch(PictureHealth.from_dict(learned(CLIPS[2])), seen)
    changes = [index / RATE for index in range(1, len(said)) if said[index] != said[index - 1]]
    assert changes == pytest.approx([1, 31, 41], abs=0.3)
    assert said[20] == said[-1] == "switched"


@real
def test_a_new_view_that_stays_or_is_accepted_becomes_the_reference() -> None:
    clip, rules = CLIPS[2], HealthRules(accept_after=20)
    frames = clip_frames(clip)[LEARNED : LEARNED + 60 * RATE]
    new = [turned(frame, 0, clip) for frame in frames[: 40 * RATE]]
    said = watch(PictureHealth.from_dict(learned(clip), rules), [*new, *frames[40 * RATE :]])
    assert set(said[5 * RATE : 22 * RATE]) == {"moved"}
    assert set(said[25 * RATE : 40 * RATE]) == {None}
    assert set(said[47 * RATE :]) == {"moved"}
    health = PictureHealth.from_dict(learned(clip))
    assert watch(health, new[: 10 * RATE])[-1] == "moved"
    health.accept_view()
    assert set(watch(health, new[10 * RATE :])) == {None}
    assert watch(health, frames[: 10 * RATE])[-1] == "moved"
    views = turned, FAULTS["zoomed"][0], FAULTS["shifted right"][0]
    restless = [views[index // (15 * RATE) % 3](frame, 0, clip) for index, frame in enumerate(frames)]
    assert set(watch(PictureHealth.from_dict(learned(clip), rules), restless)[5 * RATE :]) == {"moved"}


@real
def test_the_gravest_of_several_is_told() -> None:
    frame = clip_frames(CLIPS[0])[LEARNED]
    moved = warped(right=0.5)(frame, 0, CLIPS[0])
    for seen, after_5, after_12 in (
        (np.zeros_like(frame), "black", "black"),
        (np.full_like(frame, 90), "covered", "covered"),
        (moved, "moved", "frozen"),
        (infrared(moved), "switched", "frozen"),
    ):
        said = watch(PictureHealth.from_dict(learned(CLIPS[0])), [seen] * (12 * RATE))
        assert (said[5 * RATE], said[-1]) == (after_5, after_12)


def blotches(seed: int = 1) -> Any:
    """A coloured scene, with large structure and small."""
    random = np.random.default_rng(seed)
    return 120 + sum(cv2.resize(random.uniform(-60, 60, (size, size, 3)), (64, 64)) for size in (4, 12, 40))


def noisy(pictures: Iterable[NDArray[np.float64]], noise: float = 1.5) -> list[Frame]:
    return [levels(picture, noise, index) for index, picture in enumerate(pictures)]


SCENE = blotches()
GREY = np.repeat(SCENE.mean(axis=2, keepdims=True), 3, axis=2)
PLAIN = 0 * SCENE + 120
CLOCK = np.where(np.indices(SCENE.shape)[:2].max(axis=0) < 7, SCENE, PLAIN)  # on a wall
MADE: dict[str, tuple[NDArray[np.float64], Condition]] = {
    "other": (blotches(2), "moved"),
    "plain": (PLAIN, "covered"),
    "grey": (GREY, "switched"),
}
UNSEEN = {  # what is seen before and after, with its noise
    "wall": (PLAIN, 1, PLAIN * 1.2, 0.25),
    "noisy wall": (PLAIN / 3, 4, PLAIN / 2, 1),
    "clock taken": (CLOCK, 1, PLAIN, 1),
    "lights out": (SCENE, 1, SCENE / 5, 25),
}


@pytest.mark.parametrize("view", UNSEEN)
def test_where_nothing_can_be_seen_nothing_is_covered_or_moved(view: str) -> None:
    before, some, after, noise = UNSEEN[view]
    assert set(watch(PictureHealth(), noisy([before] * 300, some) + noisy([after] * 600, noise))) == {None}


def test_noise_that_coding_repeats_is_no_view() -> None:
    assert set(watch(PictureHealth(), [levels(PLAIN, 2, index // 50) for index in range(400)])) == {None}


def test_only_black_and_frozen_are_told_before_the_view_is_learned() -> None:
    assert set(watch(PictureHealth(), noisy([SCENE] * 15 + [PLAIN] * 30))) == {None}
    assert set(watch(PictureHealth(), noisy([GREY] * 3 + [SCENE] * 100))) == {None}
    assert watch(PictureHealth(), noisy([SCENE * 0] * 20))[-1] == "black"
    assert watch(PictureHealth(HealthRules(frozen_after=2)), noisy([SCENE] * 30, 0))[-1] == "frozen"


@pytest.mark.parametrize("fault", MADE)
def test_a_made_view_that_is_accepted_is_well(fault: str) -> None:
    health, picture = PictureHealth(), MADE[fault][0]
    assert watch(health, noisy([SCENE] * 200 + [picture] * 50))[-1] == MADE[fault][1]
    health.accept_view()
    assert set(watch(health, noisy([picture] * 100))) == {None}


def test_a_new_look_of_a_new_view_settles_while_the_view_does_not() -> None:
    health = PictureHealth(HealthRules(switch_settles=8))
    assert set(watch(health, noisy([GREY] * 200 + [GREY[::-1]] * 200))[250:]) == {"moved"}
    said = watch(health, noisy([SCENE[::-1]] * 200))
    assert [said[5], said[50], said[-1]] == ["moved", "switched", "moved"]


@pytest.mark.parametrize(("memory", "colour"), [(60, 1), (5, 0.15)])  # the reference is slower or faster than the dusk
def test_dusk_does_not_switch(memory: float, colour: float) -> None:
    health = PictureHealth(HealthRules(memory=memory))
    dusk = [GREY + (SCENE - GREY) * colour * min(max(1.25 - index / 400, 0), 1) for index in range(900)]
    assert set(watch(health, noisy(dusk, 0.25), rate=2)) == {None}
    assert watch(health, noisy([SCENE] * 20))[-1] == "switched"


def test_a_picture_that_is_all_but_black_does_not_flicker() -> None:
    pictures = np.full((40, 64, 64, 3), 5, np.uint8)
    pictures[15::2, :2] = 80  # 3 % of the pixels
    assert watch(PictureHealth(), pictures) == [None] * 10 + ["black"] * 30
    assert set(watch(PictureHealth(), pictures[15:])) == {None}


def test_a_gap_counts_for_a_second() -> None:
    health, hours = PictureHealth(), range(0, 40 * 3600, 3600)
    said = [health.see(thumbnail(frame), hour) for frame, hour in zip(noisy([SCENE] * 29), hours, strict=False)]
    said += [health.see(thumbnail(levels(blotches(2))), hour) for hour in hours[29:]]
    assert said == [None] * 32 + ["moved"] * 7 + ["frozen"]


@pytest.mark.parametrize("fault", MADE)
def test_a_made_fault_is_told_and_a_restored_state_goes_on(fault: str) -> None:
    picture, condition = MADE[fault]
    rules = HealthRules(accept_after=8, switch_settles=8, frozen_after=2, memory=20)
    frames = noisy([SCENE] * 160 + [picture] * 120 + [SCENE] * 80)
    frames += [frames[-1]] * 20
    stops = (0, 20, 165, 190, 210, 240, 290, 370)  # where no time passes
    whole, pieces = PictureHealth(rules), PictureHealth(rules)
    at, said, again = 0.0, [], []
    for index, frame in enumerate(frames):
        at += 0 if index in stops else 0.125
        if index in stops:
            state = pieces.as_dict()
            pieces.see(thumbnail(frames[0]), at + 100)  # changes nothing of what was stored
            pieces = PictureHealth.from_dict(json.loads(packed(state)), rules)
        said.append(whole.see(thumbnail(frame), at))
        again.append(pieces.see(thumbnail(frame), at + 1024 * sum(stop <= index for stop in stops)))
    assert set(said[:160]) == {None}
    assert set(said[200:220]) == {condition}
    assert said[-1] == "frozen"
    assert again == said
    assert packed(pieces.as_dict()) == packed(whole.as_dict())


@pytest.mark.parametrize(("name", "value"), [("settle", 0), ("dark_level", 256), ("match", -1), ("learn", np.nan)])
def test_rules_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be above 0"):
        HealthRules(**{name: value})
