"""The pool: every pair gets its verdict, in order, whatever the others' scorers do."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpoint.verify import Limits, Pool, PoolError, Verdict
from forkpoint.verify._verdict import one_line
from tests.verify.attacks import CODE
from tests.verify.conftest import workers
from tests.verify.scorers import behaves, equals

pytestmark = [
    pytest.mark.usefixtures("no_orphan"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="workers need POSIX"),
]
QUICK = Limits(seconds=0.5)


def test_verdicts_come_in_the_order_of_the_pairs():
    with Pool(equals, workers=3) as pool:
        golds = [str(i % 7) for i in range(200)]
        assert [v.correct for v in pool.score([(g, "3") for g in golds])] == [g == "3" for g in golds]
        assert pool.score([]) == []


@pytest.mark.parametrize(
    "text, reason",
    [
        ("hang", "out of time"),
        ("die", "exited (code 3)"),
        ("number", "the scorer returned int, not a Verdict"),
        ("verdict of nonsense", "the scorer's verdict has an outcome or a reason that is none"),
        ("reason of nonsense", "the scorer's verdict has an outcome or a reason that is none"),
        ("raise", r"raised KeyError: 'no\nsuch\x1bkey'"),
        ("memory", "out of memory"),
        ("socket", "raised PermissionError: [Errno 1] Operation not permitted"),
    ],
)
def test_a_scorer_that_fails_gives_none_and_a_reason_and_only_for_its_own_pair(text, reason):
    with Pool(behaves, workers=1, limits=QUICK) as pool:
        before, failed, after = pool.score([(0, "pid"), (0, text), (0, "pid")])
    assert failed == Verdict("none", reason)
    assert before.outcome == after.outcome == "wrong"


def test_a_reason_is_one_short_line_without_control_characters():
    with Pool(behaves, workers=1) as pool:
        reason = pool.score([(0, "long reason")])[0].reason
    assert reason.isprintable() and len(reason) == 200


def test_any_text_and_any_json_arrive_as_they_were_sent():
    json_values = st.recursive(st.none() | st.integers() | st.text(), st.lists)

    @given(st.lists(st.text(st.characters()), max_size=5), json_values)
    def arrive(texts, about):
        assert all(v.correct for v in pool.score([(text, text) for text in texts]))
        assert pool.score([([about, "\ud800"], "about")])[0].reason in ("", one_line(repr([about, "\ud800"])))

    with Pool("tests.verify.scorers:echoes", workers=1) as pool:
        arrive()


def test_a_text_that_is_too_long_is_wrong_and_starts_nothing():
    with Pool(behaves, limits=Limits(max_bytes=10)) as pool:
        _ = pool.isolation
        assert pool.score([(0, "é" * 6)]) == [Verdict("wrong", "longer than 10 bytes")]


def test_what_is_no_json_is_refused_in_one_line():
    with Pool(equals) as pool, pytest.raises(ValueError, match="cannot be sent as JSON"):
        pool.score([(object(), "a")])
    circle: list = []
    circle.append(circle)
    with Pool(equals) as pool, pytest.raises(ValueError, match="cannot be sent as JSON: Circular"):
        pool.score([(circle, "a")])


def test_a_process_is_replaced_after_so_many_pairs():
    with Pool(behaves, workers=1, recycle_after=3) as pool:
        pids = [v.reason for v in pool.score([(0, "pid")] * 7)]
    assert [pids.index(pid) for pid in pids] == [0, 0, 0, 3, 3, 3, 6]


def test_a_run_gets_a_process_of_its_own_and_is_not_told_the_answer():
    with Pool(equals, run="tests.verify.scorers:run_python", workers=1) as pool:
        told = "import sys; f = sys._getframe(1); answer = ''\nwhile f: answer += str(f.f_locals); f = f.f_back"
        assert pool.score([("42", "answer = 6 * 7"), ("secret", told)])[0].correct
        assert pool.score([("secret", told)])[0] == Verdict("wrong")
    marks = "import os; answer = len(os.listdir('.')); open('mark', 'w').write('x'); import json; json.mark = 1"
    with Pool(equals, run="tests.verify.scorers:run_python", workers=1) as pool:
        assert all(v.correct for v in pool.score([("0", marks)] * 3))


def test_folders_are_new_for_each_process_and_gone_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Pool(behaves, workers=1, recycle_after=2) as pool:
        verdicts = pool.score([(0, "write"), (0, "folder"), (0, "folder")])
        assert [v.reason for v in verdicts] == ["1", "['mark']", "[]"]
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_hashes_repeat():
    with Pool(behaves, workers=2, recycle_after=1) as pool:
        assert len({v.reason for v in pool.score([(0, "hash")] * 6)}) == 1


def test_settings_make_the_scorer():
    with Pool("tests.verify.scorers:maker", settings={"offset": 2}, workers=1) as pool:
        assert [v.correct for v in pool.score([(1, "3"), (1, "1")])] == [True, False]


@pytest.mark.parametrize(
    "scorer, says",
    [
        ("tests.verify.nowhere:f", "No module named"),
        ("tests.verify.scorers:nothing", "nothing"),
        ("tests.verify.scorers:maker", "unexpected keyword argument 'ofset'"),
    ],
)
def test_a_scorer_that_cannot_be_loaded_is_named_in_one_line(scorer, says):
    settings = {"ofset": 1} if scorer.endswith("maker") else None
    with Pool(scorer, settings=settings) as pool, pytest.raises(PoolError, match=says) as caught:
        pool.score([(0, "x")])
    assert scorer in str(caught.value) and "\n" not in str(caught.value)


def test_a_scorer_too_large_for_its_memory_is_named():
    with (
        Pool("tests.verify.scorers:needs_memory", settings={}, workers=1) as pool,
        pytest.raises(PoolError, match=r"imports take \d+ MB.*memory_mb"),
    ):
        pool.score([(0, "x")])


def test_a_scorer_no_other_process_could_find_is_refused():
    with pytest.raises(ValueError, match="top of a module"):
        Pool(lambda about, text: Verdict("correct"))
    with pytest.raises(ValueError, match="module:function"):
        Pool("no_colon")


@pytest.mark.parametrize("name", ["seconds", "memory_mb", "file_mb", "max_bytes"])
def test_a_limit_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0.0 if name == "seconds" else 0})


@pytest.mark.parametrize(
    "name, value", [("seconds", v) for v in (float("nan"), float("inf"), 1e10)] + [("memory_mb", 2**40)]
)
def test_a_limit_that_no_clock_or_kernel_takes_is_refused(name, value):
    with pytest.raises(ValueError, match=f"Limits: {name} = .* must be above 0 and at most"):
        Limits(**{name: value})


def test_settings_that_are_no_json_are_refused_before_a_worker_starts():
    with pytest.raises(ValueError, match=r"Pool: settings are no JSON values: .*object"):
        Pool("tests.verify.scorers:maker", settings={"offset": object()})
    for number in (0, -1):
        with pytest.raises(ValueError, match="must be whole and above 0"):
            Pool(equals, workers=number)


def test_threads_share_a_pool():
    results: dict[int, list[bool]] = {}
    with Pool(equals, workers=2) as pool:

        def use(i: int) -> None:
            results[i] = [v.correct for v in pool.score([(str(i), str(k)) for k in range(20)])]

        threads = [threading.Thread(target=use, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {i: [k == i for k in range(20)] for i in range(6)}


@pytest.mark.skipif(sys.platform != "linux", reason="a fork that goes on as Python is for Linux")
def test_a_fork_of_the_process_has_workers_of_its_own():
    """Over one connection the two would take each other's verdicts, as their questions have the same numbers."""
    told, tell = os.pipe()
    with Pool("tests.verify.scorers:echoes", workers=1) as pool:
        assert pool.score([("first", "first")])[0].correct
        theirs = pool._workers[0].process
        child = os.fork()
        wrong = ["not scored"]
        try:
            me = "child" if child == 0 else "parent"
            wrong = [v.reason for i in range(100) for v in pool.score([(f"{me} {i}",) * 2]) if not v.correct]
        finally:
            if child == 0:
                pool.close()
                os.write(tell, repr(wrong).encode())
                os._exit(0)
        os.waitpid(child, 0)
        assert (wrong, os.read(told, 10_000).decode()) == ([], "[]")
        assert pool._workers[0].process is theirs, "the fork did not end its parent's worker"
    os.close(told)
    os.close(tell)


