/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * COMPARE AND WRITE, ORWRITE and WRITE ATOMIC
 *
 * First by byte vectors. Then the storm: eight initiators on several threads,
 * four that read a range and change it by COMPARE AND WRITE, four that issue
 * WRITE, WRITE SAME, UNMAP, ORWRITE and WRITE ATOMIC to overlapping ranges.
 * Every write carries a tag of its own. The medium logs, block by block, each
 * content that it takes; the checker explains every entry by the command whose
 * tag it has and by the entry before:
 *
 *   COMPARE AND WRITE   the entry before is what it compared with
 *   ORWRITE             the entry before, and one more bit, its own
 *   UNMAP               zeros
 *   others              their tag, once
 *
 * Then any two commands must have met in the same order on all blocks that both
 * have written: with that there is one serial order for each range.
 */

#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

#define BLOCK 512

/*
 * Byte vectors
 */

typedef struct {
    Rig *rig;
    TestCommand test;
    guint8 *data;
} Case;

#define DATA_SIZE ((gsize)4 << 20)

static void
case_init(Case *c, const RigConfig *config)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(config);
    c->data = g_malloc(DATA_SIZE);
    for (gsize i = 0; i < DATA_SIZE; i++)
        c->data[i] = (guint8)(i * 7 + (i >> 9) * 13 + (i >> 17) * 29 + 1);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
    g_free(c->data);
    rig_free(c->rig);
}

static void
out(Case *c, const guint8 *cdb, gsize n, gsize n_out)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, c->rig->nexus, &c->test, cdb, n, 0, c->data, n_out);
}

#define LOW(n)  (guint8)((n)&0xff)
#define HIGH(n) (guint8)((n) >> 8)

#define CAW(lba, n)     CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, n, 0, 0)
#define ATOMIC(lba, n)  CDB(0x9c, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, HIGH(n), LOW(n), 0, 0)
#define ORWRITE(lba, n) CDB(0x8b, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, HIGH(n), LOW(n), 0, 0)

static const RigConfig plain = { 0 };
static const RigConfig partial = { .slow = { .offset_align = 4096 } };
static const RigConfig blocks_4k = { .slow = { .size = 8 << 20, .block_size = 4096 } };

static void
check_swap(const RigConfig *config, guint lba, guint n)
{
    Case c;
    guint8 *medium;
    gsize block, size;

    case_init(&c, config);
    block = backstore_info(c.rig->store)->block_size;
    size = n * block;
    medium = slow_memory(c.rig->store) + lba * block;
    memcpy(medium, c.data, size);
    memset(medium + size, 0xee, block);

    out(&c, CAW((guint8)lba, (guint8)n), 2 * size);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 2 * size);
    g_assert_true(memcmp(medium, c.data + size, size) == 0);
    g_assert_cmphex(medium[size], ==, 0xee);

    /* Now the medium has the other half */
    out(&c, CAW((guint8)lba, (guint8)n), 2 * size);
    test_assert_sense(&c.test, SENSE_MISCOMPARE_DURING_VERIFY);
    g_assert_true(memcmp(medium, c.data + size, size) == 0);
    case_clear(&c);
}

static void
test_compare_and_write(void)
{
    check_swap(&plain, 3, 1);
    check_swap(&plain, 0, 8);
    check_swap(&plain, 5, 255);
}

static void
test_compare_and_write_partial_blocks(void)
{
    check_swap(&partial, 3, 1);
    check_swap(&partial, 7, 9);
    check_swap(&partial, 1, 200);
}

/* Together more than a buffer: what is to be written comes in two pieces */
static void
test_compare_and_write_two_buffers(void)
{
    check_swap(&blocks_4k, 2, 128);
    check_swap(&blocks_4k, 2, 129);
    check_swap(&blocks_4k, 2, 255);
}

