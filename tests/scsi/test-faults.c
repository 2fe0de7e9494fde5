/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What initiators see when storage fails
 *
 * Faults are injected below the logical unit. A table says which error on which
 * kind of command becomes which sense data; the rest is about commands that are
 * carried out in several steps, and about storage that does not answer at all.
 */

#include <errno.h>
#include <string.h>

#include "backstore/fault.h"
#include "fixture.h"
#include "util/bytes.h"

#define MIB      ((guint64)1 << 20)
#define BLOCK    512
#define ALWAYS   .chance = FAULT_CERTAIN
#define EVERY    0xffU
#define ON_READ  FAULT_KIND(IO_READ)
#define ON_WRITE FAULT_KIND(IO_WRITE)
#define ON_FLUSH FAULT_KIND(IO_FLUSH)

static void
set(Rig *rig, const FaultRule *rule)
{
    g_autoptr(FaultSet) faults = rule != NULL ? fault_set_new(rule, 1) : NULL;

    for (guint i = 0; i < rig->n_workers; i++)
        backstore_take_faults(rig->store, rig->workers[i], faults);
}

static Rig *
rig_of_size(guint64 size)
{
    return rig_new(&(RigConfig){ .slow = { .size = size, .thin = TRUE } });
}

/* INFORMATION; asserts that it is valid */
static guint64
information(const TestCommand *test)
{
    const guint8 *sense = test->command.sense;

    if ((sense[0] & 0x7f) == 0x72) {
        g_assert_cmphex(sense[8], ==, 0x00);
        g_assert_cmphex(sense[10], ==, 0x80);
        return get_be64(sense + 12);
    }
    g_assert_cmphex(sense[0], ==, 0xf0);
    return get_be32(sense + 3);
}

static void
run(Rig *rig, TestCommand *test, const guint8 *cdb, gsize n, guint32 in, gsize out)
{
    g_autofree guint8 *data = g_malloc0(out + 1);

    (void)test_execute(rig, rig->nexus, test, cdb, n, in, data, out);
    test_command_clear(test);
}

/*
 * Errors and their sense data
 */

#define READ_10                                                                                    \
    {                                                                                              \
        0x28, 0, 0, 0, 0, 8, 0, 0, 1, 0                                                            \
    }
#define WRITE_10                                                                                   \
    {                                                                                              \
        0x2a, 0, 0, 0, 0, 8, 0, 0, 1, 0                                                            \
    }

typedef struct {
    const char *name;
    guint8 cdb[16];
    guint32 in;
    gsize out;
    guint kinds;
    int error;
    SenseCode code; /* SENSE_NONE: BUSY */
    gint64 lba;     /* -1: no INFORMATION */
    gboolean is_counted;
} ErrorRow;

