/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Two worker threads and an initiator on each that always has commands out.
 *
 * The storm adds resets from everywhere, and commands that the home worker has
 * a part in, and checks that everything ends; it is meant for ThreadSanitizer. In the other test each slot owns one logical
 * block, and blocks of both initiators lie side by side in the same physical
 * ones: if read-modify-write ever mixed two of them, a block would hold an old
 * value in the end.
 */

#include <poll.h>
#include <string.h>

#include "fixture.h"

#define N_WORKERS  2
#define N_COMMANDS 8
#define ROUNDS     300

typedef struct Driver Driver;

typedef struct {
    ScsiCommand command;
    Driver *driver;
    guint index;
    guint8 value; /* of its own block */
} Slot;

/* One initiator; all its fields belong to its worker's thread while that runs */
struct Driver {
    Rig *rig;
    guint worker;
    gboolean owns_blocks;
    Nexus *nexus;
    Slot slots[N_COMMANDS];
    guint n_started;
    guint n_ended;
    guint n_aborted;
    ScsiTmf tmf;
    gboolean is_tmf_out;
    guint n_tmfs;
    gboolean is_told;
    Message start;
    Message finished;
    Mailbox *control;
    guint *n_finished;
    Deferred next;
};

static void
on_finished(Message *message)
{
    ++*list_entry(message, Driver, finished)->n_finished;
}

static gboolean
is_finished(const Driver *d)
{
    return d->n_started == ROUNDS && d->n_ended == ROUNDS && !d->is_tmf_out;
}

static void
check_finished(Driver *d)
{
    if (d->is_told || !is_finished(d))
        return;

    d->is_told = TRUE;
    mailbox_send(d->control, &d->finished, on_finished);
}

static void
on_data_out(ScsiCommand *command)
{
    Slot *slot = list_entry(command, Slot, command);

    memset(command->data, ++slot->value, command->data_length);
    scsi_command_data_out_ready(command);
}

static void
on_data_in(ScsiCommand *command)
{
    scsi_command_data_in_sent(command);
}

static void
on_done(ScsiCommand *command)
{
    Slot *slot = list_entry(command, Slot, command);
    Driver *d = slot->driver;

    g_assert_true(command->aborted || command->status == SCSI_GOOD ||
                  (command->status == SCSI_CHECK_CONDITION && (command->sense[2] & 0x0f) == 6));
    d->n_aborted += command->aborted != FALSE;
    d->n_ended++;
    scsi_command_end(command);
    deferred_run(&d->next, &d->rig->workers[d->worker]->loop);
}

static const ScsiTransport transport = {
    .data_out = on_data_out,
    .data_in = on_data_in,
    .done = on_done,
};

static void
on_tmf_done(ScsiTmf *tmf)
{
    Driver *d = list_entry(tmf, Driver, tmf);

    g_assert_cmpint(tmf->response, ==, TMF_COMPLETE);
    d->is_tmf_out = FALSE;
    d->n_tmfs++;
    check_finished(d);
}

static void
start_tmf(Driver *d)
{
    memset(&d->tmf, 0, sizeof(d->tmf));
    d->tmf.function = d->n_tmfs % 2 ? TMF_ABORT_TASK_SET : TMF_LOGICAL_UNIT_RESET;
    d->tmf.nexus = d->nexus;
    d->tmf.done = on_tmf_done;
    d->is_tmf_out = TRUE;
    scsi_tmf_start(&d->tmf);
}

/* What goes by way of the home worker: counters of all, their reset, power conditions, a buffer */
static void
make_errand(Driver *d, ScsiCommand *command)
{
    static const struct {
        guint8 cdb[10];
        guint32 in, out;
    } errands[] = {
        { { 0x4d, 0, 0x59, 0, 0, 0, 0, 1, 0, 0 }, 256, 0 },
        { { 0x1b, 0, 0, 0, 0x21, 0 }, 0, 0 },
        { { 0x4c, 0x02, 0xc0, 0, 0, 0, 0, 0, 0, 0 }, 0, 0 },
        { { 0x3b, 0x02, 0, 0, 0, 0, 0, 0, 8, 0 }, 0, 8 },
        { { 0x1b, 0, 0, 0, 0x11, 0 }, 0, 0 },
    };
    guint i = d->n_started / 5 % G_N_ELEMENTS(errands);

    memcpy(command->cdb, errands[i].cdb, sizeof(errands[i].cdb));
    command->expected_in = errands[i].in;
    command->expected_out = errands[i].out;
}

