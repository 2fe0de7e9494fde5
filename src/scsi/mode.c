/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Mode pages
 *
 * A table of pages with an encoder each; page 3Fh is the table itself. No
 * parameter can be changed or saved, so the changeable values are all zero and
 * the saved ones do not exist.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "util/bytes.h"

#define PAGE_ALL    0x3f
#define SUBPAGE_ALL 0xff

#define DEVICE_SPECIFIC_WP     0x80
#define DEVICE_SPECIFIC_DPOFUA 0x10

typedef enum {
    PC_CURRENT,
    PC_CHANGEABLE,
    PC_DEFAULT,
    PC_SAVED,
} PageControl;

typedef struct {
    guint8 code;
    guint8 length; /* after the two bytes of the header */
    void (*encode)(const Lu *lu, guint8 *page);
} ModePage;

/* Nothing is retried, nothing is reassigned by command */
static void
encode_error_recovery(const Lu *lu, guint8 *page)
{
    page[2] = 0x80; /* AWRE */
}

static void
encode_nothing(const Lu *lu, guint8 *page)
{
}

static void
encode_caching(const Lu *lu, guint8 *page)
{
    page[2] = lu->info->write_cache ? 0x04 : 0x00; /* WCE */
}

static void
encode_control(const Lu *lu, guint8 *page)
{
    page[2] = 0x20; /* TST=001b: a task set for each nexus */
    page[3] = 0x10; /* queue algorithm modifier: unrestricted reordering */
}

static void
encode_exceptions(const Lu *lu, guint8 *page)
{
    page[2] = 0x08; /* DEXCPT: there are none to report */
}

/* clang-format off */
static const ModePage pages[] = {
    { 0x01, 0x0a, encode_error_recovery },
    { 0x02, 0x0e, encode_nothing },
    { 0x08, 0x12, encode_caching },
    { 0x0a, 0x0a, encode_control },
    { 0x1c, 0x0a, encode_exceptions },
};
/* clang-format on */

/* Returns the bytes written, 0 when there is no such page */
static guint32
encode_pages(const Lu *lu, guint8 code, PageControl control, guint8 *data)
{
    guint32 n = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (code != PAGE_ALL && code != pages[i].code)
            continue;

        data[n] = pages[i].code;
        data[n + 1] = pages[i].length;
        if (control != PC_CHANGEABLE)
            pages[i].encode(lu, data + n);
        n += 2 + pages[i].length;
    }

    return n;
}

/* Returns the bytes written */
static guint32
encode_block_descriptor(const Lu *lu, gboolean is_long, guint8 *data)
{
    guint64 n_blocks = lu_n_blocks(lu);

    if (is_long) {
        put_be64(data, n_blocks);
        put_be32(data + 12, lu_block_size(lu));
        return 16;
    }

    put_be32(data, (guint32)MIN(n_blocks, G_MAXUINT32));
    put_be24(data + 5, lu_block_size(lu));
    return 8;
}

static guint8
device_specific(const ScsiCommand *command)
{
    gboolean read_only = command->nexus_lun->read_only || scsi_command_lu(command)->info->read_only;

    return DEVICE_SPECIFIC_DPOFUA | (read_only ? DEVICE_SPECIFIC_WP : 0);
}

/* Returns the bytes of the whole parameter data, 0 when the command was failed */
static guint32
encode_parameters(ScsiCommand *command, guint8 *data)
{
    const Lu *lu = scsi_command_lu(command);
    gboolean is_ten = command->op->cdb_length == 10;
    gboolean has_descriptor = (command->cdb[1] & 0x08) == 0; /* DBD */
    gboolean is_long = is_ten && (command->cdb[1] & 0x10);   /* LLBAA */
    guint32 header = is_ten ? 8 : 4;
    guint32 descriptor = 0, n;

    if (has_descriptor)
        descriptor = encode_block_descriptor(lu, is_long, data + header);

    n = encode_pages(lu, command->cdb[2] & 0x3f, (PageControl)(command->cdb[2] >> 6),
                     data + header + descriptor);
    if (n == 0) {
        scsi_command_fail_field(command, 2, 5);
        return 0;
    }

    n += header + descriptor;
    if (is_ten) {
        put_be16(data, (guint16)(n - 2));
        data[3] = device_specific(command);
        data[4] = has_descriptor && is_long ? 0x01 : 0x00; /* LONGLBA */
        put_be16(data + 6, (guint16)descriptor);
    } else {
        data[0] = (guint8)(n - 1);
        data[2] = device_specific(command);
        data[3] = (guint8)descriptor;
    }
    return n;
}

void
mode_sense(ScsiCommand *command)
{
    guint8 page_code = command->cdb[2] & 0x3f;
    guint8 subpage_code = command->cdb[3];
    guint32 length;

    if (command->cdb[2] >> 6 == PC_SAVED) {
        scsi_command_fail(command, SENSE_SAVING_NOT_SUPPORTED);
        return;
    }
    if (subpage_code != 0 && !(page_code == PAGE_ALL && subpage_code == SUBPAGE_ALL)) {
        scsi_command_fail_field(command, 3, 7);
        return;
    }

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mode_sense))
        return;

    length = encode_parameters(command, command->data);
    if (length > 0)
        scsi_command_reply(command, length, operation_get_length(command->op, command->cdb));
}
