/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "fixture.h"

#include <string.h>

#include "backstore/class.h"
#include "util/bytes.h"

/* How long a test waits before it has failed: on a loaded machine it may itself be held up for long */
#define PATIENCE_USEC (120 * USEC_PER_SEC)

/*
 * The slow store
 */

struct SlowStore {
    Backstore base;
    guint8 *memory;
    gint hold; /* atomic, for tests with threads */
    List held[4];
    gint n_done[IO_COPY + 1]; /* atomic */
    gint fail_error;          /* atomic */
};

static SlowStore *
slow(Backstore *store)
{
    return (SlowStore *)(gpointer)store;
}

static gboolean
slow_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    SlowStore *self = slow(store);

    store->native = NATIVE_FUA | NATIVE_ZERO | NATIVE_ZERO_FUA | NATIVE_UNMAP;
    store->info.size = config->size;
    store->info.cache = CACHE_WRITEBACK;
    store->info.write_cache = TRUE;
    store->info.can_unmap = TRUE;
    store->info.unmap_zeroes = TRUE;
    store->info.unmap_granularity = store->info.block_size;
    self->memory = g_malloc0(config->size);
    for (gsize i = 0; i < G_N_ELEMENTS(self->held); i++)
        list_init(&self->held[i]);
    return TRUE;
}

static void
slow_close(Backstore *store)
{
    g_clear_pointer(&slow(store)->memory, g_free);
}

/* What initiators on several threads do to the same block at once is a race of theirs, as on a
 * real disk: ThreadSanitizer shall look at everything else. A copy that it does not see. */
static __attribute__((no_sanitize("thread"))) void
medium_copy(guint8 *to, const guint8 *from, gsize size)
{
    volatile guint8 *t = to;

    for (gsize i = 0; i < size; i++)
        t[i] = from[i];
}

static void
slow_perform(SlowStore *self, Io *io)
{
    int error = g_atomic_int_get(&self->fail_error);

    (void)g_atomic_int_add(&self->n_done[io->kind], 1);
    if (error != 0) {
        g_atomic_int_set(&self->fail_error, 0);
        backstore_io_done(io, -error);
        return;
    }

    if (io->kind == IO_READ)
        medium_copy(io->buffer, self->memory + io->offset, io->length);
    else if (io->kind == IO_COPY)
        medium_copy(self->memory + io->offset, slow(io->source)->memory + io->source_offset,
                    io->length);
    else if (io->kind == IO_WRITE)
        medium_copy(self->memory + io->offset, io->buffer, io->length);
    else if (io->kind != IO_FLUSH)
        memset(self->memory + io->offset, 0, io->length);
    backstore_io_done(io, 0);
}

static void
slow_submit(Backstore *store, Io *io)
{
    SlowStore *self = slow(store);

    if (g_atomic_int_get(&self->hold))
        list_append(&self->held[io->worker->index], &io->link);
    else
        slow_perform(self, io);
}

static const BackstoreClass slow_class = {
    .type = "slow",
    .instance_size = sizeof(SlowStore),
    .open = slow_open,
    .close = slow_close,
    .submit = slow_submit,
};

void
slow_hold(Backstore *store, gboolean hold)
{
    g_atomic_int_set(&slow(store)->hold, hold);
}

guint
slow_n_held(Backstore *store, guint worker_index)
{
    guint n = 0;

    list_foreach(link, &slow(store)->held[worker_index])
        n++;
    return n;
}

void
slow_release(Backstore *store, guint worker_index)
{
    List batch;
    ListLink *link;

    list_init(&batch);
    list_splice(&batch, &slow(store)->held[worker_index]);
    while ((link = list_pop(&batch)) != NULL)
        slow_perform(slow(store), list_entry(link, Io, link));
}

void
slow_fail_next(Backstore *store, int error)
{
    g_atomic_int_set(&slow(store)->fail_error, error);
}

guint
slow_n_done(Backstore *store, IoKind kind)
{
    return (guint)g_atomic_int_get(&slow(store)->n_done[kind]);
}

guint8 *
slow_memory(Backstore *store)
{
    return slow(store)->memory;
}

/*
 * The rig
 */

const guint8 rig_uuid[16] = { 0x0f, 0x1e, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78,
                              0x87, 0x96, 0xa5, 0xb4, 0xc3, 0xd2, 0xe1, 0xf0 };

Backstore *
rig_open_slow(Rig *rig, const SlowConfig *config)
{
    BackstoreConfig c = {
        .type = "slow",
        .name = "slow",
        .size = config->size != 0 ? config->size : (guint64)1 << 20,
        .block_size = config->block_size != 0 ? config->block_size : 512,
        .read_only = config->read_only,
        .fd = -1,
    };
    g_autoptr(GError) error = NULL;
    Backstore *store = backstore_open_class(&slow_class, &c, rig->offload, rig->n_workers, &error);

    g_assert_no_error(error);
    if (config->offset_align != 0) {
        store->info.offset_align = config->offset_align;
        store->info.physical_block_size = config->offset_align;
    }
    if (config->copies) {
        store->native |= NATIVE_COPY;
        store->info.copy_align = 4096;
    }
    return store;
}

