/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Commands as an initiator could send them: each record of the input is a task
 * attribute, a LUN, the bytes expected each way and a CDB; the bytes after them
 * are the Data-Out. Several commands are out at once, some are aborted, and
 * meanwhile another target takes away and gives back the unit that copies find
 * there. Whatever they are, each ends once and leaves nothing behind.
 */

#include <string.h>

#include "scsi/nexus.h"
#include "scsi/sense.h"
#include "util/bytes.h"

#define HEAD_SIZE 26
#define N_SLOTS   4

#define EXTENDED_COPY 0x83

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

typedef struct {
    ScsiCommand command;
    const guint8 *out;
    gsize n_out;
    gboolean is_busy;
} Slot;

static void
on_data_out(ScsiCommand *command)
{
    const Slot *slot = list_entry(command, Slot, command);

    g_assert_cmpuint(command->data_offset + command->data_length, <=, command->expected_out);
    for (guint32 i = 0; i < command->data_length; i++)
        command->data[i] =
            slot->n_out > 0 ? slot->out[(command->data_offset + i) % slot->n_out] : 0;
    scsi_command_data_out_ready(command);
}

static void
on_data_in(ScsiCommand *command)
{
    g_assert_cmpuint(command->data_offset + command->data_length, <, command->expected_in);
    scsi_command_data_in_sent(command);
}

static void
on_done(ScsiCommand *command)
{
    Slot *slot = list_entry(command, Slot, command);

    g_assert_true(slot->is_busy);
    g_assert_cmpuint(command->data_offset + command->data_length, <=,
                     MAX(command->expected_in, command->expected_out));
    if (command->status == SCSI_CHECK_CONDITION)
        g_assert_cmpint(command->sense_length, >, 0);
    else if (command->status != SCSI_GOOD || command->cdb[0] != EXTENDED_COPY) /* G_SENSE */
        g_assert_cmpint(command->sense_length, ==, 0);
    slot->is_busy = FALSE;
    scsi_command_end(command);
}

static const ScsiTransport transport = {
    .data_out = on_data_out,
    .data_in = on_data_in,
    .done = on_done,
};

