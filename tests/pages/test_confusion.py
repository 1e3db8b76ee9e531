"""The confusion matrix as a table: unused classes are left out, and shades follow the shares of a row."""

from stgcma.pages.confusion import Cell, confusion_table
from stgcma.train.tasks.meter import ConfusionMatrix


def test_classes_that_do_not_occur_are_left_out():
    table = confusion_table(
        ConfusionMatrix(("a", "b", "c", "d"), ((3, 0, 1, 0), (0,) * 4, (0,) * 4, (0,) * 4))
    )
    assert table.names == ("a", "c")
    assert table.rows == ((Cell(3, 4), Cell(1, 2)), (Cell(0, 0), Cell(0, 0)))


def test_a_shade_is_the_number_of_bounds_that_a_share_exceeds():
    counts = (5, 15, 20, 60, 0, 0)  # 5 %, 15 %, 20 %, 60 % of 100
    matrix = ConfusionMatrix(tuple("abcdef"), (counts, *([(0, 0, 0, 0, 0, 9)] * 5)))
    table = confusion_table(matrix)
    assert [cell.shade for cell in table.rows[0]] == [1, 2, 2, 4, 0, 0]
    assert table.rows[1][-1] == Cell(9, 5)
