"""When a landing day is complete, what a failed task says, and whose folder an Airflow is."""

import contextlib
import json
import os
import signal
import socketserver
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import psutil
import pytest
from small_lake import embedding, publish

from contracts.errors import BadInput
from userbert.local import airflow_processes
from userbert.local.airflow_home import (
    AirflowInUse,
    airflow_environment,
    prepare_home,
    sole_use,
)
from userbert.local.airflow_processes import own_or_running_airflow
from userbert.scheduling.alerts import alert_late_run, log_failure, send_alert
from userbert.scheduling.failure_message import failure_message
from userbert.scheduling.landing_arrival import (
    ArrivalSettings,
    landing_deadline,
    missing_part,
    wait_for_landing_day,
)
from userbert.scheduling.task_logs import command_error, task_progress

DAY = date(2017, 6, 29)
NOON = datetime(2017, 6, 30, 12, tzinfo=UTC)


def landed(folder, name, at):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    for each in (path, path.parent):
        os.utime(each, (at.timestamp(), at.timestamp()))


def test_a_day_is_complete_when_its_folder_its_marker_or_its_quiet_time_says_so(tmp_path):
    folder = tmp_path / str(DAY)
    by_folder, by_marker, by_quiet = (
        ArrivalSettings(complete_when=rule) for rule in ("folder", "marker", "quiet")
    )
    for rule in (by_folder, by_marker, by_quiet):
        assert missing_part(folder, rule, NOON) == f"there is no folder {folder}"
    landed(folder, "views.jsonl", NOON - timedelta(minutes=29))
    assert missing_part(folder, by_folder, NOON) == ""
    assert missing_part(folder, by_marker, NOON).endswith("has no file _SUCCESS")
    assert "was changed at 11:31 UTC, less than 30 minutes ago" in missing_part(
        folder, by_quiet, NOON
    )
    os.utime(folder, (NOON.timestamp() - 1800,) * 2)  # the file below it is younger still
    assert missing_part(folder, by_quiet, NOON)
    assert missing_part(folder, by_quiet, NOON + timedelta(minutes=1)) == ""
    landed(folder, "_SUCCESS", NOON)
    assert missing_part(folder, by_marker, NOON) == ""


def test_wrong_rules_of_arrival_are_named_all_at_once(tmp_path):
    path = tmp_path / "arrival.toml"
    path.write_text('complete_when = "never"\nmarker = "done"\nquiet = 3\ndeadline_hours = 0\n')
    with pytest.raises(BadInput) as refused:
        ArrivalSettings.read(path)
    for part in (
        "complete_when is 'never'",
        "no setting quiet",
        "deadline_hours is 0: Input should be greater",
    ):
        assert part in str(refused.value)
    with pytest.raises(BadInput, match="marker is 'done'; a name that begins with _"):
        ArrivalSettings.checked({"marker": "done"}, path)


def test_a_night_waits_until_the_deadline_and_then_says_what_is_missing(places, monkeypatch):
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    today = datetime.now(UTC).date()
    yesterday = str(today - timedelta(days=1))
    (places.landing).mkdir()
    (places.landing / "arrival.toml").write_text("deadline_hours = 48\n")
    assert wait_for_landing_day(yesterday) is False
    assert landing_deadline(DAY, ArrivalSettings()) == NOON
    with pytest.raises(AirflowFailException, match=r"UB-801: .+ 2017-06-29 is not complete"):
        wait_for_landing_day(str(DAY))
    landed(places.landing, f"{yesterday}/views.jsonl", NOON)
    assert wait_for_landing_day(yesterday) is True
    (places.landing / "arrival.toml").write_text("days_expected = false\n")
    with pytest.raises(AirflowSkipException, match="no day comes by itself"):
        wait_for_landing_day(str(DAY))
    assert wait_for_landing_day(yesterday) is True


def task_log(path, *entries):
    lines = [json.dumps({"event": event, "logger": logger}) for logger, event in entries]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_error_of_a_task_is_the_commands_own_message_with_its_sample(tmp_path):
    log = task_log(
        tmp_path / "attempt=1.log",
        ("task", "::group::Pre Execute"),
        ("hook", "WARNING: Using incubator modules"),
        ("hook", "userbert browsing-logs: gate browsing_logs of 2017-06-29 failed: 3 of 9 rows"),
        ("hook", "  rows that break unique: "),
        ("hook", "    user_id=u1, log_id=a"),
        ("hook", ""),
        ("task", "Task failed with exception"),
    )
    assert command_error(log).splitlines() == [
        "userbert browsing-logs: gate browsing_logs of 2017-06-29 failed: 3 of 9 rows",
        "  rows that break unique: ",
        "    user_id=u1, log_id=a",
    ]
    assert (
        command_error(task_log(log, ("a", "Killed"), ("a", " "), ("a", "::group::x"))) == "Killed"
    )
    log.write_text("userbert titles: not JSON\n")
    assert command_error(log) == "userbert titles: not JSON"
    assert command_error(tmp_path / "none.log") == "it left no log"