def test_a_pool_closed_while_it_scores_gives_every_pair_a_verdict_and_does_not_wait_for_the_limit():
    verdicts: list[Verdict] = []
    with Pool(behaves, workers=2, limits=Limits(seconds=60.0)) as pool:
        assert pool.score([(0, "pid")])
        thread = threading.Thread(target=lambda: verdicts.extend(pool.score([(0, "hang"), (0, "hang")])))
        thread.start()
        while not all(worker.connection and worker.asked for worker in pool._workers):
            time.sleep(0.01)
        pool.close()
        thread.join(30)
        assert not thread.is_alive()
    assert {verdict.reason for verdict in verdicts} <= {"its worker died", "its pool was closed"} and len(verdicts) == 2


def test_a_worker_that_was_killed_from_outside_is_replaced():
    with Pool(equals, workers=1) as pool:
        assert pool.score([("a", "a")])[0].correct
        pool._workers[0].process.kill()
        pool._workers[0].process.wait()
        first, second = pool.score([("a", "a"), ("a", "a")])
        assert (first.outcome, second.outcome) in {("none", "correct"), ("correct", "correct")}
        assert first.reason in ("its worker died", "")


def test_a_closed_pool_starts_again():
    pool = Pool(equals, workers=1)
    assert pool.score([("a", "a")])[0].correct
    pool.close()
    assert pool.score([("a", "a")])[0].correct
    pool.close()


