/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* GET LBA STATUS, PRE-FETCH and READ DEFECT DATA. */

#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

#define BLOCK 512

typedef struct {
    Rig *rig;
    TestCommand test;
    guint8 data[1 << 16];
} Case;

static void
case_init(Case *c, const RigConfig *config)
{
    memset(c, 0, sizeof(*c));
    memset(c->data, 0xa5, sizeof(c->data));
    c->rig = rig_new(config);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
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

static const RigConfig thin_ram = { .type = "ram", .lu = { .thin = TRUE } };
static const RigConfig thick_ram = { .type = "ram" };
static const RigConfig plain = { 0 };

#define LBA_STATUS(lba, length)                                                                    \
    CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, (lba) >> 8, (lba)&0xff, 0, 0, (length) >> 8, (length)&0xff,  \
        0, 0)
#define WRITE_8(lba) CDB(0x2a, 0, 0, 0, 0, lba, 0, 0, 8, 0)

static void
assert_run(const guint8 *data, guint i, guint64 lba, guint32 n, guint8 status)
{
    const guint8 *descriptor = data + 8 + i * 16;

    g_assert_cmpuint(get_be64(descriptor), ==, lba);
    g_assert_cmpuint(get_be32(descriptor + 8), ==, n);
    g_assert_cmpuint(descriptor[12], ==, status);
}

static void
test_runs(void)
{
    Case c;
    const guint8 *data;

    case_init(&c, &thin_ram);
    out(&c, WRITE_8(16), 8 * BLOCK);
    out(&c, WRITE_8(24), 8 * BLOCK);
    out(&c, WRITE_8(64), 8 * BLOCK);
    data = in(&c, LBA_STATUS(0, 1024), 1024);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 8 + 5 * 16);
    g_assert_cmpuint(get_be32(data), ==, 4 + 5 * 16);
    assert_run(data, 0, 0, 16, 1);
    assert_run(data, 1, 16, 16, 0);
    assert_run(data, 2, 32, 32, 1);
    assert_run(data, 3, 64, 8, 0);
    assert_run(data, 4, 72, 2048 - 72, 1);
    case_clear(&c);
}

/* The first run begins at the block that is asked for */
static void
test_in_the_middle(void)
{
    Case c;
    const guint8 *data;

    case_init(&c, &thin_ram);
    out(&c, WRITE_8(16), 8 * BLOCK);
    data = in(&c, LBA_STATUS(19, 24), 24);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 24);
    assert_run(data, 0, 19, 5, 0);
    data = in(&c, LBA_STATUS(2047, 1024), 1024);
    g_assert_cmpuint(c.test.in->len, ==, 24);
    assert_run(data, 0, 2047, 1, 1);
    case_clear(&c);
}

/* More runs than there is room for */
static void
test_many_runs(void)
{
    Case c;
    const guint8 *data;

    case_init(&c, &(RigConfig){ .type = "ram", .size = 8 << 20, .lu = { .thin = TRUE } });
    for (guint i = 0; i < 600; i++)
        out(&c, CDB(0x2a, 0, 0, 0, (guint8)(i * 16 >> 8), (guint8)(i * 16), 0, 0, 8, 0), 8 * BLOCK);
    data = in(&c, LBA_STATUS(0, 0xffff), 0xffff);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 8 + 255 * 16);
    g_assert_cmpuint(get_be32(data), ==, 4 + 255 * 16);
    assert_run(data, 254, 254 * 8, 8, 0);
    case_clear(&c);
}

static void
test_unmap_is_seen(void)
{
    Case c;
    const guint8 *data;

    case_init(&c, &thin_ram);
    out(&c, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 32, 0), 32 * BLOCK);
    memset(c.data, 0, 24);
    put_be16(c.data, 22);
    put_be16(c.data + 2, 16);
    put_be64(c.data + 8, 8);
    put_be32(c.data + 16, 8);
    out(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), 24);
    test_assert_good(&c.test);
    data = in(&c, LBA_STATUS(0, 56), 56);
    assert_run(data, 0, 0, 8, 0);
    assert_run(data, 1, 8, 8, 1);
    assert_run(data, 2, 16, 16, 0);
    case_clear(&c);
}

/* What is not thin, or cannot tell, has all its blocks */
static void
test_all_mapped(void)
{
    static const RigConfig null_thin = { .type = "null", .lu = { .thin = TRUE } };
    const RigConfig *configs[] = { &thick_ram, &null_thin, &plain };

    for (gsize i = 0; i < G_N_ELEMENTS(configs); i++) {
        Case c;
        const guint8 *data;

        case_init(&c, configs[i]);
        data = in(&c, LBA_STATUS(1, 1024), 1024);
        test_assert_good(&c.test);
        g_assert_cmpuint(c.test.in->len, ==, 24);
        assert_run(data, 0, 1, 2047, 0);
        case_clear(&c);
    }
}

static void
test_status_refusals(void)
{
    Case c;

    case_init(&c, &thin_ram);
    (void)in(&c, LBA_STATUS(2048, 24), 24);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    (void)in(&c, LBA_STATUS(0, 0), 0);
    test_assert_good(&c.test);
    (void)in(&c, LBA_STATUS(0, 3), 3);
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 3);
    case_clear(&c);
}

static void
check_pre_fetch(const RigConfig *config, ScsiStatus status)
{
    Case c;

    case_init(&c, config);
    out(&c, CDB(0x34, 0, 0, 0, 0, 8, 0, 0, 16, 0), 0);
    g_assert_cmphex(c.test.command.status, ==, status);
    out(&c, CDB(0x90, 2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 3, 0), 0); /* all, IMMED, a group */
    g_assert_cmphex(c.test.command.status, ==, status);
    out(&c, CDB(0x34, 0, 0, 0, 8, 0, 0, 0, 1, 0), 0);
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    case_clear(&c);
}

static void
test_pre_fetch(void)
{
    check_pre_fetch(&thick_ram, SCSI_CONDITION_MET);
    check_pre_fetch(&plain, SCSI_GOOD);
}

static void
test_read_defect_data(void)
{
    static const guint8 ten[] = { 0, 0x1d, 0, 0 }, twelve[] = { 0, 0x0d, 0, 0, 0, 0, 0, 0 };
    Case c;

    case_init(&c, &plain);
    (void)in(&c, CDB(0x37, 0, 0x1d, 0, 0, 0, 0, 0, 32, 0), 32);
    test_assert_good(&c.test);
    g_assert_cmpmem(c.test.in->data, c.test.in->len, ten, sizeof(ten));
    (void)in(&c, CDB(0xb7, 0x0d, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), 32);
    test_assert_good(&c.test);
    g_assert_cmpmem(c.test.in->data, c.test.in->len, twelve, sizeof(twelve));
    (void)in(&c, CDB(0x37, 0, 0x20, 0, 0, 0, 0, 0, 32, 0), 32);
    test_assert_field(&c.test, TRUE, 2, 5);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/status/" name, fn)
    ADD("runs", test_runs);
    ADD("in-the-middle", test_in_the_middle);
    ADD("many-runs", test_many_runs);
    ADD("unmap-is-seen", test_unmap_is_seen);
    ADD("all-mapped", test_all_mapped);
    ADD("refusals", test_status_refusals);
    ADD("pre-fetch", test_pre_fetch);
    ADD("read-defect-data", test_read_defect_data);
    return g_test_run();
}