/* clang-format off */
static const ErrorRow rows[] = {
    { "read-eio",        READ_10,  512, 0, ON_READ,  EIO,       SENSE_READ_ERROR,              8,  TRUE },
    { "read-enodata",    READ_10,  512, 0, ON_READ,  ENODATA,   SENSE_READ_ERROR,              8,  TRUE },
    { "write-eio",       WRITE_10, 0, 512, ON_WRITE, EIO,       SENSE_WRITE_ERROR,             8,  TRUE },
    { "write-enospc",    WRITE_10, 0, 512, ON_WRITE, ENOSPC,    SENSE_SPACE_ALLOCATION_FAILED, -1, TRUE },
    { "write-edquot",    WRITE_10, 0, 512, ON_WRITE, EDQUOT,    SENSE_SPACE_ALLOCATION_FAILED, -1, TRUE },
    { "write-erofs",     WRITE_10, 0, 512, ON_WRITE, EROFS,     SENSE_WRITE_PROTECTED,         -1, TRUE },
    { "read-enodev",     READ_10,  512, 0, ON_READ,  ENODEV,    SENSE_NOT_READY,               -1, TRUE },
    { "write-enxio",     WRITE_10, 0, 512, ON_WRITE, ENXIO,     SENSE_NOT_READY,               -1, TRUE },
    { "read-etimedout",  READ_10,  512, 0, ON_READ,  ETIMEDOUT, SENSE_COMMUNICATION_TIMEOUT,   -1, TRUE },
    { "write-etimedout", WRITE_10, 0, 512, ON_WRITE, ETIMEDOUT, SENSE_COMMUNICATION_TIMEOUT,   -1, TRUE },
    { "read-einval",     READ_10,  512, 0, ON_READ,  EINVAL,    SENSE_INTERNAL_TARGET_FAILURE, -1, TRUE },
    { "read-eagain",     READ_10,  512, 0, ON_READ,  EAGAIN,    SENSE_NONE,                    -1, FALSE },
    { "write-enomem",    WRITE_10, 0, 512, ON_WRITE, ENOMEM,    SENSE_NONE,                    -1, FALSE },
    { "write-ebusy",     WRITE_10, 0, 512, ON_WRITE, EBUSY,     SENSE_NONE,                    -1, FALSE },
    { "read-eintr",      READ_10,  512, 0, ON_READ,  EINTR,     SENSE_NONE,                    -1, FALSE },
    /* A flush that failed is never merely transient: what was acknowledged may be lost */
    { "flush-eio",       { 0x35 }, 0, 0,   ON_FLUSH, EIO,       SENSE_WRITE_ERROR,             0,  TRUE },
    { "flush-eagain",    { 0x35 }, 0, 0,   ON_FLUSH, EAGAIN,    SENSE_WRITE_ERROR,             0,  TRUE },
    { "verify-eio",      { 0x2f, 0, 0, 0, 0, 9, 0, 0, 1 }, 0, 0, ON_READ, EIO, SENSE_READ_ERROR, 9, TRUE },
    { "write-verify-write", { 0x2e, 2, 0, 0, 0, 9, 0, 0, 1 }, 0, 512, ON_WRITE, EIO, SENSE_WRITE_ERROR, 9, TRUE },
    { "write-verify-read",  { 0x2e, 2, 0, 0, 0, 9, 0, 0, 1 }, 0, 512, ON_READ, EIO, SENSE_READ_ERROR, 9, TRUE },
    { "write-same-eio",  { 0x41, 0, 0, 0, 0, 7, 0, 0, 4 }, 0, 512, ON_WRITE | FAULT_KIND(IO_ZERO), EIO, SENSE_WRITE_ERROR, 7, TRUE },
    { "write-same-enospc", { 0x41, 0, 0, 0, 0, 7, 0, 0, 4 }, 0, 512, ON_WRITE | FAULT_KIND(IO_ZERO), ENOSPC, SENSE_SPACE_ALLOCATION_FAILED, -1, TRUE },
    { "compare-and-write-read",  { 0x89, [9] = 6, [13] = 1 }, 0, 1024, ON_READ, EIO, SENSE_READ_ERROR, 6, TRUE },
    { "compare-and-write-write", { 0x89, [9] = 6, [13] = 1 }, 0, 1024, ON_WRITE, EIO, SENSE_WRITE_ERROR, 6, TRUE },
    { "compare-and-write-enospc", { 0x89, [9] = 6, [13] = 1 }, 0, 1024, ON_WRITE, ENOSPC, SENSE_SPACE_ALLOCATION_FAILED, -1, TRUE },
    { "or-write-read",   { 0x8b, [9] = 5, [13] = 1 }, 0, 512, ON_READ, EIO, SENSE_READ_ERROR, 5, TRUE },
    { "or-write-write",  { 0x8b, [9] = 5, [13] = 1 }, 0, 512, ON_WRITE, EIO, SENSE_WRITE_ERROR, 5, TRUE },
    { "write-atomic",    { 0x9c, [9] = 5, [13] = 1 }, 0, 512, ON_WRITE, EIO, SENSE_WRITE_ERROR, 5, TRUE },
};
/* clang-format on */

static gsize
cdb_length(const guint8 *cdb)
{
    return cdb[0] >= 0x80 ? 16 : 10;
}

static guint64
n_failures(const Rig *rig)
{
    LuStatistics statistics;

    lu_get_statistics(rig->lu, 0, &statistics);
    return statistics.n_read_failures + statistics.n_write_failures + statistics.n_verify_failures;
}