static void
test_miscompare_offset(void)
{
    static const guint offsets[] = { 0, 511, 512, 70000, 255 * BLOCK - 1 };

    for (gsize i = 0; i < G_N_ELEMENTS(offsets); i++) {
        Case c;
        guint8 *medium;

        case_init(&c, &plain);
        medium = slow_memory(c.rig->store);
        memcpy(medium, c.data, 255 * BLOCK);
        medium[offsets[i]] ^= 0x10;

        out(&c, CAW(0, 255), 2 * 255 * BLOCK);
        test_assert_sense(&c.test, SENSE_MISCOMPARE_DURING_VERIFY);
        g_assert_cmphex(c.test.command.sense[0], ==, 0xf0);
        g_assert_cmpuint(get_be32(c.test.command.sense + 3), ==, offsets[i]);
        g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, 0);
        case_clear(&c);
    }
}

static void
test_compare_and_write_refusals(void)
{
    Case c;

    case_init(&c, &plain);
    out(&c, CAW(0, 0), 0);
    test_assert_good(&c.test);
    out(&c, CAW(0, 0), 2 * 256 * BLOCK); /* 256 blocks, as far as the field goes */
    test_assert_field(&c.test, TRUE, 13, 7);
    out(&c, CAW(0, 2), 3 * BLOCK);
    test_assert_field(&c.test, TRUE, 13, 7);
    out(&c, CAW(0, 2), 5 * BLOCK);
    test_assert_field(&c.test, TRUE, 13, 7);
    out(&c, CDB(0x89, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), 2 * BLOCK);
    test_assert_field(&c.test, TRUE, 1, 7);
    out(&c, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0, 0), 2 * BLOCK);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, 0);
    case_clear(&c);
}

static void
check_write_atomic(const RigConfig *config, guint lba, guint n)
{
    Case c;

    case_init(&c, config);
    memset(slow_memory(c.rig->store), 0xee, (lba + n + 1) * BLOCK);
    out(&c, ATOMIC((guint8)lba, n), n * BLOCK);
    test_assert_good(&c.test);
    g_assert_cmpmem(slow_memory(c.rig->store) + lba * BLOCK, n * BLOCK, c.data, n * BLOCK);
    g_assert_cmphex(slow_memory(c.rig->store)[(lba + n) * BLOCK], ==, 0xee);
    if (lba > 0)
        g_assert_cmphex(slow_memory(c.rig->store)[lba * BLOCK - 1], ==, 0xee);
    case_clear(&c);
}

static void
test_write_atomic(void)
{
    check_write_atomic(&plain, 1, 700);
    check_write_atomic(&partial, 1, 17);
    check_write_atomic(&partial, 8, 16);
}

/* Aligned, it is one request to the store */
static void
test_write_atomic_is_one_request(void)
{
    Case c;

    case_init(&c, &partial);
    out(&c, ATOMIC(8, 1024), 1024 * BLOCK);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, 1);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 0);
    case_clear(&c);
}

static void
test_write_atomic_refusals(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .slow = { .size = 8 << 20 } });
    out(&c, ATOMIC(0, 0), 0);
    test_assert_good(&c.test);
    out(&c, ATOMIC(0, 2049), 2049 * BLOCK);
    test_assert_field(&c.test, TRUE, 12, 7);
    out(&c, ATOMIC(0, 2), BLOCK);
    test_assert_field(&c.test, TRUE, 12, 7);
    out(&c, CDB(0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0), BLOCK); /* boundary */
    test_assert_field(&c.test, TRUE, 10, 7);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, 0);
    case_clear(&c);
}

static void
check_orwrite(const RigConfig *config, guint lba, guint n)
{
    Case c;
    guint8 *medium;

    case_init(&c, config);
    medium = slow_memory(c.rig->store) + lba * BLOCK;
    memset(medium, 0x24, (n + 1) * BLOCK);
    out(&c, ORWRITE((guint8)lba, n), n * BLOCK);
    test_assert_good(&c.test);
    for (gsize i = 0; i < n * BLOCK; i++)
        g_assert_cmphex(medium[i], ==, c.data[i] | 0x24);
    g_assert_cmphex(medium[n * BLOCK], ==, 0x24);
    case_clear(&c);
}

static void
test_orwrite(void)
{
    check_orwrite(&plain, 0, 1);
    check_orwrite(&plain, 3, 300);
    check_orwrite(&partial, 3, 30);
    check_orwrite(&(RigConfig){ .slow = { .size = 8 << 20 } }, 1, 5000);
}

