"""What the benchmark reads and computes, on journals and reports made by hand."""

import sqlite3
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import measure
import observe_live
import report
import timeline
from report import EAGER, OURS, TORCHRUN


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

    def test_what_scores_cost_is_the_share_of_the_rate_that_is_lost(self):
        groups = {"eval.writer": {OURS: [98.0, 49.0], report.NOT_SCORED: [100.0, 50.0]}}
        self.assertEqual(report.figures(groups), {"eval.writer.share": 0.02})

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

    def test_a_fault_has_a_median_and_a_p90_for_each_side(self):
        rounds = [0.1] * 17 + [0.2, 0.3, 9.0]
        figures = report.figures({"recovery.kill": {OURS: rounds, TORCHRUN: [4.0, 3.0, 5.0]}})
        self.assertEqual(figures["recovery.kill.median_s"], 0.1)
        self.assertEqual(figures["recovery.kill.p90_s"], 0.2)
        self.assertEqual(figures["recovery.kill.torchrun_median_s"], 4.0)
        self.assertNotIn("recovery.stop.median_s", figures)

    def test_a_single_lost_step_in_all_rounds_misses_the_target(self):
        for lost, met in [([0, 0, 0], True), ([0, 0, 1], False)]:
            merged = report.merge({}, {"recovery.coordinator.lost": {OURS: lost}}, {})
            self.assertEqual(merged["targets"]["recovery.coordinator.steps_lost"]["met"], met)

    def test_what_tls_costs_is_compared_within_a_round(self):
        # The machine was half as fast in the second round.
        groups = {
            "tls.step": {OURS: [41.0, 81.0, 40.8], "without TLS": [40.0, 80.0, 40.0]},
            "tls.ring": {OURS: [900.0, 400.0, 880.0], "without TLS": [1000.0, 500.0, 1000.0]},
        }
        merged = report.merge({}, groups, {})
        self.assertEqual((merged["tls.step_share"], merged["tls.ring_ratio"]), (0.02, 0.88))
        self.assertTrue(all(merged["targets"][key]["met"] for key in ("tls.step_share", "tls.ring_ratio")))
        slower = report.merge({}, {"tls.step": {OURS: [41.6], "without TLS": [40.0]}}, {})
        self.assertFalse(slower["targets"]["tls.step_share"]["met"])

    def test_every_figure_of_a_fault_and_every_target_is_computed_and_shown(self):
        groups = {}
        for group, row in report.MEDIANS:
            groups.setdefault(group, {})[row] = [1.0]
        groups["recovery.coordinator.lost"] = {OURS: [0]}
        merged = report.merge({}, groups, {})
        named = {key for pair in report.MEDIANS.values() for key in pair if key}
        wanted = {key for key in report.TARGETS if key.split(".")[0] in ("recovery", "snapshot", "control", "observe")}
        self.assertLessEqual(named | wanted, set(merged))
        self.assertIn("control.sessions_10000.cores ", report.table(merged))


class LookingAtARun(unittest.TestCase):
    def test_what_readers_cost_is_what_goes_beyond_the_steps_that_were_done(self):
        # 10 ms of CPU a step without them. With them fewer steps were done, and 0.4 s went beyond these.
        turns = 2 * [((20.0, 2_000, 20.0), (20.0, 1_500, 15.4))]
        self.assertAlmostEqual(observe_live.share(turns), 0.02)

    def test_the_journal_and_the_live_page_have_bounds_and_tensorboard_has_none(self):
        groups = {
            "observe.journal": {OURS: [0.6]},
            "observe.cpu_share": {OURS: [0.01, 0.09, 0.015], "steps/s": [90.0, 91.0, 92.0]},
            # It did not come to the newest step.
            "observe.tensorboard": {"first steps": [5.0], "peak MiB": [900.0]},
        }
        merged = report.merge({}, groups, {})
        self.assertEqual((merged["observe.journal_gb"], merged["observe.cpu_share"]), (0.6, 0.015))
        self.assertEqual({key: target["met"] for key, target in merged["targets"].items()}, {"observe.journal_gb": True, "observe.cpu_share": True})
        self.assertEqual(merged["observe.open_10m.tensorboard_mib"], 900.0)
        self.assertNotIn("observe.open_10m.tensorboard_s", merged)
        self.assertIn("observe.tensorboard (s)", report.table(merged))


