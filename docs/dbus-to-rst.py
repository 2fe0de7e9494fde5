#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# SPDX-FileCopyrightText: the lunport authors
"""Writes org.lunport1(5) as reStructuredText from the interfaces and the polkit actions.

    dbus-to-rst.py POLICY XML... > org.lunport1.5.rst

What a member is comes from its element, what it means from the comment before it, which begins with
its name and explains each argument with a line “@name: ...”. tests/style/test-dbus.py checks that all
comments are such.
"""

import re
import sys
import xml.dom.minidom

HEAD = """\
============
org.lunport1
============

----------------------------------------------
D-Bus interface of the iSCSI target service
----------------------------------------------

:Manual section: 5
:Manual group: lunport

INTRODUCTION
============

**lunportd**\\ (8) owns the name **org.lunport1** on the system bus. These are the objects:

{objects}

All of them are announced by org.freedesktop.DBus.ObjectManager at /org/lunport1.

"""

TAIL = """\
SEE ALSO
========

**lunportd**\\ (8), **lunctl**\\ (1), **busctl**\\ (1), **polkit**\\ (8)
"""

ACTION = "org.lunport1.Action"
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
CHANGES = {"true": "changes are announced", "const": "never changes",
           "false": "changes are not announced"}
ORDER = ["Manager", "Target", "Lun", "Backstore", "PortalGroup", "Portal", "Session", "Connection"]


def children(node, name):
    return [child for child in node.childNodes if child.nodeName == name]


def annotation(node, name):
    for child in children(node, "annotation"):
        if child.getAttribute("name") == name:
            return child.getAttribute("value")
    return ""


def comment_before(node):
    node = node.previousSibling
    while node is not None and node.nodeType == node.TEXT_NODE:
        node = node.previousSibling
    if node is None or node.nodeType != node.COMMENT_NODE:
        sys.exit("An element has no comment before it")
    return node.data


def escape(text):
    """Plain text whose characters mean nothing to reStructuredText."""
    return re.sub(r"([\\*`|_<>\[\]])", r"\\\1", text)


def split_comment(text):
    """Tags ({"@name": "text"}) and paragraphs of a comment."""
    lines = [line.strip() for line in text.strip().splitlines()][1:]
    tags, paragraphs, tag, in_tags = {}, [[]], None, True
    for line in lines:
        match = re.match(r"@([\w-]+): *(.*)", line)
        if in_tags and match:
            tag = match[1]
            tags[tag] = match[2]
        elif in_tags and line:
            tags[tag] += " " + line
        elif line:
            paragraphs[-1].append(line)
        else:
            in_tags = False
            paragraphs.append([])
    return tags, [" ".join(paragraph) for paragraph in paragraphs if paragraph]


def indent(text, size=4):
    return "".join(" " * size + line if line.strip() else line
                   for line in text.splitlines(keepends=True))


def write_arguments(node, tags):
    text = ""
    for argument in children(node, "arg"):
        name = argument.getAttribute("name")
        direction = argument.getAttribute("direction") or "out"
        text += f"\n*{escape(name)}* ({direction} {escape(argument.getAttribute('type'))})\n"
        text += indent(escape(tags[name]) + "\n")
    return text


def write_member(node, actions):
    tags, paragraphs = split_comment(comment_before(node))
    name, kind = node.getAttribute("name"), node.nodeName
    if kind == "property":
        emits = CHANGES[annotation(node, EMITS)]
        title = f"**{name}** ({escape(node.getAttribute('type'))}; {emits})"
    else:
        words = [f"*{escape(arg.getAttribute('name'))}*" for arg in children(node, "arg")
                 if kind == "signal" or arg.getAttribute("direction") == "in"]
        results = [f"*{escape(arg.getAttribute('name'))}*" for arg in children(node, "arg")
                   if kind == "method" and arg.getAttribute("direction") == "out"]
        title = f"**{name}**\\ ({', '.join(words)})"
        if results:
            title += f" → {', '.join(results)}"
    text = "\n\n".join(escape(paragraph) for paragraph in paragraphs) + "\n"
    text += write_arguments(node, tags)
    action = annotation(node, ACTION)
    if action not in ("", "none"):
        if action not in actions:
            sys.exit(f"{name}: there is no action {action}")
        text += f"\nAuthorization: **{action}**\n"
    return f"{title}\n{indent(text)}\n"


def write_interface(node, actions):
    _, paragraphs = split_comment(comment_before(node))
    title = node.getAttribute("name").rsplit(".", 1)[1].upper() + " INTERFACE"
    text = f"{title}\n{'=' * len(title)}\n\n"
    text += "\n\n".join(escape(paragraph) for paragraph in paragraphs) + "\n\n"
    for kind, heading in (("method", "Methods"), ("signal", "Signals"), ("property", "Properties")):
        members = children(node, kind)
        if members:
            text += f"{heading}\n{'-' * len(heading)}\n\n"
            text += "".join(write_member(member, actions) for member in members)
    return text


def read_actions(path):
    """Actions with their descriptions, and the words of their defaults for active sessions."""
    actions = {}
    for node in xml.dom.minidom.parse(path).getElementsByTagName("action"):
        comments = [child.data.strip() for child in children(node, "#comment")]
        default = node.getElementsByTagName("allow_active")[0].firstChild.data.strip()
        description = node.getElementsByTagName("description")[0].firstChild.data.strip()
        actions[node.getAttribute("id")] = (description, default, comments)
    return actions


def write_actions(actions):
    text = "POLKIT ACTIONS\n==============\n\n"
    text += "Methods that have no authorization of their own may be called by every local user.\n\n"
    for name, (description, default, comments) in sorted(actions.items()):
        sentences = [escape(" ".join(comment.split()).rstrip(".")) + "."
                     for comment in comments or [description]]
        text += f"**{name}** (by default {escape(default)})\n"
        text += indent("\n\n".join(sentences) + "\n") + "\n"
    return text


def find_summary(interface):
    tags, paragraphs = split_comment(comment_before(interface))
    path = re.search(r"/org/lunport1/\S*[\w]", paragraphs[0])
    return (path[0] if path else "/org/lunport1", tags["short_description"])


def place(interface):
    """Where an interface stands in the page; those that ORDER does not know come last."""
    name = interface.getAttribute("name").rsplit(".", 1)[1]
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def main():
    actions = read_actions(sys.argv[1])
    interfaces = []
    for path in sys.argv[2:]:
        interfaces += xml.dom.minidom.parse(path).getElementsByTagName("interface")
    interfaces.sort(key=place)
    objects = "\n".join(f"| {escape(path)}: {escape(node.getAttribute('name'))}, "
                        f"{escape(summary[0].lower() + summary[1:])}"
                        for node in interfaces for path, summary in [find_summary(node)])
    sys.stdout.reconfigure(encoding="utf-8")
    print(HEAD.format(objects=objects), end="")
    for interface in interfaces:
        print(write_interface(interface, actions), end="")
    print(write_actions(actions), end="")
    print(TAIL, end="")


if __name__ == "__main__":
    main()