def test_model_code_is_refused_where_it_cannot_be_confined():
    pool = Pool(equals, run="tests.verify.scorers:run_python", workers=1)
    pool._order["namespaces"] = False
    with pytest.raises(PoolError, match=r"disk is bounded.*unconfined=True") as caught:
        pool.score([("1", "answer = 1")])
    assert "\n" not in str(caught.value)


PARENT = """
import os, threading, time
from forkpoint.verify import Pool
pool = Pool("tests.verify.scorers:behaves", workers=2)
pool.score([(0, "pid")] * 4)
copy = os.fork()
if copy == 0:      # keeps the handles open and outlives its parent
    os.close(1)
    time.sleep(60)
    os._exit(0)
threading.Thread(target=pool.score, args=([(0, "hang")] * 2,), daemon=True).start()
print(copy, flush=True)
time.sleep(60)
"""


def test_no_worker_outlives_a_parent_that_was_killed_and_no_folder(tmp_path):
    path = os.pathsep.join(path or os.getcwd() for path in sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env={"PYTHONPATH": path, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        copy = int(parent.stdout.readline())
        assert workers(parent.pid)
        parent.kill()
        parent.stdout.close()
    patience = time.monotonic() + 10  # below the copy's minute
    while workers(parent.pid) and time.monotonic() < patience:
        time.sleep(0.05)
    left = workers(parent.pid)
    os.kill(copy, signal.SIGKILL)
    assert left == set() and list(tmp_path.iterdir()) == []


def test_the_search_for_orphans_finds_one():
    before = workers()
    environment = {"FORKPOINT_VERIFY": str(os.getpid())}
    with subprocess.Popen(["/bin/sleep", "5"], env=environment, start_new_session=True) as process:
        time.sleep(0.2)  # its environment is there a moment after the process is
        found = workers() - before
        process.kill()
    assert found == {str(process.pid)}


def test_a_worker_imports_neither_torch_nor_the_trainers():
    code = (
        "import sys, forkpoint.verify, forkpoint.tasks.countdown, forkpoint.verify._worker; print(sorted(sys.modules))"
    )
    path = str(Path(__file__).parents[2] / "src")
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": path}, capture_output=True, text=True)
    assert not {"torch", "trl", "transformers", "numpy"} & set(done.stdout.replace("'", "").strip("[]\n").split(", "))


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_scorer_may_start_processes_where_it_is_allowed_to_and_none_outlives_its_pair(namespaces):
    bomb = "import os, time\nfor _ in range(30):\n    if os.fork() == 0:\n        os.setsid()\n"
    bomb += "        if os.fork(): os._exit(0)\n        time.sleep(1e5)\nanswer = 'planted'"
    shell = (
        "import subprocess; answer = subprocess.run(['/bin/echo', 'hi'], capture_output=True, text=True).stdout.strip()"
    )
    before = workers()
    with Pool(equals, run="tests.verify.scorers:run_python", workers=1, unconfined=True, limits=MANY) as pool:
        pool._order["namespaces"] = namespaces
        assert not pool.isolation["no process is started"]
        started = len(workers() - before)
        assert [v.correct for v in pool.score([("hi", shell), ("planted", bomb)])] == [True, True]
        assert len(workers() - before) <= started


MANY = Limits(processes=200)


def test_a_late_child_costs_its_life_and_not_its_worker_s():
    with Pool(behaves, workers=1, limits=QUICK) as pool:
        pool.score([(0, "pid")])
        process = pool._workers[0].process
        assert pool.score([(0, "hang")])[0].reason == "out of time"
        assert pool._workers[0].process is process


def test_a_worker_that_stops_as_a_whole_is_killed_by_the_pool_s_own_clock():
    with Pool(behaves, workers=1, limits=QUICK) as pool:
        pool.score([(0, "pid")])
        guard = pool._workers[0].process.pid
        (supervisor,) = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
        os.kill(int(supervisor), signal.SIGSTOP)
        stopped, next_one = pool.score([(0, "pid"), (0, "pid")])
        assert stopped == Verdict("none", "out of time") and next_one.outcome == "wrong"
        assert pool.slowest <= QUICK.seconds + 1.0


@pytest.mark.parametrize("order", ["range(100)", "range(99, -1, -1)"])
def test_model_code_has_no_way_to_the_pool_itself(order):
    """The text writes an answer to the pool's first question on every file it can reach, in both orders."""
    text = CODE["writes an answer to every file"].replace("range(100)", order)
    with Pool(equals, run="tests.verify.scorers:run_python", workers=1, limits=QUICK) as pool:
        assert pool.score([("42", text)])[0].outcome == "none"