static void
test_error(gconstpointer data)
{
    const ErrorRow *row = data;
    Rig *rig = rig_of_size(MIB);
    TestCommand test;

    set(rig, &(FaultRule){ .kinds = row->kinds, .error = row->error, ALWAYS });
    run(rig, &test, row->cdb, cdb_length(row->cdb), row->in, row->out);
    if (row->code == SENSE_NONE)
        g_assert_cmphex(test.command.status, ==, SCSI_BUSY);
    else
        test_assert_sense(&test, row->code);
    if (row->lba >= 0)
        g_assert_cmpuint(information(&test), ==, row->lba);
    else if (row->code != SENSE_NONE)
        g_assert_cmphex(test.command.sense[0] & 0x80, ==, 0);

    /* Log pages show it, the administrator is told */
    g_assert_cmpuint(n_failures(rig), ==, row->is_counted);
    g_assert_cmpuint(rig->n_events, ==, row->is_counted);
    if (row->is_counted)
        g_assert_cmpint(rig->last_event.type, ==,
                        row->kinds & ON_FLUSH ? SCSI_EVENT_STORE_FAILED
                                              : SCSI_EVENT_BACKSTORE_ERROR);
    g_assert_cmpint(backstore_is_failed(rig->store), ==, (row->kinds & ON_FLUSH) != 0);
    rig_free(rig);
}

/* Again after the fault is gone; not so after a flush */
static void
test_recovery(gconstpointer data)
{
    const ErrorRow *row = data;
    Rig *rig = rig_of_size(MIB);
    TestCommand test;

    set(rig, &(FaultRule){ .kinds = row->kinds, .error = row->error, ALWAYS });
    run(rig, &test, row->cdb, cdb_length(row->cdb), row->in, row->out);
    set(rig, NULL);
    run(rig, &test, row->cdb, cdb_length(row->cdb), row->in, row->out);
    if (row->kinds & ON_FLUSH)
        test_assert_sense(&test, SENSE_WRITE_ERROR);
    else
        test_assert_good(&test);
    rig_free(rig);
}

/* MODE SELECT(6), control page, D_SENSE */
static void
test_descriptor_format(void)
{
    guint8 page[16];
    Rig *rig = rig_of_size(MIB);
    TestCommand test;

    (void)test_execute(rig, rig->nexus, &test, CDB(0x1a, 0x08, 0x0a, 0, sizeof(page), 0),
                       sizeof(page), NULL, 0);
    test_assert_good(&test);
    memcpy(page, test.in->data, sizeof(page));
    test_command_clear(&test);
    page[0] = 0;
    page[2] = 0;
    page[4] &= 0x3f;
    page[6] |= 0x04;
    (void)test_execute(rig, rig->nexus, &test, CDB(0x15, 0x10, 0, 0, sizeof(page), 0), 0, page,
                       sizeof(page));
    test_assert_good(&test);
    test_command_clear(&test);

    set(rig, &(FaultRule){
                 .kinds = ON_READ, .error = EIO, .offset = 5 * BLOCK, .length = BLOCK, ALWAYS });
    run(rig, &test, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 16, 0), 16 * BLOCK, 0);
    g_assert_cmphex(test.command.status, ==, SCSI_CHECK_CONDITION);
    g_assert_cmphex(test.command.sense[0], ==, 0x72);
    g_assert_cmphex(test.command.sense[1], ==, 0x03);
    g_assert_cmphex(test.command.sense[2], ==, 0x11);
    g_assert_cmpuint(information(&test), ==, 5);
    rig_free(rig);
}

/*
 * Which block
 */

static void
assert_found(Rig *rig, guint32 lba)
{
    TestCommand test;

    set(rig, &(FaultRule){
                 .kinds = ON_READ, .error = EIO, .offset = lba * BLOCK, .length = BLOCK, ALWAYS });
    run(rig, &test, CDB(0x28, 0, 0, 0, 0, 0, 0, 0x08, 0, 0), MIB, 0);
    test_assert_sense(&test, SENSE_READ_ERROR);
    g_assert_cmpuint(information(&test), ==, lba);
}

static void
test_bad_block_is_found(void)
{
    static const guint32 bad[] = { 0, 1, 2, 1023, 1024, 1337, 2046, 2047 };
    Rig *rig = rig_of_size(MIB);

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_found(rig, bad[i]);
    rig_free(rig);
}

