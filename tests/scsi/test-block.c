/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Commands that touch the medium, by byte vectors against the slow store. */

#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

typedef struct {
    Rig *rig;
    TestCommand test;
    guint8 *data; /* 4 MiB of a pattern */
} Case;

#define DATA_SIZE ((gsize)4 << 20)

static void
case_init(Case *c, const RigConfig *config)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(config);
    c->data = g_malloc(DATA_SIZE);
    for (gsize i = 0; i < DATA_SIZE; i++)
        c->data[i] = (guint8)(i * 7 + (i >> 9) * 13 + 1);
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

static const guint8 *
in(Case *c, const guint8 *cdb, gsize n, guint32 expected)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, c->rig->nexus, &c->test, cdb, n, expected, NULL, 0);
    return c->test.in->data;
}

static const RigConfig plain = { 0 };
static const RigConfig thin = { .slow = { .thin = TRUE } };
static const RigConfig large = { .slow = { .size = 8 << 20 } };

/* Each length of CDB writes and reads back two blocks at LBA 3 */
static void
check_write_read(const guint8 *write, const guint8 *read, gsize n)
{
    Case c;

    case_init(&c, &plain);
    out(&c, write, n, 1024);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 1024);
    g_assert_cmpmem(slow_memory(c.rig->store) + 3 * 512, 1024, c.data, 1024);

    (void)in(&c, read, n, 1024);
    test_assert_good(&c.test);
    g_assert_cmpmem(c.test.in->data, c.test.in->len, c.data, 1024);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 1024);
    case_clear(&c);
}

static void
test_6(void)
{
    static const guint8 w[] = { 0x0a, 0, 0, 3, 2, 0 }, r[] = { 0x08, 0, 0, 3, 2, 0 };

    check_write_read(w, r, sizeof(w));
}

static void
test_10(void)
{
    static const guint8 w[] = { 0x2a, 0, 0, 0, 0, 3, 0, 0, 2, 0 };
    static const guint8 r[] = { 0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0 };

    check_write_read(w, r, sizeof(w));
}

static void
test_12(void)
{
    static const guint8 w[] = { 0xaa, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0 };
    static const guint8 r[] = { 0xa8, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0 };

    check_write_read(w, r, sizeof(w));
}

static void
test_16(void)
{
    static const guint8 w[] = { 0x8a, 0x18, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0 };
    static const guint8 r[] = { 0x88, 0x18, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0 };

    check_write_read(w, r, sizeof(w));
}

static void
test_6_zero_is_256(void)
{
    Case c;

    case_init(&c, &plain);
    (void)in(&c, CDB(0x08, 0, 0, 0, 0, 0), 256 * 512);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 256 * 512);
    case_clear(&c);
}

static void
test_zero_blocks(void)
{
    Case c;

    case_init(&c, &plain);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0x08, 0x01, 0, 0, 0, 0), 0);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 0);
    case_clear(&c);
}

static void
test_lba_range(void)
{
    Case c;

    case_init(&c, &plain);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0x07, 0xff, 0, 0, 1, 0), 512);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0x07, 0xff, 0, 0, 2, 0), 1024);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    (void)in(&c, CDB(0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0),
             512);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    out(&c, CDB(0x2a, 0, 0, 0, 0x08, 0x00, 0, 0, 1, 0), 512);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    case_clear(&c);
}

static void
test_too_long(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .type = "null", .size = (guint64)1 << 30 });
    (void)in(&c, CDB(0xa8, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x01, 0, 0), 512);
    test_assert_field(&c.test, TRUE, 6, 7);
    out(&c, CDB(0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x01, 0, 0), 512);
    test_assert_field(&c.test, TRUE, 10, 7);
    case_clear(&c);
}

static void
test_longest(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .type = "null", .size = (guint64)1 << 30 });
    (void)in(&c, CDB(0xa8, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0), 8 << 20);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 8 << 20);
    g_assert_cmpuint(c.test.n_segments, ==, 7);
    case_clear(&c);
}