class ATimeline(unittest.TestCase):
    # A step every 40 ms; a generation that is formed at 1,200 goes on at 20 ms.
    ENDS = [(step, 1_000 + 40 * step) for step in range(5)] + [(step, 1_300 + 20 * (step - 5)) for step in range(5, 30)]

    def test_a_step_that_two_generations_did_half_each_ends_where_the_next_one_begins(self):
        rows = [(0, 1_000, 40), (1, 1_040, 40), (3, 1_300, 35), (4, 1_340, 40)]
        self.assertEqual(timeline.step_ends(rows)[2], (2, 1_265))
        self.assertEqual(timeline.missing(timeline.step_ends(rows)), 0)

    def test_steps_that_nobody_reported_are_missing(self):
        rows = [(0, 1_000, 40), (1, 1_040, 40), (4, 1_300, 35)]
        self.assertEqual(timeline.missing(timeline.step_ends(rows)), 2)

    def test_the_first_step_after_a_fault_is_one_of_the_generation_that_followed(self):
        self.assertEqual(timeline.end_after(self.ENDS, 1_200), 1_300)
        self.assertEqual(timeline.end_after(self.ENDS, 1_160), 1_160)

    def test_steps_that_had_ended_and_are_not_held_any_more_are_done_again(self):
        # Five steps had ended. Whoever holds ten reductions holds them all, even if half of the next is done too.
        held = [(10, 0), (11, 0), (9, 1), (4, 3)]
        for reduction, again in held:
            self.assertEqual(timeline.redone(self.ENDS, 1_200, reduction), again)

    def test_a_pause_is_what_was_beyond_a_step_in_the_steps_of_before(self):
        # From 1,160 to 1,300, of which 20 ms were the step itself.
        self.assertEqual(timeline.pause(self.ENDS, 1_200), 120 / 40)

    def test_a_pause_after_a_single_step_is_unknown_and_left_out(self):
        self.assertIsNone(timeline.pause(self.ENDS[4:], 1_200))
        figures = report.figures({"recovery.join.pause": {OURS: [None, 0.5]}})
        self.assertEqual(figures["recovery.join.pause_steps"], 0.5)

    def test_the_longest_pause_is_looked_for_after_the_fault_alone(self):
        self.assertEqual(timeline.longest_pause_s(self.ENDS, 1_150), 0.1)
        self.assertEqual(timeline.longest_pause_s(self.ENDS, 1_330), 0)

    def test_progress_is_counted_between_two_moments(self):
        self.assertEqual(timeline.steps_within(self.ENDS, 1_050, 1_310), 4)
        # Torchrun does steps 2 and 3 again.
        again = [(0, 100), (1, 200), (2, 300), (3, 400), (2, 900), (3, 1_000), (4, 1_100)]
        self.assertEqual(timeline.steps_within(again, 100, 1_000), 3)

    def test_a_restart_ends_with_its_first_step_and_repeats_what_was_not_saved(self):
        steps = [(0, 99, 0.0), (0, 100, 10.0), (0, 101, 20.0), (0, 102, 30.0), (1, 101, 4_030.0), (1, 102, 4_040.0)]
        self.assertEqual(timeline.restarted(steps, restart=0, killed_ms=30.0), (4.0, 2))

    def test_a_trimmed_mean_is_finer_than_its_figures_and_does_not_see_outliers(self):
        self.assertEqual(timeline.trimmed_mean([20] * 6 + [21] * 2 + [0, 900]), 20.25)

    def test_rates_are_differences_over_the_time_between(self):
        states = [
            {"at": 10.0, "cpu_s": 1.0, "load_cpu_s": 5.0, "heartbeats": 0},
            {"at": 12.0, "cpu_s": 2.5, "load_cpu_s": 8.0, "heartbeats": 80_000},
        ]
        self.assertEqual(timeline.rates(states), [{"cores": 0.75, "load_cores": 1.5, "heartbeats": 40_000.0}])


if __name__ == "__main__":
    unittest.main()