/* The first of several */
static void
test_first_bad_block_is_found(void)
{
    Rig *rig = rig_of_size(MIB);
    TestCommand test;

    set(rig,
        &(FaultRule){
            .kinds = ON_READ, .error = EIO, .offset = 77 * BLOCK, .length = 900 * BLOCK, ALWAYS });
    run(rig, &test, CDB(0x28, 0, 0, 0, 0, 0, 0, 0x08, 0, 0), MIB, 0);
    test_assert_sense(&test, SENSE_READ_ERROR);
    g_assert_cmpuint(information(&test), ==, 77);

    run(rig, &test, CDB(0x2f, 0, 0, 0, 0, 0, 0, 0x08, 0, 0), 0, 0);
    test_assert_sense(&test, SENSE_READ_ERROR);
    g_assert_cmpuint(information(&test), ==, 77);
    rig_free(rig);
}

/* An error that has gone when it is looked for: it was somewhere from here on */
static void
test_error_that_has_gone(void)
{
    Rig *rig = rig_of_size(MIB);
    TestCommand test;

    set(rig, &(FaultRule){ .kinds = ON_READ, .error = EIO, .count = 1, ALWAYS });
    run(rig, &test, CDB(0x28, 0, 0, 0, 0, 16, 0, 0, 64, 0), 64 * BLOCK, 0);
    test_assert_sense(&test, SENSE_READ_ERROR);
    g_assert_cmpuint(information(&test), ==, 16);
    g_assert_cmpuint(n_failures(rig), ==, 1);
    g_assert_cmpuint(rig->n_events, ==, 1);
    rig_free(rig);
}

/*
 * Commands in several steps
 */

/* 8 MiB, of which the third is bad in the middle: two have been sent, and that much is told */
static void
test_read_in_segments(void)
{
    guint32 lba = 5 * MIB / 2 / BLOCK;
    Rig *rig = rig_of_size(8 * MIB);
    TestCommand test;

    set(rig, &(FaultRule){
                 .kinds = ON_READ, .error = EIO, .offset = lba * BLOCK, .length = 4096, ALWAYS });
    (void)test_execute(rig, rig->nexus, &test, CDB(0x28, 0, 0, 0, 0, 0, 0, 0x40, 0, 0), 8 * MIB,
                       NULL, 0);
    test_assert_sense(&test, SENSE_READ_ERROR);
    g_assert_cmpuint(information(&test), ==, lba);
    g_assert_cmpuint(test.in->len, ==, 2 * MIB);
    g_assert_cmpuint(test.command.transfer_length, ==, 2 * MIB);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_write_in_segments(void)
{
    guint32 lba = 2 * MIB / BLOCK;
    Rig *rig = rig_of_size(8 * MIB);
    TestCommand test;

    set(rig, &(FaultRule){
                 .kinds = ON_WRITE, .error = EIO, .offset = 5 * MIB / 2, .length = BLOCK, ALWAYS });
    run(rig, &test, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0x40, 0, 0), 0, 8 * MIB);
    test_assert_sense(&test, SENSE_WRITE_ERROR);
    g_assert_cmpuint(information(&test), ==, lba);
    g_assert_cmpuint(test.command.transfer_length, ==, 2 * MIB);
    rig_free(rig);
}

/* Two descriptors, of which the second one fails: the first is done */
static void
test_unmap(void)
{
    guint8 list[40] = { 0, 38, 0, 32 };
    Rig *rig = rig_of_size(MIB);
    TestCommand test;

    put_be64(list + 8, 3);
    put_be32(list + 16, 1);
    put_be64(list + 24, 9);
    put_be32(list + 32, 1);
    memset(slow_memory(rig->store), 0x5a, 16 * BLOCK);
    set(rig, &(FaultRule){ .kinds = FAULT_KIND(IO_UNMAP),
                           .error = EIO,
                           .offset = 9 * BLOCK,
                           .length = BLOCK,
                           ALWAYS });
    (void)test_execute(rig, rig->nexus, &test, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), 0, list,
                       sizeof(list));
    test_command_clear(&test);
    test_assert_sense(&test, SENSE_WRITE_ERROR);
    g_assert_cmpuint(information(&test), ==, 9);
    g_assert_cmphex(slow_memory(rig->store)[3 * BLOCK], ==, 0);
    g_assert_cmphex(slow_memory(rig->store)[9 * BLOCK], ==, 0x5a);
    rig_free(rig);
}