static void
test_fua_reaches_the_store(void)
{
    Case c;
    guint n;

    case_init(&c, &plain);
    memcpy(slow_memory(c.rig->store), c.data, BLOCK);
    n = slow_n_done(c.rig->store, IO_WRITE);
    out(&c, CDB(0x89, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), 2 * BLOCK);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, n + 1);
    case_clear(&c);
}

static void
test_store_error(void)
{
    Case c;

    case_init(&c, &plain);
    slow_fail_next(c.rig->store, 5); /* its read */
    out(&c, CAW(2, 1), 2 * BLOCK);
    test_assert_sense(&c.test, SENSE_READ_ERROR);
    g_assert_cmpuint(get_be32(c.test.command.sense + 3), ==, 2);
    case_clear(&c);
}

/* Held between its read and its write, it keeps out writes and reads of others, and lets others be */
static void
test_nobody_comes_between(void)
{
    Case c;
    TestCommand read = { 0 }, write = { 0 }, far = { 0 };
    Nexus *other;
    Rig *rig;

    case_init(&c, &(RigConfig){ .n_workers = 2 });
    rig = c.rig;
    other = rig_new_nexus(rig, 1, 2);
    memcpy(slow_memory(rig->store), c.data, BLOCK);

    slow_hold(rig->store, TRUE);
    test_command_init(&c.test, rig->nexus, 0, CAW(0, 1));
    c.test.command.expected_out = 2 * BLOCK;
    c.test.out = c.data;
    c.test.n_out = 2 * BLOCK;
    test_start(&c.test);
    rig_turn(rig);
    g_assert_cmpuint(slow_n_held(rig->store, 0), ==, 1);

    test_command_init(&read, other, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    read.command.expected_in = BLOCK;
    test_command_init(&write, other, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    write.command.expected_out = BLOCK;
    write.out = c.data;
    write.n_out = BLOCK;
    test_command_init(&far, other, 0, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0));
    far.command.expected_in = BLOCK;
    test_start(&read);
    test_start(&write);
    test_start(&far);
    rig_turn(rig);
    g_assert_cmpuint(slow_n_held(rig->store, 1), ==, 1);
    g_assert_cmpint(read.command.state, ==, SCSI_STATE_BLOCKED);
    g_assert_cmpint(write.command.state, ==, SCSI_STATE_BLOCKED);

    slow_hold(rig->store, FALSE);
    slow_release(rig->store, 1);
    slow_release(rig->store, 0);
    test_wait(rig, &c.test);
    test_wait(rig, &read);
    test_wait(rig, &write);
    test_assert_good(&c.test);
    test_assert_good(&far);
    test_assert_good(&write);
    g_assert_cmpmem(read.in->data, BLOCK, c.data + BLOCK, BLOCK);

    test_command_clear(&read);
    test_command_clear(&write);
    test_command_clear(&far);
    nexus_free(other);
    case_clear(&c);
}

/*
 * The storm
 */

#define N_DRIVERS   8
#define N_SLOTS     3
#define N_BLOCKS    16 /* the contested ones; behind them is the block with the counter */
#define RANGE_MAX   6
#define COUNTER_LBA 20
#define ROUNDS      120
#define N_OPS       (N_DRIVERS * ROUNDS)

/* A block: the tag of the last command that wrote it as a whole, and a bit for each ORWRITE */
#define TAG_OFFSET 0
#define OR_OFFSET  16
#define OR_BYTES   (N_OPS / 8 + 1)
G_STATIC_ASSERT(OR_OFFSET + OR_BYTES <= BLOCK);

typedef enum {
    OP_NONE,
    OP_WRITE,
    OP_WRITE_SAME,
    OP_UNMAP,
    OP_OR,
    OP_ATOMIC,
    OP_CAW,
    OP_COUNT, /* COMPARE AND WRITE of the counter */
} OpKind;

typedef struct {
    OpKind kind;
    gboolean succeeded;
    guint lba, n;
    guint8 compare[RANGE_MAX * BLOCK];
} Op;

/* The log of one block: contents in the order in which the medium took them */
typedef struct {
    GArray *entries; /* guint8[BLOCK] each */
} BlockLog;

typedef struct {
    pthread_mutex_t lock;
    guint8 memory[64 * BLOCK];
    BlockLog blocks[N_BLOCKS];
    Op ops[N_OPS + 1]; /* by tag; each is written by one thread and read at the end */
    gint n_ops;        /* atomic */
    gint n_counted;    /* atomic */
    gboolean delays;
    guint32 seed;
} Storm;

/* The medium */

typedef struct {
    List list;
    Deferred next;
    GRand *random;
} MediumLane;

typedef struct {
    Backstore base;
    Storm *storm;
    MediumLane lanes[4];
} Medium;

static void
medium_log(Storm *storm, guint64 offset, const guint8 *data, guint64 length)
{
    for (guint64 at = 0; at < length; at += BLOCK) {
        guint64 lba = (offset + at) / BLOCK;
        guint8 *block = storm->memory + offset + at;

        if (memcmp(block, data + at, BLOCK) == 0)
            continue;
        memcpy(block, data + at, BLOCK);
        if (lba < N_BLOCKS)
            g_array_append_vals(storm->blocks[lba].entries, block, 1);
    }
}

static void
medium_perform(Io *io)
{
    static const guint8 zeros[64 * BLOCK];
    Storm *storm = ((Medium *)(gpointer)io->store)->storm;

    (void)pthread_mutex_lock(&storm->lock);
    if (io->kind == IO_READ)
        memcpy(io->buffer, storm->memory + io->offset, io->length);
    else if (io->kind == IO_WRITE)
        medium_log(storm, io->offset, io->buffer, io->length);
    else if (io->kind != IO_FLUSH)
        medium_log(storm, io->offset, zeros, io->length);
    (void)pthread_mutex_unlock(&storm->lock);

    backstore_io_done(io, 0);
}

/* Some later turn of the loop: other commands come in between wherever they can */
static void
on_medium_next(Deferred *deferred)
{
    MediumLane *lane = list_entry(deferred, MediumLane, next);
    List batch;
    ListLink *link;

    list_init(&batch);
    list_splice(&batch, &lane->list);
    while ((link = list_pop(&batch)) != NULL) {
        Io *io = list_entry(link, Io, link);

        if (g_rand_boolean(lane->random)) {
            list_append(&lane->list, &io->link);
            deferred_run(&lane->next, &io->worker->loop);
        } else {
            medium_perform(io);
        }
    }
}

static void
medium_submit(Backstore *store, Io *io)
{
    Medium *medium = (Medium *)(gpointer)store;
    MediumLane *lane = &medium->lanes[io->worker->index];

    if (!medium->storm->delays) {
        medium_perform(io);
        return;
    }

    list_append(&lane->list, &io->link);
    deferred_run(&lane->next, &io->worker->loop);
}

static gboolean
medium_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    Medium *medium = (Medium *)(gpointer)store;

    store->native = NATIVE_FUA | NATIVE_ZERO | NATIVE_ZERO_FUA | NATIVE_UNMAP;
    store->info.size = config->size;
    store->info.cache = CACHE_WRITETHROUGH;
    store->info.can_unmap = TRUE;
    store->info.unmap_zeroes = TRUE;
    store->info.unmap_granularity = BLOCK;
    store->info.offset_align = config->physical_block_size;
    for (gsize i = 0; i < G_N_ELEMENTS(medium->lanes); i++) {
        list_init(&medium->lanes[i].list);
        deferred_init(&medium->lanes[i].next, on_medium_next);
        medium->lanes[i].random = g_rand_new_with_seed((guint32)i + 1);
    }
    return TRUE;
}

