/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What initiators deposit and read again: identifying information, timestamp,
 * buffers; and diagnostics.
 */

#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

typedef struct {
    Rig *rig;
    Nexus *other; /* on another worker */
    TestCommand test;
} Case;

static void
case_init(Case *c)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(&(RigConfig){ .n_workers = 2 });
    c->other = rig_new_nexus(c->rig, 1, 2);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
    nexus_free(c->other);
    rig_free(c->rig);
}

static void
tell(Case *c, Nexus *nexus, const guint8 *cdb, gsize n, gconstpointer out, gsize n_out)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, nexus, &c->test, cdb, n, 0, out, n_out);
}

static const guint8 *
ask(Case *c, Nexus *nexus, const guint8 *cdb, gsize n)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, nexus, &c->test, cdb, n, 8192, NULL, 0);
    return c->test.in->data;
}

static void
test_identifying_information(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0xa3, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(data, c.test.in->len, "\0\0\0\0", 4);
    tell(&c, c.rig->nexus, CDB(0xa4, 6, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0), "hello", 5);
    test_assert_good(&c.test);
    tell(&c, c.rig->nexus, CDB(0xa4, 6, 0, 0, 0, 0, 0, 0, 0, 4, 0x04, 0), "abc", 4);
    test_assert_good(&c.test);

    (void)ask(&c, c.other, CDB(0x00, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_DEVICE_IDENTIFIER_CHANGED);
    data = ask(&c, c.other, CDB(0xa3, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(data, c.test.in->len, "\0\0\0\x05hello", 9);
    data = ask(&c, c.other, CDB(0xa3, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0x04, 0));
    g_assert_cmpmem(data, c.test.in->len,
                    "\0\0\0\x04"
                    "abc",
                    8);
    data = ask(&c, c.other, CDB(0xa3, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0xfe, 0));
    g_assert_cmpmem(data, c.test.in->len, "\0\0\0\x08\0\0\0\x40\x04\0\x01\0", 12);

    /* An empty list deletes */
    tell(&c, c.rig->nexus, CDB(0xa4, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0);
    test_assert_good(&c.test);
    data = ask(&c, c.rig->nexus, CDB(0xa3, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpuint(c.test.in->len, ==, 4);
    case_clear(&c);
}

static void
test_identifying_refusals(void)
{
    static const guint8 zero[512];
    Case c;

    case_init(&c);
    (void)ask(&c, c.rig->nexus, CDB(0xa3, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0x02, 0));
    test_assert_field(&c.test, TRUE, 10, 7);
    tell(&c, c.rig->nexus, CDB(0xa4, 6, 0, 0, 0, 0, 0, 0, 0, 65, 0, 0), zero, 65);
    test_assert_field(&c.test, TRUE, 6, 7);
    tell(&c, c.rig->nexus, CDB(0xa4, 6, 0, 0, 0, 0, 0, 0, 0, 3, 0x04, 0), "abc", 3);
    test_assert_field(&c.test, FALSE, 2, 7);
    case_clear(&c);
}

static guint64
msec_of(const guint8 *data)
{
    return (guint64)get_be16(data + 4) << 32 | get_be32(data + 6);
}

static void
test_timestamp(void)
{
    static const guint8 list[12] = { 0, 0, 0, 0, 0x01, 0x00, 0, 0, 0, 0, 0, 0 };
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0xa3, 0x0f, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpuint(c.test.in->len, ==, 12);
    g_assert_cmpuint(get_be16(data), ==, 10);
    g_assert_cmphex(data[2], ==, 3);
    g_assert_cmpuint(msec_of(data), <=, g_get_real_time() / 1000);

    tell(&c, c.rig->nexus, CDB(0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0), list, sizeof(list));
    test_assert_good(&c.test);
    (void)ask(&c, c.other, CDB(0x00, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_TIMESTAMP_CHANGED);
    data = ask(&c, c.other, CDB(0xa3, 0x0f, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmphex(data[2], ==, 2);
    g_assert_cmpuint(msec_of(data), >=, (guint64)1 << 40);

    tell(&c, c.rig->nexus, CDB(0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0), list, 8);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    case_clear(&c);
}

static void
test_data_buffer(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0x3c, 3, 0, 0, 0, 0, 0, 0, 4, 0));
    g_assert_cmpmem(data, c.test.in->len, "\0\0\x10\0", 4);
    data = ask(&c, c.rig->nexus, CDB(0x3c, 3, 1, 0, 0, 0, 0, 0, 4, 0));
    g_assert_cmpmem(data, c.test.in->len, "\0\0\0\0", 4);

    tell(&c, c.rig->nexus, CDB(0x3b, 2, 0, 0, 0x0f, 0xfc, 0, 0, 4, 0), "data", 4);
    test_assert_good(&c.test);
    data = ask(&c, c.other, CDB(0x3c, 2, 0, 0, 0x0f, 0xfa, 0, 1, 0, 0));
    g_assert_cmpmem(data, c.test.in->len, "\0\0data", 6);
    data = ask(&c, c.other, CDB(0x3c, 2, 0, 0, 0, 0, 0, 0x20, 0, 0));
    g_assert_cmpuint(c.test.in->len, ==, 4096);
    data = ask(&c, c.other, CDB(0x3c, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0));
    g_assert_cmpuint(c.test.in->len, ==, 4096);

    tell(&c, c.rig->nexus, CDB(0x3b, 2, 0, 0, 0x0f, 0xfd, 0, 0, 4, 0), "data", 4);
    test_assert_field(&c.test, TRUE, 6, 7);
    (void)ask(&c, c.rig->nexus, CDB(0x3c, 2, 0, 0xff, 0, 0, 0, 0, 4, 0));
    test_assert_field(&c.test, TRUE, 3, 7);
    (void)ask(&c, c.rig->nexus, CDB(0x3c, 2, 9, 0, 0, 0, 0, 0, 4, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    (void)ask(&c, c.rig->nexus, CDB(0x3c, 5, 0, 0, 0, 0, 0, 0, 4, 0));
    test_assert_field(&c.test, TRUE, 1, 4);
    case_clear(&c);
}

/* Each nexus has its own */
static void
test_echo_buffer(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0x3c, 0x0b, 0, 0, 0, 0, 0, 0, 4, 0));
    g_assert_cmpmem(data, c.test.in->len, "\x01\0\x10\0", 4);
    tell(&c, c.rig->nexus, CDB(0x3b, 0x0a, 0, 0, 0, 0, 0, 0, 4, 0), "echo", 4);
    test_assert_good(&c.test);
    tell(&c, c.other, CDB(0x3b, 0x0a, 0, 0, 0, 0, 0, 0, 2, 0), "OH", 2);
    data = ask(&c, c.rig->nexus, CDB(0x3c, 0x0a, 0, 0, 0, 0, 0, 0, 64, 0));
    g_assert_cmpmem(data, c.test.in->len, "echo", 4);
    data = ask(&c, c.other, CDB(0x3c, 0x0a, 0, 0, 0, 0, 0, 0, 64, 0));
    g_assert_cmpmem(data, c.test.in->len, "OH", 2);
    case_clear(&c);
}

static void
test_diagnostics(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    tell(&c, c.rig->nexus, CDB(0x1d, 0x04, 0, 0, 0, 0), NULL, 0);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_READ), ==, 1);
    slow_fail_next(c.rig->store, EIO);
    tell(&c, c.rig->nexus, CDB(0x1d, 0x04, 0, 0, 0, 0), NULL, 0);
    test_assert_sense(&c.test, SENSE_SELF_TEST_FAILED);

    tell(&c, c.rig->nexus, CDB(0x1d, 0x10, 0, 0, 4, 0), "\0\0\0\0", 4);
    test_assert_good(&c.test);
    tell(&c, c.rig->nexus, CDB(0x1d, 0x10, 0, 0, 4, 0), "\x40\0\0\0", 4);
    test_assert_field(&c.test, FALSE, 0, 7);
    tell(&c, c.rig->nexus, CDB(0x1d, 0x20, 0, 0, 0, 0), NULL, 0);
    test_assert_field(&c.test, TRUE, 1, 5);

    data = ask(&c, c.rig->nexus, CDB(0x1c, 0x01, 0, 0, 64, 0));
    g_assert_cmpmem(data, c.test.in->len, "\0\0\0\x01\0", 5);
    (void)ask(&c, c.rig->nexus, CDB(0x1c, 0x01, 0x40, 0, 64, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/notes/" name, fn)
    ADD("identifying-information", test_identifying_information);
    ADD("identifying-refusals", test_identifying_refusals);
    ADD("timestamp", test_timestamp);
    ADD("data-buffer", test_data_buffer);
    ADD("echo-buffer", test_echo_buffer);
    ADD("diagnostics", test_diagnostics);
    return g_test_run();
}
