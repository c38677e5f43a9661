"""Names that stand in the data are told on a terminal alone."""

import io

from lepton_monai.cli.terminal import on_terminal


class Terminal(io.StringIO):
    """A stream to a person."""

    def isatty(self) -> bool:
        """Tell that somebody looks."""
        return True


def test_names_are_told_on_a_terminal_and_go_into_no_pipe() -> None:
    assert on_terminal(["GTVp", "Heart"], Terminal()) == " There: `GTVp`, `Heart`."
    assert on_terminal(["GTVp", "Heart"], io.StringIO()) == ""
    assert on_terminal([], Terminal()) == ""


def test_ten_names_are_told_each_shortened_and_without_control_characters() -> None:
    told = on_terminal([f"{at:02} {'x' * 60}\x1b[2J" for at in range(12)], Terminal())
    assert told.count("`") == 20
    assert told.endswith(" and 2 more.")
    assert len(told) < 500
    assert on_terminal(["a\x1b[2J"], Terminal()) == " There: `a\\x1b[2J`."
