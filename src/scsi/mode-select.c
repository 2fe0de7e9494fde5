/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * MODE SELECT
 *
 * The whole list is judged before anything changes: each page must be one of
 * the table, have its length, and differ from what MODE SENSE tells in nothing
 * but changeable bits. What is left is a mask and values of ModeParameters,
 * which the home worker merges into the state of the unit; so two initiators
 * that change different bits at once do not undo each other.
 *
 * With SP all that can be saved is saved, which is what is in force after the
 * change. It is on stable storage before the change is made, so that a command
 * that could not save has changed nothing.
 *
 * When the write cache is turned off, what was acknowledged before is flushed
 * before the command ends.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/lu-change.h"
#include "scsi/mode.h"
#include "scsi/operation.h"
#include "scsi/spc.h"
#include "util/bytes.h"

#define LIST_LENGTH_MAX 1024

/* What the list says, in the errand's room */
typedef struct {
    guint8 mask;
    guint8 values;
    gboolean saves;
    gboolean needs_flush; /* by the home worker */
} Wanted;

/* The next bytes to look at */
typedef struct {
    ScsiCommand *command;
    guint32 position;
    guint32 end;
    Wanted wanted;
} Parser;

static gboolean
fail_length(const Parser *parser)
{
    scsi_command_fail(parser->command, SENSE_PARAMETER_LIST_LENGTH);
    return FALSE;
}

static gboolean
fail_parameter(const Parser *parser, guint byte, gint bit)
{
    scsi_command_fail_parameter(parser->command, byte, bit);
    return FALSE;
}

static gboolean
has_room(const Parser *parser, guint32 length)
{
    return parser->end - parser->position >= length;
}

/* Capacity and block size cannot be changed; zero, or all ones as capacity, means "as it is" */
static gboolean
parse_descriptor(Parser *parser, guint32 length)
{
    const Lu *lu = scsi_command_lu(parser->command);
    guint64 capacity = lu_shard_n_blocks(parser->command->nexus_lun->shard);
    const guint8 *p = parser->command->data + parser->position;
    gboolean is_long = length == 16;
    guint64 n_blocks = is_long ? get_be64(p) : get_be32(p);
    guint64 all_ones = is_long ? G_MAXUINT64 : G_MAXUINT32;
    guint32 block_size = is_long ? get_be32(p + 12) : get_be24(p + 5);

    if (n_blocks != 0 && n_blocks != all_ones && n_blocks != capacity)
        return fail_parameter(parser, parser->position, 7);
    if (block_size != 0 && block_size != lu_block_size(lu))
        return fail_parameter(parser, parser->position + (is_long ? 12 : 5), 7);

    parser->position += length;
    return TRUE;
}

/* Mode data length and the device specific byte are reserved or ignored, as initiators send back
 * what they have read */
static gboolean
parse_header(Parser *parser)
{
    const guint8 *data = parser->command->data;
    gboolean is_ten = parser->command->op->cdb_length == 10;
    guint32 header = is_ten ? 8 : 4, descriptor;

    if (!has_room(parser, header))
        return fail_length(parser);

    if (data[is_ten ? 2 : 1] != 0)
        return fail_parameter(parser, is_ten ? 2 : 1, 7);

    descriptor = is_ten ? get_be16(data + 6) : data[3];
    if (descriptor != 0 && descriptor != (is_ten && data[4] & 0x01 ? 16 : 8))
        return fail_parameter(parser, is_ten ? 6 : 3, 7);

    parser->position = header;
    if (!has_room(parser, descriptor))
        return fail_length(parser);
    return descriptor == 0 || parse_descriptor(parser, descriptor);
}

#define SP           0x01
#define CONTROL_QERR 3 /* the byte */

static gboolean
check_page(const Parser *parser, const ModePage *page)
{
    const Lu *lu = scsi_command_lu(parser->command);
    const guint8 *data = parser->command->data + parser->position;
    guint8 fixed[256] = { 0 }, changeable[256] = { 0 };
    guint length = mode_page_encode(page, lu, 0, fixed);

    g_assert(length <= sizeof(fixed));
    (void)mode_page_encode_changeable(page, lu->changeable_mode, changeable);
    for (guint i = mode_page_header(page); i < length; i++) {
        guint refused = (data[i] ^ fixed[i]) & (guint8)~changeable[i];
        gint bit = g_bit_nth_msf(refused, -1);
        guint at;

        if (refused == 0)
            continue;
        at = mode_page_find_field(page, i, &bit);
        return fail_parameter(parser, parser->position + at, bit);
    }

    if (!mode_bits_are_valid(mode_page_decode(page, data)))
        return fail_parameter(parser, parser->position + CONTROL_QERR, 2);
    return TRUE;
}

