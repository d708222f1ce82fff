"""What scripts/gpu-check reads, schedules and writes, without starting anything but a few lines of shell."""

import json
import shutil
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS.parent / "bench")]

from gpu_check import command, contract, golden, idle, machine, process, probe, quickstart, report, schedule, speed
from gpu_check.schedule import Clock, Failed, Outcome, Part, Skipped


def raising(error):
    def take(_):
        raise error

    return take


class Time:
    """A clock that is moved by hand."""

    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at


class TheSchedule(unittest.TestCase):
    def setUp(self):
        self.time = Time()
        self.clock = Clock(60, now=self.time)

    def outcomes(self, *parts):
        return schedule.run(parts, None, self.clock, say=lambda _: None)

    def test_a_part_that_fails_does_not_cost_the_others(self):
        found = self.outcomes(
            Part("a", "", raising(Failed("no", {"x": 1})), (), 10),
            Part("b", "", raising(Skipped("not here")), (), 10),
            Part("c", "", lambda _: {"y": 2}, (), 10),
        )
        self.assertEqual([o.word for o in found], ["failed", "skipped", "passed"])
        self.assertEqual([o.figures for o in found], [{"x": 1}, {}, {"y": 2}])
        self.assertEqual(report.exit_code(found), 1)
        self.assertEqual(report.exit_code(found[1:]), 0)

    def test_a_part_for_which_there_is_no_time_is_left_out(self):
        def take_long(_):
            self.time.at += 55
            return {}

        first, second, third = self.outcomes(
            Part("a", "", take_long, (), 60),
            Part("b", "", lambda _: {}, (), 60, needs_s=20),
            Part("c", "", lambda _: {}, (), 9, 1),
        )
        self.assertEqual((first.word, first.seconds), ("passed", 55.0))
        self.assertEqual((second.word, second.why), ("skipped", "the time ran out: it takes 20 s"))
        self.assertEqual(third.word, "passed")

    def test_a_part_has_its_own_limit_within_the_whole(self):
        self.clock.begin(10)
        self.assertEqual(self.clock.left_s(), 10)
        self.clock.begin(1000)
        self.assertEqual(self.clock.left_s(), 60)


class StartingPrograms(unittest.TestCase):
    def context(self, limit_s):
        clock = Clock(60)
        clock.begin(limit_s)
        return types.SimpleNamespace(root="/", env={"PATH": "/usr/bin:/bin"}, clock=clock)

    def test_the_output_of_a_good_end_is_given(self):
        self.assertEqual(process.run(self.context(30), ["sh", "-c", "echo $A"], {"A": "b"}), "b\n")

    def test_a_bad_end_says_what_the_program_said(self):
        with self.assertRaisesRegex(Failed, "sh ended with 3\nout\nerr"):
            process.run(self.context(30), ["sh", "-c", "echo out; echo err >&2; exit 3"])

    def test_a_program_that_hangs_is_ended_with_its_part(self):
        with self.assertRaisesRegex(Failed, "did not end in the time that its part has"):
            process.run(self.context(0.1), ["sh", "-c", "sleep 60"])

    def test_a_program_that_is_not_there_is_no_traceback(self):
        with self.assertRaisesRegex(Failed, "/nowhere/it cannot be started"):
            process.run(self.context(30), ["/nowhere/it"])