static Backstore *
open_store(Rig *rig, const RigConfig *config)
{
    g_autoptr(GError) error = NULL;
    BackstoreConfig c = { .fd = -1 };
    Backstore *store;

    if (config->type != NULL) {
        c.type = config->type;
        c.name = "disk";
        c.size = config->size != 0 ? config->size : (guint64)1 << 20;
        store = backstore_open(&c, rig->offload, rig->n_workers, &error);
    } else if (config->class != NULL) {
        c.type = config->class->type;
        c.name = "disk";
        c.size = config->slow.size;
        c.physical_block_size = config->slow.offset_align;
        store = backstore_open_class(config->class, &c, rig->offload, rig->n_workers, &error);
    } else {
        store = rig_open_slow(rig, &config->slow);
    }

    g_assert_no_error(error);
    return store;
}

static void
on_event(const ScsiEvent *event, gpointer user_data)
{
    Rig *rig = user_data;

    rig->last_event = *event;
    rig->n_events++;
}

Rig *
rig_new(const RigConfig *config)
{
    g_autoptr(GError) error = NULL;
    Rig *rig = g_new0(Rig, 1);
    LuConfig lu = config->lu;
    WorkerConfig worker = {
        .pool_size = config->pool_size != 0 ? config->pool_size : WORKER_POOL_SIZE,
        .pool_reserve = config->pool_reserve != 0 ? config->pool_reserve : WORKER_POOL_RESERVE,
        .clock = &rig->clock,
    };

    clock_init_manual(&rig->clock, 1000 * USEC_PER_SEC);
    rig->offload = offload_new(2);
    rig->n_workers = MAX(config->n_workers, 1);
    for (guint i = 0; i < rig->n_workers; i++) {
        rig->workers[i] = worker_new(i, &worker, rig->offload, &error);
        g_assert_no_error(error);
        scsi_worker_init(rig->workers[i], on_event, rig);
    }

    rig->store = open_store(rig, config);
    if (lu.name == NULL)
        lu.name = "disk";
    memcpy(lu.uuid, rig_uuid, sizeof(rig_uuid));
    lu.thin = lu.thin || config->slow.thin;
    rig->lu = lu_new(&lu, rig->store, rig->workers, rig->n_workers, 0);
    rig->map = lun_map_new(&(LunEntry){ .lun = 0, .lu = rig->lu }, 1);
    rig->nexus = rig_new_nexus(rig, 0, 1);
    return rig;
}

