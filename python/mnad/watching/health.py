"""Whether a live camera's picture can be used at all, apart from anomalies in what it shows."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mnad.runtime.errors import ConfigError

Condition = Literal["frozen", "black", "covered", "switched", "moved"]
Map = NDArray[np.float32]

SIZE, PLACES = 64, 8  # pixels, and places that are judged one by one, across a thumbnail
LONGEST_STEP = 1.0  # in seconds, what a frame counts for at most: nobody saw what was between it and the last
RECENT = 0.5  # in seconds, how far back the mean picture reaches whose structure is judged, so that noise drowns
FINE, BAND, AROUND, COARSE = 0.5, 1.2, 2.0, 3.0  # in pixels, standard deviations of blurs
FAINT = 0.3  # in levels, structure that counts half of what strong structure does
OFFSET = 16.0  # in levels, added to the brightness that contrast and colour are relative to
STRUCTURED, FOCUSED = 0.003, 0.0022  # contrast of a place with structure; fine contrast of what no lens cover shows
FEWEST = 8  # places with structure, below which a view cannot be told from others
RELIABLE = 0.5  # usual correlation with the reference of a place that can tell a view
TRUSTED_AFTER = 10.0  # in seconds, how slowly places come to be relied on, as coding repeats noise for a while
DIM = 0.35  # of the reference's brightness, below which noise may drown the structure
COLOURED, VIVID = 3, 12  # in levels between its channels, from where a pixel is not grey, and where it counts in full
TINTED = 4  # in levels between the channels, of a view that has colour to lose, on average
GREY, DOUBTFUL, COLOURFUL = 0.05, 0.1, 0.4  # shares of coloured pixels
STILL_DARK, STILL_FLAT, STILL_LOST = 0.97, 1.6, 0.8  # of the threshold that a condition began with, where it ends


@dataclass(frozen=True)
class HealthRules:
    """When a picture is not well.

    Attributes:
        frozen_after: Seconds without any change from which on a picture is frozen.
        settle: Seconds for which a picture must be dark, without contrast, or of another look, to count as that.
        dark_level: Grey level, in (0, 255], below which a pixel is dark.
        dark_share: Share of dark pixels, in (0, 1], from which on a picture is black.
        contrast_left: Share, in (0, 0.5], of their contrast, relative to the picture's brightness, that half of the
            places with structure fall below when the camera is covered.
        switch_within: Seconds in which infrared light is switched; what takes longer is the time of day.
        switch_settles: Seconds after which the new look becomes the reference.
        match: Correlation, in (0, 1], from which on a place looks as in the reference.
        moved_after: Seconds without a match after which a place is lost.
        moved_share: Share of lost places, in (0, 1], above which the camera has moved.
        accept_after: Seconds after which a new view that stays as it is becomes the reference.
        learn: Seconds in which the first reference is learned.
        memory: Seconds over which the reference follows slow changes.

    Raises:
        ConfigError: If a value is out of range; seconds must be above 0.
    """

    frozen_after: float = 10.0
    settle: float = 1.0
    dark_level: float = 24.0
    dark_share: float = 0.98
    contrast_left: float = 0.25
    switch_within: float = 2.0
    switch_settles: float = 30.0
    match: float = 0.58
    moved_after: float = 3.0
    moved_share: float = 0.65
    accept_after: float = 600.0
    learn: float = 5.0
    memory: float = 60.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        most = {"dark_level": 255, "dark_share": 1, "contrast_left": 0.5, "match": 1, "moved_share": 1}
        for name, value in asdict(self).items():
            if not 0 < value <= most.get(name, math.inf):
                limit = f" and at most {most[name]}" if name in most else ""
                raise ConfigError(f"{name} must be above 0{limit}, got {value}")


class _Seen(NamedTuple):
    """What is judged of a picture; maps are (64, 64)."""

    pattern: Map  # fine structure, as strong where it is faint as elsewhere
    fine: Map  # its contrast, relative to the brightness
    detail: Map  # contrast of coarser structure too
    coloured: float  # share of pixels
    colour: float  # mean difference between the channels, at most vivid, relative to the brightness
    brightness: float  # in levels


def _see(thumbnail: NDArray[np.uint8], recent: Map) -> _Seen:
    """Measures the colour of a frame, and the structure of the mean of the last ones."""
    fine = cv2.GaussianBlur(recent, (0, 0), FINE)
    band = fine - cv2.GaussianBlur(recent, (0, 0), BAND)
    strength = cv2.sqrt(cv2.GaussianBlur(band * band, (0, 0), AROUND)) + FAINT
    brightness = cv2.mean(recent)[0]
    blue, green, red = cv2.split(thumbnail)
    spread = cv2.subtract(cv2.max(cv2.max(blue, green), red), cv2.min(cv2.min(blue, green), red))
    coloured = int(np.count_nonzero(spread > COLOURED)) / spread.size
    detail = fine - cv2.GaussianBlur(recent, (0, 0), COARSE)
    colour = float(np.minimum(spread, VIVID).mean())
    relative = 1 / (brightness + OFFSET)
    return _Seen(band / strength, band * relative, detail * relative, coloured, colour * relative, brightness)


def _by_place(values: Map) -> Map:
    """Returns the mean of each place, (8, 8)."""
    return cv2.resize(values, (PLACES, PLACES), interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def _picture() -> Map:
    return np.zeros((SIZE, SIZE), np.float32)


def _places() -> Map:
    return np.zeros((PLACES, PLACES), np.float32)


@dataclass
class _View:
    """What a camera sees while it stays as it is: running means, and for how long each place has not matched."""

    age: float = 0.0
    coloured: float = 0.0
    colour: float = 0.0
    brightness: float = 0.0
    pattern: Map = field(default_factory=_picture)
    detail: Map = field(default_factory=_picture)
    match: Map = field(default_factory=_places)
    usual: Map = field(default_factory=_places)
    unmatched: Map = field(default_factory=_places)

    def compare(self, seen: _Seen, elapsed: float, match: float) -> None:
        """Matches each place; the whole may have shaken by a pixel."""
        wide = cv2.copyMakeBorder(seen.pattern, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
        _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(wide, self.pattern, cv2.TM_CCORR))
        pattern = wide[y : y + SIZE, x : x + SIZE]
        power = _by_place(pattern * pattern) * _by_place(self.pattern * self.pattern)
        self.match = _by_place(pattern * self.pattern) / np.sqrt(power + 1e-9)
        self.unmatched = (self.unmatched + elapsed) * (self.match < match)

    def lost(self, after: float) -> float:
        """Returns the share of places that have not matched for longer than so many seconds."""
        reliable = self.usual >= RELIABLE
        return float(np.mean(self.unmatched[reliable] > after)) if np.count_nonzero(reliable) >= FEWEST else 0.0

    def contrast_left(self, seen: _Seen, match: float) -> float:
        """Returns the median share of their contrast that places with structure keep; 1 if that tells nothing.

        Fog leaves the pattern as it was, a hand no fine one. What has another is another view, if a plainer one.
        """
        contrast, now = _by_place(np.abs(self.detail)), _by_place(np.abs(seen.detail))
        structured = contrast >= STRUCTURED
        if np.count_nonzero(structured) < FEWEST:
            return 1.0
        other = np.median(self.match[structured]) < match and np.median(_by_place(np.abs(seen.fine))) >= FOCUSED
        return 1.0 if other else float(np.median(now[structured] / contrast[structured]))

    def learn(self, seen: _Seen, elapsed: float, memory: float) -> None:
        self.age += elapsed
        rate = min(elapsed / min(self.age, memory), 1.0) if self.age else 1.0
        self.coloured += rate * (seen.coloured - self.coloured)
        self.colour += rate * (seen.colour - self.colour)
        self.brightness += rate * (seen.brightness - self.brightness)
        self.pattern += rate * (seen.pattern - self.pattern)
        self.detail += rate * (seen.detail - self.detail)
        self.usual += elapsed / max(min(self.age, memory), TRUSTED_AFTER) * (self.match - self.usual)


@dataclass
class _State:
    last: NDArray[np.uint8] | None = None
    recent: Map | None = None
    unchanged: float = 0.0
    dark: float = 0.0
    flat: float = 0.0
    moved: bool = False
    switched: bool = False
    other_look: float = 0.0
    doubtful_look: float = 0.0
    reference: _View = field(default_factory=_View)
    new: _View | None = None


class PictureHealth:
    """Watches the picture of one camera.

    The picture is compared with a reference, a slowly running mean of the view while all was well. Until the first is
    learned, a picture can only be frozen or black; whether the camera moved is told from about 10 s on. A view with
    hardly any structure cannot be told from others, so a camera that always had such a view is never covered or moved,
    and one whose view has next to no colour never switches. A picture that is blown out counts as covered. Whether the
    camera moved is not judged while the picture is far darker than the reference, as when lights go out.

    Args:
        rules: When a picture is not well.

    Example:
        >>> health = PictureHealth()
        >>> dark = np.zeros((64, 64, 3), np.uint8)
        >>> [health.see(dark, at=time) for time in (0.0, 0.5, 1.0)]
        [None, None, 'black']
    """

    def __init__(self, rules: HealthRules = HealthRules()) -> None:
        self.rules = rules
        self._state = _State()
        self._at: float | None = None

    def see(self, thumbnail: NDArray[np.uint8], at: float) -> Condition | None:
        """Takes the next frame.

        Args:
            thumbnail: (64, 64, 3) uint8, BGR, the whole frame made smaller by averaging (``cv2.INTER_AREA``).
            at: When it was taken, in seconds of a clock that never goes back. A gap counts for 1 s at most.

        Returns:
            What is wrong with the picture now, None if it is well: of several that hold, the first of black, covered,
            frozen, switched and moved.
        """
        state, rules = self._state, self.rules
        elapsed = 0.0 if self._at is None else min(max(at - self._at, 0.0), LONGEST_STEP)
        self._at = at
        same = state.last is not None and np.array_equal(state.last, thumbnail)
        state.unchanged = state.unchanged + elapsed if same else 0.0
        state.last = thumbnail.copy()
        grey = cv2.cvtColor(thumbnail, cv2.COLOR_BGR2GRAY).astype(np.float32)
        dark = int(np.count_nonzero(grey < rules.dark_level)) / grey.size
        black = dark >= rules.dark_share * (STILL_DARK if state.dark >= rules.settle else 1)
        state.dark = state.dark + elapsed if black else 0.0
        if state.recent is None:
            state.recent = grey
        else:
            state.recent += (1 - math.exp(-elapsed / RECENT)) * (grey - state.recent)
        if not black:
            self._judge(_see(thumbnail, state.recent), elapsed)
        return self._condition()

    def accept_view(self) -> None:
        """Makes what the camera shows now the reference, as after it was moved on purpose."""
        self._adopt(self._state.new or _View())

    def as_dict(self) -> dict[str, Any]:
        """Returns the state for :meth:`from_dict`: numbers, truth values, None, arrays, and dictionaries of these."""
        return asdict(self._state)

    @classmethod
    def from_dict(cls, state: dict[str, Any], rules: HealthRules = HealthRules()) -> PictureHealth:
        """Goes on where another stopped; the time until the next frame does not count.

        Args:
            state: What :meth:`as_dict` returned; lists in place of its arrays will do.
            rules: When a picture is not well.

        Raises:
            KeyError, TypeError: If it is no such state.
        """
        views = {name: state[name] and _View(**_arrays(state[name])) for name in ("reference", "new")}
        last = None if state["last"] is None else np.array(state["last"], np.uint8)
        health = cls(rules)
        health._state = _State(**{**_arrays(state), **views, "last": last})
        return health

    def _condition(self) -> Condition | None:
        state = self._state
        holds: dict[Condition, bool] = {
            "black": state.dark >= self.rules.settle,
            "covered": state.flat >= self.rules.settle,
            "frozen": state.unchanged >= self.rules.frozen_after,
            "switched": state.switched,
            "moved": state.moved,
        }
        return next((condition for condition, on in holds.items() if on), None)

    def _judge(self, seen: _Seen, elapsed: float) -> None:
        """Judges a picture that is not black."""
        state, rules, reference = self._state, self.rules, self._state.reference
        if reference.age < rules.learn:
            reference.compare(seen, elapsed, rules.match)
            reference.learn(seen, elapsed, rules.memory)
            return
        dim = seen.brightness < DIM * reference.brightness
        reference.compare(seen, 0.0 if dim or state.flat else elapsed, rules.match)
        least = rules.contrast_left * (STILL_FLAT if state.flat >= rules.settle else 1)
        flat = reference.contrast_left(seen, rules.match) < least
        state.flat = state.flat + elapsed if flat else 0.0
        if flat:
            return
        changing = self._see_look(seen, elapsed)
        if not state.switched:
            most = rules.moved_share * (STILL_LOST if state.moved else 1)
            state.moved = reference.lost(rules.moved_after) > most
        if state.switched or state.moved:
            self._see_new(seen, elapsed)
            return
        state.new = None
        if not (dim or changing) and reference.lost(0.0) <= rules.moved_share:
            reference.learn(seen, elapsed, rules.memory)

    def _see_look(self, seen: _Seen, elapsed: float) -> bool:
        """Tells a quick change between colourful and grey; returns whether there may be one."""
        state, rules, reference = self._state, self.rules, self._state.reference
        same, other = not state.switched, False
        if reference.coloured < GREY:
            same, other = seen.coloured < DOUBTFUL, seen.coloured >= COLOURFUL
        elif reference.colour * (min(seen.brightness, reference.brightness) + OFFSET) >= TINTED:  # not where it is dark
            same, other = seen.colour >= reference.colour / 2, seen.coloured < GREY
        if same:
            state.switched, state.other_look, state.doubtful_look = False, 0.0, 0.0
        elif other:
            state.other_look += elapsed
        else:
            state.doubtful_look += state.other_look + elapsed
            state.other_look = 0.0
        quick = not same and state.doubtful_look <= rules.switch_within
        if quick and state.other_look >= rules.settle and not state.switched:
            state.switched, state.new = True, None
        return quick

    def _see_new(self, seen: _Seen, elapsed: float) -> None:
        """Learns what is there in place of the reference, and in time makes it the reference."""
        state, rules = self._state, self.rules
        if state.new is None or state.new.lost(rules.moved_after) > rules.moved_share:
            state.new = _View()
        new = state.new
        new.compare(seen, elapsed, rules.match)
        new.learn(seen, elapsed, rules.memory)
        if new.age >= (rules.accept_after if state.moved else rules.switch_settles):
            self._adopt(new)
        elif state.switched and new.age >= rules.switch_settles:
            state.reference.coloured, state.reference.colour = new.coloured, new.colour
            state.switched = False

    def _adopt(self, view: _View) -> None:
        state = self._state
        state.reference, state.new = view, None
        state.flat, state.moved, state.switched = 0.0, False, False


def _arrays(state: dict[str, Any]) -> dict[str, Any]:
    """Copies lists and arrays into arrays."""
    return {
        name: np.array(value, np.float32) if isinstance(value, list | np.ndarray) else value
        for name, value in state.items()
    }