class TheMachine(unittest.TestCase):
    def test_binaries_may_lie_as_cargo_leaves_them_or_all_together(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            (folder / "examples").mkdir()
            (folder / "worker").write_bytes(b"1" * (3 << 20))
            (folder / "examples" / "contract_rank").touch()
            self.assertEqual(machine.binary(folder, "contract_rank"), folder / "examples" / "contract_rank")
            self.assertEqual(machine.lacking(folder, ["worker", "lsgan"]), ["lsgan"])
            self.assertIn("3.0 MiB", machine.listing(folder))

    def test_what_is_packed_is_stripped_and_unpacked_as_it_was(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            source, archive = folder / "built", folder / "out" / "gpu.tar.xz"
            source.mkdir()
            for name in machine.BINARIES:
                shutil.copy(sys.executable, source / name)
            machine.pack(source, folder / "stripped", archive)
            unpacked = machine.unpack(archive, folder / "unpacked")
            self.assertEqual(machine.lacking(unpacked, machine.BINARIES), [])
            ran = subprocess.run([machine.binary(unpacked, "worker"), "-c", "print(7)"], capture_output=True, text=True)
            self.assertEqual(ran.stdout, "7\n", ran.stderr)

    def test_libtorch_is_found_with_what_it_was_shipped_with(self):
        with tempfile.TemporaryDirectory() as folder:
            torch = machine.Torch(Path(folder) / "torch", "2.11.0")
            (Path(folder) / "nvidia" / "nccl" / "lib").mkdir(parents=True)
            path = machine.environment(torch, {"LD_LIBRARY_PATH": "/before"})["LD_LIBRARY_PATH"]
            self.assertEqual(path, f"{folder}/torch/lib:{folder}/nvidia/nccl/lib:/before")
        self.assertEqual(machine.environment(None, {"A": "b"})["A"], "b")

    def test_the_version_of_a_libtorch_that_is_named_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "lib").mkdir()
            (Path(folder) / "version.py").write_text("__all__ = ['__version__', 'cuda']\n__version__ = '2.11.0+cu130'\n")
            with unittest.mock.patch.dict("os.environ", {"LIBTORCH": folder}):
                self.assertEqual(machine.find_torch(None).version, "2.11.0+cu130")

    def test_the_probes_lines_are_read(self):
        found = probe.facts("GPU 0     NVIDIA H100, 79.1 GiB, sm_90\ndevice    cuda:0: NVIDIA H100 with sm_90\n")
        self.assertEqual(found, {"GPU 0": "NVIDIA H100, 79.1 GiB, sm_90", "device": "cuda:0: NVIDIA H100 with sm_90"})


class WhatIsFound(unittest.TestCase):
    def test_a_hash_that_differs_is_named(self):
        same = {"a": {"generator": "1"}, "b": {"generator": "1"}}
        self.assertEqual(quickstart.different(same), "")
        self.assertEqual(quickstart.different(same | {"c": {"generator": "2"}}), "c is not a")

    def test_the_rate_is_that_of_the_second_half(self):
        rows = [(0, 0, 0), (1, 5_000, 0), (2, 6_000, 0), (3, 7_000, 0)]
        self.assertEqual(quickstart.rate(rows), 64.0)
        self.assertIsNone(quickstart.rate(rows[:1]))

    def test_rates_and_waits_are_those_of_the_second_half(self):
        rows = [(3, 0, 100, 90), (7, 9_000, 100, 90), (11, 10_000, 100, 25), (15, 11_000, 100, 25)]
        self.assertEqual(speed.figures_of(rows, batch=32), (128.0, 0.25))

    def test_a_gpu_is_idle_where_no_kernel_runs_in_the_later_half(self):
        self.assertEqual(idle.share("0\n0\n90\n80\n"), 0.15)
        self.assertIsNone(idle.share("[N/A]\n"))

    def test_the_drivers_samples_are_taken_while_a_block_runs(self):
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "nvidia-smi"
            program.write_text("#!/bin/sh\necho 40\necho 60\ntouch $0.said\nexec sleep 60\n")
            program.chmod(0o755)
            with unittest.mock.patch.dict("os.environ", {"PATH": f"{folder}:/usr/bin:/bin"}), idle.Watched() as watched:
                while not Path(f"{program}.said").exists():
                    pass
            self.assertEqual(watched.share, 0.4)
        with unittest.mock.patch.dict("os.environ", {"PATH": "/nowhere"}), idle.Watched() as watched:
            pass
        self.assertIsNone(watched.share)

    def test_the_cost_of_exact_sums_and_the_ratio_to_pytorchs_best(self):
        both = {"lsgan": 90.0, "pytorch eager": 60.0, "pytorch compiled": 75.0}
        rates = {"m tf32 64": both, "m tf32 64 fast": {"lsgan": 100.0}}
        self.assertEqual(speed.overheads(rates), {"exact_overhead m tf32 64": 0.1})
        self.assertEqual(both["ours ÷ best"], 1.2)
        graphs = {"lsgan": 90.0, "lsgan graphs": 120.0, "pytorch eager": 60.0}
        speed.overheads({"m tf32 64": graphs})
        self.assertEqual(graphs["ours ÷ best"], 2.0)

    def test_every_fast_row_has_its_exact_one_and_no_row_is_there_twice(self):
        rows = speed.headline_rows(cpu=False) + speed.rows(cpu=False)
        self.assertEqual(len(set(rows)), len(rows))
        for model, batch, precision, reduction, graphs in rows:
            self.assertIn((model, batch, precision, "exact", "off"), rows)

    def test_the_row_that_decides_comes_before_all_other_parts_and_is_long_enough(self):
        self.assertEqual([part.name for part in command.PARTS][:2], ["probe", "headline"])
        for row in speed.headline_rows(cpu=False):
            self.assertEqual(row[:4], ("dcgan64", 64, "bf16", "exact"))
            self.assertGreaterEqual(speed.steps_of(row), 4000)  # the later half is measured

    def test_what_a_log_says_is_found_without_its_colours(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "logs").mkdir()
            (Path(folder) / "logs" / "w1.log").write_text("a\n\x1b[2mINFO\x1b[0m replayed as CUDA graphs\n")
            self.assertEqual(quickstart.logged(Path(folder), "CUDA graphs"), ["INFO replayed as CUDA graphs"])

    def test_the_fixtures_lines_are_read(self):
        line = '{"fixture":"dcgan32","compared":3,"worst":"w","off_by":1e-6,"accepted":1e-5,"good":true}'
        self.assertEqual(golden.fixtures(["noise", line])["dcgan32"]["off_by"], 1e-6)

    def test_a_ranks_lines_are_read(self):
        heard = contract.Heard()
        heard.take('{"case":"sums","ms":7}')
        self.assertEqual(heard.take('{"ready":true}'), {"ready": True})
        self.assertEqual(heard.take("host:1:1 [0] NCCL WARN Duplicate GPU detected\n"), {})
        self.assertEqual(heard.cases, {"sums": 7})
        self.assertEqual(heard.other, ["host:1:1 [0] NCCL WARN Duplicate GPU detected"])

    def test_the_report_has_every_part(self):
        outcomes = [
            Outcome("probe", "what there is", "passed", figures={"GPU 0": "a | b"}),
            Outcome("speed", "how fast", "failed", "no\nmore", 3.0, {"rates": {"f32": {"ours": 2, "theirs": None}}}),
        ]
        text = report.as_markdown({"python": "3"}, outcomes)
        self.assertIn("| speed | failed | 3.0 | no |", text)
        self.assertIn("| GPU 0 | a \\| b |", text)
        self.assertIn("| rates | ours | theirs |\n| --- | --- | --- |\n| f32 | 2 |  |", text)
        parts = json.loads(report.as_json({}, outcomes))["parts"]
        self.assertEqual(parts["speed"]["outcome"], "failed")
        self.assertEqual(report.summary(outcomes), "1 passed, 1 failed, 0 skipped")


if __name__ == "__main__":
    unittest.main()