static gboolean
parse_page(Parser *parser)
{
    const Lu *lu = scsi_command_lu(parser->command);
    const guint8 *data = parser->command->data + parser->position;
    guint8 mask[256] = { 0 };
    const ModePage *page;
    gboolean has_subpage;
    guint length;

    if (!has_room(parser, 2))
        return fail_length(parser);
    has_subpage = (data[0] & MODE_PAGE_SPF) != 0;
    if (has_subpage && !has_room(parser, 4))
        return fail_length(parser);

    page = mode_page_find(lu, data[0] & 0x3f, has_subpage ? data[1] : 0);
    if (page == NULL || has_subpage != (page->subpage != 0))
        return mode_page_find(lu, data[0] & 0x3f, 0) != NULL && has_subpage
                   ? fail_parameter(parser, parser->position + 1, 7)
                   : fail_parameter(parser, parser->position, 5);

    length = has_subpage ? get_be16(data + 2) : data[1];
    if (length != page->length)
        return fail_parameter(parser, parser->position + (has_subpage ? 2 : 1), 7);

    length += mode_page_header(page);
    if (!has_room(parser, length))
        return fail_length(parser);
    if (!check_page(parser, page))
        return FALSE;

    /* A later page of the same list wins */
    (void)mode_page_encode_changeable(page, lu->changeable_mode, mask);
    parser->wanted.mask |= mode_page_decode(page, mask);
    parser->wanted.values &= (guint8)~mode_page_decode(page, mask);
    parser->wanted.values |= mode_page_decode(page, data);
    parser->position += length;
    return TRUE;
}

/* FALSE when it failed the command */
static gboolean
parse(Parser *parser)
{
    if (!parse_header(parser))
        return FALSE;

    while (parser->position < parser->end) {
        if (!parse_page(parser))
            return FALSE;
    }

    return TRUE;
}

static void
on_flushed(ScsiCommand *command)
{
    if (command->io.result < 0)
        scsi_command_fail_io(command, command->io.result, TRUE, 0);
    else
        spc_finish_list(command);
}

static void
on_changed(ScsiCommand *command)
{
    const LuChange *change = lu_change_of(command);
    const Wanted *wanted = (const Wanted *)(gconstpointer)change->room;

    if (change->result != SENSE_NONE)
        scsi_command_fail(command, change->result);
    else if (wanted->needs_flush)
        scsi_command_io(command, IO_FLUSH, (IoFlags)0, 0, 0, NULL, on_flushed);
    else
        spc_finish_list(command);
}

/* Home: what will be in force */
static guint8
merge(const Lu *lu, const Wanted *wanted)
{
    return (lu->state.mode & (guint8)~wanted->mask) | (wanted->values & wanted->mask);
}

static char *
record(const Lu *lu, const LuChange *change)
{
    return lu_mode_format(merge(lu, (const Wanted *)(gconstpointer)change->room));
}

static gboolean
update(Lu *lu, LuChange *change)
{
    Wanted *wanted = (Wanted *)(gpointer)change->room;
    LuState before = lu->state;

    lu->state.mode = merge(lu, wanted);
    if (wanted->saves)
        lu->state.saved_mode = lu->state.mode;
    if (lu->state.mode != before.mode)
        change->attention = SENSE_MODE_PARAMETERS_CHANGED;

    wanted->needs_flush = (before.mode & (guint8)~lu->state.mode & MODE_BIT(MODE_WCE)) != 0;
    return lu->state.mode != before.mode || lu->state.saved_mode != before.saved_mode;
}

static void
run_change(ScsiCommand *command, const Wanted *wanted)
{
    LuChange *change = lu_change_new(command);

    if (change == NULL)
        return;

    memcpy(change->room, wanted, sizeof(*wanted));
    change->update = update;
    change->record = wanted->saves ? record : NULL;
    lu_change_run(change, on_changed);
}

static gboolean
wants_saving(const ScsiCommand *command)
{
    return (command->cdb[1] & SP) != 0;
}

static void
on_list(ScsiCommand *command)
{
    Parser parser = { .command = command, .end = command->data_length };

    parser.wanted.saves = wants_saving(command);
    command->done_bytes = command->data_length;
    if (parse(&parser))
        run_change(command, &parser.wanted);
}

void
mode_select(ScsiCommand *command)
{
    /* Without a list there is nothing to change, but what is in force can be saved */
    if (command->data_out_length == 0 && wants_saving(command))
        run_change(command, &(Wanted){ .saves = TRUE });
    else
        spc_receive_list(command, command->op->cdb_length == 10 ? 8 : 4, LIST_LENGTH_MAX,
                         mode_select, on_list);
}
