/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * SANITIZE and FORMAT UNIT
 *
 * Both judge their parameters here and leave the work to scsi/lu-erase.c.
 * With IMMED the answer comes when the erasing has begun, else at its end.
 *
 * What the methods of SANITIZE do on a store: an overwrite writes the pattern
 * to every block, however often it was asked to; a block erase deallocates
 * every block where the store can and leaves zeros; a cryptographic erase
 * leaves what a disk that encrypts shows under a new key, bytes without
 * meaning. As there is no key to throw away, it overwrites every block with
 * them, which takes as long as an overwrite. None can speak for copies that a
 * file system or a flash disk below the store may keep.
 */

#include <errno.h>
#include <string.h>

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/sbc.h"
#include "util/bytes.h"

#define IMMED_BIT 0x80
#define AUSE_BIT  0x20

#define OVERWRITE_HEADER 4

#define FORMAT_SHORT_HEADER 4
#define FORMAT_LONG_HEADER  8
#define FMTDATA_BIT         0x10
#define LONGLIST_BIT        0x20
#define FOV_BIT             0x80
#define FORMAT_OPTIONS      0x7c /* DPRY, DCRT, STPF, IP and the obsolete DSP: mean something with FOV */
#define FORMAT_IP_BIT       0x08
#define FORMAT_IMMED_BIT    0x02

static void
on_started(ScsiCommand *command)
{
    gboolean is_immediate = command->step != 0;

    if (command->io.result == -EIO)
        scsi_command_fail(command, SENSE_INTERNAL_TARGET_FAILURE);
    else if (command->io.result < 0)
        scsi_command_finish(command, SCSI_BUSY);
    else if (is_immediate)
        scsi_command_finish(command, SCSI_GOOD);
    else
        lu_erase_await(command);
}

/* The request lies in the second buffer, until the home worker has answered */
static void
start(ScsiCommand *command, const EraseRequest *request, gboolean immediate)
{
    if (!scsi_command_take_scratch(command, sizeof(*request))) {
        scsi_command_finish(command, SCSI_BUSY);
        return;
    }

    command->transfer_length = command->data_out_length;
    command->step = immediate;
    memcpy(command->scratch, request, sizeof(*request));
    lu_erase_start(command, (EraseRequest *)(gpointer)command->scratch, on_started);
}

static void
sanitize(ScsiCommand *command, EraseRequest *request)
{
    request->state = ERASE_SANITIZING;
    request->may_exit = (command->cdb[1] & AUSE_BIT) != 0;
    start(command, request, (command->cdb[1] & IMMED_BIT) != 0);
}

/*
 * SANITIZE, overwrite
 */

static void
on_overwrite_list(ScsiCommand *command)
{
    const guint8 *list = command->data;
    EraseRequest request = {
        .method = ERASE_PATTERN,
        .invert = (list[0] & 0x80) != 0,
        .n_passes = list[0] & 0x1f,
        .pattern = list + OVERWRITE_HEADER,
        .pattern_length = get_be16(list + 2),
    };

    command->done_bytes = command->data_length;

    if (request.n_passes == 0)
        scsi_command_fail_parameter(command, 0, 4);
    else if ((list[0] & 0x60) != 0)
        scsi_command_fail_parameter(command, 0, 6);
    else if (list[1] != 0)
        scsi_command_fail_parameter(command, 1, 7);
    else if (request.pattern_length == 0 ||
             request.pattern_length > lu_block_size(scsi_command_lu(command)))
        scsi_command_fail_parameter(command, 2, 7);
    else if (request.pattern_length > command->data_length - OVERWRITE_HEADER)
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
    else
        sanitize(command, &request);
}

void
sbc_sanitize_overwrite(ScsiCommand *command)
{
    guint64 length = command->data_out_length;

    if (length <= OVERWRITE_HEADER ||
        length > OVERWRITE_HEADER + lu_block_size(scsi_command_lu(command))) {
        scsi_command_fail_field(command, command->op->length.offset, 7);
        return;
    }
    if (command->expected_out < length) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return;
    }

    if (scsi_command_take_buffer(command, length, sbc_sanitize_overwrite))
        scsi_command_receive(command, (guint32)length, on_overwrite_list);
}

/*
 * SANITIZE without parameters
 */

/* FALSE when it failed the command */
static gboolean
check_no_parameters(ScsiCommand *command)
{
    if (get_be16(command->cdb + 7) == 0)
        return TRUE;

    scsi_command_fail_field(command, 7, 7);
    return FALSE;
}

void
sbc_sanitize_block_erase(ScsiCommand *command)
{
    EraseRequest request = { .method = ERASE_UNMAP, .n_passes = 1 };

    if (check_no_parameters(command))
        sanitize(command, &request);
}

