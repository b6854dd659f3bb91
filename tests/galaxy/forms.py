"""The forms as Galaxy reads them: with their macros in place."""

import re
from copy import deepcopy
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[2]


def expanded(form: str) -> ElementTree.Element:
    """A form in which macros stand where they are expanded, and tokens in its command and in attributes are their text.

    Those of tables.xml, which are long, stay names.
    """
    root = ElementTree.parse(REPOSITORY / form).getroot()
    macros: dict[str, ElementTree.Element] = {macro.get("name"): macro for macro in root.iterfind("macros/xml")}
    tokens: dict[str, str] = {}
    for file in root.iterfind("macros/import"):
        imported = ElementTree.parse(REPOSITORY / file.text).getroot()
        macros |= {macro.get("name"): macro for macro in imported.iterfind("xml")}
        if file.text != "tables.xml":
            tokens |= {token.get("name"): token.text for token in imported.iterfind("token")}
    _expand(root, macros)
    for element in root.iter():
        for name, text in tokens.items():
            if element.tag == "command":
                element.text = element.text.replace(name, text)
            for key, value in element.items():
                element.set(key, value.replace(name, text))
    return root


def _expand(element: ElementTree.Element, macros: dict[str, ElementTree.Element]) -> None:
    for place, child in reversed(list(enumerate(element))):
        macro = macros.get(child.get("macro", "")) if child.tag == "expand" else None
        if macro is None:
            _expand(child, macros)
            continue
        content = deepcopy(macro)
        _yield(content, list(child))
        _put_in(content, child, macro)
        _expand(content, macros)
        element.remove(child)
        for part in reversed(list(content)):
            element.insert(place, part)


def _yield(content: ElementTree.Element, given: list[ElementTree.Element]) -> None:
    """Put what an expand element holds in the place of the macro's yield."""
    for parent in list(content.iter()):
        for place, child in reversed(list(enumerate(parent))):
            if child.tag == "yield":
                parent.remove(child)
                for part in reversed(given):
                    parent.insert(place, deepcopy(part))


def _put_in(content: ElementTree.Element, child: ElementTree.Element, macro: ElementTree.Element) -> None:
    """The attributes of an expand element are tokens of the macro."""
    defaults = {name.removeprefix("token_"): value for name, value in macro.items() if name.startswith("token_")}
    values = defaults | {name: value for name, value in child.items() if name != "macro"}
    for part in content.iter():
        for token, text in values.items():
            for name, value in part.items():
                part.set(name, value.replace(f"@{token.upper()}@", text))
            if part.text:
                part.text = re.sub(f"@{token.upper()}@", lambda _, text=text: text, part.text)
