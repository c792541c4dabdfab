"""The embedded Airflow asks for the password that its set-up made."""

import json
import subprocess
from pathlib import Path

from userbert.local.airflow_home import airflow_environment, passwords_file, prepare_home
from userbert.local.airflow_processes import _AIRFLOW
from userbert.local.ports import free_port
from userbert.scheduling.airflow_api import AIRFLOW_USER


def test_the_login_is_random_shown_once_and_for_its_owner(places, tmp_path, capsys):
    prepare_home(places)
    shown = capsys.readouterr().err
    path = passwords_file(places)
    password = json.loads(path.read_text())[AIRFLOW_USER]
    assert f"user {AIRFLOW_USER}, password {password}\n" in shown
    assert len(password) == 24
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)  # of a copy that lost it
    prepare_home(places)
    assert capsys.readouterr().err == ""
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    prepare_home(places)
    assert json.loads(path.read_text())[AIRFLOW_USER] not in (password, "admin")


def test_no_token_without_the_password(places):
    """On Airflow's own login service, with the environment that its processes get."""
    prepare_home(places)
    port = free_port(8793)
    environ = airflow_environment(places, port)
    script = """
import json, os, sys
from fastapi import HTTPException
from airflow.api_fastapi.app import create_auth_manager, init_auth_manager
from airflow.api_fastapi.auth.managers.simple.datamodels.login import LoginBody
from airflow.api_fastapi.auth.managers.simple.services.login import SimpleAuthManagerLogin
manager = create_auth_manager()
manager.init()
(password,) = json.load(open(sys.argv[1])).values()
def ask(user, word):
    try:
        return bool(SimpleAuthManagerLogin.create_token(LoginBody(username=user, password=word)))
    except HTTPException as error:
        return error.status_code
def ask_for_nothing():
    try:
        return bool(SimpleAuthManagerLogin.create_token_all_admins())
    except HTTPException as error:
        return error.status_code
answers = [ask("userbert", password), ask("userbert", "admin"), ask("admin", "admin"),
           ask("userbert", ""), ask_for_nothing()]
print(json.dumps(answers))
"""
    command = [str(Path(_AIRFLOW).with_name("python")), "-c", script, str(passwords_file(places))]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [True, 401, 401, 400, 403]
    assert "Password for user" not in ended.stdout + ended.stderr
    assert environ["AIRFLOW__API__HOST"] == "127.0.0.1"
