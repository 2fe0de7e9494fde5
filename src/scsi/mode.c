/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Mode pages
 *
 * A table of pages with an encoder each; page 3Fh and subpage FFh are the table
 * itself. A second table says where in the pages the bits are that MODE SELECT
 * can change (see mode-select.c); their current values are in the LuState of
 * the shard.
 */

#include "scsi/mode.h"

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/mmc.h"
#include "scsi/operation.h"
#include "util/bytes.h"

#define DEVICE_SPECIFIC_WP     0x80
#define DEVICE_SPECIFIC_DPOFUA 0x10

typedef enum {
    PC_CURRENT,
    PC_CHANGEABLE,
    PC_DEFAULT,
    PC_SAVED,
} PageControl;

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
encode_control(const Lu *lu, guint8 *page)
{
    page[2] = 0x20; /* TST=001b: a task set for each nexus; without ACA, TMF_ONLY means nothing */
    page[3] = 0x10; /* queue algorithm modifier: unrestricted reordering */
}

static void
encode_control_extension(const Lu *lu, guint8 *page)
{
    page[4] =
        0x03; /* SCSIP: SET TIMESTAMP takes precedence; IALUAE: states change implicitly too */
}

static void
encode_exceptions(const Lu *lu, guint8 *page)
{
    page[2] = 0x08; /* DEXCPT: there are none to report */
}

/* clang-format off */
static const ModePage pages[] = {
    { 0x01, 0x00, 0x0a, FALSE, encode_error_recovery, PAGE_OF_DISKS },
    { 0x01, 0x00, 0x0a, FALSE, encode_nothing, PAGE_OF_DRIVES },
    { 0x02, 0x00, 0x0e, FALSE, encode_nothing, PAGE_OF_DISKS }, /* disconnect-reconnect */
    { 0x08, 0x00, 0x12, FALSE, encode_nothing, PAGE_OF_DISKS }, /* caching */
    { 0x0a, 0x00, 0x0a, FALSE, encode_control, PAGE_OF_BOTH },
    { 0x0a, 0x01, 0x1c, FALSE, encode_control_extension, PAGE_OF_DISKS },
    { 0x1a, 0x00, 0x0a, FALSE, encode_nothing, PAGE_OF_DRIVES },
    { 0x1a, 0x00, 0x26, FALSE, encode_nothing, PAGE_OF_DISKS }, /* power condition: no timer runs */
    { 0x1c, 0x00, 0x0a, FALSE, encode_exceptions, PAGE_OF_BOTH },
    { 0x1c, 0x02, 0x0c, TRUE,  encode_nothing, PAGE_OF_DISKS }, /* logical block provisioning: no thresholds */
    { 0x2a, 0x00, 0x1e, FALSE, mmc_encode_capabilities, PAGE_OF_DRIVES },
};

/* Fields that have more than one bit, as SPC and SBC draw the pages; nearly all else is flags */
static const struct {
    guint8 code, subpage, byte, n_bytes, mask; /* of the first byte */
} fields[] = {
    { 0x01, 0x00,  3, 1, 0xff }, { 0x01, 0x00,  8, 1, 0xff }, { 0x01, 0x00, 10, 2, 0xff },
    { 0x02, 0x00,  2, 1, 0xff }, { 0x02, 0x00,  3, 1, 0xff }, { 0x02, 0x00,  4, 2, 0xff },
    { 0x02, 0x00,  6, 2, 0xff }, { 0x02, 0x00,  8, 2, 0xff }, { 0x02, 0x00, 10, 2, 0xff },
    { 0x02, 0x00, 12, 1, 0x70 }, { 0x02, 0x00, 12, 1, 0x07 }, { 0x02, 0x00, 14, 2, 0xff },
    { 0x08, 0x00,  3, 1, 0xf0 }, { 0x08, 0x00,  3, 1, 0x0f }, { 0x08, 0x00,  4, 2, 0xff },
    { 0x08, 0x00,  6, 2, 0xff }, { 0x08, 0x00,  8, 2, 0xff }, { 0x08, 0x00, 10, 2, 0xff },
    { 0x08, 0x00, 12, 1, 0x06 }, { 0x08, 0x00, 13, 1, 0xff }, { 0x08, 0x00, 14, 2, 0xff },
    { 0x0a, 0x00,  2, 1, 0xe0 }, { 0x0a, 0x00,  3, 1, 0xf0 }, { 0x0a, 0x00,  3, 1, 0x06 },
    { 0x0a, 0x00,  4, 1, 0x30 }, { 0x0a, 0x00,  5, 1, 0x07 }, { 0x0a, 0x00,  8, 2, 0xff },
    { 0x0a, 0x00, 10, 2, 0xff }, { 0x0a, 0x01,  5, 1, 0x0f }, { 0x0a, 0x01,  6, 1, 0xff },
    { 0x1a, 0x00,  2, 1, 0xc0 }, { 0x1a, 0x00,  4, 4, 0xff }, { 0x1a, 0x00,  8, 4, 0xff },
    { 0x1a, 0x00, 12, 4, 0xff }, { 0x1a, 0x00, 16, 4, 0xff }, { 0x1a, 0x00, 20, 4, 0xff },
    { 0x1c, 0x00,  3, 1, 0x0f }, { 0x1c, 0x00,  4, 4, 0xff }, { 0x1c, 0x00,  8, 4, 0xff },
};