static void
medium_close(Backstore *store)
{
    Medium *medium = (Medium *)(gpointer)store;

    for (gsize i = 0; i < G_N_ELEMENTS(medium->lanes); i++) {
        deferred_cancel(&medium->lanes[i].next);
        g_rand_free(medium->lanes[i].random);
    }
}

static const BackstoreClass medium_class = {
    .type = "medium",
    .instance_size = sizeof(Medium),
    .open = medium_open,
    .close = medium_close,
    .submit = medium_submit,
};

/* The initiators */

typedef struct Driver Driver;

typedef struct {
    ScsiCommand command;
    Driver *driver;
    guint tag;
    gboolean is_reading; /* the first half of a COMPARE AND WRITE */
    gsize n_in;
    guint8 data[2 * RANGE_MAX * BLOCK];
} Slot;

struct Driver {
    Storm *storm;
    Rig *rig;
    Nexus *nexus;
    gboolean compares;
    guint n_started;
    guint n_ended;
    GRand *random;
    Slot slots[N_SLOTS];
    gboolean is_told;
    Message start;
    Message finished;
    Mailbox *control;
    guint *n_finished;
    Deferred next;
};

static Op *
op_of(const Slot *slot)
{
    return &slot->driver->storm->ops[slot->tag];
}

static void
fill_tag(guint8 *blocks, guint n, guint tag)
{
    memset(blocks, 0, n * BLOCK);
    for (guint i = 0; i < n; i++)
        put_be32(blocks + i * BLOCK + TAG_OFFSET, tag);
}