static void
test_segments_of_write_and_read(void)
{
    const gsize size = ((gsize)7 << 20) / 2; /* 3.5 MiB */
    Case c;

    case_init(&c, &large);
    out(&c, CDB(0x2a, 0, 0, 0, 0, 1, 0, 0x1c, 0, 0), size);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.n_segments, ==, 4);
    g_assert_cmpmem(slow_memory(c.rig->store) + 512, size, c.data, size);

    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 1, 0, 0x1c, 0, 0), (guint32)size);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.n_segments, ==, 3);
    g_assert_cmpmem(c.test.in->data, c.test.in->len, c.data, size);
    case_clear(&c);
}

/* The initiator has less room, or more, than the CDB moves */
static void
test_read_residuals(void)
{
    Case c;

    case_init(&c, &plain);
    memcpy(slow_memory(c.rig->store), c.data, 1024);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0), 700);
    test_assert_good(&c.test);
    g_assert_cmpmem(c.test.in->data, c.test.in->len, c.data, 700);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 1024);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0), 4096);
    g_assert_cmpuint(c.test.in->len, ==, 1024);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 1024);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0), 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 1024);
    case_clear(&c);
}

static void
test_write_residuals(void)
{
    static const guint8 zeros[512];
    Case c;

    case_init(&c, &plain);
    out(&c, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0), 700);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 1024);
    g_assert_cmpmem(slow_memory(c.rig->store), 512, c.data, 512);
    g_assert_cmpmem(slow_memory(c.rig->store) + 512, 512, zeros, 512);
    out(&c, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 2048);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 512);
    out(&c, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 512);
    case_clear(&c);
}

