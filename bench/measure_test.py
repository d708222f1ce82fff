"""What the benchmark reads and computes, on journals and reports made by hand."""

import sqlite3
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import measure
import report
from report import EAGER, OURS


class ReadingAJournal(unittest.TestCase):
    def test_the_rate_is_that_of_the_steps_after_the_warm_up(self):
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder) / "journal.sqlite"
            with sqlite3.connect(journal) as connection:
                connection.execute("CREATE TABLE metrics (step INTEGER PRIMARY KEY, wall_ms INTEGER, loss_d REAL)")
                # Two slow steps, then one every 500 ms.
                rows = [(0, 9_000), (1, 12_000), (2, 12_500), (3, 13_000), (4, 13_500)]
                connection.executemany("INSERT INTO metrics VALUES (?, ?, 0)", rows)
            read = measure.journaled(journal)
        self.assertEqual(read, rows)
        self.assertEqual(measure.steady_step_ms(read, warm_up=2), 500)

    def test_rows_may_be_several_steps_apart(self):
        self.assertEqual(measure.steady_step_ms([(9, 5_000), (19, 6_000), (29, 7_000)], warm_up=10), 100)

    def test_too_few_rows_are_an_error(self):
        with self.assertRaises(measure.BenchError):
            measure.steady_step_ms([(0, 1), (1, 2)], warm_up=2)


class TheReport(unittest.TestCase):
    GROUPS = {
        "train.dcgan64.f32": {
            OURS: [80.0, 40.0, 81.0],
            EAGER: [60.0, 30.0, 62.0],
            "pytorch tuned": [70.0, 36.0, 72.0],
            "pytorch compiled": [50.0, None, None],
        },
        "train.dcgan64.bf16": {OURS: [140.0, 70.0, 141.0], "pytorch bf16": [130.0, 66.0, 131.0]},
    }

    def test_ratios_are_medians_of_pairs_so_that_a_slow_round_does_not_count(self):
        figures = report.figures(self.GROUPS)
        self.assertAlmostEqual(figures["train.dcgan64.f32.ratio"], 80 / 60, places=3)
        self.assertAlmostEqual(figures["train.dcgan64.bf16.ratio"], 140 / 60, places=3)

    def test_the_best_row_is_the_one_that_counts(self):
        self.assertEqual(report.best_of(self.GROUPS["train.dcgan64.f32"]), "pytorch tuned")
        self.assertAlmostEqual(report.figures(self.GROUPS)["train.dcgan64.f32.ratio_best"], 81 / 72, places=3)

    def test_the_overhead_is_the_share_of_a_step_that_is_not_libtorch(self):
        groups = {"train.dcgan64.step": {OURS: [1600.0], "libtorch alone": [1560.0]}}
        self.assertEqual(report.figures(groups), {"train.dcgan64.overhead": 0.025})

    def test_a_part_replaces_its_own_groups_and_keeps_the_others(self):
        old = report.merge({}, self.GROUPS, {"cpu": "old"})
        new = report.merge(old, {"start.first_step": {OURS: [1.6], EAGER: [4.0]}}, {"cpu": "new"})
        self.assertEqual(new["train.dcgan64.f32.ratio"], old["train.dcgan64.f32.ratio"])
        self.assertEqual(new["targets"]["start.first_step_s"], {"at_most": 1.5, "met": False})
        self.assertEqual(new["start.pytorch.first_step_s"], 4.0)
        self.assertEqual(new["measured"]["train.dcgan64.f32"]["machine"], {"cpu": "old"})
        self.assertEqual(new["measured"]["start.first_step"]["machine"], {"cpu": "new"})

    def test_the_table_shows_every_figure_and_every_row(self):
        text = report.table(report.merge({}, self.GROUPS, {}))
        for expected in ["train.dcgan64.f32.ratio ", "pytorch compiled", "≥ 1.25", "yes"]:
            self.assertIn(expected, text)


if __name__ == "__main__":
    unittest.main()
