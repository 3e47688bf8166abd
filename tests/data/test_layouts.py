"""Every layout on a small tree, with the traps that people have met."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mnad.data.layouts import LAYOUTS, find_layout
from mnad.data.splits import Split, SplitName
from mnad.runtime.errors import DataError
from numpy.typing import NDArray
from scipy.io import savemat

from tests.data import trees
from tests.data.trees import Clip, make_clip


def read(root: Path, split: SplitName = "testing") -> Split:
    return find_layout(root).read(root, split)


def labels_of(split: Split, which: int | str = 0) -> NDArray[np.bool_]:
    sets = {labels.name: labels for labels in split.label_sets} | dict(enumerate(split.label_sets))
    counts = [sum(1 for _ in video.frames.read(3)) for video in split.videos]
    return sets[which].fit([video.name for video in split.videos], counts)  # type: ignore[index]


def checked_labels(root: Path) -> NDArray[np.bool_]:
    split = read(root)
    split.check()
    return labels_of(split)


def errors(split: Split) -> list[str]:
    return [problem.message for problem in split.problems() if problem.level == "error"]


@pytest.fixture
def clips() -> list[Clip]:
    """Twelve, so that names sorted as text would be out of order; lengths and events differ."""
    return [make_clip(5 + index, index, events=[(index % 4, index % 4 + 1)]) for index in range(12)]


def truth(clips: list[Clip]) -> NDArray[np.bool_]:
    return np.concatenate([clip.labels for clip in clips])


def test_ucsd(tmp_path: Path, clips: list[Clip]) -> None:
    trees.write_ucsd(tmp_path, clips[:2], clips)
    (tmp_path / "Test/Test001/._003.tif").write_bytes(b"resource fork")
    (tmp_path / "Test/.DS_Store").write_bytes(b"finder")
    (tmp_path / "Test/._UCSDped2.m").write_bytes(b"resource fork")
    assert find_layout(tmp_path).name == "ucsd"
    split = read(tmp_path)
    assert [video.name for video in split.videos] == [f"Test{index:03d}" for index in range(1, 13)]
    assert [video.frames.count() for video in split.videos] == [len(clip.frames) for clip in clips]
    assert errors(split) == []
    for which in ("UCSDped2.m", "masks"):  # counted from 1, the first frame may be abnormal
        assert np.array_equal(labels_of(split, which), truth(clips))
    assert len(read(tmp_path, "training").videos) == 2


def test_ucsd_with_masks_of_some_clips(tmp_path: Path, clips: list[Clip]) -> None:
    trees.write_ucsd(tmp_path, clips[:1], clips[:3])
    shutil.rmtree(tmp_path / "Test/Test002_gt")
    split = read(tmp_path)
    assert [video.masks is not None for video in split.videos] == [True, False, True]
    assert [labels.name for labels in split.label_sets] == ["UCSDped2.m"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("", "has no line such as"),
        ("TestVideoFile{end+1}.gt_frame = [1:x];", r"no ranges: \[1:x\]"),
        ("TestVideoFile{end+1}.gt_frame = [1:2];", "the events of 1 videos, but there are 2"),
        ("% gt_frame = [1:2];\n" + "a.gt_frame = [1:2];\n" * 2, None),
        ("a.gt_frame = [1:2 4];\na.gt_frame = [2:9];\n", "Test002 has the frames 0 to 5, but an event from 1 to 8"),
    ],
)
def test_ucsd_scripts(tmp_path: Path, clips: list[Clip], script: str, message: str | None) -> None:
    trees.write_ucsd(tmp_path, [], clips[:2])
    (tmp_path / "Test/UCSDped2.m").write_text(script)
    split = read(tmp_path)
    if message is None:
        assert errors(split) == []
    else:
        with pytest.raises(DataError, match=message):
            split.check()


def test_avenue(tmp_path: Path, clips: list[Clip]) -> None:
    root = tmp_path / "Avenue Dataset"
    trees.write_avenue(root, clips[:2], clips)
    hasan = ~truth(clips)
    np.save(tmp_path / "frame_labels_avenue.npy", hasan[None])
    assert find_layout(root).name == "avenue"
    split = read(root)
    assert [video.name for video in split.videos] == [f"{index:02d}" for index in range(1, 13)]
    assert [labels.name for labels in split.label_sets] == ["official", "hasan"]
    # 2_label.mat belongs to 02.avi though 10_label.mat comes first as text.
    assert np.array_equal(labels_of(split, "official"), truth(clips))
    assert np.array_equal(labels_of(split, "hasan"), hasan)
    shutil.move(root / "ground_truth_demo", tmp_path / "ground_truth_demo")
    assert np.array_equal(labels_of(read(root), "official"), truth(clips))


def test_avenue_in_the_frames_layout_knows_both_label_sets(tmp_path: Path, clips: list[Clip]) -> None:
    root = tmp_path / "avenue"
    trees.write_frames_layout(root, {}, {f"{index:02d}": clip for index, clip in enumerate(clips, 1)})
    trees.write_avenue(tmp_path / "raw", [], clips)
    shutil.move(tmp_path / "raw/ground_truth_demo", root / "ground_truth_demo")
    np.save(root / "frame_labels_avenue.npy", ~truth(clips))
    split = read(root)
    assert [labels.name for labels in split.label_sets] == ["hasan", "official"]
    assert np.array_equal(labels_of(split, "official"), truth(clips))


def test_avenue_with_a_mask_file_missing(tmp_path: Path, clips: list[Clip]) -> None:
    trees.write_avenue(tmp_path, [], clips[:3])
    (tmp_path / "ground_truth_demo/testing_label_mask/2_label.mat").unlink()
    split = read(tmp_path)
    assert split.label_sets == ()
    assert "no masks for 1 of 3 videos, first 02" in split.problems()[0].message


def test_matlab_files_that_are_none(tmp_path: Path, clips: list[Clip]) -> None:
    trees.write_avenue(tmp_path, [], clips[:2])
    label = tmp_path / "ground_truth_demo/testing_label_mask/1_label.mat"
    label.write_bytes(b"not MATLAB")
    assert "cannot be read as a MATLAB file" in errors(read(tmp_path))[0]
    savemat(label, {"other": 1})
    assert "has no variable volLabel; it holds other" in errors(read(tmp_path))[0]
    savemat(label, {"volLabel": np.zeros((3, 4))})
    assert "must be a 1 x F cell of masks" in errors(read(tmp_path))[0]


@pytest.mark.parametrize("videos", ["videos", "converted_videos"])
def test_shanghaitech(tmp_path: Path, clips: list[Clip], videos: str) -> None:
    named = {f"01_{index:04d}": clip for index, clip in enumerate(clips)}
    trees.write_shanghaitech(tmp_path, {"01_001": clips[0], "13_007": clips[1]}, named, videos)
    assert find_layout(tmp_path).name == "shanghaitech"
    assert [video.name for video in read(tmp_path, "training").videos] == ["01_001", "13_007"]
    split = read(tmp_path)
    assert [video.name for video in split.videos] == list(named)
    assert errors(split) == []
    assert np.array_equal(labels_of(split), truth(clips))
    assert all(video.masks is not None and video.masks.count() == video.frames.count() for video in split.videos)


def test_shanghaitech_with_extracted_frames_is_the_frames_layout(tmp_path: Path, clips: list[Clip]) -> None:
    trees.write_shanghaitech(tmp_path, {"01_001": clips[0]}, {"01_0014": clips[1]})
    trees.write_images(tmp_path / "training/frames/01_001", list(clips[0].frames))
    assert find_layout(tmp_path).name == "frames"
    assert np.array_equal(labels_of(read(tmp_path)), clips[1].labels)
    assert read(tmp_path).videos[0].masks is not None


def matlab_cells(clips: list[Clip]) -> NDArray[np.object_]:
    cells = np.empty((1, len(clips)), dtype=object)
    for index, clip in enumerate(clips):
        cells[0, index] = np.array(trees.events_of(clip.labels)).T + 1
    return cells


def test_frames_layout_in_the_order_people_count(tmp_path: Path, clips: list[Clip]) -> None:
    trees.write_frames_layout(tmp_path, {}, {})
    for name, clip in zip(["10", "1", "2"], clips[9:], strict=True):
        trees.write_images(tmp_path / "testing/frames" / name, list(clip.frames), "{}.jpg")
    (tmp_path / "testing/frames/.hidden").mkdir()
    (tmp_path / "testing/frames/2/._3.jpg").write_bytes(b"resource fork")
    (tmp_path / "testing/frames/2/Thumbs.db").write_bytes(b"windows")
    np.save(tmp_path / "frame_labels_set.npy", np.concatenate([clips[i].labels for i in (10, 11, 9)]))
    split = read(tmp_path)
    assert [video.name for video in split.videos] == ["1", "2", "10"]
    assert [path.stem for path in split.videos[1].frames.files] == [str(index) for index in range(16)]
    assert errors(split) == []


@pytest.mark.parametrize("shape", ["flat", "row", "column", "matlab", "single-event", "by-video"])
def test_frames_layout_labels_in_all_shapes(tmp_path: Path, clips: list[Clip], shape: str) -> None:
    named = {f"{index:02d}": clip for index, clip in enumerate(clips)}
    trees.write_frames_layout(tmp_path, {"01": clips[0]}, named)
    flat = truth(clips).astype(np.float64)
    if shape == "matlab":
        savemat(tmp_path / "ped2.mat", {"gt": matlab_cells(clips)})
    elif shape == "single-event":  # squeezed, as MATLAB users save it: one event is a row of two numbers
        cells = matlab_cells(clips)
        cells[0, 0] = cells[0, 0].reshape(1, 2)
        savemat(tmp_path / "ped2.mat", {"gt": cells.reshape(-1, 1)})
    elif shape == "by-video":
        (tmp_path / "testing/test_frame_mask").mkdir()
        for name, clip in named.items():
            np.save(tmp_path / f"testing/test_frame_mask/{name}.npy", clip.labels.astype(np.int32))
    else:
        np.save(tmp_path / "frame_labels_x.npy", {"flat": flat, "row": flat[None], "column": flat[:, None]}[shape])
    split = read(tmp_path)
    assert errors(split) == []
    assert np.array_equal(labels_of(split), truth(clips))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (-1, "67 labels for 68 frames: they run out in video 07, which has 12 frames and gets 11 labels"),
        (-14, "54 labels for 68 frames: they run out in video 06, which has 11 frames and gets 9 labels"),
        (2, "70 labels for 68 frames: 2 are left after the last video, 07"),
    ],
)
def test_label_length_names_the_video(tmp_path: Path, clips: list[Clip], change: int, message: str) -> None:
    trees.write_frames_layout(tmp_path, {}, {f"{index:02d}": clip for index, clip in enumerate(clips[:8])})
    np.save(tmp_path / "frame_labels_x.npy", np.zeros(68 + change))
    with pytest.raises(DataError, match=message):
        read(tmp_path).check()


def test_a_frame_too_many_or_missing_or_double(tmp_path: Path, clips: list[Clip]) -> None:
    trees.write_frames_layout(tmp_path, {}, {"01": clips[0]}, masks=True)
    frames = tmp_path / "testing/frames/01"
    shutil.copy(frames / "004.png", frames / "005.png")
    assert "video 01 has 6 frames but 5 masks" in errors(read(tmp_path))[0]
    (frames / "002.png").unlink()
    warnings = [problem.message for problem in read(tmp_path).problems() if problem.level == "warning"]
    assert warnings == ["video 01: 1 missing between 001.png and 003.png"]
    shutil.copy(frames / "004.png", frames / "4.jpg")
    assert any("004.png and 4.jpg are the same frame" in error for error in errors(read(tmp_path)))


def test_which_label_file_is_meant(tmp_path: Path, clips: list[Clip]) -> None:
    root = tmp_path / "set"
    trees.write_frames_layout(root, {}, {"01": clips[0]})
    np.save(tmp_path / "frame_labels_set.npy", clips[0].labels)
    np.save(tmp_path / "frame_labels_other.npy", np.zeros(3))
    assert [labels.name for labels in read(root).label_sets] == ["frame_labels_set.npy"]
    assert read(root).clear_default
    np.save(root / "frame_labels_one.npy", clips[0].labels)
    np.save(root / "frame_labels_two.npy", clips[0].labels)
    assert not read(root).clear_default
    assert len(read(root).label_sets) == 2


@pytest.fixture
def own(tmp_path: Path, clips: list[Clip]) -> Path:
    """A folder as somebody with a camera has it."""
    trees.write_video(tmp_path / "normal/monday.avi", clips[3].frames)
    trees.write_video(tmp_path / "testing/gate/9.mp4", clips[4].frames, "mp4v")
    trees.write_video(tmp_path / "testing/gate/10.mp4", clips[5].frames, "mp4v")
    trees.write_images(tmp_path / "testing/yard", list(clips[6].frames))
    return tmp_path


OWN_EVENTS = {"gate/9": (0, 1), "gate/10": (1, 2), "yard": (2, 3)}


@pytest.mark.parametrize("kind", ["csv", "json", "npy", "beside"])
def test_a_folder_of_videos(own: Path, clips: list[Clip], kind: str) -> None:
    named = dict(zip(OWN_EVENTS, clips[4:7], strict=True))
    if kind == "csv":
        rows = [f"{name}, {first}, {last}" for name, (first, last) in OWN_EVENTS.items()]
        (own / "labels.csv").write_text("\n".join(["video, first, last", *rows]) + "\n")
    elif kind == "json":
        (own / "testing/labels.json").write_text(json.dumps({name: [event] for name, event in OWN_EVENTS.items()}))
    elif kind == "npy":
        np.save(own / "labels.npy", np.concatenate([clip.labels for clip in named.values()]))
    else:
        for name, clip in named.items():
            np.save(own / f"testing/{name}.npy", clip.labels)
    assert find_layout(own).name == "videos"
    assert [video.name for video in read(own, "training").videos] == ["monday"]
    split = read(own)
    assert [video.name for video in split.videos] == list(OWN_EVENTS)
    assert errors(split) == []
    assert np.array_equal(labels_of(split), np.concatenate([clip.labels for clip in named.values()]))


def test_any_video_can_be_scored(own: Path) -> None:
    (own / "testing").rename(own / "strange days")
    shutil.copy(own / "normal/monday.avi", own / "tuesday.avi")
    names = ["tuesday", "strange days/gate/9", "strange days/gate/10", "strange days/yard"]
    assert [video.name for video in read(own).videos] == names
    shutil.rmtree(own / "strange days")
    shutil.rmtree(own / "normal")
    assert [video.name for video in read(own).videos] == ["tuesday"]
    assert read(own, "training").videos == read(own).videos
    assert [split.name for split in find_layout(own).splits(own)] == ["testing"]
    assert read(own).label_sets == ()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("labels.csv", "name,start\na,1\n", "must begin with the line video,first,last"),
        ("labels.csv", "video,first,last\nyard,1\n", "line 2 of .* two frame numbers"),
        ("labels.csv", "video,first,last\nbarn,1,2\n", "labels for barn, which is none of the 3 videos"),
        ("labels.csv", "video,first,last\nyard,4,40\n", "yard has the frames 0 to 10, but an event from 4 to 40"),
        ("labels.json", "{", "must hold"),
        ("labels.json", '{"yard": [[1]]}', "must hold"),
        ("labels.json", "[1]", "must hold"),
    ],
)
def test_labels_that_do_not_fit_ones_own_videos(own: Path, file: str, content: str, message: str) -> None:
    (own / file).write_text(content)
    with pytest.raises(DataError, match=message):
        checked_labels(own)


def test_videos_of_the_same_name(own: Path) -> None:
    shutil.copy(own / "testing/gate/9.mp4", own / "testing/gate/9.avi")
    assert "2 videos are called gate/9" in errors(read(own))


def test_objects_are_not_unpickled(tmp_path: Path, clips: list[Clip]) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    trees.write_frames_layout(tmp_path, {}, {"01": clips[0]})
    np.save(tmp_path / "frame_labels_x.npy", np.array([Runs()] * 5, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"cannot be read as a plain .npy array"):
        read(tmp_path).check()
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.full(5, 7), "only 0 .normal. and 1"), (np.zeros((2, 5)), "one row of numbers"), (np.array(["a"]), "one row")],
)
def test_arrays_that_are_no_labels(tmp_path: Path, clips: list[Clip], values: np.ndarray, message: str) -> None:
    trees.write_frames_layout(tmp_path, {}, {"01": clips[0]})
    np.save(tmp_path / "frame_labels_x.npy", values)
    with pytest.raises(DataError, match=message):
        read(tmp_path).check()


def test_folders_that_are_no_data(tmp_path: Path, clips: list[Clip]) -> None:
    with pytest.raises(DataError, match="does not exist"):
        find_layout(tmp_path / "nowhere")
    (tmp_path / "data.zip").write_bytes(b"PK")
    for path in (tmp_path / "data.zip", tmp_path / "data.zip/ped2"):
        with pytest.raises(DataError, match="is an archive; extract it"):
            find_layout(path)
    (tmp_path / "notes.txt").write_text("not a folder")
    with pytest.raises(DataError, match=r"notes.txt is neither a folder nor a video by its ending"):
        find_layout(tmp_path / "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"laid out in no known way. It holds nothing"):
        find_layout(tmp_path / "empty")
    trees.write_ucsd(tmp_path / "all/UCSDped2", clips[:1], clips[:1])
    with pytest.raises(DataError, match=r"holds some; name one: .*UCSDped2"):
        find_layout(tmp_path / "all")
    assert find_layout(tmp_path / "empty", "avenue") is LAYOUTS["avenue"]


def test_avenue_published_labels_are_the_hasan_set(ped2: Path) -> None:
    """The file that the frames layout ships has 3,867 abnormal frames, where the authors' masks have 3,712."""
    path = ped2.parent / "frame_labels_avenue.npy"
    if not path.exists():
        pytest.skip("frame_labels_avenue.npy is not beside Ped2")
    assert int(np.load(path).sum()) == 3867
