"""hgg.pose_model: three lines from a file to people."""

import io
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import hgg
from hgg.config import CandidateConfig, ModelConfig, NetworkConfig
from hgg.model import HGG
from hgg.pictures import decode_picture, encode_jpeg
from hgg.pose_model import People, PoseModel, read_picture
from hgg.weights import save_model


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that takes the peaks of noise for joints."""
    import torch

    torch.manual_seed(0)
    network = NetworkConfig(input_size=64, stacks=1, channels=8, depth=1, increase=4, visual_dim=4)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(path, HGG(ModelConfig(network=network, candidates=CandidateConfig(threshold=0.0))))
    return path


@pytest.fixture(scope="module")
def model(file: Path) -> PoseModel:
    return hgg.load(file, device="cpu")


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)


def _same(one: People, other: People) -> bool:
    return np.array_equal(one.keypoints, other.keypoints) and np.array_equal(one.scores, other.scores)


def test_a_picture_is_the_same_however_it_is_given(
    model: PoseModel, picture: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    people = model(picture, min_score=0.0)
    assert len(people) > 0
    assert people.keypoints.shape == (len(people), 17, 3)
    assert (people.name, model(path).name) == ("picture", "photo.png")
    for source in (path, str(path), Image.fromarray(picture)):
        assert _same(model(source, min_score=0.0), people)


def test_a_list_gives_a_list_and_each_is_as_alone(model: PoseModel, picture: np.ndarray) -> None:
    pictures = [picture, picture[:, :60].copy(), picture[:40].copy()] * 4
    together = model(pictures, min_score=0.0)
    assert len(together) == 12
    for one, people in zip(pictures[:3], together[:3], strict=True):
        np.testing.assert_allclose(model(one, min_score=0.0).scores, people.scores, atol=1e-5)
    assert model([]) == []


def test_who_is_unlikely_is_left_out(model: PoseModel, picture: np.ndarray) -> None:
    everybody = model(picture, min_score=0.0)
    least = float(np.median(everybody.scores))
    likely = model(picture, min_score=least)
    assert 0 < len(likely) < len(everybody)
    assert likely.scores.min() >= least


def test_what_people_hold(model: PoseModel, picture: np.ndarray, tmp_path: Path) -> None:
    people = model(picture, min_score=0.0)
    assert people.names[0] == "nose"
    assert repr(people) == f"People(picture, 120 x 90: {len(people)})"
    for joints, box in zip(people.keypoints, people.boxes, strict=True):
        found = joints[joints[:, 2] > 0, :2]
        np.testing.assert_array_equal(box, [*found.min(axis=0), *found.max(axis=0)])
    told = people.to_coco(image_id=7)
    assert told["images"] == [{"id": 7, "file_name": "picture", "width": 120, "height": 90}]
    assert [one["image_id"] for one in told["annotations"]] == [7] * len(people)
    assert told["categories"][0]["keypoints"] == [*people.names]
    drawn = people.draw(tmp_path / "people.png")
    written = decode_picture((tmp_path / "people.png").read_bytes())
    np.testing.assert_array_equal(written, drawn)
    with pytest.raises(OSError, match=r"absent/people\.png: not written"):
        people.draw(tmp_path / "absent" / "people.png")


def test_a_grouping_is_explained(model: PoseModel, picture: np.ndarray, tmp_path: Path) -> None:
    found = model(picture).explain(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page == found.html("picture")
    assert len(found.nodes) > 0
    assert found.strip().shape[1] > found.picture.shape[1]


def test_what_cannot_be_explained_says_why(file: Path, picture: np.ndarray) -> None:
    from hgg.config import InferenceConfig

    flipped = hgg.load(file, device="cpu", inference=InferenceConfig(flip=True))
    with pytest.raises(ValueError, match="one plain view is shown"):
        flipped(picture).explain()


def test_ae_is_the_other_grouping(file: Path, picture: np.ndarray) -> None:
    assert len(hgg.load(file, device="cpu", grouping="ae")(picture, min_score=0.0)) > 0


def test_a_photograph_is_read_upright_and_grey_is_grey() -> None:
    stored = np.zeros((20, 30, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.fromarray(stored).save(data, format="JPEG", exif=exif)
    assert read_picture(Image.open(data)).shape == (30, 20, 3)
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(read_picture(grey), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (np.zeros((4, 4, 3)), r"a picture is float64 \(4, 4, 3\): give uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \(4, 4, 4\)"),
        (3, "a int is no picture"),
    ],
)
def test_what_is_no_picture_is_said(model: PoseModel, source: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model(source)


def test_a_file_that_is_cut_off_is_said(model: PoseModel, picture: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encode_jpeg(picture, 90)[:-200])
    with pytest.raises(ValueError, match=r"cut\.jpg: not a whole picture: truncated"):
        model(path)
    with pytest.raises(FileNotFoundError):
        model(tmp_path / "absent.jpg")


def test_a_model_that_nothing_fetches_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        hgg.load(tmp_path / "absent.pt")
    with pytest.raises(ValueError, match=r"ftp://host/model\.pt: nothing fetches ftp:/ here"):
        hgg.load("ftp://host/model.pt")


def test_importing_hgg_loads_nothing_else() -> None:
    code = "import sys, hgg; print({'torch', 'numpy', 'cv2'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n"
