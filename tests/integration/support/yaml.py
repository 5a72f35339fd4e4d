"""Writes a configuration the way people do: block style, words and durations without quotes."""

import json
import re

_PLAIN = re.compile(r"^(?:[a-z][a-z0-9_-]*|\d+(?:\.\d+)?(?:ms|s|m|h|KiB|MiB|KB|MB))$")


def _scalar(value):
    if isinstance(value, str):
        return value if _PLAIN.match(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)  # numbers, true, false


def _is_flat(value):
    return not isinstance(value, (dict, list)) or not value


def write(value, indent=0):
    """Nested dicts and lists as YAML text."""
    pad = "  " * indent
    lines = []
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            lines.append(f"{pad}{key}:\n{write(inner, indent + 1)}")
        elif isinstance(inner, list) and inner and not all(map(_is_flat, inner)):
            lines.append(f"{pad}{key}:")
            lines += [_item(item, indent + 1) for item in inner]
        elif isinstance(inner, list):
            lines.append(f"{pad}{key}: [{', '.join(map(_scalar, inner))}]")
        else:
            lines.append(f"{pad}{key}: {_scalar(inner)}")
    return "\n".join(lines)


def _item(item, indent):
    """A list item that is a map: its first line behind the dash, the others under it."""
    text = write(item, indent + 1)
    dash = "  " * indent + "- "
    return dash + text[len(dash):]
