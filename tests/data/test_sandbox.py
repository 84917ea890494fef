"""Reading in a confined child: results and errors come back, and no drill gets through or harms the caller."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import drills
import numpy as np
import pytest
from fuzz_seeds import seeds

from medvox.data.dicom import find_study, read_volumes
from medvox.data.document import read_document
from medvox.data.limits import DEFAULT_LIMITS, MIB
from medvox.data.nifti import read_nifti
from medvox.data.picture import read_picture
from medvox.data.record import read_record
from medvox.data.sandbox import _NURSERY, read_limited
from medvox.data.utterance import read_utterance
from medvox.errors import BudgetError, InputError, MedvoxError, UsageError
from medvox.types import to_json

QUESTION = Path(__file__).parents[2] / "src" / "medvox" / "samples" / "question.wav"
ONE_SECOND = replace(DEFAULT_LIMITS, child_cpu_s=1)
SMALL = replace(DEFAULT_LIMITS, child_bytes=256 * MIB)


def refusal(reader: Any, *arguments: Any, limits: Any = DEFAULT_LIMITS) -> MedvoxError:
    with pytest.raises(MedvoxError) as caught:
        read_limited(reader, *arguments, limits=limits)
    assert read_limited(drills.echo, 1) == (1,)  # the next reader is not disturbed
    return caught.value


def test_the_result_is_that_of_the_reader() -> None:
    heard, expected = read_limited(read_utterance, QUESTION), read_utterance(QUESTION)
    np.testing.assert_array_equal(heard.samples, expected.samples)
    assert replace(heard, samples=expected.samples) == replace(expected)


READERS: dict[str, Any] = {
    "cda": read_record, "docx": read_document, "fhir": read_record, "nifti": read_nifti, "pdf": read_document,
    "photo": read_picture, "png": read_picture, "tiff": read_picture, "sound": read_utterance,
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_the_value_of_every_reader_crosses(kind: str, tmp_path: Path) -> None:
    for seed in [seed for seed in seeds() if seed.kind == kind][:2]:
        path = tmp_path / seed.name
        path.write_bytes(seed.content)
        assert to_json(read_limited(READERS[kind], path)) == to_json(READERS[kind](path))


def test_a_study_and_its_voxels_cross(tmp_path: Path) -> None:
    path = tmp_path / "ct.dcm"
    path.write_bytes(next(seed.content for seed in seeds() if seed.kind == "dicom"))
    (series,) = read_limited(find_study, path).series
    (volume,), (expected,) = read_limited(read_volumes, series), read_volumes(find_study(path).series[0])
    assert to_json(volume) == to_json(expected)


def test_a_large_array_comes_back_whole() -> None:
    np.testing.assert_array_equal(read_limited(drills.volume, 200), drills.volume(200))


def test_values_go_in_and_come_out() -> None:
    values = (1, "ü", b"\0", Path("/a"), None, drills.study())
    assert read_limited(drills.echo, *values) == values


def test_the_reader_gets_the_limits_if_it_takes_them() -> None:
    assert read_limited(drills.own_limits, limits=ONE_SECOND) == ONE_SECOND


def test_an_error_of_the_reader_comes_back_as_it_was() -> None:
    error = refusal(drills.refuse)
    assert type(error) is BudgetError
    assert error.as_dict() == {"code": "E_DRILL", "message": "a.dcm is too large", "fix": "cut it"}


def test_a_missing_file_is_refused_as_in_process(tmp_path: Path) -> None:
    assert refusal(read_utterance, tmp_path / "none.wav").code == "E_AUDIO_UNREADABLE"


def test_another_error_of_the_reader_tells_its_class_and_no_text() -> None:
    error = refusal(drills.fail)
    assert (type(error), error.code) == (InputError, "E_INPUT_CRASHED_READER")
    assert "KeyError" in error.message
    assert "patient" not in error.message


@pytest.mark.parametrize("drill", [drills.segfault, drills.abort, drills.leave, drills.no_value])
def test_a_crash_is_an_error_of_the_input(drill: Any) -> None:
    error = refusal(drill)
    assert (type(error), error.code) == (InputError, "E_INPUT_CRASHED_READER")


@pytest.mark.parametrize("drill", [drills.spin, drills.sleep])
def test_endless_work_is_ended(drill: Any) -> None:
    started = time.monotonic()
    error = refusal(drill, limits=ONE_SECOND)
    assert (type(error), error.code) == (BudgetError, "E_INPUT_LIMIT")
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("drill", [drills.eat_memory, drills.eat_memory_in_small_bites])
def test_memory_is_limited(drill: Any) -> None:
    error = refusal(drill, limits=SMALL)
    assert (type(error), error.code) == (BudgetError, "E_INPUT_LIMIT")


def test_a_result_above_the_limit_is_refused() -> None:
    assert refusal(drills.volume, 600, limits=replace(DEFAULT_LIMITS, decoded_bytes=1)).code == "E_INPUT_LIMIT"


@pytest.mark.parametrize("drill", [drills.open_socket, drills.fork, drills.signal_parent, drills.regain])
def test_network_processes_and_signals_are_out_of_reach(drill: Any) -> None:
    assert read_limited(drill) == "PermissionError"


def test_no_program_can_be_started() -> None:
    assert read_limited(drills.execute) == "PermissionError" * 2


@pytest.mark.parametrize("drill", [drills.write, drills.append, drills.delete, drills.rename])
def test_files_cannot_be_changed(drill: Any, tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"as it was")
    assert read_limited(drill, path) == "PermissionError"
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("kept", b"as it was")]


def test_a_new_file_cannot_be_made(tmp_path: Path) -> None:
    assert read_limited(drills.write, tmp_path / "new") == "PermissionError"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="no table of system calls")
def test_system_calls_are_filtered_here() -> None:
    assert read_limited(drills.confine_twice)


def test_threads_still_work() -> None:
    assert read_limited(drills.thread) == 7


def test_a_child_holds_no_descriptor_but_its_channel() -> None:
    assert read_limited(drills.descriptors) == ["socket"]


def test_a_child_holds_no_model() -> None:
    assert "torch" not in read_limited(drills.environment)


@pytest.mark.parametrize(
    "content",
    [
        b"R" + (2**63).to_bytes(8, "little"),
        b"R" + (100).to_bytes(8, "little") + b"short",
        b"R" + (4).to_bytes(8, "little") + b"junk",
        b"R" + (9).to_bytes(8, "little") + (1).to_bytes(8, "little") + b"7",
        b"junk" * 1000,
        b"S" + bytes(8),
        b"R",
    ],
)
def test_a_child_that_was_taken_over_can_only_fail(content: bytes) -> None:
    assert refusal(drills.say, content).code in {"E_INPUT_CRASHED_READER", "E_INPUT_LIMIT"}


@pytest.mark.parametrize(
    "error", ["text", {"class": "Exception"}, {"class": "annotations"}, {"class": "InputError", "message": 1}]
)
def test_a_forged_error_is_a_crash(error: Any) -> None:
    from medvox.data import wire

    packed = b"".join(wire.pack({"error": error}))
    content = b"R" + len(packed).to_bytes(8, "little") + packed
    assert refusal(drills.say, content).code == "E_INPUT_CRASHED_READER"


@pytest.mark.parametrize(("reader", "arguments"), [(lambda: 1, ()), (drills.echo, (object(),))])
def test_a_call_that_cannot_be_sent_is_an_error_of_usage(reader: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        read_limited(reader, *arguments)
    assert caught.value.code == "E_SANDBOX_VALUE"


def test_many_threads_may_read_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(read_limited, drills.echo, number) for number in range(40)]
        jobs += [pool.submit(read_limited, drills.leave) for _ in range(4)]
        assert [job.result() for job in jobs[:40]] == [(number,) for number in range(40)]
        assert all(isinstance(job.exception(), InputError) for job in jobs[40:])


def test_the_sandbox_comes_back_when_its_process_was_killed() -> None:
    read_limited(drills.echo)
    assert _NURSERY._process is not None
    _NURSERY._process.kill()
    _NURSERY._process.wait()
    assert read_limited(drills.echo, 1) == (1,)


def test_a_small_file_costs_little() -> None:
    read_limited(drills.echo)
    times = []
    for _ in range(15):
        started = time.perf_counter()
        read_limited(drills.echo)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.03


def test_nothing_is_left_when_the_caller_ends() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(drills.__file__).parent)!r});"
        "import drills; from medvox.data.sandbox import _NURSERY, read_limited; read_limited(drills.echo);"
        "print(_NURSERY._process.pid)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    folder = Path("/proc") / done.stdout.strip()
    for _ in range(50):
        state = folder / "stat"
        if not folder.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the process of the sandbox still runs")