/* Where the changeable bits are */
static const struct {
    ModeParameter parameter;
    guint8 code, byte, mask;
} bits[] = {
    { MODE_D_SENSE,    0x0a, 2, 0x04 },
    { MODE_SWP,        0x0a, 4, 0x08 },
    { MODE_WCE,        0x08, 2, 0x04 },
    { MODE_TAS,        0x0a, 5, 0x40 },
    { MODE_QERR_ABORT, 0x0a, 3, 0x02 },
    { MODE_QERR_OWN,   0x0a, 3, 0x04 },
};
/* clang-format on */

G_STATIC_ASSERT(G_N_ELEMENTS(bits) == MODE_N_PARAMETERS);

static gboolean
has_page(const Lu *lu, const ModePage *page)
{
    if (page->owner != PAGE_OF_BOTH && (page->owner == PAGE_OF_DRIVES) != (lu->device == LU_CDROM))
        return FALSE;
    return !page->thin_only || lu->can_unmap;
}

const ModePage *
mode_page_find(const Lu *lu, guint8 code, guint8 subpage)
{
    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (pages[i].code == code && pages[i].subpage == subpage && has_page(lu, &pages[i]))
            return &pages[i];
    }

    return NULL;
}

guint
mode_page_encode_changeable(const ModePage *page, guint8 mode, guint8 *data)
{
    guint header = mode_page_header(page);

    data[0] = page->code;
    if (page->subpage != 0) {
        data[0] |= MODE_PAGE_SPF;
        data[1] = page->subpage;
        put_be16(data + 2, page->length);
    } else {
        data[1] = (guint8)page->length;
    }

    for (gsize i = 0; i < G_N_ELEMENTS(bits); i++) {
        if (page->code == bits[i].code && page->subpage == 0 && mode & MODE_BIT(bits[i].parameter))
            data[bits[i].byte] |= bits[i].mask;
    }

    return header + page->length;
}

guint
mode_page_encode(const ModePage *page, const Lu *lu, guint8 mode, guint8 *data)
{
    page->encode(lu, data);
    return mode_page_encode_changeable(page, mode, data);
}

guint8
mode_page_decode(const ModePage *page, const guint8 *data)
{
    guint8 mode = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(bits); i++) {
        if (page->code == bits[i].code && page->subpage == 0 && data[bits[i].byte] & bits[i].mask)
            mode |= MODE_BIT(bits[i].parameter);
    }

    return mode;
}

guint
mode_page_find_field(const ModePage *page, guint byte, gint *ret_bit)
{
    for (gsize i = 0; i < G_N_ELEMENTS(fields); i++) {
        guint first = fields[i].byte;

        if (page->code != fields[i].code || page->subpage != fields[i].subpage || byte < first ||
            byte >= first + fields[i].n_bytes ||
            (byte == first && !(fields[i].mask & 1U << *ret_bit)))
            continue;
        *ret_bit = g_bit_nth_msf(fields[i].mask, -1);
        return first;
    }

    return byte;
}

