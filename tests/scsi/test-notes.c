/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What initiators deposit and read again: identifying information, timestamp,
 * buffers; and diagnostics.
 */

#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "scsi/record.h"
#include "util/bytes.h"
#include "util/error.h"

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

/*
 * It persists: stored first, in force with the status, there again in a unit that takes its place
 */

typedef struct {
    Mailbox mailbox;
    char *text;
    guint n_asked;
    gboolean keep;
    gboolean fails;
} Keeper;

static void
on_persist(LuPersist *persist, gpointer user_data)
{
    Keeper *keeper = user_data;

    keeper->n_asked++;
    keeper->keep = persist->keep;
    if (!keeper->fails) {
        g_free(keeper->text);
        keeper->text = g_strdup(persist->text);
    }
    lu_persisted(persist, !keeper->fails);
}

static void
keeper_case_init(Case *c, Keeper *keeper)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(&(RigConfig){
        .n_workers = 2,
        .lu = {
            .persist_identifying = on_persist,
            .persist_data = keeper,
            .persist_to = &keeper->mailbox,
            .can_keep = TRUE,
            .identifying = keeper->text,
            .identifying_size = keeper->text != NULL ? strlen(keeper->text) : 0,
        },
    });
    c->other = rig_new_nexus(c->rig, 1, 2);
}

static void
keeper_set(Case *c, Keeper *keeper, const char *identifier, guint8 length)
{
    test_command_clear(&c->test);
    test_command_init(&c->test, c->rig->nexus, 0, CDB(0xa4, 6, 0, 0, 0, 0, 0, 0, 0, length, 0, 0));
    c->test.command.expected_out = length;
    c->test.out = (const guint8 *)identifier;
    c->test.n_out = length;
    test_start(&c->test);
    rig_turn(c->rig);
    g_assert_false(c->test.is_done);
    (void)mailbox_drain(&keeper->mailbox);
    rig_turn(c->rig);
    g_assert_true(c->test.is_done);
}

static void
assert_identifier(Case *c, const char *identifier, guint length)
{
    const guint8 *data = ask(c, c->other, CDB(0xa3, 5, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));

    g_assert_cmpmem(data + 4, c->test.in->len - 4, identifier, length);
}

static void
test_identifying_is_kept(void)
{
    Keeper keeper = { 0 };
    Case c;

    g_assert_true(mailbox_init(&keeper.mailbox, NULL));
    keeper_case_init(&c, &keeper);
    keeper_set(&c, &keeper, "a\0\xff", 3);
    test_assert_good(&c.test);
    g_assert_true(keeper.keep);
    g_assert_true(lu_check_identifying(keeper.text, strlen(keeper.text), NULL));
    tell(&c, c.other, CDB(0x00, 0, 0, 0, 0, 0), NULL, 0);
    test_assert_sense(&c.test, SENSE_DEVICE_IDENTIFIER_CHANGED);
    assert_identifier(&c, "a\0\xff", 3);
    case_clear(&c);

    keeper_case_init(&c, &keeper);
    assert_identifier(&c, "a\0\xff", 3);
    keeper_set(&c, &keeper, NULL, 0);
    test_assert_good(&c.test);
    g_assert_false(keeper.keep);
    g_assert_null(keeper.text);
    g_assert_cmpuint(keeper.n_asked, ==, 2);
    case_clear(&c);

    keeper_case_init(&c, &keeper);
    assert_identifier(&c, "", 0);
    case_clear(&c);
    mailbox_deinit(&keeper.mailbox);
}

/* What cannot be stored is not in force, and nobody is told */
static void
test_identifying_cannot_be_kept(void)
{
    Keeper keeper = { .fails = TRUE };
    Case c;

    g_assert_true(mailbox_init(&keeper.mailbox, NULL));
    keeper_case_init(&c, &keeper);
    keeper_set(&c, &keeper, "new", 3);
    test_assert_sense(&c.test, SENSE_INTERNAL_TARGET_FAILURE);
    g_assert_cmpuint(c.other->luns[0]->attentions.n, ==, 0);
    assert_identifier(&c, "", 0);
    keeper.fails = FALSE;
    keeper_set(&c, &keeper, "new", 3);
    test_assert_good(&c.test);
    tell(&c, c.other, CDB(0x00, 0, 0, 0, 0, 0), NULL, 0);
    test_assert_sense(&c.test, SENSE_DEVICE_IDENTIFIER_CHANGED);
    assert_identifier(&c, "new", 3);
    case_clear(&c);
    g_free(keeper.text);
    mailbox_deinit(&keeper.mailbox);
}

static void
test_identifying_records(void)
{
    static const char *const bad[] = {
        "",
        "identifier x00\n",
        "identifier 00\nlabel x\n",
        "identifier x0\nlabel x\n",
        "identifier x0g\nlabel x\n",
        "identifier x00\nlabel x41\n", /* not ended */
        "identifier x00\nlabel x\nmore 1\n",
        "label x\nidentifier x00\n",
    };
    LuIdentifying in = { .identifier_length = LU_IDENTIFIER_MAX, .label_length = LU_LABEL_MAX };
    LuIdentifying out;
    g_autofree char *good = NULL;
    gsize size;

    for (guint i = 0; i < LU_IDENTIFIER_MAX; i++)
        in.identifier[i] = (guint8)(i * 7);
    memset(in.label, 'l', LU_LABEL_MAX - 1);
    good = lu_identifying_format(&in);
    size = strlen(good);
    g_assert_true(lu_identifying_parse(good, size, &out, NULL));
    g_assert_cmpmem(&out, sizeof(out), &in, sizeof(in));
    g_assert_null(lu_identifying_format(&(LuIdentifying){ .label_length = 0 }));

    for (gsize i = 0; i < G_N_ELEMENTS(bad) + 1; i++) {
        g_autoptr(GError) error = NULL;
        GString *record = record_new("identifying", 1);
        g_autofree char *text = NULL;

        if (i < G_N_ELEMENTS(bad)) {
            g_string_append(record, bad[i]);
        } else {
            g_string_append(record, "identifier x");
            for (guint j = 0; j <= LU_IDENTIFIER_MAX; j++)
                g_string_append(record, "00");
            g_string_append(record, "\nlabel x\n");
        }
        text = record_finish(record);
        g_assert_false(lu_check_identifying(text, strlen(text), &error));
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    }

    for (gsize i = 0; i < size; i++) {
        g_assert_false(lu_check_identifying(good, i, NULL));
        good[i] ^= 0x01;
        g_assert_false(lu_check_identifying(good, size, NULL));
        good[i] ^= 0x01;
    }
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
    (void)ask(&c, c.rig->nexus, CDB(0x3c, 0x0a, 0, 0, 0, 0, 0, 0, 64, 0));
    test_assert_sense(&c.test, SENSE_COMMAND_SEQUENCE); /* nothing was written */
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
    test_assert_field(&c.test, TRUE, 1, 7);

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
    ADD("identifying-is-kept", test_identifying_is_kept);
    ADD("identifying-cannot-be-kept", test_identifying_cannot_be_kept);
    ADD("identifying-records", test_identifying_records);
    ADD("timestamp", test_timestamp);
    ADD("data-buffer", test_data_buffer);
    ADD("echo-buffer", test_echo_buffer);
    ADD("diagnostics", test_diagnostics);
    return g_test_run();
}