static void on_data_out(ScsiCommand *command);
static void on_data_in(ScsiCommand *command);
static void on_done(ScsiCommand *command);

static const ScsiTransport transport = {
    .data_out = on_data_out,
    .data_in = on_data_in,
    .done = on_done,
};

static void
run_slot(Slot *slot, const guint8 *cdb, gsize n, guint32 expected_out, guint32 expected_in)
{
    ScsiCommand *command = &slot->command;

    memset(command, 0, sizeof(*command));
    command->transport = &transport;
    command->nexus = slot->driver->nexus;
    memcpy(command->cdb, cdb, n);
    command->expected_out = expected_out;
    command->expected_in = expected_in;
    slot->n_in = 0;
    scsi_command_begin(command);
    scsi_command_run(command);
}

static void
on_data_out(ScsiCommand *command)
{
    const Slot *slot = list_entry(command, Slot, command);

    memcpy(command->data, slot->data + command->data_offset, command->data_length);
    scsi_command_data_out_ready(command);
}

static void
take_in(ScsiCommand *command)
{
    Slot *slot = list_entry(command, Slot, command);

    memcpy(slot->data + command->data_offset, command->data, command->data_length);
    slot->n_in += command->data_length;
}

static void
on_data_in(ScsiCommand *command)
{
    take_in(command);
    scsi_command_data_in_sent(command);
}

/* What was read is what to compare with */
static void
start_compare(Slot *slot)
{
    Op *op = op_of(slot);
    guint n = op->n;

    slot->is_reading = FALSE;
    memcpy(op->compare, slot->data, n * BLOCK);
    if (op->kind == OP_COUNT) {
        memcpy(slot->data + BLOCK, slot->data, BLOCK);
        put_be32(slot->data + BLOCK, get_be32(slot->data) + 1);
    } else {
        fill_tag(slot->data + n * BLOCK, n, slot->tag);
    }
    run_slot(slot, CAW((guint8)op->lba, (guint8)n), 2 * n * BLOCK, 0);
}

static void
on_finished(Message *message)
{
    ++*list_entry(message, Driver, finished)->n_finished;
}

static void
end_op(Slot *slot, gboolean succeeded)
{
    Driver *d = slot->driver;
    Op *op = op_of(slot);

    op->succeeded = succeeded;
    if (op->kind == OP_COUNT && succeeded)
        (void)g_atomic_int_add(&d->storm->n_counted, 1);
    d->n_ended++;
    slot->tag = 0;
}

static gboolean
is_miscompare(const ScsiCommand *command)
{
    return command->status == SCSI_CHECK_CONDITION && (command->sense[2] & 0x0f) == 0x0e;
}

static void
on_done(ScsiCommand *command)
{
    Slot *slot = list_entry(command, Slot, command);
    Driver *d = slot->driver;
    gboolean succeeded = command->status == SCSI_GOOD;

    g_assert_true(succeeded || is_miscompare(command));
    if (command->data_length > 0 && slot->is_reading)
        take_in(command);
    scsi_command_end(command);

    if (slot->is_reading)
        start_compare(slot);
    else
        end_op(slot, succeeded);
    deferred_run(&d->next, &d->rig->workers[d->nexus->worker->index]->loop);
}