void
sbc_sanitize_cryptographic_erase(ScsiCommand *command)
{
    EraseRequest request = { .method = ERASE_NOISE, .n_passes = 1 };

    if (check_no_parameters(command))
        sanitize(command, &request);
}

static void
on_failure_left(ScsiCommand *command)
{
    if (command->io.result == -EPERM)
        scsi_command_fail_field(command, 1, 4);
    else if (command->io.result == -EIO)
        scsi_command_fail(command, SENSE_INTERNAL_TARGET_FAILURE);
    else if (command->io.result < 0)
        scsi_command_finish(command, SCSI_BUSY);
    else
        scsi_command_finish(command, SCSI_GOOD);
}

void
sbc_sanitize_exit_failure_mode(ScsiCommand *command)
{
    if (check_no_parameters(command))
        lu_erase_exit_failure(command, on_failure_left);
}

/*
 * FORMAT UNIT
 */

typedef struct {
    EraseRequest request;
    gboolean immediate;
} Format;

static void
format(ScsiCommand *command, Format *format)
{
    format->request.state = ERASE_FORMATTING;
    format->request.n_passes = 1;
    if (format->request.method != ERASE_PATTERN)
        format->request.method = scsi_command_lu(command)->can_unmap ? ERASE_UNMAP : ERASE_ZERO;
    start(command, &format->request, format->immediate);
}

/* The initialization pattern descriptor at @at; FALSE when it failed the command */
static gboolean
parse_pattern(ScsiCommand *command, guint at, EraseRequest *request)
{
    const guint8 *descriptor = command->data + at;
    guint length;

    if (command->data_length < at + 4) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return FALSE;
    }

    length = get_be16(descriptor + 2);
    if (descriptor[0] != 0) { /* SI, and the obsolete IP MODIFIER */
        scsi_command_fail_parameter(command, at, g_bit_nth_msf(descriptor[0], -1));
        return FALSE;
    }
    if (descriptor[1] > 1) {
        scsi_command_fail_parameter(command, at + 1, 7);
        return FALSE;
    }
    if (descriptor[1] == 0 ? length != 0
                           : length == 0 || length > lu_block_size(scsi_command_lu(command))) {
        scsi_command_fail_parameter(command, at + 2, 7);
        return FALSE;
    }
    if (length > command->data_length - at - 4) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return FALSE;
    }

    if (descriptor[1] == 1) {
        request->method = ERASE_PATTERN;
        request->pattern = descriptor + 4;
        request->pattern_length = length;
    }
    return TRUE;
}

/* The header: what asks for protection information or brings defects is refused */
static gboolean
check_header(ScsiCommand *command, guint header)
{
    const guint8 *list = command->data;
    gboolean is_long = header == FORMAT_LONG_HEADER;
    guint32 defects = is_long ? get_be32(list + 4) : get_be16(list + 2);
    guint8 unwanted;

    if (list[0] != 0) { /* PROTECTION FIELD USAGE */
        scsi_command_fail_parameter(command, 0, g_bit_nth_msf(list[0], -1));
        return FALSE;
    }

    unwanted = (guint8)(list[1] & (list[1] & FOV_BIT ? 0x01 : FORMAT_OPTIONS | 0x01));
    if (unwanted != 0) {
        scsi_command_fail_parameter(command, 1, g_bit_nth_msf(unwanted, -1));
        return FALSE;
    }
    if (is_long && (list[3] & 0x0f) != 0) { /* PROTECTION INTERVAL EXPONENT */
        scsi_command_fail_parameter(command, 3, 3);
        return FALSE;
    }
    if (defects != 0) {
        scsi_command_fail_parameter(command, is_long ? 4 : 2, 7);
        return FALSE;
    }

    return TRUE;
}

static void
on_format_list(ScsiCommand *command)
{
    guint header = command->cdb[1] & LONGLIST_BIT ? FORMAT_LONG_HEADER : FORMAT_SHORT_HEADER;
    Format f = { .immediate = (command->data[1] & FORMAT_IMMED_BIT) != 0 };

    command->done_bytes = command->data_length;

    if (command->data_length < header) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return;
    }

    if (!check_header(command, header))
        return;
    if ((command->data[1] & FORMAT_IP_BIT) && !parse_pattern(command, header, &f.request))
        return;

    format(command, &f);
}

void
sbc_format_unit(ScsiCommand *command)
{
    guint64 length = command->data_out_length;
    Format f = { 0 };

    if (!(command->cdb[1] & FMTDATA_BIT)) {
        format(command, &f);
        return;
    }

    if (length < FORMAT_SHORT_HEADER) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return;
    }

    if (scsi_command_take_buffer(command, length, sbc_format_unit))
        scsi_command_receive(command, (guint32)length, on_format_list);
}