/* What fails while it compares has written nothing */
static void
test_compare_and_write_is_all_or_nothing(void)
{
    Rig *rig = rig_of_size(MIB);
    TestCommand test;

    memset(slow_memory(rig->store), 0, MIB);
    set(rig, &(FaultRule){
                 .kinds = ON_READ, .error = EIO, .offset = 254 * BLOCK, .length = BLOCK, ALWAYS });
    run(rig, &test, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0), 0, 510 * BLOCK);
    test_assert_sense(&test, SENSE_READ_ERROR);
    g_assert_cmpuint(slow_n_done(rig->store, IO_WRITE), ==, 0);
    rig_free(rig);
}

/* A sanitize operation that failed: the unit has to be told to leave the failure mode */
static void
test_sanitize(void)
{
    Rig *rig = rig_of_size(MIB);
    TestCommand test;

    set(rig, &(FaultRule){ .kinds = EVERY & ~ON_READ, .error = EIO, .count = 1, ALWAYS });
    run(rig, &test, CDB(0x48, 0x22, 0, 0, 0, 0, 0, 0, 0, 0), 0, 0);
    test_assert_sense(&test, SENSE_SANITIZE_FAILED);
    rig->nexus->luns[0]->attentions.n = 0;
    run(rig, &test, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), BLOCK, 0);
    test_assert_sense(&test, SENSE_SANITIZE_FAILED);
    g_assert_cmpuint(rig->n_events, >, 0);
    run(rig, &test, CDB(0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0), 0, 0);
    test_assert_good(&test);
    rig->nexus->luns[0]->attentions.n = 0;
    run(rig, &test, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), BLOCK, 0);
    test_assert_good(&test);
    rig_free(rig);
}

/*
 * Storage that does not answer
 */

static void
on_reset(Lu *lu, gpointer user_data)
{
    (void)lu;
    *(gboolean *)user_data = TRUE;
}

static void
start_read(TestCommand *test, Nexus *nexus, guint counter_lba)
{
    test_command_init(test, nexus, 0, CDB(0x28, 0, 0, 0, 0, (guint8)counter_lba, 0, 0, 1, 0));
    test->command.expected_in = BLOCK;
    test_start(test);
}

static void
on_tmf(ScsiTmf *tmf)
{
    g_assert_cmpint(tmf->response, ==, TMF_COMPLETE);
    tmf->done = NULL;
}

/* The task cannot be said to be gone while storage may still carry it out */
static void
test_abort_of_a_stalled_task(void)
{
    Rig *rig = rig_of_size(MIB);
    TestCommand stuck, test;
    ScsiTmf tmf = { .function = TMF_ABORT_TASK, .nexus = rig->nexus, .done = on_tmf };

    set(rig, &(FaultRule){ .kinds = ON_READ, .stall = TRUE, .length = BLOCK, ALWAYS });
    start_read(&stuck, rig->nexus, 0);
    tmf.command = &stuck.command;
    scsi_tmf_start(&tmf);
    rig_turn(rig);
    g_assert_nonnull(tmf.done);
    run(rig, &test, CDB(0x28, 0, 0, 0, 0, 8, 0, 0, 1, 0), BLOCK, 0);
    test_assert_good(&test);

    set(rig, NULL);
    rig_turn(rig);
    g_assert_null(tmf.done);
    g_assert_true(stuck.is_done && stuck.command.aborted);
    test_command_clear(&stuck);
    rig_free(rig);
}