static void
start_write(Slot *slot, Op *op)
{
    guint8 lba = (guint8)op->lba, n = (guint8)op->n;

    switch (op->kind) {
    case OP_WRITE:
        fill_tag(slot->data, n, slot->tag);
        run_slot(slot, CDB(0x2a, 0, 0, 0, 0, lba, 0, 0, n, 0), n * BLOCK, 0);
        return;
    case OP_WRITE_SAME:
        fill_tag(slot->data, 1, slot->tag);
        run_slot(slot, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, n, 0, 0), BLOCK, 0);
        return;
    case OP_UNMAP:
        memset(slot->data, 0, 24);
        put_be16(slot->data, 22);
        put_be16(slot->data + 2, 16);
        put_be64(slot->data + 8, lba);
        put_be32(slot->data + 16, n);
        run_slot(slot, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), 24, 0);
        return;
    case OP_OR:
        memset(slot->data, 0, n * BLOCK);
        for (guint i = 0; i < n; i++)
            slot->data[i * BLOCK + OR_OFFSET + slot->tag / 8] = (guint8)(1 << slot->tag % 8);
        run_slot(slot, ORWRITE(lba, n), n * BLOCK, 0);
        return;
    case OP_ATOMIC:
        fill_tag(slot->data, n, slot->tag);
        run_slot(slot, ATOMIC(lba, n), n * BLOCK, 0);
        return;
    case OP_NONE:
    case OP_CAW:
    case OP_COUNT:
        break;
    }
    g_assert_not_reached();
}

static void
start_op(Driver *d, Slot *slot)
{
    Op *op;

    d->n_started++;
    slot->tag = (guint)g_atomic_int_add(&d->storm->n_ops, 1) + 1;
    op = op_of(slot);
    op->n = (guint)g_rand_int_range(d->random, 1, RANGE_MAX + 1);
    op->lba = (guint)g_rand_int_range(d->random, 0, (gint32)(N_BLOCKS - op->n + 1));

    if (!d->compares) {
        op->kind = (OpKind)g_rand_int_range(d->random, OP_WRITE, OP_ATOMIC + 1);
        start_write(slot, op);
        return;
    }

    op->kind = OP_CAW;
    if (g_rand_int_range(d->random, 0, 3) == 0) {
        op->kind = OP_COUNT;
        op->lba = COUNTER_LBA;
        op->n = 1;
    }
    slot->is_reading = TRUE;
    run_slot(slot, CDB(0x28, 0, 0, 0, 0, (guint8)op->lba, 0, 0, (guint8)op->n, 0), 0,
             op->n * BLOCK);
}

static void
on_next(Deferred *deferred)
{
    Driver *d = list_entry(deferred, Driver, next);

    for (guint i = 0; i < N_SLOTS && d->n_started < ROUNDS; i++) {
        if (d->slots[i].tag == 0)
            start_op(d, &d->slots[i]);
    }

    if (d->n_ended == ROUNDS && !d->is_told) {
        d->is_told = TRUE;
        mailbox_send(d->control, &d->finished, on_finished);
    }
}

static void
on_start(Message *message)
{
    on_next(&list_entry(message, Driver, start)->next);
}

/* The checker */

static gboolean
is_zero(const guint8 *block)
{
    return block[0] == 0 && memcmp(block, block + 1, BLOCK - 1) == 0;
}

static gboolean
covers(const Op *op, guint lba)
{
    return op->lba <= lba && lba < op->lba + op->n;
}

/* The one bit that @after has and @before has not, or 0 when that is not all */
static guint
find_or_tag(const guint8 *before, const guint8 *after)
{
    guint tag = 0;

    for (guint i = 0; i < BLOCK; i++) {
        guint8 change = before[i] ^ after[i];

        if (change == 0)
            continue;
        if (tag != 0 || i < OR_OFFSET || !is_power_of_two(change) || !(after[i] & change))
            return 0;
        tag = (i - OR_OFFSET) * 8 + (guint)g_bit_nth_lsf(change, -1);
    }

    return tag;
}

