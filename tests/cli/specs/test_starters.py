"""init: the start command that it finds in a folder, and a spec that is valid at once whatever it found."""

import stat
from pathlib import Path

import pytest

from repave_cli.specs.secrets import secrets_in
from repave_controller.spec.loader import load
from repave_controller.spec.spec import Spec
from repave_protos.package.archive import pack
from tests.fakes.controller.command_line import CommandLine


@pytest.mark.parametrize(
    ("files", "run_words"),
    [
        ({"app.py": ""}, ("python3", "app.py")),
        ({"server.js": ""}, ("node", "server.js")),
        ({"package.json": '{"scripts": {"start": "next start"}}'}, ("npm", "start")),
        ({"package.json": '{"scripts": {"test": "jest"}}', "index.js": ""}, ("node", "index.js")),
        ({"package.json": "not json", "main.py": ""}, ("python3", "main.py")),
        (
            {"Procfile": "worker: celery\nweb: gunicorn app:app --bind $HOST:$PORT\n", "app.py": ""},
            ("gunicorn", "app:app", "--bind", "$HOST:$PORT"),
        ),
        ({"Procfile": 'web: serve --title "two words"\n'}, ("serve", "--title", "two words")),
        ({"Procfile": "web: migrate && serve\n"}, ("sh", "-c", "migrate && serve")),
        ({"Procfile": "web: MODE=fast serve\n"}, ("sh", "-c", "MODE=fast serve")),
        ({"web.py": ""}, ("python3", "web.py")),
        ({"shop.pyz": "PK", ".env": ""}, ("python3", "shop.pyz")),
        ({"Procfile": "web: serve -p ${PORT:-80}\n"}, ("sh", "-c", "serve -p $${PORT:-80}")),
        ({"Procfile": "web: serve -b 0.0.0.0:8000\n"}, ("serve", "-b", "$HOST:8000")),
        (
            {
                "pyproject.toml": '[project]\nname = "shop"\nscripts = {shop = "shop.cli:main"}\n',
                "app.py": "",
            },
            ("python3", "-c", "import sys; from shop.cli import main; sys.exit(main())"),
        ),
        (
            {"pyproject.toml": '[tool.poetry.scripts]\nx = "a:b.c"\n'},
            ("python3", "-c", "import sys; from a import b; sys.exit(b.c())"),
        ),
        ({"pyproject.toml": "[project]\nname = 'x'\n", "app.py": ""}, ("python3", "app.py")),
        ({"pyproject.toml": "not toml", "app.py": ""}, ("python3", "app.py")),
    ],
)
def test_the_start_command_is_what_the_folder_tells(
    run: CommandLine, files: dict[str, str], run_words: tuple[str, ...]
) -> None:
    for name, content in files.items():
        (run.folder / name).write_text(content)
    assert _written(run).host.run == run_words


