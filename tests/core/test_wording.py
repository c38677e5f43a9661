from lepton_monai.core.wording import ALIKE, counted, most_alike, nearest


def test_a_count_has_its_noun_in_the_right_number() -> None:
    assert [counted(1, noun) for noun in ("file", "class", "series")] == ["1 file", "1 class", "1 series"]
    assert [counted(0, noun) for noun in ("file", "patch")] == ["0 files", "0 patches"]
    assert [counted(2, noun) for noun in ("class", "series")] == ["2 classes", "2 series"]


def test_the_nearest_name_is_found_whatever_its_capitals() -> None:
    known = ["unet", "SegResNet", "vnet"]
    assert nearest("segresnt", known) == "SegResNet"
    assert nearest("VNET", known) == "vnet"
    assert nearest("Unett", ["UNet", "unet"]) == "UNet"


def test_what_is_like_nothing_has_no_nearest_name_where_likeness_is_asked_for() -> None:
    assert nearest("runs", ["resnet18-imagenet"], ALIKE) == ""
    assert nearest("runs", ["resnet18-imagenet"]) == "resnet18-imagenet"
    assert nearest("runs", []) == ""


def test_names_are_ordered_by_likeness() -> None:
    assert most_alike("GTV*", ["Heart", "GTVp", "Lung"])[0] == "GTVp"
    assert sorted(most_alike("GTV*", ["Heart", "GTVp", "Lung"])) == ["GTVp", "Heart", "Lung"]