def test_a_running_tasks_newest_step_or_bar_is_its_progress(tmp_path):
    log = task_log(tmp_path / "attempt=1.log", ("task", "Output:"))
    assert task_progress(log) == ""
    task_log(log, ("hook", "step 1 of 2: titles"), ("hook", "step 2 of 2: sessions"), ("hook", "x"))
    assert task_progress(log) == "step 2 of 2: sessions"
    bar = "pre-training:  14%|#4  | 71/500 [00:15<01:30,  4.72step/s]"
    assert task_progress(task_log(log, ("hook", "step 1 of 1: pretrain"), ("hook", bar))) == bar


def test_an_alert_is_given_to_the_command_that_the_environment_names(
    places, tmp_path, monkeypatch, caplog
):
    heard = tmp_path / "heard"
    code = f"import sys; open({str(heard)!r}, 'w').write(sys.stdin.read())"
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    monkeypatch.setenv("USERBERT_ALERT", f'{sys.executable} -c "{code}"')
    send_alert("the gate failed")
    assert heard.read_text() == "the gate failed"
    # What Airflow 3.3 gives to the callback of a deadline.
    alert_late_run({"dag_run": {"dag_id": "nightly", "dag_run_id": "scheduled__2017-06-30"}})
    assert heard.read_text().splitlines()[0] == (
        "userbert nightly: UB-807: the run scheduled__2017-06-30 is not finished at its deadline"
    )
    monkeypatch.setenv("USERBERT_ALERT", "/no/such/command --now")
    send_alert("again")
    assert "USERBERT_ALERT failed" in caplog.text


def test_the_message_of_a_failure_says_what_where_the_last_good_day_and_the_next_step(
    places, monkeypatch
):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    monkeypatch.setenv("USERBERT_GUIDES", "https://guides.example/")
    error = "userbert browsing-logs: UB-401: gate browsing_logs of 2017-06-29 failed: 3 of 9 rows"
    links = {"log": "http://localhost/log", "report": ""}
    lines = failure_message(error, "task browsing_logs of nightly", links).splitlines()
    assert lines[0] == error
    names = [line.partition(": ")[0] for line in lines[1:]]
    assert names == ["where", "last good day", "next step", "whom to call", "log", "runbook"]
    assert lines[2] == "last good day: nothing is published yet"
    site = "https://guides.example"
    assert lines[-1] == f"runbook: {site}/runbook.html, {site}/troubleshooting.html#ub-401"
    publish(places, [embedding("ann", DAY, [1, 0])])
    assert "last good day: 2017-06-29 is published, and readers keep it" in failure_message(
        "Killed", "there", {}
    )
    assert failure_message("Killed", "there", {}).endswith("troubleshooting.html#ub-999")