static void
test_write_protected(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .slow = { .read_only = TRUE } });
    out(&c, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
    test_assert_sense(&c.test, SENSE_WRITE_PROTECTED);
    out(&c, CDB(0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
    test_assert_sense(&c.test, SENSE_WRITE_PROTECTED);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_write_protected_by_map(void)
{
    LunMap *map;
    Case c;

    case_init(&c, &plain);
    map = lun_map_new(&(LunEntry){ .lun = 0, .lu = c.rig->lu, .read_only = TRUE }, 1);
    nexus_set_map(c.rig->nexus, map);
    snapshot_unref(&map->snapshot);
    c.rig->nexus->luns[0]->attentions.n = 0;
    out(&c, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
    test_assert_sense(&c.test, SENSE_WRITE_PROTECTED);
    case_clear(&c);
}

static void
test_read_error(void)
{
    Case c;

    case_init(&c, &plain);
    slow_fail_next(c.rig->store, EIO);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0), 512);
    test_assert_sense(&c.test, SENSE_READ_ERROR);
    g_assert_cmphex(c.test.command.sense[0], ==, 0xf0);
    g_assert_cmpuint(get_be32(c.test.command.sense + 3), ==, 9);
    g_assert_cmpuint(c.rig->n_events, ==, 1);
    g_assert_cmpint(c.rig->last_event.type, ==, SCSI_EVENT_BACKSTORE_ERROR);
    g_assert_cmpint(c.rig->last_event.error, ==, EIO);
    case_clear(&c);
}

static void
test_errors_by_errno(void)
{
    static const struct {
        int error;
        SenseCode code;
    } cases[] = {
        { ENOSPC, SENSE_SPACE_ALLOCATION_FAILED },
        { ENODEV, SENSE_NOT_READY },
        { EROFS, SENSE_WRITE_PROTECTED },
        { EINVAL, SENSE_INTERNAL_TARGET_FAILURE },
    };
    Case c;

    case_init(&c, &plain);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        slow_fail_next(c.rig->store, cases[i].error);
        out(&c, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
        test_assert_sense(&c.test, cases[i].code);
    }
    case_clear(&c);
}

static void
test_no_memory_is_busy(void)
{
    Case c;

    case_init(&c, &plain);
    slow_fail_next(c.rig->store, ENOMEM);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
    g_assert_cmphex(c.test.command.status, ==, SCSI_BUSY);
    g_assert_cmpuint(c.test.command.sense_length, ==, 0);
    case_clear(&c);
}

static void
test_failed_flush(void)
{
    Case c;

    case_init(&c, &plain);
    slow_fail_next(c.rig->store, EIO);
    (void)in(&c, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_sense(&c.test, SENSE_WRITE_ERROR);
    g_assert_cmpint(c.rig->last_event.type, ==, SCSI_EVENT_STORE_FAILED);
    out(&c, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
    test_assert_sense(&c.test, SENSE_WRITE_ERROR);
    (void)in(&c, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_sense(&c.test, SENSE_WRITE_ERROR);
    (void)in(&c, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_synchronize_cache(void)
{
    Case c;

    case_init(&c, &plain);
    (void)in(&c, CDB(0x35, 0x02, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0x91, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0), 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 2);
    (void)in(&c, CDB(0x35, 0, 0, 0, 0x07, 0xff, 0, 0, 2, 0), 0);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    case_clear(&c);
}

static void
test_start_stop(void)
{
    Case c;

    case_init(&c, &plain);
    (void)in(&c, CDB(0x1b, 0, 0, 0, 0x01, 0), 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 0);
    (void)in(&c, CDB(0x1b, 0, 0, 0, 0x00, 0), 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);
    (void)in(&c, CDB(0x1b, 0, 0, 0, 0x04, 0), 0);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 1);
    (void)in(&c, CDB(0x1b, 0, 0, 0, 0x02, 0), 0);
    test_assert_field(&c.test, TRUE, 4, 1);
    case_clear(&c);
}

static void
test_verify_medium(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .type = "null", .size = (guint64)100 << 20 });
    (void)in(&c, CDB(0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0x20, 0, 0, 0), 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 0);
    case_clear(&c);
}

static void
test_verify_medium_error(void)
{
    Case c;

    case_init(&c, &plain);
    slow_fail_next(c.rig->store, EIO);
    (void)in(&c, CDB(0x2f, 0, 0, 0, 0, 4, 0, 0, 1, 0), 0);
    test_assert_sense(&c.test, SENSE_READ_ERROR);
    case_clear(&c);
}

static void
test_verify_equal(void)
{
    const gsize size = (gsize)3 << 19; /* 1.5 MiB: two segments */
    Case c;

    case_init(&c, &large);
    memcpy(slow_memory(c.rig->store) + 5 * 512, c.data, size);
    out(&c, CDB(0xaf, 0x02, 0, 0, 0, 5, 0, 0, 0x0c, 0, 0, 0), size);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, size);
    case_clear(&c);
}

static void
test_verify_miscompare(void)
{
    const gsize size = (gsize)3 << 19;
    Case c;

    case_init(&c, &large);
    memcpy(slow_memory(c.rig->store), c.data, size);
    slow_memory(c.rig->store)[size - 3] ^= 1;
    out(&c, CDB(0xaf, 0x02, 0, 0, 0, 0, 0, 0, 0x0c, 0, 0, 0), size);
    test_assert_sense(&c.test, SENSE_MISCOMPARE_DURING_VERIFY);
    g_assert_cmphex(c.test.command.sense[0], ==, 0xf0);
    g_assert_cmpuint(get_be32(c.test.command.sense + 3), ==, size - 3);
    case_clear(&c);
}

static void
test_verify_one_block(void)
{
    Case c;

    case_init(&c, &plain);
    for (guint i = 0; i < 1000; i++)
        memcpy(slow_memory(c.rig->store) + 512 * (gsize)i, c.data, 512);
    out(&c, CDB(0x2f, 0x06, 0, 0, 0, 0, 0, 0x03, 0xe8, 0), 512);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 512);
    slow_memory(c.rig->store)[900 * 512 + 77] ^= 1;
    out(&c, CDB(0x2f, 0x06, 0, 0, 0, 0, 0, 0x03, 0xe8, 0), 512);
    test_assert_sense(&c.test, SENSE_MISCOMPARE_DURING_VERIFY);
    g_assert_cmpuint(get_be32(c.test.command.sense + 3), ==, 77);
    case_clear(&c);
}

static void
check_write_and_verify(const guint8 *cdb, gsize n)
{
    Case c;

    case_init(&c, &plain);
    out(&c, cdb, n, 1024);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 1024);
    g_assert_cmpmem(slow_memory(c.rig->store) + 3 * 512, 1024, c.data, 1024);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 1);
    out(&c, cdb, n, 700);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 1024);
    case_clear(&c);
}