/* What can be changed can be saved */
static gboolean
is_savable(const ModePage *page, const Lu *lu)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bits); i++) {
        if (page->code == bits[i].code && page->subpage == 0 &&
            lu->changeable_mode & MODE_BIT(bits[i].parameter))
            return TRUE;
    }

    return FALSE;
}

/*
 * MODE SENSE
 */

static guint
encode_page(const ModePage *page, const ScsiCommand *command, PageControl control, guint8 *data)
{
    const LuShard *shard = command->nexus_lun->shard;
    const Lu *lu = shard->lu;
    guint length = 0;

    switch (control) {
    case PC_CHANGEABLE:
        length = mode_page_encode_changeable(page, lu->changeable_mode, data);
        break;
    case PC_DEFAULT:
        length = mode_page_encode(page, lu, lu->default_mode, data);
        break;
    case PC_SAVED:
        length = mode_page_encode(page, lu, shard->state.saved_mode, data);
        break;
    case PC_CURRENT:
        length = mode_page_encode(page, lu, shard->state.mode, data);
        break;
    }

    if (is_savable(page, lu))
        data[0] |= MODE_PAGE_PS;
    return length;
}

/* Returns the bytes written, 0 when there is no such page */
static guint32
encode_pages(const ScsiCommand *command, guint8 *data)
{
    guint8 code = command->cdb[2] & 0x3f, subpage = command->cdb[3];
    const Lu *lu = scsi_command_lu(command);
    guint32 n = 0;

    /* All pages: those without a subpage code, or all of them; the rest is reserved */
    if (code == MODE_PAGE_ALL && subpage != 0 && subpage != MODE_SUBPAGE_ALL)
        return 0;

    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (!has_page(lu, &pages[i]))
            continue;
        if ((code == MODE_PAGE_ALL || code == pages[i].code) &&
            (subpage == MODE_SUBPAGE_ALL || subpage == pages[i].subpage))
            n += encode_page(&pages[i], command, (PageControl)(command->cdb[2] >> 6), data + n);
    }

    return n;
}

/* Returns the bytes written. Without a medium there are no blocks. */
static guint32
encode_block_descriptor(const ScsiCommand *command, gboolean is_long, guint8 *data)
{
    const LuShard *shard = command->nexus_lun->shard;
    guint64 n_blocks = shard->state.is_ejected ? 0 : lu_shard_n_blocks(shard);

    if (is_long) {
        put_be64(data, n_blocks);
        put_be32(data + 12, lu_block_size(shard->lu));
        return 16;
    }

    put_be32(data, (guint32)MIN(n_blocks, G_MAXUINT32));
    put_be24(data + 5, lu_block_size(shard->lu));
    return 8;
}

static guint8
device_specific(const ScsiCommand *command)
{
    if (scsi_command_lu(command)->device == LU_CDROM)
        return 0;
    return DEVICE_SPECIFIC_DPOFUA |
           (nexus_lun_is_protected(command->nexus_lun) ? DEVICE_SPECIFIC_WP : 0);
}

/* Returns the bytes of the whole parameter data, 0 when there is no such page */
static guint32
encode_parameters(const ScsiCommand *command, guint8 *data)
{
    gboolean is_ten = command->op->cdb_length == 10;
    gboolean has_descriptor = !(command->cdb[1] & 0x08) && /* DBD */
                              scsi_command_lu(command)->device == LU_DISK;
    gboolean is_long = is_ten && (command->cdb[1] & 0x10); /* LLBAA */
    guint32 header = is_ten ? 8 : 4;
    guint32 descriptor = 0, n;

    if (has_descriptor)
        descriptor = encode_block_descriptor(command, is_long, data + header);

    n = encode_pages(command, data + header + descriptor);
    if (n == 0)
        return 0;

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
    guint8 code = command->cdb[2] & 0x3f, subpage = command->cdb[3];
    guint32 length;

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, mode_sense))
        return;

    length = encode_parameters(command, command->data);
    if (length > 0)
        scsi_command_reply(command, length, operation_get_length(command->op, command->cdb));
    else if (subpage != 0 &&
             (code == MODE_PAGE_ALL || mode_page_find(scsi_command_lu(command), code, 0) != NULL))
        scsi_command_fail_field(command, 3, 7);
    else
        scsi_command_fail_field(command, 2, 5);
}