static void
on_released(Lu *lu, gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

void
rig_free(Rig *rig)
{
    g_autoptr(GError) error = NULL;
    gint64 limit = g_get_monotonic_time() + PATIENCE_USEC;
    gboolean released = FALSE;
    Mailbox mailbox;

    nexus_free(rig->nexus);

    (void)mailbox_init(&mailbox, &error);
    g_assert_no_error(error);
    lu_release(rig->lu, &mailbox, on_released, &released);
    while (!released) {
        rig_turn(rig);
        (void)mailbox_drain(&mailbox);
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
    }
    mailbox_deinit(&mailbox);

    snapshot_unref(&rig->map->snapshot);
    lu_free(rig->lu);
    backstore_close(rig->store);
    for (guint i = 0; i < rig->n_workers; i++) {
        scsi_worker_deinit(rig->workers[i]);
        worker_free(rig->workers[i]);
    }
    offload_free(rig->offload);
    g_free(rig);
}

Nexus *
rig_new_nexus(Rig *rig, guint worker_index, guint isid)
{
    g_autofree char *name = g_strdup_printf("iqn.2026-11.org.example:host%u,i,0x%012x", isid, isid);
    NexusConfig config = {
        .initiator_port_name = name,
        .target_name = "iqn.2026-11.org.lunport:test",
        .relative_target_port = 1,
        .target_port_group = 1,
    };
    Nexus *nexus = nexus_new(rig->workers[worker_index], &config, rig->map);

    for (guint i = 0; i < rig->map->n_entries; i++)
        nexus->luns[i]->attentions.n = 0;
    return nexus;
}

void
rig_turn(Rig *rig)
{
    for (guint round = 0; round < 20; round++) {
        for (guint i = 0; i < rig->n_workers; i++)
            worker_turn(rig->workers[i], 0);
    }
}

/*
 * The transport
 */

static TestCommand *
test_of(ScsiCommand *command)
{
    return list_entry(command, TestCommand, command);
}

void
test_send_data(TestCommand *test)
{
    ScsiCommand *command = &test->command;

    g_assert_cmpuint(command->data_offset + command->data_length, <=, test->n_out);
    memcpy(command->data, test->out + command->data_offset, command->data_length);
    scsi_command_data_out_ready(command);
}

static void
on_data_out(ScsiCommand *command)
{
    TestCommand *test = test_of(command);

    test->n_segments++;
    if (!test->hold_data_out)
        test_send_data(test);
}

static void
take_in(TestCommand *test)
{
    ScsiCommand *command = &test->command;

    g_assert_cmpuint(command->data_offset, ==, test->in->len);
    g_byte_array_append(test->in, command->data, command->data_length);
    g_assert_cmpuint(test->in->len, <=, command->expected_in);
}

static void
on_data_in(ScsiCommand *command)
{
    TestCommand *test = test_of(command);

    test->n_segments++;
    take_in(test);
    if (!test->hold_data_in)
        scsi_command_data_in_sent(command);
}

static void
on_done(ScsiCommand *command)
{
    TestCommand *test = test_of(command);

    g_assert_false(test->is_done);
    g_assert_cmpint(command->state, ==, SCSI_STATE_DONE);

    if (!command->aborted && command->status == SCSI_GOOD && command->data_length > 0)
        take_in(test);
    if (test->counter != NULL)
        test->order = ++*test->counter;
    test->is_done = TRUE;
    if (!test->keep)
        scsi_command_end(command);
}

static const ScsiTransport transport = {
    .data_out = on_data_out,
    .data_in = on_data_in,
    .done = on_done,
};

void
test_command_init(TestCommand *test, Nexus *nexus, guint lun, const guint8 *cdb, gsize n)
{
    memset(test, 0, sizeof(*test));
    test->in = g_byte_array_new();
    test->command.transport = &transport;
    test->command.nexus = nexus;
    test->command.lun[1] = (guint8)lun;
    memcpy(test->command.cdb, cdb, n);
}

void
test_command_clear(TestCommand *test)
{
    g_clear_pointer(&test->in, g_byte_array_unref);
}

void
test_start(TestCommand *test)
{
    scsi_command_begin(&test->command);
    scsi_command_run(&test->command);
}

void
test_wait(Rig *rig, TestCommand *test)
{
    gint64 limit = g_get_monotonic_time() + PATIENCE_USEC;

    /* What is on the pool may take a while */
    for (guint i = 0; !test->is_done; i++) {
        rig_turn(rig);
        if (i > 10 && !test->is_done)
            worker_turn(test->command.nexus->worker, 1000);
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
    }
}

void
test_run(Rig *rig, TestCommand *test)
{
    test_start(test);
    test_wait(rig, test);
}

ScsiStatus
test_execute(Rig *rig, Nexus *nexus, TestCommand *test, const guint8 *cdb, gsize n,
             guint32 expected_in, const guint8 *out, gsize n_out)
{
    test_command_init(test, nexus, 0, cdb, n);
    test->command.expected_in = expected_in;
    test->command.expected_out = (guint32)n_out;
    test->out = out;
    test->n_out = n_out;
    test_run(rig, test);
    return test->command.status;
}

static void
on_tmf_done(ScsiTmf *tmf)
{
    list_entry(tmf, TestManagement, tmf)->is_done = TRUE;
}

void
test_manage(TestManagement *test, TmfFunction function, Nexus *nexus, guint lun,
            ScsiCommand *command)
{
    *test = (TestManagement){
        .tmf = { .function = function, .nexus = nexus, .command = command, .done = on_tmf_done },
    };
    lun_encode((guint16)lun, test->tmf.lun);
    scsi_tmf_start(&test->tmf);
}

guint32
test_sense(const TestCommand *test)
{
    const guint8 *sense = test->command.sense;

    if (test->command.status != SCSI_CHECK_CONDITION)
        return 0;
    return (guint32)(sense[2] & 0x0f) << 16 | (guint32)sense[12] << 8 | sense[13];
}

gboolean
test_sense_is(const TestCommand *test, SenseCode code)
{
    const SenseInfo *info = sense_info(code);

    return test_sense(test) ==
           ((guint32)info->key << 16 | (guint32)info->asc << 8 | (guint32)info->ascq);
}

void
test_assert_good(const TestCommand *test)
{
    g_assert_true(test->is_done);
    g_assert_cmphex(test_sense(test), ==, 0);
    g_assert_cmphex(test->command.status, ==, SCSI_GOOD);
}

void
test_assert_sense(const TestCommand *test, SenseCode code)
{
    const SenseInfo *info = sense_info(code);

    g_assert_true(test->is_done);
    g_assert_cmphex(test->command.status, ==, SCSI_CHECK_CONDITION);
    g_assert_cmphex(test_sense(test), ==,
                    (guint32)info->key << 16 | (guint32)info->asc << 8 | (guint32)info->ascq);
}

void
test_assert_field(const TestCommand *test, gboolean in_cdb, guint byte, guint bit)
{
    const guint8 *sense = test->command.sense;

    test_assert_sense(test,
                      in_cdb ? SENSE_INVALID_FIELD_IN_CDB : SENSE_INVALID_FIELD_IN_PARAMETERS);
    g_assert_cmphex(sense[15], ==, 0x80 | (in_cdb ? 0x40 : 0) | 0x08 | bit);
    g_assert_cmpuint(get_be16(sense + 16), ==, byte);
}
