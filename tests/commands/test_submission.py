"""test-dev: images without annotations in, a file that pycocotools and COCO's server read out."""

import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from pipeline.base.errors import UserError
from pipeline.commands.submission import predict_submission
from pipeline.settings.config import RunConfig
from tests.cases.evaluation import save_untrained, write_coco

NETWORK = {"input_size": 64, "stacks": 1, "channels": 8, "increase": 0, "depth": 1, "visual_dim": 4}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """An untrained model that finds something, and three pictures of COCO's test2017."""
    write_coco(tmp_path / "data", "test2017", [[], [], []])
    values = {
        "run_root": tmp_path / "run",
        "data": {"root": tmp_path / "data"},
        "network": NETWORK,
        "candidates": {"threshold": 0.0, "per_type": 2},
    }
    config = RunConfig.model_validate(values)
    save_untrained(config)
    return config


@pytest.fixture
def info(tmp_path: Path) -> Path:
    path = tmp_path / "image_info_test-dev2017.json"
    images = [{"id": 10 * n, "file_name": f"{n}.jpg", "width": 240, "height": 160} for n in (1, 2, 3)]
    content = {"info": {}, "licenses": [], "images": images, "categories": [{"id": 1, "name": "person"}]}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("algorithm", ["hgg", "ae"])
def test_the_file_is_named_and_made_as_the_server_wants_it(
    config: RunConfig, info: Path, algorithm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = predict_submission(config, info, config.data.root / "test2017", algorithm)  # pyrefly: ignore
    path = config.run_root / "submission" / f"person_keypoints_test-dev2017_{algorithm}_results.json"
    assert results["submission"] == str(path)
    rows = json.loads(path.read_text())
    assert len(rows) == results["people"] > 0
    assert results["images"] == 3
    for row in rows:
        assert set(row) == {"image_id", "category_id", "keypoints", "score"}
        assert row["image_id"] in (10, 20, 30)
        assert row["category_id"] == 1
        assert len(row["keypoints"]) == 51
        assert set(row["keypoints"][2::3]) == {1}
    assert len(COCO(str(info)).loadRes(str(path)).getAnnIds()) == len(rows)
    capsys.readouterr()  # pycocotools prints


def test_mistakes_are_one_line_and_leave_nothing(config: RunConfig, info: Path, tmp_path: Path) -> None:
    pictures = config.data.root / "test2017"
    with pytest.raises(UserError, match=r"image_info_SPLIT\.json"):
        predict_submission(config, tmp_path / "images.json", pictures, "hgg")
    with pytest.raises(UserError, match=r"No such file"):
        predict_submission(config, tmp_path / "image_info_x.json", pictures, "hgg")
    with pytest.raises(UserError, match=r"3 of 3 pictures are not in .*elsewhere.*--pictures"):
        predict_submission(config, info, tmp_path / "elsewhere", "hgg")
    (pictures / "3.jpg").write_bytes((pictures / "3.jpg").read_bytes()[:100])
    with pytest.raises(UserError, match=r"3\.jpg: not a whole picture"):
        predict_submission(config, info, pictures, "hgg")
    info.write_text('{"annotations": []}')
    with pytest.raises(UserError, match=r"needs `images`"):
        predict_submission(config, info, pictures, "hgg")
    assert not (config.run_root / "submission").exists()