static void
test_write_and_verify(void)
{
    check_write_and_verify(CDB(0x2e, 0x02, 0, 0, 0, 3, 0, 0, 2, 0));
    check_write_and_verify(CDB(0xae, 0x10, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0));
    check_write_and_verify(CDB(0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0));
}

static void
test_write_and_verify_in_segments(void)
{
    const gsize size = (gsize)3 << 19;
    Case c;

    case_init(&c, &large);
    out(&c, CDB(0xae, 0x02, 0, 0, 0, 5, 0, 0, 0x0c, 0, 0, 0), size);
    test_assert_good(&c.test);
    g_assert_true(memcmp(slow_memory(c.rig->store) + 5 * 512, c.data, size) == 0);
    case_clear(&c);
}

/* What came back is not what was written: somebody else wrote in between */
static void
test_write_and_verify_miscompare(void)
{
    Case c;

    case_init(&c, &plain);
    slow_hold(c.rig->store, TRUE);
    test_command_init(&c.test, c.rig->nexus, 0, CDB(0x2e, 0, 0, 0, 0, 3, 0, 0, 1, 0));
    c.test.command.expected_out = 512;
    c.test.out = c.data;
    c.test.n_out = DATA_SIZE;
    test_start(&c.test);
    slow_release(c.rig->store, 0);
    slow_memory(c.rig->store)[3 * 512 + 44] ^= 1;
    slow_release(c.rig->store, 0);
    test_assert_sense(&c.test, SENSE_MISCOMPARE_DURING_VERIFY);
    g_assert_cmpuint(get_be32(c.test.command.sense + 3), ==, 44);
    case_clear(&c);
}

/* DPO is taken and means nothing, as READ and WRITE do; VRPROTECT asks for what is not there */
static void
test_verify_dpo(void)
{
    Case c;

    case_init(&c, &plain);
    out(&c, CDB(0x2f, 0x10, 0, 0, 0, 0, 0, 0, 1, 0), 0);
    test_assert_good(&c.test);
    out(&c, CDB(0xaf, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), 0);
    test_assert_good(&c.test);
    out(&c, CDB(0x8f, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), 0);
    test_assert_good(&c.test);
    out(&c, CDB(0x2f, 0x20, 0, 0, 0, 0, 0, 0, 1, 0), 0);
    test_assert_field(&c.test, TRUE, 1, 7);
    case_clear(&c);
}

static void
test_verify_reserved_bytchk(void)
{
    Case c;

    case_init(&c, &plain);
    out(&c, CDB(0x2f, 0x04, 0, 0, 0, 0, 0, 0, 1, 0), 512);
    test_assert_field(&c.test, TRUE, 1, 2);
    case_clear(&c);
}

/* Less data than the CDB compares with: GOOD would vouch for what was not compared */
static void
test_verify_short_data(void)
{
    Case c;

    case_init(&c, &plain);
    memcpy(slow_memory(c.rig->store), c.data, 1024);
    out(&c, CDB(0x2f, 0x02, 0, 0, 0, 0, 0, 0, 2, 0), 1024);
    test_assert_good(&c.test);
    slow_memory(c.rig->store)[512] ^= 1;
    out(&c, CDB(0x2f, 0x02, 0, 0, 0, 0, 0, 0, 2, 0), 512);
    test_assert_field(&c.test, TRUE, 7, 7);
    out(&c, CDB(0x2f, 0x06, 0, 0, 0, 0, 0, 0, 2, 0), 0);
    test_assert_field(&c.test, TRUE, 7, 7);
    case_clear(&c);
}

static void
put_unmap(Case *c, guint i, guint64 lba, guint32 n)
{
    put_be16(c->data, (guint16)(6 + 16 * (i + 1)));
    put_be16(c->data + 2, (guint16)(16 * (i + 1)));
    put_be64(c->data + 8 + 16 * (gsize)i, lba);
    put_be32(c->data + 16 + 16 * (gsize)i, n);
}