/* The tag of the command that made this entry; 0: UNMAP */
static guint
explain(const Storm *storm, guint lba, const guint8 *before, const guint8 *after)
{
    guint tag = find_or_tag(before, after);
    const Op *op;

    if (tag != 0) {
        g_assert_cmpint(storm->ops[tag].kind, ==, OP_OR);
        g_assert_true(covers(&storm->ops[tag], lba));
        return tag;
    }

    if (is_zero(after))
        return 0;

    tag = get_be32(after + TAG_OFFSET);
    g_assert_cmpuint(tag, >, 0);
    g_assert_cmpuint(tag, <=, N_OPS);
    op = &storm->ops[tag];
    for (guint i = OR_OFFSET; i < BLOCK; i++)
        g_assert_cmphex(after[i], ==, 0);
    g_assert_true(op->kind != OP_UNMAP && op->kind != OP_OR && covers(op, lba));
    if (op->kind == OP_CAW)
        g_assert_cmpmem(before, BLOCK, op->compare + (lba - op->lba) * BLOCK, BLOCK);
    return tag;
}

/* Each command that took effect has one entry on each of its blocks; returns their tags in order */
static GArray *
check_block(const Storm *storm, guint lba)
{
    static const guint8 zeros[BLOCK];
    const GArray *entries = storm->blocks[lba].entries;
    GArray *tags = g_array_new(FALSE, FALSE, sizeof(guint));
    g_autofree guint *seen = g_new0(guint, N_OPS + 1);
    const guint8 *before = zeros;

    for (guint i = 0; i < entries->len; i++) {
        const guint8 *after = (const guint8 *)entries->data + (gsize)i * BLOCK;
        guint tag = explain(storm, lba, before, after);

        if (tag != 0) {
            g_assert_cmpuint(seen[tag], ==, 0);
            seen[tag] = i + 1;
            g_array_append_val(tags, tag);
        }
        before = after;
    }

    for (guint tag = 1; tag <= N_OPS; tag++) {
        const Op *op = &storm->ops[tag];
        gboolean wrote = op->succeeded && op->kind != OP_UNMAP && op->kind != OP_COUNT;

        g_assert_cmpint(seen[tag] != 0, ==, wrote && covers(op, lba));
    }
    return tags;
}

/* Two commands that met on several blocks did so in one order */
static void
check_orders(const Storm *storm)
{
    g_autofree guint8 *first = g_new0(guint8, (gsize)(N_OPS + 1) * (N_OPS + 1));

    for (guint lba = 0; lba < N_BLOCKS; lba++) {
        g_autoptr(GArray) tags = check_block(storm, lba);

        for (guint i = 0; i < tags->len; i++) {
            for (guint j = i + 1; j < tags->len; j++) {
                guint a = g_array_index(tags, guint, i), b = g_array_index(tags, guint, j);

                first[(gsize)a * (N_OPS + 1) + b] = 1;
                g_assert_cmpuint(first[(gsize)b * (N_OPS + 1) + a], ==, 0);
            }
        }
    }
}

static void
check_storm(const Storm *storm)
{
    guint n_caw = 0;

    check_orders(storm);
    g_assert_cmpuint(get_be32(storm->memory + COUNTER_LBA * BLOCK), ==, storm->n_counted);
    g_assert_cmpint(storm->n_counted, >, 0);
    for (guint tag = 1; tag <= N_OPS; tag++)
        n_caw += storm->ops[tag].kind == OP_CAW && storm->ops[tag].succeeded;
    g_test_message("%d increments, %u ranges changed", storm->n_counted, n_caw);
}

