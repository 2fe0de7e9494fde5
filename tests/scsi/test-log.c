/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * LOG SENSE and LOG SELECT: every page can be read and is well-formed, and the
 * counters are those of all workers.
 */

#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

typedef struct {
    Rig *rig;
    Nexus *other;
    TestCommand test;
} Case;

static void
case_init(Case *c)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(&(RigConfig){ .n_workers = 3 });
    c->other = rig_new_nexus(c->rig, 2, 2);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
    nexus_free(c->other);
    rig_free(c->rig);
}

static const guint8 *
ask(Case *c, Nexus *nexus, const guint8 *cdb, gsize n)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, nexus, &c->test, cdb, n, 4096, NULL, 0);
    return c->test.in->data;
}

static const guint8 *
log_sense(Case *c, guint8 page, guint8 subpage)
{
    const guint8 *data =
        ask(c, c->rig->nexus, CDB(0x4d, 0, 0x40 | page, subpage, 0, 0, 0, 16, 0, 0));

    test_assert_good(&c->test);
    g_assert_cmpuint(get_be16(data + 2) + 4U, ==, c->test.in->len);
    g_assert_cmphex(data[0] & 0x3f, ==, page);
    g_assert_cmphex(data[1], ==, subpage);
    return data;
}

/* The value of a counter of the page, or fails */
static guint64
counter(Case *c, const guint8 *data, guint16 code)
{
    for (gsize at = 4; at < c->test.in->len; at += 4U + data[at + 3]) {
        if (get_be16(data + at) == code) {
            g_assert_cmpuint(data[at + 3], ==, 8);
            return get_be64(data + at + 4);
        }
    }
    g_assert_not_reached();
}

static void
transfer(Case *c, Nexus *nexus)
{
    static const guint8 blocks[1024];

    test_command_clear(&c->test);
    (void)test_execute(c->rig, nexus, &c->test, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0), 0, blocks,
                       sizeof(blocks));
    test_assert_good(&c->test);
    (void)ask(c, nexus, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test_assert_good(&c->test);
    (void)ask(c, nexus, CDB(0x2f, 0, 0, 0, 0, 0, 0, 0, 4, 0));
    test_assert_good(&c->test);
}

static void
test_lists(void)
{
    static const guint8 codes[] = { 0x00, 0x02, 0x03, 0x05, 0x0d, 0x0e, 0x10, 0x19, 0x2f };
    const guint8 *data;
    Case c;

    case_init(&c);
    data = log_sense(&c, 0x00, 0x00);
    g_assert_cmpmem(data + 4, c.test.in->len - 4, codes, sizeof(codes));
    data = log_sense(&c, 0x00, 0xff);
    g_assert_cmpuint(c.test.in->len, ==, 4 + 2 * (sizeof(codes) + 1));
    g_assert_cmpmem(data + 4, 6, "\0\0\0\xff\x02\0", 6);
    g_assert_cmphex(data[0], ==, 0x40);
    data = log_sense(&c, 0x19, 0xff);
    g_assert_cmpmem(data + 4, 4, "\x19\0\x19\xff", 4);
    case_clear(&c);
}

/* Parameters fill each page to its end, in the order of their codes */
static void
test_pages_are_well_formed(void)
{
    static const guint8 codes[] = { 0x02, 0x03, 0x05, 0x0d, 0x0e, 0x10, 0x19, 0x2f };
    Case c;

    case_init(&c);
    for (gsize i = 0; i < sizeof(codes); i++) {
        const guint8 *data = log_sense(&c, codes[i], 0);
        gint last = -1;
        gsize at = 4;

        for (; at < c.test.in->len; at += 4U + data[at + 3]) {
            g_assert_cmpint(get_be16(data + at), >, last);
            last = get_be16(data + at);
        }
        g_assert_cmpuint(at, ==, c.test.in->len);
        g_assert_cmpint(last, >=, 0);
    }
    case_clear(&c);
}

static void
test_counters_of_all_workers(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    transfer(&c, c.rig->nexus);
    transfer(&c, c.other);
    data = log_sense(&c, 0x02, 0);
    g_assert_cmpuint(counter(&c, data, 5), ==, 2048);
    data = log_sense(&c, 0x03, 0);
    g_assert_cmpuint(counter(&c, data, 5), ==, 1024);
    data = log_sense(&c, 0x05, 0);
    g_assert_cmpuint(counter(&c, data, 5), ==, 4096);
    data = log_sense(&c, 0x19, 0);
    g_assert_cmpuint(data[4 + 3], ==, 64);
    g_assert_cmpuint(get_be64(data + 8), ==, 2);
    g_assert_cmpuint(get_be64(data + 16), ==, 2);
    g_assert_cmpuint(get_be64(data + 24), ==, 4);
    g_assert_cmpuint(get_be64(data + 32), ==, 2);
    case_clear(&c);
}

