/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS
 *
 * The default self-test reads the first block of the medium. The only
 * diagnostic page is the list of pages, and it need not be asked for first.
 */

#include "scsi/handlers.h"
#include "scsi/operation.h"
#include "scsi/spc.h"
#include "util/bytes.h"

#define PAGE_SUPPORTED 0x00

#define SELF_TEST 0x04 /* the default one */
#define PCV       0x01

static void
on_read(ScsiCommand *command)
{
    if (command->io.result < 0)
        scsi_command_fail(command, SENSE_SELF_TEST_FAILED);
    else
        scsi_command_finish(command, SCSI_GOOD);
}

static void
self_test(ScsiCommand *command)
{
    guint32 size = lu_block_size(scsi_command_lu(command));

    if (scsi_command_take_buffer(command, MAX(size, POOL_BUFFER_MIN), self_test))
        scsi_command_io(command, IO_READ, (IoFlags)0, 0, size, command->data, on_read);
}

/* Asking for the list of pages is all that a page can do */
static void
on_page(ScsiCommand *command)
{
    if (command->data[0] != PAGE_SUPPORTED)
        scsi_command_fail_parameter(command, 0, 7);
    else if (get_be16(command->data + 2) != 0)
        scsi_command_fail_parameter(command, 2, 7);
    else
        spc_finish_list(command);
}

void
spc_send_diagnostic(ScsiCommand *command)
{
    if (!(command->cdb[1] & SELF_TEST))
        spc_receive_list(command, 4, 4, spc_send_diagnostic, on_page);
    else if (command->data_out_length != 0)
        scsi_command_fail_field(command, 3, 7);
    else
        self_test(command);
}

void
spc_receive_diagnostic_results(ScsiCommand *command)
{
    if (command->cdb[1] & PCV && command->cdb[2] != PAGE_SUPPORTED) {
        scsi_command_fail_field(command, 2, 7);
        return;
    }

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, spc_receive_diagnostic_results))
        return;

    put_be16(command->data + 2, 1);
    command->data[4] = PAGE_SUPPORTED;
    scsi_command_reply(command, 5, get_be16(command->cdb + 3));
}