static void
test_unmap(void)
{
    static const guint8 zeros[512];
    Case c;

    case_init(&c, &thin);
    memset(slow_memory(c.rig->store), 0xaa, 1 << 20);
    put_unmap(&c, 0, 4, 1);
    put_unmap(&c, 1, 100, 0);
    put_unmap(&c, 2, 2047, 1);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 56, 0), 56);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_UNMAP), ==, 2);
    g_assert_cmpmem(slow_memory(c.rig->store) + 4 * 512, 512, zeros, 512);
    g_assert_cmphex(slow_memory(c.rig->store)[5 * 512], ==, 0xaa);
    g_assert_cmpmem(slow_memory(c.rig->store) + 2047 * 512, 512, zeros, 512);
    case_clear(&c);
}

static void
test_unmap_most_descriptors(void)
{
    Case c;

    case_init(&c, &thin);
    for (guint i = 0; i < 256; i++)
        put_unmap(&c, i, i, 1);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0x10, 0x08, 0), 8 + 256 * 16);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_UNMAP), ==, 256);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0x10, 0x18, 0), 8 + 257 * 16);
    test_assert_field(&c.test, TRUE, 7, 7);
    case_clear(&c);
}

/* A bad descriptor, wherever it stands, keeps the good ones from taking effect */
static void
test_unmap_is_checked_first(void)
{
    Case c;

    case_init(&c, &thin);
    put_unmap(&c, 0, 0, 1);
    put_unmap(&c, 1, 2047, 2);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), 40);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_UNMAP), ==, 0);
    case_clear(&c);
}

static void
test_unmap_too_many_blocks(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .type = "null", .size = (guint64)1 << 40, .lu = { .thin = TRUE } });
    put_unmap(&c, 0, 0, 1 << 20);
    put_unmap(&c, 1, 0, 1);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), 40);
    test_assert_field(&c.test, FALSE, 8 + 16 + 8, 7);
    case_clear(&c);
}

static void
test_unmap_list_lengths(void)
{
    Case c;

    case_init(&c, &thin);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_good(&c.test);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 7, 0), 7);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    put_unmap(&c, 1, 0, 1);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), 24);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    put_unmap(&c, 0, 0, 1);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), 16);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    case_clear(&c);
}

static void
test_write_same_pattern(void)
{
    Case c;

    case_init(&c, &plain);
    out(&c, CDB(0x41, 0, 0, 0, 0, 8, 0, 0x03, 0xe8, 0), 512);
    test_assert_good(&c.test);
    for (guint i = 8; i < 1008; i++)
        g_assert_cmpmem(slow_memory(c.rig->store) + 512 * (gsize)i, 512, c.data, 512);
    g_assert_cmphex(slow_memory(c.rig->store)[1008 * 512], ==, 0);
    g_assert_cmphex(slow_memory(c.rig->store)[8 * 512 - 1], ==, 0);
    case_clear(&c);
}

static void
test_write_same_zero(void)
{
    Case c;

    case_init(&c, &plain);
    memset(slow_memory(c.rig->store), 0xaa, 1 << 20);
    memset(c.data, 0, 512);
    out(&c, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0), 512);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_ZERO), ==, 1);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, 0);
    g_assert_cmphex(slow_memory(c.rig->store)[511], ==, 0xaa);
    g_assert_cmphex(slow_memory(c.rig->store)[512], ==, 0);
    g_assert_cmphex(slow_memory(c.rig->store)[513 * 512 - 1], ==, 0);
    g_assert_cmphex(slow_memory(c.rig->store)[513 * 512], ==, 0xaa);
    case_clear(&c);
}

static void
test_write_same_ndob(void)
{
    Case c;

    case_init(&c, &thin);
    memset(slow_memory(c.rig->store), 0xaa, 1 << 20);
    out(&c, CDB(0x93, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0), 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 0);
    g_assert_cmphex(slow_memory(c.rig->store)[9 * 512 - 1], ==, 0);
    g_assert_cmphex(slow_memory(c.rig->store)[9 * 512], ==, 0xaa);
    case_clear(&c);
}