static void
test_failures_are_counted(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    slow_fail_next(c.rig->store, EIO);
    (void)ask(&c, c.rig->nexus, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test_assert_sense(&c.test, SENSE_READ_ERROR);
    data = log_sense(&c, 0x03, 0);
    g_assert_cmpuint(counter(&c, data, 6), ==, 1);
    data = log_sense(&c, 0x02, 0);
    g_assert_cmpuint(counter(&c, data, 6), ==, 0);
    case_clear(&c);
}

/* Of a thin unit: how much the store has used, in MiB */
static void
test_provisioning(void)
{
    static const guint8 block[512] = { 1 };
    Rig *rig = rig_new(&(RigConfig){ .type = "ram", .size = 8 << 20, .lu = { .thin = TRUE } });
    TestCommand test;

    (void)test_execute(rig, rig->nexus, &test, CDB(0x2a, 0, 0, 0, 0x20, 0, 0, 0, 1, 0), 0, block,
                       sizeof(block));
    test_assert_good(&test);
    test_command_clear(&test);
    (void)test_execute(rig, rig->nexus, &test, CDB(0x4d, 0, 0x4c, 0, 0, 0, 0, 1, 0, 0), 256, NULL,
                       0);
    test_assert_good(&test);
    g_assert_cmpmem(test.in->data, test.in->len, "\x8c\0\0\x0c\0\x02\x23\x08\0\0\0\x01\x01\0\0\0",
                    16);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_provisioning_unknown(void)
{
    Rig *rig = rig_new(&(RigConfig){ .slow = { .thin = TRUE } });
    TestCommand test;

    (void)test_execute(rig, rig->nexus, &test, CDB(0x4d, 0, 0x4c, 0, 0, 0, 0, 1, 0, 0), 256, NULL,
                       0);
    test_assert_good(&test);
    g_assert_cmpmem(test.in->data, test.in->len, "\x8c\0\0\0", 4);
    test_command_clear(&test);
    rig_free(rig);
}

static void
test_parameter_pointer(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0x4d, 0, 0x42, 0, 0, 0, 5, 1, 0, 0));
    g_assert_cmpuint(get_be16(data + 4), ==, 5);
    g_assert_cmpuint(c.test.in->len, ==, 4 + 12 + 12);
    (void)ask(&c, c.rig->nexus, CDB(0x4d, 0, 0x42, 0, 0, 0, 7, 1, 0, 0));
    test_assert_field(&c.test, TRUE, 5, 7);
    case_clear(&c);
}

static void
test_refusals(void)
{
    Case c;

    case_init(&c);
    (void)ask(&c, c.rig->nexus, CDB(0x4d, 0, 0x7e, 0, 0, 0, 0, 1, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 5);
    (void)ask(&c, c.rig->nexus, CDB(0x4d, 0, 0x42, 1, 0, 0, 0, 1, 0, 0));
    test_assert_field(&c.test, TRUE, 3, 7);
    (void)ask(&c, c.rig->nexus, CDB(0x4d, 0, 0x02, 0, 0, 0, 0, 1, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    (void)ask(&c, c.rig->nexus, CDB(0x4d, 1, 0x42, 0, 0, 0, 0, 1, 0, 0));
    test_assert_field(&c.test, TRUE, 1, 0);
    (void)ask(&c, c.rig->nexus, CDB(0x4c, 0x02, 0xc0, 0, 0, 0, 0, 0, 4, 0));
    test_assert_field(&c.test, TRUE, 7, 7);
    (void)ask(&c, c.rig->nexus, CDB(0x4c, 0x02, 0xfe, 0, 0, 0, 0, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 5);
    case_clear(&c);
}

static void
test_reset(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    transfer(&c, c.other);
    (void)ask(&c, c.rig->nexus, CDB(0x4c, 0x02, 0xc0, 0, 0, 0, 0, 0, 0, 0));
    test_assert_good(&c.test);
    data = log_sense(&c, 0x02, 0);
    g_assert_cmpuint(counter(&c, data, 5), ==, 0);
    (void)ask(&c, c.other, CDB(0x00, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_LOG_PARAMETERS_CHANGED);
    transfer(&c, c.rig->nexus);
    data = log_sense(&c, 0x02, 0);
    g_assert_cmpuint(counter(&c, data, 5), ==, 1024);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/log/" name, fn)
    ADD("lists", test_lists);
    ADD("pages-are-well-formed", test_pages_are_well_formed);
    ADD("counters-of-all-workers", test_counters_of_all_workers);
    ADD("failures-are-counted", test_failures_are_counted);
    ADD("provisioning", test_provisioning);
    ADD("provisioning-unknown", test_provisioning_unknown);
    ADD("parameter-pointer", test_parameter_pointer);
    ADD("refusals", test_refusals);
    ADD("reset", test_reset);
    return g_test_run();
}