def test_an_error_that_python_raised_in_a_task_is_said_as_it_is(places, monkeypatch, caplog):
    monkeypatch.setenv("USERBERT_DATA", str(places.root))
    error = "userbert nightly: UB-801: the landing day 2017-06-29 is not complete"
    names = {"dag_id": "nightly", "run_id": "r", "task_id": "landing_day", "try_number": 1}
    task = SimpleNamespace(**names, log_url="http://localhost/log")
    log_failure({"ti": task, "exception": RuntimeError(error)})
    (said,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert said.splitlines()[0] == error
    assert "next step: Deliver the files, then clear the task `landing_day`." in said


class _Webhook(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Nothing on stderr."""


class _MailServer(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 hello\r\n")
        is_data = False
        for line in self.rfile:
            self.server.heard.append(line.decode().rstrip())
            if is_data:
                is_data = line != b".\r\n"
                answer = b"" if is_data else b"250 taken\r\n"
            else:
                is_data = line.upper().startswith(b"DATA")
                answer = b"354 go on\r\n" if is_data else b"250 fine\r\n"
            self.wfile.write(answer)
            if line.upper().startswith(b"QUIT"):
                return


@contextlib.contextmanager
def serving(server):
    server.heard = []
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_an_alert_goes_by_mail_and_to_a_webhook_as_the_settings_say(monkeypatch, caplog):
    with (
        serving(HTTPServer(("127.0.0.1", 0), _Webhook)) as webhook,
        serving(socketserver.TCPServer(("127.0.0.1", 0), _MailServer)) as mail,
    ):
        address = f"http://127.0.0.1:{webhook.server_address[1]}/secret"
        for name, value in {
            "USERBERT_ALERT_WEBHOOK": address,
            "USERBERT_ALERT_EMAIL": "ann@example.com, bob@example.com",
            "AIRFLOW__SMTP__SMTP_HOST": "127.0.0.1",
            "AIRFLOW__SMTP__SMTP_PORT": str(mail.server_address[1]),
            "AIRFLOW__SMTP__SMTP_STARTTLS": "False",
            "AIRFLOW__SMTP__SMTP_MAIL_FROM": "userbert@example.com",
            "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps({"conn_type": "smtp"}),
        }.items():
            monkeypatch.setenv(name, value)
        send_alert("userbert titles: UB-901: the disk is full\nwhere: <here>")
        assert webhook.heard == [
            {"text": "userbert titles: UB-901: the disk is full\nwhere: <here>"}
        ]
        heard = "\n".join(mail.heard)
        assert "RCPT TO:<ann@example.com>" in heard.replace("rcpt TO", "RCPT TO")
        assert "Subject: userbert titles: UB-901: the disk is full" in heard
    send_alert("nobody answers any more")
    assert "USERBERT_ALERT_WEBHOOK failed: URLError" in caplog.text
    assert "USERBERT_ALERT_EMAIL failed" in caplog.text
    assert "secret" not in caplog.text


def test_a_copied_folder_of_airflow_names_no_place_and_keeps_its_secrets(places):
    places.airflow.mkdir()
    config = places.airflow / "airflow.cfg"
    config.write_text(
        "[core]\ndags_folder = /old/airflow/dags\nfernet_key = kept\n[database]\n"
        "sql_alchemy_conn = sqlite:////old/airflow/airflow.db\n[logging]\n"
        "base_log_folder = /old/airflow/logs\nplugins_folder = /old/airflow/plugins\n"
        "dag_processor_child_process_log_directory = /old/airflow/logs/dag_processor\n"
        "[smtp]\nsmtp_host = mail.example\n"
    )
    prepare_home(places)
    assert config.read_text() == (
        "[core]\nfernet_key = kept\n[database]\n[logging]\n[smtp]\nsmtp_host = mail.example\n"
    )
    config.write_text("[database]\nsql_alchemy_conn = postgresql://db.example/airflow\n")
    prepare_home(places)
    assert "db.example" in config.read_text()
    config.unlink()
    prepare_home(places)
    assert str(places.root) not in config.read_text()
    assert config.read_text().count("_key = ") == 2
    assert config.stat().st_mode & 0o077 == 0


def test_the_shell_of_another_installation_does_not_lead_to_its_airflow(places, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", "/old/airflow")
    monkeypatch.setenv("AIRFLOW__API__PORT", "1")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://db.example/airflow")
    ours = airflow_environment(places, 8081)
    assert ours["AIRFLOW_HOME"] == str(places.airflow)
    assert ours["AIRFLOW__API__PORT"] == "8081"
    assert ours["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql://db.example/airflow"


def test_a_process_of_airflow_that_is_killed_is_started_again_and_not_for_ever(
    places, monkeypatch, tmp_path, capsys
):
    """With a program in the place of Airflow that sleeps, and has a child that sleeps too, in a
    process group of its own, as a task is."""
    program = tmp_path / "sleeper"
    program.write_text(f"#!/bin/bash\nset -m\nsleep 60 &\necho $! >> {tmp_path}/children\nwait\n")
    program.chmod(0o755)
    monkeypatch.setattr(airflow_processes, "_AIRFLOW", str(program))
    monkeypatch.setattr(airflow_processes, "_WATCH_SECONDS", 0.01)
    monkeypatch.setattr(airflow_processes, "_MAX_RESTARTS", 1)
    prepare_home(places)
    log = places.airflow / "standalone.log"

    def first_pid():
        return json.loads((places.airflow / "running.json").read_text())["pids"][0]

    def kill_first(num_children):
        await_true(lambda: (tmp_path / "children").read_text().count("\n") == num_children)
        pid = first_pid()
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_twice():
        with (
            sole_use(places) as lock,
            airflow_processes._Processes(dict(os.environ), log, lock, 8099) as processes,
        ):
            processes.start("scheduler")
            processes.start("triggerer")
            processes.keep_running()
            killed = kill_first(2)
            await_true(lambda: first_pid() != killed)
            kill_first(3)
            time.sleep(60)  # until SIGTERM

    with pytest.raises(SystemExit) as ended:
        kill_twice()
    assert ended.value.code == 143
    printed = capsys.readouterr().err.splitlines()
    first, last = [line for line in printed if line.startswith("`airflow")]
    assert first == "`airflow scheduler` ended with exit code -9; it is started again"
    assert last == f"`airflow scheduler` ended with exit code -9, after 1 starts again; read {log}"
    children = map(int, (tmp_path / "children").read_text().split())
    await_true(lambda: not any(map(is_at_work, children)))


def await_true(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds_now(holds):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def holds_now(holds):
    try:
        return holds()
    except (FileNotFoundError, ValueError):
        return False


def is_at_work(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_second_airflow_on_one_folder_is_refused_with_the_port_of_the_first(places):
    prepare_home(places)
    with sole_use(places) as lock:
        lock.note(8099, [os.getpid(), 2**22 + 1])
        with (
            pytest.raises(BadInput, match=rf"http://localhost:8099 \(processes {os.getpid()}\)"),
            sole_use(places),
        ):
            raise AssertionError
        lock.note(8099, [2**22 + 1])
        with pytest.raises(BadInput, match="a task of an Airflow that was killed is still"):
            sole_use(places).__enter__()
        # There is no API to follow, so the main job does not go on there either.
        with pytest.raises(AirflowInUse, match="killed"), own_or_running_airflow(places):
            raise AssertionError
    with sole_use(places):
        pass  # the first has ended