static void
test_write_same_of_partial_physical_blocks(void)
{
    static const guint8 zeros[10 * 512];
    Case c;

    case_init(&c, &(RigConfig){ .slow = { .offset_align = 4096 } });
    memset(slow_memory(c.rig->store), 0xaa, 1 << 20);
    out(&c, CDB(0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 10, 0, 0), 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_ZERO), ==, 1);
    g_assert_cmpmem(slow_memory(c.rig->store) + 7 * 512, 10 * 512, zeros, 10 * 512);
    g_assert_cmphex(slow_memory(c.rig->store)[7 * 512 - 1], ==, 0xaa);
    g_assert_cmphex(slow_memory(c.rig->store)[17 * 512], ==, 0xaa);
    case_clear(&c);
}

static void
test_write_same_refusals(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .type = "null", .size = (guint64)1 << 30 });
    out(&c, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 512);
    test_assert_field(&c.test, TRUE, 10, 7);
    out(&c, CDB(0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x04, 0, 1, 0, 0), 512);
    test_assert_field(&c.test, TRUE, 10, 7);
    out(&c, CDB(0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), 512);
    test_assert_field(&c.test, TRUE, 1, 3);
    out(&c, CDB(0x93, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), 512);
    test_assert_field(&c.test, TRUE, 1, 4);
    out(&c, CDB(0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), 100); /* less or more than the block */
    test_assert_field(&c.test, TRUE, 7, 7);
    out(&c, CDB(0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), 1024);
    test_assert_field(&c.test, TRUE, 7, 7);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/block/" name, fn)
    ADD("6", test_6);
    ADD("10", test_10);
    ADD("12", test_12);
    ADD("16", test_16);
    ADD("6-zero-is-256", test_6_zero_is_256);
    ADD("zero-blocks", test_zero_blocks);
    ADD("lba-range", test_lba_range);
    ADD("too-long", test_too_long);
    ADD("longest", test_longest);
    ADD("segments-of-write-and-read", test_segments_of_write_and_read);
    ADD("read-residuals", test_read_residuals);
    ADD("write-residuals", test_write_residuals);
    ADD("write-protected", test_write_protected);
    ADD("write-protected-by-map", test_write_protected_by_map);
    ADD("read-error", test_read_error);
    ADD("errors-by-errno", test_errors_by_errno);
    ADD("no-memory-is-busy", test_no_memory_is_busy);
    ADD("failed-flush", test_failed_flush);
    ADD("synchronize-cache", test_synchronize_cache);
    ADD("start-stop", test_start_stop);
    ADD("verify-medium", test_verify_medium);
    ADD("verify-medium-error", test_verify_medium_error);
    ADD("verify-equal", test_verify_equal);
    ADD("verify-miscompare", test_verify_miscompare);
    ADD("verify-one-block", test_verify_one_block);
    ADD("verify-dpo", test_verify_dpo);
    ADD("verify-reserved-bytchk", test_verify_reserved_bytchk);
    ADD("verify-short-data", test_verify_short_data);
    ADD("write-and-verify", test_write_and_verify);
    ADD("write-and-verify-in-segments", test_write_and_verify_in_segments);
    ADD("write-and-verify-miscompare", test_write_and_verify_miscompare);
    ADD("unmap", test_unmap);
    ADD("unmap-most-descriptors", test_unmap_most_descriptors);
    ADD("unmap-is-checked-first", test_unmap_is_checked_first);
    ADD("unmap-too-many-blocks", test_unmap_too_many_blocks);
    ADD("unmap-list-lengths", test_unmap_list_lengths);
    ADD("write-same-pattern", test_write_same_pattern);
    ADD("write-same-zero", test_write_same_zero);
    ADD("write-same-ndob", test_write_same_ndob);
    ADD("write-same-of-partial-physical-blocks", test_write_same_of_partial_physical_blocks);
    ADD("write-same-refusals", test_write_same_refusals);
    return g_test_run();
}
