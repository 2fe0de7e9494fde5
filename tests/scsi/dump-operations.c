/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The operation table as Markdown
 *
 *   dump-operations > docs/scsi-commands.md     write it
 *   dump-operations --check FILE                compare it with the committed one (TAP)
 */

#include <string.h>

#include "scsi/optable.h"

static const char head[] =
    "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->\n"
    "<!-- Made by tests/scsi/dump-operations.c from src/scsi/optable.c; do not edit -->\n"
    "\n"
    "# SCSI commands\n"
    "\n"
    "What a logical unit understands, as REPORT SUPPORTED OPERATION CODES tells it. The usage map\n"
    "has a bit for each bit of the CDB that is evaluated; reserved bits and fields that are not\n"
    "supported must be zero, else the command ends with INVALID FIELD IN CDB and a field pointer.\n"
    "\n"
    "Units are disks and CD/DVD drives. An operation that the unit does not have ends with INVALID\n"
    "COMMAND OPERATION CODE.\n"
    "\n"
    "| opcode | name | units | CDB usage map | data | under reservations | in port group states | "
    "notes |\n"
    "|---|---|---|---|---|---|---|---|\n";

static const char *
direction_text(const Operation *op)
{
    switch (op->direction) {
    case OPERATION_NO_DATA:
        return "-";
    case OPERATION_IN:
        return "in";
    case OPERATION_OUT:
        return "out";
    }
    g_assert_not_reached();
}

static const char *
devices_text(const Operation *op)
{
    if (op->devices & ON_DISK)
        return op->devices & ON_CDROM ? "all" : "disk";
    return "drive";
}

static const char *
class_text(const Operation *op)
{
    switch (op->pr_class) {
    case PR_CONFLICT:
        return "holder only";
    case PR_WRITE:
        return "as a write";
    case PR_READ:
        return "as a read";
    case PR_STATUS:
        return "always, but not under RESERVE";
    case PR_OWN:
        return "by rules of its own";
    case PR_ALLOW:
        return "always";
    }
    g_assert_not_reached();
}

static const char *
access_text(const Operation *op)
{
    switch (op->alua_class) {
    case ALUA_CLASS_ACTIVE:
        return "active";
    case ALUA_CLASS_STANDBY:
        return "active, standby";
    case ALUA_CLASS_UNAVAILABLE:
        return "all but transitioning";
    case ALUA_CLASS_ALWAYS:
        return "all";
    }
    g_assert_not_reached();
}

static void
add_notes(GString *text, const Operation *op)
{
    static const struct {
        OperationFlags flag;
        const char *note;
    } notes[] = {
        { OP_WRITES, "refused when write protected" },
        { OP_UA_EXEMPT, "runs in spite of a unit attention" },
        { OP_NO_UNIT, "runs without a logical unit" },
        { OP_ERASE_EXEMPT, "also during SANITIZE and FORMAT UNIT" },
        { OP_NEEDS_UNMAP, "thin provisioned units only" },
    };
    const char *separator = "";

    for (gsize i = 0; i < G_N_ELEMENTS(notes); i++) {
        if (op->flags & notes[i].flag) {
            g_string_append_printf(text, "%s%s", separator, notes[i].note);
            separator = ", ";
        }
    }
}

static void
add_row(GString *text, const Operation *op)
{
    g_string_append_printf(text, "| %02Xh", op->opcode);
    if (op->has_service_action)
        g_string_append_printf(text, "/%02Xh", op->service_action);
    g_string_append_printf(text, " | %s | %s | `%02x", op->name, devices_text(op), op->opcode);
    for (guint i = 1; i < op->cdb_length; i++)
        g_string_append_printf(text, " %02x", op->usage[i]);
    g_string_append_printf(text, "` | %s | %s | %s | ", direction_text(op), class_text(op),
                           access_text(op));
    add_notes(text, op);
    g_string_append(text, " |\n");
}

static char *
dump(void)
{
    guint n;
    const Operation *rows = optable_rows(&n);
    GString *text = g_string_new(head);

    for (guint i = 0; i < n; i++)
        add_row(text, &rows[i]);
    return g_string_free(text, FALSE);
}

int
main(int argc, char **argv)
{
    g_autofree char *text = dump();
    g_autofree char *committed = NULL;
    gboolean same;

    if (argc < 3) {
        g_print("%s", text);
        return 0;
    }

    same = g_file_get_contents(argv[2], &committed, NULL, NULL) && strcmp(text, committed) == 0;
    g_print("1..1\n%s 1 /scsi/docs/fresh\n", same ? "ok" : "not ok");
    return same ? 0 : 1;
}