HEALTH = "/health"
DOCKERFILES: dict[str, tuple[str, tuple[str, ...], int, str, dict[str, str]]] = {
    "list": ('FROM python\nCMD ["python3", "web.py"]\nEXPOSE 5000', ("python3", "web.py"), 5000, HEALTH, {}),
    "line": ("FROM a\ncmd python3 web.py\nEXPOSE 5000/tcp 9", ("python3", "web.py"), 5000, HEALTH, {}),
    "for a shell": ("CMD migrate && serve $X", ("sh", "-c", "migrate && serve $$X"), 8080, HEALTH, {}),
    "entrypoint": ('ENTRYPOINT ["./serve", "-v"]\nCMD ["-a"]', ("./serve", "-v", "-a"), 8080, HEALTH, {}),
    "entrypoint for a shell": ('CMD ["x"]\nENTRYPOINT serve now', ("serve", "now"), 8080, HEALTH, {}),
    "the last of each counts": ('CMD ["a"]\nCMD ["b"]', ("b",), 8080, HEALTH, {}),
    "the last stage counts": ('FROM a\nCMD ["a"]\nEXPOSE 1\nFROM b\nCMD ["b"]', ("b",), 8080, HEALTH, {}),
    "continued": ('CMD [\\\n# why\n  "a", \\\n  "b"]', ("a", "b"), 8080, HEALTH, {}),
    "its port": ("ENV PORT=9000 MODE=a\nEXPOSE $PORT\nCMD serve", ("serve",), 9000, HEALTH, {"MODE": "a"}),
    "as once": ("ENV MODE very fast\nENV PATH=/x:$PATH\nCMD x", ("x",), 8080, HEALTH, {"MODE": "very fast"}),
    "health": ("HEALTHCHECK --interval=5s CMD curl -f http://localhost:5000/up || exit 1\nCMD x",
               ("x",), 8080, "/up", {}),
    "files of the image": ('WORKDIR /srv\nCMD ["/srv/serve.sh", "/srv/none", "/etc/x"]',
                           ("./serve.sh", "/srv/none", "/etc/x"), 8080, HEALTH, {}),
    "every address": ('CMD ["serve", "-b", "0.0.0.0:8000"]', ("serve", "-b", "$HOST:8000"), 8000, HEALTH, {}),
    "empty lines in between": ('CMD ["a", \\\n\n  # why\n\n  "b"]', ("a", "b"), 8080, HEALTH, {}),
    "leaves its shell": ("CMD exec serve -a", ("serve", "-a"), 8080, HEALTH, {}),
    "leaves its shell later": ("CMD a && exec serve", ("sh", "-c", "a && exec serve"), 8080, HEALTH, {}),
    "every address, short": ("CMD exec serve -b :8000", ("serve", "-b", "$HOST:8000"), 8000, HEALTH, {}),
    "a stage from a stage": ('FROM x AS Base\nENV A=1\nWORKDIR /srv\nENTRYPOINT ["tini", "--"]\nFROM y\n'
                             'CMD ["no"]\nFROM base\nCMD ["/srv/serve.sh"]',
                             ("tini", "--", "./serve.sh"), 8080, HEALTH, {"A": "1"}),
    "a mark at the beginning": ('\ufeffFROM x\r\nEXPOSE 5000/tcp\r\nCMD ["a"]\r\n', ("a",), 5000, HEALTH, {}),
    "no shell": ('CMD ["serve", "$X", "$PORT"]', ("serve", "$$X", "$PORT"), 8080, HEALTH, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_tells_command_port_variables_and_health(run: CommandLine, name: str) -> None:
    text, words, port, path, variables = DOCKERFILES[name]
    (run.folder / "Dockerfile").write_text(text)
    (run.folder / "serve.sh").write_text("#!/bin/sh\n")
    (run.folder / "Procfile").write_text("web: another\n")
    spec = _written(run)
    assert spec.host.run == words
    http = spec.health.http
    assert http is not None
    assert (http.port, http.path) == (port, path)
    assert spec.host.env == variables


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"index.html": "<p>", ".env": "SECRET=1"},
        {"Procfile": "worker: celery\n"},
        {"package.json": '{"scripts": []}'},
        {"Dockerfile": "FROM scratch\nEXPOSE 80\n"},
        {"serve": "#!/bin/sh\n"},
    ],
)
def test_where_nothing_tells_nothing_is_written_and_run_is_offered(
    run: CommandLine, files: dict[str, str]
) -> None:
    (run.folder / "repave.yaml").unlink()
    for name, content in files.items():
        (run.folder / name).write_text(content)
    ran = run("init")
    assert ran.code == 2
    assert "nothing here says what starts the application" in ran.err
    assert "repave init --run './serve --host $HOST --port $PORT'" in ran.err
    assert not (run.folder / "repave.yaml").exists()
    assert "http.server" not in ran.err


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.pyz", "b.pyz"), "there are a.pyz, b.pyz"),
        (("one", "two"), "one, two are executable; say what starts the application, with --run"),
    ],
)
def test_of_several_that_could_start_it_none_is_guessed(
    run: CommandLine, names: tuple[str, ...], told: str
) -> None:
    (run.folder / "repave.yaml").unlink()
    for name in names:
        (run.folder / name).write_text("#!/bin/sh\n")
        (run.folder / name).chmod(0o755)
    ran = run("init")
    assert (ran.code, told in ran.err, "--run" in ran.err) == (2, True, True)
    assert run("init", "--run", "./one --port $PORT").code == 0
    assert "./one --port $PORT" in (run.folder / "repave.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("pyproject.toml", "[project\nname", "; pyproject.toml can't be read: "),
        ("package.json", '{"scripts": {', "; package.json can't be read: "),
        ("Dockerfile", "FROM nginx\n", "; the Dockerfile has no CMD or ENTRYPOINT of its own; say it: "),
        ("Procfile", "worker: x\n", "; the Procfile has no line for web; say it: "),
        (
            "go.mod",
            "module x\n",
            "; go.mod: build the program first (go build -o serve .), then",
        ),
    ],
)
def test_what_looks_as_if_it_told_is_said_to_tell_nothing(
    run: CommandLine, name: str, content: str, told: str
) -> None:
    (run.folder / "repave.yaml").unlink()
    (run.folder / name).write_text(content)
    ran = run("init")
    assert (ran.code, told in ran.err) == (2, True), ran.err


def test_a_list_that_docker_would_not_take_either_is_said(run: CommandLine) -> None:
    (run.folder / "repave.yaml").unlink()
    (run.folder / "Dockerfile").write_text("FROM x\nCMD ['python', 'web.py']\n")
    ran = run("init")
    assert ran.code == 2
    assert (
        "Dockerfile: ['python', 'web.py'] is no list in JSON, which takes double quotes; say what" in ran.err
    )


def test_what_was_left_aside_and_what_is_missing_are_noted(run: CommandLine) -> None:
    (run.folder / "repave.yaml").unlink()
    (run.folder / "Dockerfile").write_text('CMD ["./serve"]\n')
    (run.folder / "Procfile").write_text("web: ./other\n")
    told = run("init").err
    assert "note: Procfile says ./other; that was left aside" in told
    assert "note: ./serve is not in this folder: it must be in the package" in told


def test_a_lone_executable_starts_it(run: CommandLine) -> None:
    (run.folder / "shop").write_bytes(b"\x7fELF")
    (run.folder / "shop").chmod(0o755)
    (run.folder / "picture.png").write_bytes(b"PNG")
    (run.folder / "picture.png").chmod(0o755)
    assert _written(run).host.run == ("./shop",)


