#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""The rules of the D-Bus contract that a machine can judge, for each member of each interface."""

import re
import xml.dom.minidom

import tree

ACTION = "org.lunport1.Action"
PRIVILEGED = "org.freedesktop.systemd1.Privileged"
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def children(node, name):
    return [child for child in node.childNodes if child.nodeName == name]


def annotations(node):
    return {child.getAttribute("name"): child.getAttribute("value")
            for child in children(node, "annotation")}


def comment_before(node):
    """The comment that stands directly before an element."""
    node = node.previousSibling
    while node is not None and node.nodeType == node.TEXT_NODE and not node.data.strip():
        node = node.previousSibling
    return node.data if node is not None and node.nodeType == node.COMMENT_NODE else ""


def undocumented(node):
    """What the comment of a member does not say."""
    text = comment_before(node)
    name = node.getAttribute("name")
    wrong = []
    if not re.search(rf"\b{name}:", text):
        wrong.append("no comment before it that begins with its name")
    for argument in children(node, "arg"):
        if f"@{argument.getAttribute('name')}:" not in text:
            wrong.append(f"the comment does not explain @{argument.getAttribute('name')}")
    if "@since:" not in text:
        wrong.append("the comment has no @since")
    return wrong


def wrong_method(node, actions):
    notes = annotations(node)
    action = notes.get(ACTION)
    wrong = []
    if action is None:
        wrong.append(f"no annotation {ACTION}")
    elif action != "none":
        if action not in actions:
            wrong.append(f"no action {action} in polkit/")
        if notes.get(PRIVILEGED) != "true":
            wrong.append(f"no annotation {PRIVILEGED}")
        arguments = [arg for arg in children(node, "arg") if arg.getAttribute("direction") != "out"]
        if not arguments or arguments[-1].getAttribute("type") != "a{sv}":
            wrong.append("it changes something and does not end in a{sv} options")
    elif notes.get(PRIVILEGED) == "true":
        wrong.append("privileged, but open to all")
    return wrong


def wrong_property(node):
    wrong = []
    if node.getAttribute("access") != "read":
        wrong.append("properties are read-only; a setter is a method")
    emits = annotations(node).get(EMITS)
    if emits not in ("true", "false", "const"):
        wrong.append(f"{EMITS} is {emits}, not true, false or const")
    return wrong


def check_interface(tap, interface, actions):
    name = interface.getAttribute("name").rsplit(".", 1)[1]
    for kind in ("method", "property", "signal"):
        for node in children(interface, kind):
            wrong = undocumented(node)
            if kind == "method":
                wrong += wrong_method(node, actions)
            elif kind == "property":
                wrong += wrong_property(node)
            tap.result(not wrong, f"dbus: {name}.{node.getAttribute('name')}", "\n".join(wrong))


def check_policy(tap):
    """The actions; each needs an owner, or an unprivileged service may not ask for it."""
    actions = set()
    for path in tree.files("polkit", ".policy"):
        document = xml.dom.minidom.parse(str(path))
        for node in document.getElementsByTagName("action"):
            actions.add(node.getAttribute("id"))
            owner = [child.firstChild.data for child in children(node, "annotate")
                     if child.getAttribute("key") == "org.freedesktop.policykit.owner"]
            tap.result(owner == ["unix-user:lunport"], f"polkit: {node.getAttribute('id')}",
                       "org.freedesktop.policykit.owner must be unix-user:lunport")
    return actions


def main():
    tap = tree.Tap()
    actions = check_policy(tap)
    for path in tree.files("dbus", ".xml"):
        for interface in xml.dom.minidom.parse(str(path)).getElementsByTagName("interface"):
            tap.result(path.stem == interface.getAttribute("name"),
                       f"dbus: {path.name} is named by its interface")
            check_interface(tap, interface, actions)
    tap.done()


if __name__ == "__main__":
    main()