static void
test_reset_of_a_stalled_unit(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Nexus *other = rig_new_nexus(rig, 1, 2);
    Backstore *second_store;
    const BackstoreConfig config = { .type = "ram", .name = "calm", .size = MIB, .fd = -1 };
    const LuConfig calm = { .name = "calm", .uuid = { 1 } };
    TestCommand stuck[2], test;
    gboolean is_reset = FALSE;
    Mailbox mailbox;
    LunMap *map;
    Lu *lu;

    g_assert_true(mailbox_init(&mailbox, NULL));
    second_store = backstore_open(&config, rig->offload, 2, NULL);
    lu = lu_new(&calm, second_store, rig->workers, 2, 1);
    map = lun_map_new((LunEntry[]){ { 0, rig->lu, FALSE }, { 1, lu, FALSE } }, 2);
    nexus_set_map(rig->nexus, map);
    nexus_set_map(other, map);
    for (guint i = 0; i < 2; i++) {
        rig->nexus->luns[i]->attentions.n = 0;
        other->luns[i]->attentions.n = 0;
    }

    set(rig, &(FaultRule){ .kinds = ON_READ, .stall = TRUE, ALWAYS });
    start_read(&stuck[0], rig->nexus, 0);
    start_read(&stuck[1], other, 8);
    lu_reset(rig->lu, &mailbox, on_reset, &is_reset);
    rig_turn(rig);
    (void)mailbox_drain(&mailbox);
    g_assert_false(is_reset || stuck[0].is_done || stuck[1].is_done);

    /* The administrator hears of it after a while, once for each worker, and not again */
    g_assert_cmpuint(rig->n_events, ==, 0);
    clock_advance(&rig->clock, 4 * USEC_PER_SEC);
    rig_turn(rig);
    g_assert_cmpuint(rig->n_events, ==, 0);
    clock_advance(&rig->clock, 2 * USEC_PER_SEC);
    rig_turn(rig);
    g_assert_cmpuint(rig->n_events, ==, 2);
    g_assert_cmpint(rig->last_event.type, ==, SCSI_EVENT_LU_STALLED);
    clock_advance(&rig->clock, 60 * USEC_PER_SEC);
    rig_turn(rig);
    g_assert_cmpuint(rig->n_events, ==, 2);

    /* Others are not disturbed */
    test_command_init(&test, other, 1, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test.command.expected_in = BLOCK;
    test_run(rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);

    set(rig, NULL);
    rig_turn(rig);
    (void)mailbox_drain(&mailbox);
    g_assert_true(is_reset && stuck[0].is_done && stuck[1].is_done);
    for (guint i = 0; i < 2; i++) {
        g_assert_true(stuck[i].command.aborted);
        test_command_clear(&stuck[i]);
    }
    (void)test_execute(rig, other, &test, CDB(0, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_assert_sense(&test, SENSE_LU_RESET);
    test_command_clear(&test);

    nexus_free(other);
    nexus_set_map(rig->nexus, rig->map);
    rig_turn(rig);
    snapshot_unref(&map->snapshot);
    lu_free(lu);
    backstore_close(second_store);
    mailbox_deinit(&mailbox);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *error = g_strconcat("/scsi/faults/error/", rows[i].name, NULL);
        g_autofree char *recovery = g_strconcat("/scsi/faults/recovery/", rows[i].name, NULL);

        g_test_add_data_func(error, &rows[i], test_error);
        g_test_add_data_func(recovery, &rows[i], test_recovery);
    }
    g_test_add_func("/scsi/faults/descriptor-format", test_descriptor_format);
    g_test_add_func("/scsi/faults/bad-block-is-found", test_bad_block_is_found);
    g_test_add_func("/scsi/faults/first-bad-block-is-found", test_first_bad_block_is_found);
    g_test_add_func("/scsi/faults/error-that-has-gone", test_error_that_has_gone);
    g_test_add_func("/scsi/faults/read-in-segments", test_read_in_segments);
    g_test_add_func("/scsi/faults/write-in-segments", test_write_in_segments);
    g_test_add_func("/scsi/faults/unmap", test_unmap);
    g_test_add_func("/scsi/faults/compare-and-write-is-all-or-nothing",
                    test_compare_and_write_is_all_or_nothing);
    g_test_add_func("/scsi/faults/sanitize", test_sanitize);
    g_test_add_func("/scsi/faults/abort-of-a-stalled-task", test_abort_of_a_stalled_task);
    g_test_add_func("/scsi/faults/reset-of-a-stalled-unit", test_reset_of_a_stalled_unit);
    return g_test_run();
}