static void
driver_init(Driver *d, Storm *storm, Rig *rig, guint i)
{
    d->storm = storm;
    d->rig = rig;
    d->nexus = rig_new_nexus(rig, i % rig->n_workers, i + 10);
    d->compares = i >= N_DRIVERS / 2;
    d->random = g_rand_new_with_seed(storm->seed * N_DRIVERS + i);
    deferred_init(&d->next, on_next);
    for (guint j = 0; j < N_SLOTS; j++)
        d->slots[j].driver = d;
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
run_drivers(Storm *storm, Rig *rig)
{
    g_autofree Driver *drivers = g_new0(Driver, N_DRIVERS);
    guint n_finished = 0;
    Mailbox control;

    g_assert_true(mailbox_init(&control, NULL));
    for (guint i = 0; i < N_DRIVERS; i++) {
        driver_init(&drivers[i], storm, rig, i);
        drivers[i].control = &control;
        drivers[i].n_finished = &n_finished;
    }

    for (guint i = 0; i < rig->n_workers; i++)
        worker_start(rig->workers[i]);
    for (guint i = 0; i < N_DRIVERS; i++)
        worker_send(drivers[i].nexus->worker, &drivers[i].start, on_start);
    wait_for(&control, &n_finished, N_DRIVERS);
    for (guint i = 0; i < rig->n_workers; i++)
        worker_stop(rig->workers[i]);

    for (guint i = 0; i < N_DRIVERS; i++) {
        deferred_cancel(&drivers[i].next);
        g_rand_free(drivers[i].random);
        nexus_free(drivers[i].nexus);
    }
    mailbox_deinit(&control);
}

static void
run_storm(guint n_workers, guint32 offset_align, gboolean delays, guint32 seed)
{
    g_autofree Storm *storm = g_new0(Storm, 1);
    Rig *rig = rig_new(&(RigConfig){
        .n_workers = n_workers,
        .class = &medium_class,
        .slow = { .size = sizeof(storm->memory), .offset_align = offset_align, .thin = TRUE },
    });

    storm->delays = delays;
    storm->seed = seed;
    (void)pthread_mutex_init(&storm->lock, NULL);
    for (guint i = 0; i < N_BLOCKS; i++)
        storm->blocks[i].entries = g_array_new(FALSE, FALSE, BLOCK);
    ((Medium *)(gpointer)rig->store)->storm = storm;

    run_drivers(storm, rig);
    rig_free(rig);
    check_storm(storm);

    for (guint i = 0; i < N_BLOCKS; i++)
        g_array_unref(storm->blocks[i].entries);
    (void)pthread_mutex_destroy(&storm->lock);
}

static void
run_storms(guint n_workers, guint32 offset_align, gboolean delays)
{
    guint32 n = g_test_slow() ? 50 : 1;

    for (guint32 seed = 1; seed <= n; seed++)
        run_storm(n_workers, offset_align, delays, seed);
}

static void
test_storm(void)
{
    run_storms(4, 0, FALSE);
}

static void
test_storm_with_delays(void)
{
    run_storms(2, 0, TRUE);
}

static void
test_storm_of_partial_blocks(void)
{
    run_storms(4, 4096, FALSE);
}

static void
test_storm_of_partial_blocks_with_delays(void)
{
    run_storms(2, 4096, TRUE);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/atomic/" name, fn)
    ADD("compare-and-write", test_compare_and_write);
    ADD("compare-and-write-partial-blocks", test_compare_and_write_partial_blocks);
    ADD("compare-and-write-two-buffers", test_compare_and_write_two_buffers);
    ADD("compare-and-write-refusals", test_compare_and_write_refusals);
    ADD("miscompare-offset", test_miscompare_offset);
    ADD("write-atomic", test_write_atomic);
    ADD("write-atomic-is-one-request", test_write_atomic_is_one_request);
    ADD("write-atomic-refusals", test_write_atomic_refusals);
    ADD("orwrite", test_orwrite);
    ADD("fua-reaches-the-store", test_fua_reaches_the_store);
    ADD("store-error", test_store_error);
    ADD("nobody-comes-between", test_nobody_comes_between);
    ADD("storm", test_storm);
    ADD("storm-with-delays", test_storm_with_delays);
    ADD("storm-of-partial-blocks", test_storm_of_partial_blocks);
    ADD("storm-of-partial-blocks-with-delays", test_storm_of_partial_blocks_with_delays);
    return g_test_run();
}
