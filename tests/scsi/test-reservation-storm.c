/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Initiators on two worker threads that register, reserve, preempt and abort
 * each other and reset the unit, all at once and by chance, while they read and
 * write. Every command and every reset has to end, and every worker has to have
 * the state of the home worker in the end. Meant for ThreadSanitizer too.
 */

#include <poll.h>
#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

#define N_WORKERS    2
#define N_INITIATORS 6
#define N_COMMANDS   4
#define ROUNDS       400
#define HOST_0       10 /* see rig_new_nexus() */
#define LIST_MAX     64

typedef struct Driver Driver;

typedef struct {
    ScsiCommand command;
    Driver *driver;
    guint8 list[LIST_MAX];
    guint8 n_list;
} Slot;

struct Driver {
    Rig *rig;
    Worker *worker;
    Nexus *nexus;
    GRand *rand;
    guint64 key;
    Slot slots[N_COMMANDS];
    guint n_started;
    guint n_ended;
    guint n_good_changes;
    guint n_conflicts;
    ScsiTmf tmf;
    gboolean is_tmf_out;
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

static void
check_finished(Driver *d)
{
    if (d->is_told || d->n_ended < ROUNDS || d->is_tmf_out)
        return;

    d->is_told = TRUE;
    mailbox_send(d->control, &d->finished, on_finished);
}

static void
on_data_out(ScsiCommand *command)
{
    const Slot *slot = list_entry(command, Slot, command);

    if (command->cdb[0] == 0x5f)
        memcpy(command->data, slot->list, slot->n_list);
    else
        memset(command->data, 0x5a, command->data_length);
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
    Driver *d = list_entry(command, Slot, command)->driver;

    if (!command->aborted) {
        d->n_conflicts += command->status == SCSI_RESERVATION_CONFLICT;
        d->n_good_changes += command->status == SCSI_GOOD && command->cdb[0] == 0x5f;
    }
    d->n_ended++;
    scsi_command_end(command);
    deferred_run(&d->next, &d->worker->loop);
}

static const ScsiTransport transport = {
    .data_out = on_data_out,
    .data_in = on_data_in,
    .done = on_done,
};

/* The TransportID of one of them by its mere name; returns its length */
static guint8
put_name(Driver *d, guint8 *id)
{
    g_autofree char *name = g_strdup_printf("iqn.2026-11.org.example:host%d",
                                            HOST_0 + g_rand_int_range(d->rand, 0, N_INITIATORS));

    id[0] = 0x05;
    put_be16(id + 2, 32);
    memcpy(id + 4, name, strlen(name));
    return 4 + 32;
}

/* REGISTER with SPEC_I_PT, and REGISTER AND MOVE */
static void
add_name(Driver *d, Slot *slot)
{
    guint8 *cdb = slot->command.cdb;

    if (cdb[1] == 0 && g_rand_boolean(d->rand)) {
        slot->list[20] |= 0x08;
        slot->list[27] = put_name(d, slot->list + 28);
        slot->n_list = (guint8)(28 + slot->list[27]);
    } else if (cdb[1] == 7) {
        slot->list[19] = 1;
        slot->list[23] = put_name(d, slot->list + 24);
        slot->n_list = (guint8)(24 + slot->list[23]);
    }
}

static void
make_reserve_out(Driver *d, Slot *slot)
{
    static const guint8 actions[] = { 0, 0, 6, 6, 6, 1, 1, 2, 3, 4, 4, 5, 5, 7, 7 };
    static const guint8 types[] = { 1, 3, 5, 6, 7, 8 };
    guint8 *cdb = slot->command.cdb;
    guint64 other = (guint64)g_rand_int_range(d->rand, 0, N_INITIATORS + 1);

    cdb[0] = 0x5f;
    cdb[1] = actions[g_rand_int_range(d->rand, 0, G_N_ELEMENTS(actions))];
    cdb[2] = types[g_rand_int_range(d->rand, 0, G_N_ELEMENTS(types))];
    memset(slot->list, 0, sizeof(slot->list));
    slot->n_list = 24;
    put_be64(slot->list, cdb[1] == 0 ? 0 : d->key);
    put_be64(slot->list + 8, cdb[1] == 0 || cdb[1] == 6 ? d->key : other);
    slot->list[20] = cdb[1] == 6 && g_rand_boolean(d->rand) ? 0x01 : 0;
    add_name(d, slot);
    cdb[8] = slot->n_list;
    slot->command.expected_out = slot->n_list;
}

static void
make_command(Driver *d, Slot *slot)
{
    static const guint8 others[][10] = {
        { 0x16 },
        { 0x17 },
        { 0x17 },
        { 0x5e, 0, 0, 0, 0, 0, 0, 2, 0, 0 },
        { 0x5e, 3, 0, 0, 0, 0, 0, 2, 0, 0 },
        { 0x1a, 0, 0x3f, 0, 255, 0 },
        { 0x00 },
    };
    guint choice = g_rand_int_range(d->rand, 0, 12);
    guint8 *cdb = slot->command.cdb;

    if (choice < 3) {
        make_reserve_out(d, slot);
        return;
    }
    if (choice < 6) {
        memcpy(cdb, others[g_rand_int_range(d->rand, 0, G_N_ELEMENTS(others))], 10);
        slot->command.expected_in = 512;
        return;
    }

    cdb[0] = choice < 9 ? 0x2a : 0x28;
    cdb[5] = (guint8)g_rand_int_range(d->rand, 0, 24);
    cdb[8] = (guint8)g_rand_int_range(d->rand, 1, 8);
    if (cdb[0] == 0x2a)
        slot->command.expected_out = 512U * cdb[8];
    else
        slot->command.expected_in = 512U * cdb[8];
}

static void
start_command(Driver *d, Slot *slot)
{
    d->n_started++;
    memset(&slot->command, 0, sizeof(slot->command));
    slot->command.transport = &transport;
    slot->command.nexus = d->nexus;
    make_command(d, slot);
    scsi_command_begin(&slot->command);
    scsi_command_run(&slot->command);
}

static void
on_tmf_done(ScsiTmf *tmf)
{
    Driver *d = list_entry(tmf, Driver, tmf);

    d->is_tmf_out = FALSE;
    check_finished(d);
}

static void
start_tmf(Driver *d)
{
    memset(&d->tmf, 0, sizeof(d->tmf));
    d->tmf.function = g_rand_boolean(d->rand) ? TMF_ABORT_TASK_SET : TMF_LOGICAL_UNIT_RESET;
    d->tmf.nexus = d->nexus;
    d->tmf.done = on_tmf_done;
    d->is_tmf_out = TRUE;
    scsi_tmf_start(&d->tmf);
}

static void
on_next(Deferred *deferred)
{
    Driver *d = list_entry(deferred, Driver, next);

    for (guint i = 0; i < N_COMMANDS && d->n_started < ROUNDS; i++) {
        if (d->slots[i].command.state == SCSI_STATE_NEW)
            start_command(d, &d->slots[i]);
    }
    if (!d->is_tmf_out && d->n_started < ROUNDS && g_rand_int_range(d->rand, 0, 40) == 0)
        start_tmf(d);
    check_finished(d);
}

static void
on_start(Message *message)
{
    on_next(&list_entry(message, Driver, start)->next);
}

/* The control thread: every seventh time it cannot store */
static void
on_persist(LuPersist *persist, gpointer user_data)
{
    guint *n = user_data;

    lu_persisted(persist, ++*n % 7 != 0);
}

static void
driver_init(Driver *d, Rig *rig, guint i)
{
    d->rig = rig;
    d->worker = rig->workers[i % N_WORKERS];
    d->nexus = rig_new_nexus(rig, i % N_WORKERS, i + HOST_0);
    d->rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    d->key = i + 1;
    deferred_init(&d->next, on_next);
    for (guint j = 0; j < N_COMMANDS; j++)
        d->slots[j].driver = d;
}

static void
run_workers(Rig *rig, Driver *drivers, Mailbox *control, const guint *n_finished)
{
    struct pollfd fd = { .fd = control->event_fd, .events = POLLIN };

    for (guint i = 0; i < N_WORKERS; i++)
        worker_start(rig->workers[i]);
    for (guint i = 0; i < N_INITIATORS; i++)
        worker_send(drivers[i].worker, &drivers[i].start, on_start);
    while (*n_finished < N_INITIATORS) {
        g_assert_cmpint(poll(&fd, 1, 600000), >, 0);
        (void)mailbox_drain(control);
    }
    for (guint i = 0; i < N_WORKERS; i++)
        worker_stop(rig->workers[i]);
}

static void
assert_agreed(const Rig *rig)
{
    const Lu *lu = rig->lu;

    g_assert_null(lu->change.next);
    for (guint i = 0; i < N_WORKERS; i++) {
        g_assert_true(lu->shards[i].reservations == lu->reservations);
        g_assert_cmpuint(lu->shards[i].n_conflicts, ==, 0);
        g_assert_false(lu->shards[i].change_waits);
    }
}

static void
run(const char *type)
{
    Driver *drivers = g_new0(Driver, N_INITIATORS);
    guint n_finished = 0, n_persisted = 0, n_changes = 0, n_conflicts = 0;
    Mailbox control;
    Rig *rig;

    g_assert_true(mailbox_init(&control, NULL));
    rig = rig_new(&(RigConfig){ .n_workers = N_WORKERS,
                                .type = type,
                                .slow = { .offset_align = 4096 },
                                .lu = { .persist = on_persist,
                                        .persist_data = &n_persisted,
                                        .persist_to = &control,
                                        .can_keep = TRUE } });
    for (guint i = 0; i < N_INITIATORS; i++) {
        driver_init(&drivers[i], rig, i);
        drivers[i].control = &control;
        drivers[i].n_finished = &n_finished;
    }

    run_workers(rig, drivers, &control, &n_finished);
    rig_turn(rig);
    assert_agreed(rig);
    for (guint i = 0; i < N_INITIATORS; i++) {
        Driver *d = &drivers[i];

        g_assert_cmpuint(d->n_ended, ==, ROUNDS);
        n_changes += d->n_good_changes;
        n_conflicts += d->n_conflicts;
        deferred_cancel(&d->next);
        nexus_free(d->nexus);
        g_rand_free(d->rand);
    }
    g_assert_cmpuint(n_changes, >, 0);
    g_assert_cmpuint(n_conflicts, >, 0);
    rig_free(rig);
    mailbox_deinit(&control);
    g_free(drivers);
}

static void
test_storm(void)
{
    for (guint i = 0; i < 5; i++)
        run(NULL);
}

static void
test_storm_of_instant_answers(void)
{
    for (guint i = 0; i < 5; i++)
        run("null");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/reservation-storm/memory", test_storm);
    g_test_add_func("/scsi/reservation-storm/null", test_storm_of_instant_answers);
    return g_test_run();
}