/* Writes of 1 to 8 logical blocks around the same few physical ones, and reads */
static void
start_command(Driver *d, Slot *slot)
{
    ScsiCommand *command = &slot->command;
    guint lba = (d->n_started * 3) % 24, n = 1 + d->n_started % 8;
    gboolean write = d->n_started % 4 != 0;

    if (d->owns_blocks) {
        lba = slot->index * N_WORKERS + d->worker;
        n = 1;
        write = TRUE;
    }

    d->n_started++;
    memset(command, 0, sizeof(*command));
    command->transport = &transport;
    command->nexus = d->nexus;
    command->cdb[0] = write ? 0x2a : 0x28;
    command->cdb[5] = (guint8)lba;
    command->cdb[8] = (guint8)n;
    command->expected_out = write ? n * 512 : 0;
    command->expected_in = write ? 0 : n * 512;
    if (!d->owns_blocks && d->n_started % 5 == 0) {
        memset(command->cdb, 0, sizeof(command->cdb));
        make_errand(d, command);
    }
    command->attribute = d->n_started % 13 == 0 ? SCSI_ORDERED : SCSI_SIMPLE;
    scsi_command_begin(command);
    scsi_command_run(command);
}

static void
on_next(Deferred *deferred)
{
    Driver *d = list_entry(deferred, Driver, next);

    for (guint i = 0; i < N_COMMANDS && d->n_started < ROUNDS; i++) {
        if (d->slots[i].command.state == SCSI_STATE_NEW)
            start_command(d, &d->slots[i]);
    }
    if (!d->owns_blocks && d->n_started % 20 == 7 && !d->is_tmf_out && d->n_started < ROUNDS)
        start_tmf(d);
    check_finished(d);
}

static void
on_start(Message *message)
{
    on_next(&list_entry(message, Driver, start)->next);
}

static void
wait_for(Mailbox *mailbox, const guint *n, guint wanted)
{
    struct pollfd fd = { .fd = mailbox->event_fd, .events = POLLIN };

    while (*n < wanted) {
        g_assert_cmpint(poll(&fd, 1, 600000), >, 0);
        (void)mailbox_drain(mailbox);
    }
}

static void
on_admin_reset(Lu *lu, gpointer user_data)
{
    ++*(guint *)user_data;
}

static void
check_owned_blocks(Rig *rig, const Driver *d)
{
    for (guint i = 0; i < N_COMMANDS; i++) {
        const guint8 *block = slow_memory(rig->store) + (gsize)512 * (i * N_WORKERS + d->worker);

        for (guint j = 0; j < 512; j++)
            g_assert_cmphex(block[j], ==, d->slots[i].value);
    }
}

static void
run_storm(const RigConfig *config, gboolean owns_blocks)
{
    Rig *rig = rig_new(config);
    Driver drivers[N_WORKERS] = { 0 };
    guint n_finished = 0, n_resets = 0;
    Mailbox control;

    g_assert_true(mailbox_init(&control, NULL));
    for (guint i = 0; i < N_WORKERS; i++) {
        Driver *d = &drivers[i];

        d->rig = rig;
        d->worker = i;
        d->owns_blocks = owns_blocks;
        d->nexus = rig_new_nexus(rig, i, i + 10);
        d->control = &control;
        d->n_finished = &n_finished;
        deferred_init(&d->next, on_next);
        for (guint j = 0; j < N_COMMANDS; j++) {
            d->slots[j].driver = d;
            d->slots[j].index = j;
        }
    }

    for (guint i = 0; i < N_WORKERS; i++)
        worker_start(rig->workers[i]);
    for (guint i = 0; i < N_WORKERS; i++)
        worker_send(rig->workers[i], &drivers[i].start, on_start);
    for (guint i = 0; i < 5 && !owns_blocks; i++) {
        lu_reset(rig->lu, &control, on_admin_reset, &n_resets);
        wait_for(&control, &n_resets, i + 1);
    }
    wait_for(&control, &n_finished, N_WORKERS);
    for (guint i = 0; i < N_WORKERS; i++)
        worker_stop(rig->workers[i]);

    for (guint i = 0; i < N_WORKERS; i++) {
        g_assert_cmpuint(drivers[i].n_ended, ==, ROUNDS);
        if (owns_blocks)
            check_owned_blocks(rig, &drivers[i]);
        deferred_cancel(&drivers[i].next);
        nexus_free(drivers[i].nexus);
    }
    mailbox_deinit(&control);
    rig_free(rig);
}

static void
test_partial_writes_and_resets(void)
{
    run_storm(&(RigConfig){ .n_workers = N_WORKERS, .slow = { .offset_align = 4096 } }, FALSE);
}

static void
test_neighbours_in_one_physical_block(void)
{
    run_storm(&(RigConfig){ .n_workers = N_WORKERS, .slow = { .offset_align = 4096 } }, TRUE);
}

static void
test_resets(void)
{
    run_storm(&(RigConfig){ .n_workers = N_WORKERS, .type = "null" }, FALSE);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/threads/partial-writes-and-resets", test_partial_writes_and_resets);
    g_test_add_func("/scsi/threads/neighbours-in-one-physical-block",
                    test_neighbours_in_one_physical_block);
    g_test_add_func("/scsi/threads/resets", test_resets);
    return g_test_run();
}