static void
on_released(Lu *lu, gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

/*
 * The other target
 */

#define THERE "u"

typedef struct {
    Lu *lu;
    guint n_changes; /* of four versions each one follows the other */
} There;

static gboolean
reach(gpointer user_data, const char *target_name, LuMatchFn is_wanted, gconstpointer wanted,
      NexusReach *ret_reach)
{
    const There *there = user_data;

    if (there->n_changes % 4 == 1 || !is_wanted(there->lu, wanted))
        return FALSE;

    *ret_reach = (NexusReach){
        .target_name = THERE,
        .relative_target_port = 2,
        .target_port_group = 1,
        .map = lun_map_new(&(LunEntry){ .lun = there->n_changes % 4 == 2 ? 6 : 5,
                                        .lu = there->lu,
                                        .read_only = there->n_changes % 4 == 3 },
                           1),
    };
    return TRUE;
}

static void
change(There *there, Nexus *nexus)
{
    there->n_changes++;
    nexus_review_reach(nexus, THERE);
}

static void
start(Slot *slot, Nexus *nexus, const guint8 *head, const guint8 *rest, gsize n_rest)
{
    ScsiCommand *command = &slot->command;

    memset(command, 0, sizeof(*command));
    slot->out = rest;
    slot->n_out = n_rest;
    slot->is_busy = TRUE;
    command->transport = &transport;
    command->nexus = nexus;
    command->attribute = (ScsiTaskAttribute)(head[0] & 3);
    command->lun[0] = head[1] & 0xc1;
    command->lun[1] = head[1] & 0x03;
    command->expected_in = get_be32(head + 2) & 0x3fffff;
    command->expected_out = get_be32(head + 6) & 0x3fffff;
    memcpy(command->cdb, head + 10, SCSI_CDB_MAX);

    scsi_command_begin(command);
    if ((head[0] & 4) && !scsi_command_reserve(command)) {
        scsi_command_refuse(command, SCSI_TASK_SET_FULL);
        return;
    }
    scsi_command_run(command);
    if ((head[0] & 8) && slot->is_busy)
        scsi_command_abort(command);
}

/* What a store offloads takes as long as the machine likes */
static void
turn_until_idle(Worker *worker, const Nexus *nexus)
{
    for (guint i = 0; nexus_n_commands(nexus) > 0 && i < 100000; i++)
        worker_turn(worker, 10 * USEC_PER_MSEC);
    g_assert_cmpuint(nexus_n_commands(nexus), ==, 0);
}

static void
run_all(Worker *worker, Nexus *nexus, There *there, const guint8 *data, gsize size)
{
    Slot slots[N_SLOTS] = { 0 };
    gsize at = 0;

    for (guint i = 0; size - at >= HEAD_SIZE && i < 64; i++, at += HEAD_SIZE) {
        Slot *slot = &slots[i % N_SLOTS];

        if (slot->is_busy)
            turn_until_idle(worker, nexus);
        start(slot, nexus, data + at, data + at + HEAD_SIZE, size - at - HEAD_SIZE);
        if (data[at] & 16)
            change(there, nexus);
    }

    turn_until_idle(worker, nexus);
}

static void
release(Lu *lu, Worker *worker)
{
    gboolean released = FALSE;
    Mailbox mailbox;

    g_assert_true(mailbox_init(&mailbox, NULL));
    lu_release(lu, &mailbox, on_released, &released);
    while (!released) {
        worker_turn(worker, 0);
        (void)mailbox_drain(&mailbox);
    }
    mailbox_deinit(&mailbox);
    lu_free(lu);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    static const WorkerConfig worker_config = { .pool_size = (gsize)10 << 20,
                                                .pool_reserve = (gsize)2 << 20,
                                                .clock = &clock_system };
    static const BackstoreConfig store_config = {
        .type = "ram", .name = "disk", .size = (guint64)4 << 20, .fd = -1
    };
    static const BackstoreConfig disc_config = {
        .type = "ram", .name = "disc", .size = (guint64)1 << 20, .block_size = 2048, .fd = -1
    };
    static const BackstoreConfig far_config = {
        .type = "ram", .name = "far", .size = (guint64)2 << 20, .fd = -1
    };
    static const LuConfig far_lu_config = { .name = "far", .uuid = { 2 } };
    static const LuConfig lu_config = { .name = "disk", .thin = TRUE };
    static const LuConfig drive_config = { .name = "disc", .uuid = { 1 }, .device = LU_CDROM };
    There there = { 0 };
    const NexusConfig nexus_config = { .initiator_port_name =
                                           "iqn.2026-11.org.a:b,i,0x000000000001",
                                       .target_name = "t",
                                       .relative_target_port = 1,
                                       .target_port_group = 1,
                                       .reach = reach,
                                       .user_data = &there };
    Offload *offload = offload_new(1);
    Worker *worker = worker_new(0, &worker_config, offload, NULL);
    Backstore *store = backstore_open(&store_config, offload, 1, NULL);
    Backstore *disc = backstore_open(&disc_config, offload, 1, NULL);
    Backstore *far = backstore_open(&far_config, offload, 1, NULL);
    Lu *lu = lu_new(&lu_config, store, &worker, 1, 0);
    Lu *drive = lu_new(&drive_config, disc, &worker, 1, 0);
    LunMap *map = lun_map_new((LunEntry[]){ { .lun = 0, .lu = lu },
                                            { .lun = 1, .lu = lu, .read_only = TRUE },
                                            { .lun = 2, .lu = drive } },
                              3);
    Nexus *nexus;

    there.lu = lu_new(&far_lu_config, far, &worker, 1, 0);
    scsi_worker_init(worker, NULL, NULL);
    nexus = nexus_new(worker, &nexus_config, map);
    snapshot_unref(&map->snapshot);
    run_all(worker, nexus, &there, data, size);
    nexus_free(nexus);
    release(there.lu, worker);
    release(drive, worker);
    release(lu, worker);
    backstore_close(far);
    backstore_close(disc);
    backstore_close(store);
    scsi_worker_deinit(worker);
    worker_free(worker);
    offload_free(offload);
    return 0;
}