def test_what_a_person_says_comes_first(run: CommandLine) -> None:
    (run.folder / "app.py").write_text("")
    spec = _written(run, "--run", "serve --bind 0.0.0.0:9000 | tee log")
    assert spec.host.run == ("sh", "-c", "serve --bind $HOST:9000 | tee log")
    assert spec.health.http is not None
    assert spec.health.http.port == 9000
    (run.folder / "repave.yaml").unlink()
    assert run("init", "--run", " ").code == 2


def test_a_health_path_that_the_program_names_is_taken(run: CommandLine) -> None:
    (run.folder / "app.py").write_text('@app.get("/healthz")\n')
    http = _written(run).health.http
    assert http is not None
    assert http.path == "/healthz"


SECRETS = (
    ".env",
    ".env.production",
    "deploy/id_rsa",
    "tls/server.key",
    "tls/own.pem",
    "gcp/credentials.json",
    ".aws/config2",
    "db.kdbx",
    "clouds.yaml",
)
HARMLESS = (
    ".env.example",
    "id_rsa.pub",
    "secrets.py",
    "tls/ca.pem",
    "keys.html",
    "environment",
    ".ssh/known_hosts",
)


def _with_secrets(folder: Path) -> None:
    for name in (*SECRETS, *HARMLESS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("-----BEGIN PRIVATE KEY-----" if name == "tls/own.pem" else "x")


def test_what_looks_like_a_secret_is_found_and_what_does_not_is_not(tmp_path: Path) -> None:
    _with_secrets(tmp_path / "app")
    (tmp_path / "app" / ".git").mkdir()
    (tmp_path / "app" / ".git" / ".env").write_text("x")
    assert sorted(secrets_in(tmp_path / "app")) == sorted(SECRETS)
    pack(tmp_path / "app", tmp_path / "app.tar.gz")
    assert set(secrets_in(tmp_path / "app.tar.gz")) == {*SECRETS, "tls/ca.pem"}  # not looked into there
    assert list(secrets_in(tmp_path / "missing")) == []


def test_init_and_packing_warn_of_secrets(repave: CommandLine) -> None:
    (repave.folder / "app.py").write_text("")
    (repave.folder / ".env").write_text("SECRET=1")
    (repave.folder / "repave.yaml").unlink()
    warning = "warning: the package holds what looks like secrets: .env. Every host gets them."
    assert warning in repave("init", "--region", "paris", "--size", "1").err
    assert warning in repave("plan").err
    pushed = repave("image", "push", ".")
    assert (pushed.code, warning in pushed.err) == (0, True)


@pytest.mark.parametrize(("mode", "first_word"), [(0o755, "./run"), (0o644, "python3")])
def test_a_program_called_run_counts_only_when_it_can_be_run(
    run: CommandLine, mode: int, first_word: str
) -> None:
    (run.folder / "main.py").write_text("")
    program = run.folder / "run"
    program.write_text("#!/bin/sh\n")
    program.chmod(stat.S_IMODE(mode))
    assert _written(run).command[0] == first_word


def test_name_port_regions_and_size_are_as_asked(run: CommandLine) -> None:
    (run.folder / "app.py").write_text("")
    spec = _written(run, "--name", "shop", "--port", "9000", "--region", "paris", "--region", "oslo")
    assert spec.traffic is not None
    assert (spec.application, spec.traffic.port) == ("shop", 9000)
    assert [(region.name, region.hosts) for region in spec.regions] == [("paris", 2), ("oslo", 2)]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-app", "my-app"),
        ("My_App 2", "my-app-2"),
        ("web-v001", "app"),
        ("äöü", "aou"),
        ("店", "app"),
        ("x" * 31 + "-y", "x" * 31),
    ],
)
def test_the_application_is_called_like_its_folder(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, folder: str, name: str
) -> None:
    place = run.folder / folder
    place.mkdir()
    monkeypatch.chdir(place)
    assert run("init", "--run", "./serve").code == 0
    assert load((place / "repave.yaml").read_text(), "repave.yaml")[0].app == name


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--name", "Web_Shop"], "app"),
        (["--port", "70000"], "traffic.port"),
        (["--region", "A"], "regions.0"),
    ],
)
def test_what_no_spec_can_hold_is_refused_and_nothing_written(
    run: CommandLine, arguments: list[str], field: str
) -> None:
    (run.folder / "repave.yaml").unlink()
    ran = run("init", "--run", "./serve", *arguments)
    assert ran.code == 2
    assert ran.err.startswith("repave.yaml:")
    assert f": {field}" in ran.err
    assert list(run.folder.glob("repave.yaml*")) == []


def _written(run: CommandLine, *arguments: str) -> Spec:
    """The spec that init writes in the folder."""
    path: Path = run.folder / "repave.yaml"
    path.unlink()
    ran = run("init", *arguments)
    assert (ran.code, ran.out) == (0, "")
    assert run("validate").code == 0
    return load(path.read_text(), "repave.yaml")[0]
