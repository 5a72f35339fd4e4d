"""Broken configurations: each mistake is shown at its place, and all of them in one run.

In the texts below a § stands right before the place that has to be reported.
"""

import json
import os
import re
import time

import pytest

from support.configuration import GOOD
from support.weir import command


def check(directory, text, **options):
    """(status, output, expected places) of `weir check` on a text with marks"""
    path = os.path.join(directory, "weir.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("§", ""))
    done = command("check", "-c", path, cwd=directory, **options)
    return done.returncode, done.stdout + done.stderr, marked_places(text)


def marked_places(text):
    """1-based (line, column) of what follows each mark"""
    places = []
    for number, line in enumerate(text.splitlines(), 1):
        for order, mark in enumerate(re.finditer("§", line)):
            places.append((number, mark.start() - order + 1))
    return places


def reported_places(output, severity="error"):
    return [(int(line), int(column)) for line, column in
            re.findall(rf"weir\.yaml:(\d+):(\d+): {severity}: ", output)]


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new, 1)


TLS = """\
tls:
  public:
    certificates:
      - cert: "{cert}"
        key: "{key}"
"""

# name: (text, what the message has to contain)
BROKEN = {
    "tab indentation": (
        changed('    mode: tcp\n', '§\tmode: tcp\n'), ["tab"]),
    "duplicate key": (
        changed('    mode: tcp\n', '    mode: tcp\n    §mode: tcp\n'),
        ["mode", "already written"]),
    "unknown key with a near name": (
        changed('    endpoints:', '    §endpoint:'), ["did you mean `endpoints`"]),
    "wrong type": (
        changed('version: 1\n', 'version: 1\nworkers: §[1, 2]\n'), ["workers"]),
    "not a number": (
        changed('version: 1\n', 'version: 1\nworkers: §several\n'), ["workers|number|auto"]),
    "missing unit": (
        changed('    endpoints:', '    connect_timeout: §5\n    endpoints:'), ["unit|5s|ms"]),
    "unknown unit": (
        changed("    endpoints:", "    connect_timeout: §5pc\n    endpoints:"), ["pc|unit"]),
    "dangling upstream": (
        changed('upstream: api', 'upstream: §apo'), ["apo", "did you mean `api`"]),
    "dangling tls": (
        changed('    mode: tcp', '    tls: §public\n    mode: tcp'), ["public"]),
    "port 70000": (
        changed('"127.0.0.1:9000"', '§"127.0.0.1:70000"'), ["70000|port", "65535"]),
    "a name where an address is needed": (
        changed('"127.0.0.1:9000"', '§"localhost"'), ["localhost|address"]),
    "alias cycle": (
        changed('    endpoints:\n      - address: "127.0.0.1:9000"\n',
                '    endpoints: &loop\n      - §*loop\n'), ["loop|cycle|itself"]),
    "merge key": (
        changed('  api:\n', '  api:\n    §<<: {}\n'), ["merge"]),
    "octal-looking number": (
        changed('version: 1\n', 'version: 1\nlimits: { connections: §017 }\n'), ["017|octal|zero"]),
    "bad name": (
        changed('  web:', '  §Web:'), ["Web"]),
    "out of range": (
        changed('"127.0.0.1:9000"', '"127.0.0.1:9000"\n        weight: §-1'), ["weight|-1"]),
    "no such version": (
        changed('version: 1', 'version: §2'), ["version|2"]),
    "a whole key that is not supported yet": (
        changed('    mode: tcp', '    §allow: ["10.0.0.0/8"]\n    mode: tcp'),
        ["not supported yet"]),
    "a mode that does not exist yet": (
        changed('mode: tcp', 'mode: §http'), ["not supported yet|http"]),
    "unset variable": (
        changed('upstream: api', 'upstream: §"${WEIR_TEST_UNSET}"'), ["WEIR_TEST_UNSET"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_is_shown_at_its_place(directory, name):
    text, words = BROKEN[name]
    status, output, places = check(directory, text)
    assert status == 2, output
    assert reported_places(output) == places, output
    for word in words:
        assert re.search(word, output), output
    assert_caret_points_there(output, text, places[0])


def assert_caret_points_there(output, text, place):
    """The source line is shown, and under it a caret in the right column."""
    line, column = place
    source = text.replace("§", "").splitlines()[line - 1]
    lines = output.splitlines()
    shown = [i for i, each in enumerate(lines) if source.strip() == each.strip()]
    assert shown, output
    offset = lines[shown[0]].index(source.strip()) - (len(source) - len(source.lstrip()))
    caret = lines[shown[0] + 1].index("^")
    assert caret == offset + column - 1, output


def test_missing_certificate_file(directory):
    text = TLS.format(cert="missing.pem", key="missing.key") + changed(
        '    mode: tcp', '    tls: public\n    mode: tcp')
    text = text.replace('"missing.pem"', '§"missing.pem"').replace('"missing.key"',
                                                                   '§"missing.key"')
    status, output, places = check(directory, text)
    assert status == 2
    assert set(reported_places(output)) <= set(places) and places[0] in reported_places(output)
    assert re.search("[Nn]o such file", output), output


def test_key_that_does_not_match(directory, certificates):
    mine, other = certificates.issue("a.example"), certificates.issue("b.example")
    text = TLS.format(cert=mine.cert, key=other.key) + changed(
        '    mode: tcp', '    tls: public\n    mode: tcp')
    text = text.replace(f'"{other.key}"', f'§"{other.key}"')
    status, output, places = check(directory, text)
    assert status == 2
    assert reported_places(output) == places, output
    assert "match" in output


def test_five_mistakes_are_reported_in_one_run(directory):
    text = """\
version: 1
§wokers: 2
drain: { timeout: §30 }
listeners:
  web:
    bind: §"127.0.0.1:70000"
    mode: tcp
    upstream: §apj
upstreams:
  api:
    balance: §randm
    endpoints:
      - address: "127.0.0.1:9000"
"""
    status, output, places = check(directory, text)
    assert status == 2
    assert sorted(reported_places(output)) == places, output


def test_nothing_to_do_is_a_mistake(directory):
    for text in ("version: 1\n", "version: 1\nlisteners: {}\nupstreams: {}\n"):
        status, output, _ = check(directory, text)
        assert status == 2, text
        assert "listeners" in output and "upstreams" in output
    status, output, _ = check(directory, "")
    assert status == 2
    assert "empty" in output


def test_several_documents_are_refused(directory):
    status, output, _ = check(directory, GOOD + "---\n" + GOOD)
    assert status == 2
    assert re.search("document", output)


def test_two_listeners_on_one_port_are_refused(directory):
    text = changed('"127.0.0.1:0"', '["127.0.0.1:18080", §"127.0.0.1:18080"]')
    status, output, places = check(directory, text)
    assert status == 2
    assert reported_places(output) == places, output


def test_a_good_file_is_fine(directory):
    status, output, _ = check(directory, GOOD)
    assert status == 0, output
    assert "weir.yaml:" not in output.replace("weir.yaml: good", ""), output


def test_an_unused_upstream_is_a_warning(directory):
    text = GOOD + '  §spare:\n    endpoints:\n      - address: "127.0.0.1:9001"\n'
    status, output, places = check(directory, text)
    assert status == 0
    assert reported_places(output, "warning") == places
    assert not reported_places(output)


def test_a_name_that_is_not_found_is_a_warning(directory):
    text = changed('"127.0.0.1:9000"', '§"weir-test.invalid:9000"')
    begun = time.monotonic()
    status, output, places = check(directory, text)
    assert time.monotonic() - begun < 10
    assert status == 0
    assert reported_places(output, "warning") == places
    assert "weir-test.invalid" in output


def test_variables_come_from_the_environment(directory):
    text = changed('"127.0.0.1:9000"', '"127.0.0.1:${WEIR_TEST_PORT}"').replace(
        "mode: tcp", 'mode: "${WEIR_TEST_MODE:-tcp}"')
    status, output, _ = check(directory, text, env={**os.environ, "WEIR_TEST_PORT": "9000"})
    assert status == 0, output
    status, output, _ = check(directory, text, env={**os.environ, "WEIR_TEST_PORT": "90000"})
    assert status == 2, output


def test_a_check_for_programs_is_one_object(directory):
    path = os.path.join(directory, "weir.yaml")
    for text, good in ((GOOD, True), (changed("tcp", "udp"), False)):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        done = command("check", "--format", "json", "-c", path)
        assert done.stderr == ""
        assert done.returncode == (0 if good else 2)
        answer = json.loads(done.stdout)
        assert answer["good"] is good
        assert len(answer["problems"]) == (0 if good else 1)
    problem = answer["problems"][0]
    assert (problem["severity"], problem["file"], problem["line"]) == ("error", path, 5)
    assert problem["source_line"] == "    mode: udp"
    assert problem["column"] == 11 and problem["message"] and "hint" in problem


def test_the_configuration_in_force_loads_again(directory):
    path = os.path.join(directory, "weir.yaml")
    again = os.path.join(directory, "again.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(GOOD)
    for options in ([], ["--defaults"]):
        done = command("show-config", *options, "-c", path)
        assert (done.returncode, done.stderr) == (0, "")
        with open(again, "w", encoding="utf-8") as file:
            file.write(done.stdout)
        assert command("check", "-c", again).returncode == 0
        assert (f'    bind: "127.0.0.1:0"  # {path}:4\n' in done.stdout) is bool(options)
        assert ("  timeout: 30s  # default\n" in done.stdout) is bool(options)
    with open(path, "w", encoding="utf-8") as file:
        file.write(changed("tcp", "udp"))
    done = command("show-config", "-c", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "weir.yaml:5:11" in done.stderr


def test_included_files_are_part_of_the_configuration(directory):
    text = GOOD[:GOOD.index("upstreams:")] + "include: [conf.d/*.yaml]\n"
    os.mkdir(os.path.join(directory, "conf.d"))
    with open(os.path.join(directory, "conf.d", "api.yaml"), "w", encoding="utf-8") as file:
        file.write(GOOD[GOOD.index("upstreams:"):].replace("9000", "90000"))
    status, output, _ = check(directory, text)
    assert status == 2
    assert "conf.d/api.yaml:4:18: error: port `90000`" in output
    assert '      - address: "127.0.0.1:90000"\n' in output


def test_a_file_that_is_not_there(directory):
    done = command("check", "-c", os.path.join(directory, "absent.yaml"))
    assert done.returncode == 2
    assert "absent.yaml" in done.stderr and "o such file" in done.stderr


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run", "--frobnicate"], ["check", "-c"]])
def test_a_wrong_command_line_has_status_2(arguments):
    done = command(*arguments)
    assert done.returncode == 2
    assert done.stderr
