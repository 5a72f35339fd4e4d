"""Every example configuration is one that Weir accepts without a word."""

import glob
import os
import re
import shutil

import pytest

from support.weir import ROOT, command

EXAMPLES = sorted(glob.glob(os.path.join(ROOT, "deploy", "examples", "*.yaml")))


@pytest.mark.parametrize("path", EXAMPLES, ids=os.path.basename)
def test_an_example_is_accepted(path, directory, certificates):
    copy = os.path.join(directory, os.path.basename(path))
    shutil.copy(path, copy)
    put_certificates(copy, certificates)
    done = command("check", "-c", copy)
    assert done.returncode == 0, done.stdout + done.stderr
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if "warning:" in line]
    # Their names are found where they run.
    assert not [line for line in warnings if "the name is not found here" not in line]


def put_certificates(path, certificates):
    """Makes the files that the example names, where it names them."""
    leaf = certificates.localhost()
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for key, source in (("cert", leaf.cert), ("key", leaf.key), ("ca", certificates.authority)):
        for name in re.findall(rf"\b{key}: ([\w./-]+\.(?:pem|key))", text):
            target = os.path.join(os.path.dirname(path), name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)


def test_there_are_examples():
    assert EXAMPLES
