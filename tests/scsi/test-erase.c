/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* SANITIZE and FORMAT UNIT: parameters, what is on the medium, who is refused meanwhile, restarts. */

#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "scsi/erase-record.h"
#include "scsi/record.h"
#include "util/bytes.h"
#include "util/error.h"

#define BLOCK  512
#define MEDIUM ((gsize)1 << 20)

typedef struct {
    Rig *rig;
    TestCommand test;
    guint8 data[8192];
} Case;

static void
case_init(Case *c, const RigConfig *config)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(config);
    if (config->type == NULL)
        memset(slow_memory(c->rig->store), 0x5a, MEDIUM);
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

static const RigConfig plain = { 0 };
static const RigConfig thin = { .slow = { .thin = TRUE } };
static const RigConfig two_workers = { .n_workers = 2 };

#define OVERWRITE(length)    CDB(0x48, 0x01, 0, 0, 0, 0, 0, (length) >> 8, (length)&0xff, 0)
#define BLOCK_ERASE          CDB(0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0)
#define BLOCK_ERASE_IMMED    CDB(0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0)
#define CRYPTOGRAPHIC_ERASE  CDB(0x48, 0x03, 0, 0, 0, 0, 0, 0, 0, 0)
#define EXIT_FAILURE_MODE    CDB(0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0)
#define TEST_UNIT_READY      CDB(0x00, 0, 0, 0, 0, 0)
#define FORMAT_UNIT(options) CDB(0x04, options, 0, 0, 0, 0)

static void
put_overwrite(Case *c, guint8 flags, const char *pattern)
{
    memset(c->data, 0, sizeof(c->data));
    c->data[0] = flags;
    put_be16(c->data + 2, (guint16)strlen(pattern));
    memcpy(c->data + 4, pattern, strlen(pattern));
}

/* The pattern begins anew in each block */
static void
assert_pattern(const Case *c, const char *pattern, guint8 invert)
{
    const guint8 *memory = slow_memory(c->rig->store);
    gsize length = strlen(pattern);

    for (gsize i = 0; i < MEDIUM; i++)
        g_assert_cmphex(memory[i], ==, (guint8)pattern[i % BLOCK % length] ^ invert);
}

static void
assert_all(const Case *c, guint8 value)
{
    const guint8 *memory = slow_memory(c->rig->store);

    g_assert_true(memory[0] == value && memcmp(memory, memory + 1, MEDIUM - 1) == 0);
}

/*
 * SANITIZE
 */

static void
test_overwrite(void)
{
    Case c;

    case_init(&c, &plain);
    put_overwrite(&c, 1, "abc");
    out(&c, OVERWRITE(7), 7);
    test_assert_good(&c.test);
    assert_pattern(&c, "abc", 0);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_good(&c.test);
    case_clear(&c);
}

/* Real writes, and a flush after each pass */
static void
test_overwrite_passes(void)
{
    Case c;

    case_init(&c, &plain);
    put_overwrite(&c, 3, "x");
    out(&c, OVERWRITE(5), 5);
    test_assert_good(&c.test);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, 3 * (MEDIUM >> 18));
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_FLUSH), ==, 3);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_ZERO), ==, 0);
    case_clear(&c);
}

/* However many passes there are, the last one leaves the pattern as it is */
static void
test_overwrite_inverts(void)
{
    Case c;

    case_init(&c, &plain);
    put_overwrite(&c, 0x82, "xyz");
    slow_hold(c.rig->store, TRUE);
    test_command_init(&c.test, c.rig->nexus, 0, OVERWRITE(7));
    c.test.command.expected_out = 7;
    c.test.out = c.data;
    c.test.n_out = 7;
    test_start(&c.test);
    rig_turn(c.rig);
    slow_release(c.rig->store, 0);
    g_assert_cmphex(slow_memory(c.rig->store)[0], ==, 'x' ^ 0xff);
    slow_hold(c.rig->store, FALSE);
    test_wait(c.rig, &c.test);
    test_assert_good(&c.test);
    assert_pattern(&c, "xyz", 0);

    put_overwrite(&c, 0x83, "pq");
    out(&c, OVERWRITE(6), 6);
    assert_pattern(&c, "pq", 0);
    case_clear(&c);
}

static void
test_overwrite_refusals(void)
{
    Case c;

    case_init(&c, &plain);
    put_overwrite(&c, 1, "abcd");
    for (guint8 length = 0; length < 5; length++) {
        out(&c, OVERWRITE(length), length);
        test_assert_field(&c.test, TRUE, 7, 7);
    }
    out(&c, CDB(0x48, 0x01, 0, 0, 0, 0, 0, 0x02, 0x05, 0), 517);
    test_assert_field(&c.test, TRUE, 7, 7);
    put_overwrite(&c, 0, "abcd");
    out(&c, OVERWRITE(8), 8);
    test_assert_field(&c.test, FALSE, 0, 4);
    put_overwrite(&c, 0x21, "abcd");
    out(&c, OVERWRITE(8), 8);
    test_assert_field(&c.test, FALSE, 0, 6);
    put_overwrite(&c, 1, "");
    out(&c, OVERWRITE(8), 8);
    test_assert_field(&c.test, FALSE, 2, 7);
    put_overwrite(&c, 1, "abcdef");
    out(&c, OVERWRITE(8), 8);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    out(&c, CDB(0x48, 0x04, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_field(&c.test, TRUE, 1, 4);
    out(&c, CDB(0x48, 0x42, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_field(&c.test, TRUE, 1, 6);
    out(&c, CDB(0x48, 0x02, 0, 0, 0, 0, 0, 0, 8, 0), 8);
    test_assert_field(&c.test, TRUE, 7, 7);
    assert_all(&c, 0x5a);
    case_clear(&c);
}

static void
test_block_erase(void)
{
    Case c;

    case_init(&c, &thin);
    out(&c, BLOCK_ERASE, 0);
    test_assert_good(&c.test);
    assert_all(&c, 0);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_WRITE), ==, 0);
    case_clear(&c);
}

static void
test_cryptographic_erase(void)
{
    Case c;
    const guint8 *memory;
    guint n_same = 0;

    case_init(&c, &plain);
    out(&c, CRYPTOGRAPHIC_ERASE, 0);
    test_assert_good(&c.test);
    memory = slow_memory(c.rig->store);
    for (gsize i = 0; i < MEDIUM; i += BLOCK)
        n_same += memcmp(memory + i, memory + (i + BLOCK) % MEDIUM, BLOCK) == 0 ||
                  (memory[i] == 0x5a && memory[i + 1] == 0x5a && memory[i + 2] == 0x5a);
    g_assert_cmpuint(n_same, ==, 0);
    case_clear(&c);
}

static void
test_write_protected(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .slow = { .read_only = TRUE } });
    out(&c, BLOCK_ERASE, 0);
    test_assert_sense(&c.test, SENSE_WRITE_PROTECTED);
    out(&c, FORMAT_UNIT(0), 0);
    test_assert_sense(&c.test, SENSE_WRITE_PROTECTED);
    assert_all(&c, 0x5a);
    case_clear(&c);
}

/* With IMMED it has begun when the answer comes; other commands are refused on every worker */
static void
test_immediate(void)
{
    Case c;
    TestCommand other = { 0 };
    Nexus *nexus;
    const guint8 *sense;

    case_init(&c, &two_workers);
    nexus = rig_new_nexus(c.rig, 1, 2);
    slow_hold(c.rig->store, TRUE);
    out(&c, BLOCK_ERASE_IMMED, 0);
    test_assert_good(&c.test);

    out(&c, TEST_UNIT_READY, 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_IN_PROGRESS);
    g_assert_cmphex(c.test.command.sense[15], ==, 0x80);
    (void)test_execute(c.rig, nexus, &other, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), BLOCK, NULL, 0);
    test_assert_sense(&other, SENSE_SANITIZE_IN_PROGRESS);
    out(&c, BLOCK_ERASE, 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_IN_PROGRESS);

    (void)in(&c, CDB(0x12, 0, 0, 0, 36, 0), 36);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0), 16);
    test_assert_good(&c.test);
    sense = in(&c, CDB(0x03, 0, 0, 0, 18, 0), 18);
    test_assert_good(&c.test);
    g_assert_cmphex(sense[2], ==, 0x02);
    g_assert_cmphex(get_be16(sense + 12), ==, 0x041b);
    g_assert_cmphex(sense[15], ==, 0x80);

    /* what SBC allows meanwhile: the capacity, some mode pages, one log page */
    (void)in(&c, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), 32);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0x1a, 0, 0x08, 0, 64, 0), 64);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0x1a, 0, 0x3f, 0, 64, 0), 64);
    test_assert_sense(&c.test, SENSE_SANITIZE_IN_PROGRESS);
    (void)in(&c, CDB(0x4d, 0, 0x40 | 0x0d, 0, 0, 0, 0, 0, 64, 0), 64);
    test_assert_good(&c.test);
    (void)in(&c, CDB(0x4d, 0, 0x40 | 0x19, 0, 0, 0, 0, 0, 64, 0), 64);
    test_assert_sense(&c.test, SENSE_SANITIZE_IN_PROGRESS);

    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 0);
    rig_turn(c.rig);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_good(&c.test);
    assert_all(&c, 0);
    test_command_clear(&other);
    nexus_free(nexus);
    case_clear(&c);
}

/* Who has been told of the end may ask for the next one, before the others have been told */
static void
test_one_after_the_other(void)
{
    TestCommand first, second;
    Case c;

    case_init(&c, &two_workers);
    test_command_init(&first, c.rig->nexus, 0, BLOCK_ERASE);
    test_start(&first);
    for (guint i = 0; i < 1000 && !first.is_done; i++) {
        worker_turn(c.rig->workers[0], 0);
        if (!first.is_done)
            worker_turn(c.rig->workers[1], 0);
    }
    test_assert_good(&first);
    test_command_init(&second, c.rig->nexus, 0, BLOCK_ERASE);
    test_start(&second);
    for (guint i = 0; i < 20; i++)
        worker_turn(c.rig->workers[0], 0);
    g_assert_false(second.is_done);
    g_assert_true(lu_erase_is_busy(c.rig->lu));
    g_assert_false(lu_erase_is_at_work(c.rig->lu));

    /* the other worker has not heard of the first end until now */
    test_wait(c.rig, &second);
    test_assert_good(&second);
    test_command_clear(&first);
    test_command_clear(&second);
    case_clear(&c);
}

static void
test_progress(void)
{
    Case c;
    guint last = 0, n_steps = 0;

    case_init(&c, &plain);
    put_overwrite(&c, 2, "z");
    slow_hold(c.rig->store, TRUE);
    out(&c, CDB(0x48, 0x81, 0, 0, 0, 0, 0, 0, 5, 0), 5);
    test_assert_good(&c.test);

    for (;;) {
        const guint8 *sense;

        rig_turn(c.rig);
        slow_release(c.rig->store, 0);
        rig_turn(c.rig);
        sense = in(&c, CDB(0x03, 0, 0, 0, 18, 0), 18);
        if (get_be16(sense + 12) != 0x041b)
            break;
        g_assert_cmpuint(get_be16(sense + 16), >=, last);
        n_steps += get_be16(sense + 16) > last;
        last = get_be16(sense + 16);
    }
    g_assert_cmpuint(n_steps, >=, 6);
    g_assert_cmpuint(last, >, 0xc000);
    slow_hold(c.rig->store, FALSE);
    case_clear(&c);
}

/* What was under way is waited for; what had passed the gates and comes to the store now is refused */
static void
test_commands_under_way(void)
{
    Case c;
    TestCommand writing = { 0 }, receiving = { 0 };
    Nexus *nexus;

    case_init(&c, &two_workers);
    nexus = rig_new_nexus(c.rig, 1, 2);
    memset(c.data, 0x77, sizeof(c.data));
    test_command_init(&writing, nexus, 0, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test_command_init(&receiving, nexus, 0, CDB(0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0));
    writing.command.expected_out = receiving.command.expected_out = BLOCK;
    writing.out = receiving.out = c.data;
    writing.n_out = receiving.n_out = BLOCK;
    receiving.hold_data_out = TRUE;
    slow_hold(c.rig->store, TRUE);
    test_start(&writing);
    test_start(&receiving);

    test_command_init(&c.test, c.rig->nexus, 0, BLOCK_ERASE);
    test_start(&c.test);
    rig_turn(c.rig);
    g_assert_cmpuint(slow_n_held(c.rig->store, 0), ==, 0);

    slow_release(c.rig->store, 1);
    rig_turn(c.rig);
    test_assert_good(&writing);
    g_assert_cmpuint(slow_n_held(c.rig->store, 0), ==, 1);

    test_send_data(&receiving);
    rig_turn(c.rig);
    test_assert_sense(&receiving, SENSE_SANITIZE_IN_PROGRESS);

    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 0);
    test_wait(c.rig, &c.test);
    test_assert_good(&c.test);
    assert_all(&c, 0);
    test_command_clear(&writing);
    test_command_clear(&receiving);
    nexus_free(nexus);
    case_clear(&c);
}

static void
on_tmf_done(ScsiTmf *tmf)
{
}

/* The command goes, the sanitize operation goes on */
static void
test_goes_on_after_abort(void)
{
    Case c;
    ScsiTmf tmf = { .function = TMF_LOGICAL_UNIT_RESET, .done = on_tmf_done };

    case_init(&c, &plain);
    slow_hold(c.rig->store, TRUE);
    test_command_init(&c.test, c.rig->nexus, 0, BLOCK_ERASE);
    test_start(&c.test);
    rig_turn(c.rig);
    g_assert_false(c.test.is_done);

    tmf.nexus = c.rig->nexus;
    scsi_tmf_start(&tmf);
    rig_turn(c.rig);
    g_assert_true(c.test.is_done && c.test.command.aborted);
    g_assert_cmpint(tmf.response, ==, TMF_COMPLETE);

    out(&c, TEST_UNIT_READY, 0); /* the reset */
    out(&c, TEST_UNIT_READY, 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_IN_PROGRESS);
    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 0);
    rig_turn(c.rig);
    assert_all(&c, 0);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_failure(void)
{
    Case c;

    case_init(&c, &plain);
    slow_fail_next(c.rig->store, EIO);
    out(&c, BLOCK_ERASE, 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_FAILED);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_FAILED);
    out(&c, EXIT_FAILURE_MODE, 0); /* AUSE was not set */
    test_assert_field(&c.test, TRUE, 1, 4);

    out(&c, BLOCK_ERASE, 0); /* another try */
    test_assert_good(&c.test);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_exit_failure_mode(void)
{
    Case c;

    case_init(&c, &plain);
    out(&c, EXIT_FAILURE_MODE, 0); /* nothing has failed */
    test_assert_good(&c.test);
    slow_fail_next(c.rig->store, EIO);
    out(&c, CDB(0x48, 0x22, 0, 0, 0, 0, 0, 0, 0, 0), 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_FAILED);
    out(&c, EXIT_FAILURE_MODE, 0);
    test_assert_good(&c.test);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_good(&c.test);
    case_clear(&c);
}

/*
 * Restarts
 */

typedef struct {
    Mailbox mailbox;
    char *record;
    guint n_stored;
    gboolean fails;
} Keeper;

static void
on_persist(LuPersist *persist, gpointer user_data)
{
    Keeper *keeper = user_data;

    if (!keeper->fails) {
        g_free(keeper->record);
        keeper->record = g_strdup(persist->text);
        keeper->n_stored++;
    }
    lu_persisted(persist, !keeper->fails);
}

static void
turn(Rig *rig, Keeper *keeper)
{
    for (guint i = 0; i < 20; i++) {
        rig_turn(rig);
        (void)mailbox_drain(&keeper->mailbox);
    }
    rig_turn(rig);
}

static RigConfig
with_keeper(Keeper *keeper)
{
    RigConfig config = {
        .lu = {
            .persist_erase = on_persist,
            .persist_data = keeper,
            .persist_to = &keeper->mailbox,
            .erase = keeper->record,
            .erase_size = keeper->record != NULL ? strlen(keeper->record) : 0,
        },
    };

    return config;
}

/* A record is there before the first block goes, and gone before the unit can be used again */
static void
test_record(void)
{
    Keeper keeper = { 0 };
    RigConfig config;
    Case c;

    g_assert_true(mailbox_init(&keeper.mailbox, NULL));
    config = with_keeper(&keeper);
    case_init(&c, &config);
    test_command_init(&c.test, c.rig->nexus, 0, BLOCK_ERASE);
    test_start(&c.test);
    rig_turn(c.rig);
    g_assert_cmpuint(slow_n_done(c.rig->store, IO_ZERO), ==, 0);
    slow_hold(c.rig->store, TRUE);
    turn(c.rig, &keeper);
    g_assert_nonnull(keeper.record);
    g_assert_true(lu_check_erase(keeper.record, strlen(keeper.record), NULL));

    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 0);
    rig_turn(c.rig);
    g_assert_false(c.test.is_done);
    turn(c.rig, &keeper);
    test_assert_good(&c.test);
    g_assert_null(keeper.record);
    g_assert_cmpuint(keeper.n_stored, ==, 2);
    case_clear(&c);
    mailbox_deinit(&keeper.mailbox);
}

static void
test_no_record_no_erasing(void)
{
    Keeper keeper = { .fails = TRUE };
    RigConfig config;
    Case c;

    g_assert_true(mailbox_init(&keeper.mailbox, NULL));
    config = with_keeper(&keeper);
    case_init(&c, &config);
    test_command_init(&c.test, c.rig->nexus, 0, BLOCK_ERASE);
    test_start(&c.test);
    turn(c.rig, &keeper);
    test_assert_sense(&c.test, SENSE_INTERNAL_TARGET_FAILURE);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_good(&c.test);
    assert_all(&c, 0x5a);
    case_clear(&c);
    mailbox_deinit(&keeper.mailbox);
}

/* The failure is left when its record is gone, and not before */
static void
test_exit_failure_mode_needs_the_record(void)
{
    Keeper keeper = { 0 };
    RigConfig config;
    Case c;

    g_assert_true(mailbox_init(&keeper.mailbox, NULL));
    config = with_keeper(&keeper);
    case_init(&c, &config);
    slow_fail_next(c.rig->store, EIO);
    test_command_init(&c.test, c.rig->nexus, 0, CDB(0x48, 0x22, 0, 0, 0, 0, 0, 0, 0, 0));
    test_start(&c.test);
    turn(c.rig, &keeper);
    test_assert_sense(&c.test, SENSE_SANITIZE_FAILED);

    keeper.fails = TRUE;
    test_command_clear(&c.test);
    test_command_init(&c.test, c.rig->nexus, 0, EXIT_FAILURE_MODE);
    test_start(&c.test);
    turn(c.rig, &keeper);
    test_assert_sense(&c.test, SENSE_INTERNAL_TARGET_FAILURE);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_FAILED);
    g_assert_nonnull(keeper.record);

    keeper.fails = FALSE;
    test_command_clear(&c.test);
    test_command_init(&c.test, c.rig->nexus, 0, EXIT_FAILURE_MODE);
    test_start(&c.test);
    turn(c.rig, &keeper);
    test_assert_good(&c.test);
    g_assert_null(keeper.record);
    case_clear(&c);
    mailbox_deinit(&keeper.mailbox);
}

/* Stopped in the middle of the second of three passes; a new unit begins again by itself */
static void
test_goes_on_after_restart(void)
{
    Keeper keeper = { 0 };
    RigConfig config;
    Case c;

    g_assert_true(mailbox_init(&keeper.mailbox, NULL));
    config = with_keeper(&keeper);
    case_init(&c, &config);
    put_overwrite(&c, 0x83, "again");
    slow_hold(c.rig->store, TRUE);
    test_command_init(&c.test, c.rig->nexus, 0, CDB(0x48, 0x81, 0, 0, 0, 0, 0, 0, 9, 0));
    c.test.command.expected_out = 9;
    c.test.out = c.data;
    c.test.n_out = 9;
    test_start(&c.test);
    turn(c.rig, &keeper);
    test_assert_good(&c.test);
    for (guint i = 0; i < 7; i++) {
        slow_release(c.rig->store, 0);
        rig_turn(c.rig);
    }
    slow_hold(c.rig->store, FALSE);
    nexus_free(c.rig->nexus);
    c.rig->nexus = NULL;
    lu_erase_stop(c.rig->lu);
    slow_release(c.rig->store, 0);
    rig_turn(c.rig);
    g_assert_nonnull(keeper.record);
    c.rig->nexus = rig_new_nexus(c.rig, 0, 1);
    case_clear(&c);
    g_assert_cmpuint(keeper.n_stored, ==, 1);

    config = with_keeper(&keeper);
    case_init(&c, &config);
    slow_hold(c.rig->store, TRUE);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_IN_PROGRESS);
    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 0);
    turn(c.rig, &keeper);
    assert_pattern(&c, "again", 0);
    g_assert_null(keeper.record);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_good(&c.test);
    case_clear(&c);
    mailbox_deinit(&keeper.mailbox);
}

static void
test_failure_after_restart(void)
{
    Keeper keeper = { 0 };
    EraseRequest request = {
        .state = ERASE_SANITIZING, .method = ERASE_UNMAP, .may_exit = TRUE, .n_passes = 1
    };
    RigConfig config;
    Case c;

    g_assert_true(mailbox_init(&keeper.mailbox, NULL));
    keeper.record = erase_record_format(ERASE_SANITIZE_FAILED, &request);
    config = with_keeper(&keeper);
    case_init(&c, &config);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_sense(&c.test, SENSE_SANITIZE_FAILED);
    test_command_clear(&c.test);
    test_command_init(&c.test, c.rig->nexus, 0, EXIT_FAILURE_MODE);
    test_start(&c.test);
    turn(c.rig, &keeper);
    test_assert_good(&c.test);
    g_assert_null(keeper.record);
    case_clear(&c);
    mailbox_deinit(&keeper.mailbox);
}

static void
test_bad_records(void)
{
    static const char *const bad[] = {
        "",
        "state none\nmethod zero\nmay-exit 0\ninvert 0\npasses 1\n",
        "state sanitizing\nmethod magic\nmay-exit 0\ninvert 0\npasses 1\n",
        "state sanitizing\nmethod zero\nmay-exit 2\ninvert 0\npasses 1\n",
        "state sanitizing\nmethod zero\nmay-exit 0\ninvert 0\npasses 0\n",
        "state sanitizing\nmethod zero\nmay-exit 0\ninvert 0\npasses 32\n",
        "state sanitizing\nmethod zero\nmay-exit 0\ninvert 0\npasses 1\nmore 1\n",
        "state sanitizing\nmethod pattern\nmay-exit 0\ninvert 0\npasses 1\n",
        "state sanitizing\nmethod pattern\nmay-exit 0\ninvert 0\npasses 1\npattern \n",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        GString *record = record_new("erasure", 1);
        g_autofree char *text = NULL;

        g_string_append(record, bad[i]);
        text = record_finish(record);
        g_assert_false(lu_check_erase(text, strlen(text), &error));
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    }
}

/*
 * FORMAT UNIT
 */

static void
test_format(void)
{
    Case c;

    case_init(&c, &thin);
    out(&c, FORMAT_UNIT(0), 0);
    test_assert_good(&c.test);
    assert_all(&c, 0);

    memset(slow_memory(c.rig->store), 0x5a, MEDIUM);
    memset(c.data, 0, sizeof(c.data));
    out(&c, FORMAT_UNIT(0x10), 4); /* an empty list */
    test_assert_good(&c.test);
    assert_all(&c, 0);
    case_clear(&c);
}

static void
test_format_with_pattern(void)
{
    Case c;

    case_init(&c, &plain);
    memset(c.data, 0, sizeof(c.data));
    c.data[1] = 0x88;     /* FOV, IP */
    c.data[8 + 1] = 0x01; /* repeat */
    c.data[8 + 3] = 3;
    memcpy(c.data + 12, "fmt", 3);
    out(&c, FORMAT_UNIT(0x30), 15); /* FMTDATA, LONGLIST */
    test_assert_good(&c.test);
    assert_pattern(&c, "fmt", 0);
    case_clear(&c);
}

static void
test_format_immediate(void)
{
    Case c;

    case_init(&c, &plain);
    memset(c.data, 0, sizeof(c.data));
    c.data[1] = 0x02;
    slow_hold(c.rig->store, TRUE);
    out(&c, FORMAT_UNIT(0x10), 4);
    test_assert_good(&c.test);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_sense(&c.test, SENSE_FORMAT_IN_PROGRESS);
    slow_fail_next(c.rig->store, EIO);
    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 0);
    rig_turn(c.rig);
    out(&c, TEST_UNIT_READY, 0);
    test_assert_sense(&c.test, SENSE_FORMAT_FAILED);
    out(&c, FORMAT_UNIT(0), 0);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_format_refusals(void)
{
    Case c;

    case_init(&c, &plain);
    out(&c, FORMAT_UNIT(0x40), 0); /* FMTPINFO */
    test_assert_field(&c.test, TRUE, 1, 7);
    memset(c.data, 0, sizeof(c.data));
    out(&c, FORMAT_UNIT(0x10), 0);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    out(&c, FORMAT_UNIT(0x30), 4);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    c.data[0] = 0x01; /* protection */
    out(&c, FORMAT_UNIT(0x10), 4);
    test_assert_field(&c.test, FALSE, 0, 0);
    put_be32(c.data, 8); /* defects */
    out(&c, FORMAT_UNIT(0x10), 12);
    test_assert_field(&c.test, FALSE, 2, 7);
    put_be32(c.data, 0x00080000); /* IP without FOV */
    out(&c, FORMAT_UNIT(0x10), 4);
    test_assert_field(&c.test, FALSE, 1, 3);
    put_be32(c.data, 0x00880000); /* IP, but no descriptor */
    out(&c, FORMAT_UNIT(0x10), 4);
    test_assert_sense(&c.test, SENSE_PARAMETER_LIST_LENGTH);
    put_be32(c.data + 4, 0x20000000); /* SI */
    out(&c, FORMAT_UNIT(0x10), 8);
    test_assert_field(&c.test, FALSE, 4, 5);
    put_be32(c.data + 4, 0x00010000); /* a pattern of nothing */
    out(&c, FORMAT_UNIT(0x10), 8);
    test_assert_field(&c.test, FALSE, 6, 7);
    assert_all(&c, 0x5a);
    case_clear(&c);
}

static void
on_lu_released(Lu *lu, gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

static void
map_at_one(Case *c, Lu *lu)
{
    LunMap *map =
        lun_map_new((LunEntry[]){ { 0, c->rig->lu, FALSE }, { 1, lu, FALSE } }, lu != NULL ? 2 : 1);

    nexus_set_map(c->rig->nexus, map);
    snapshot_unref(&map->snapshot);
    if (lu != NULL)
        c->rig->nexus->luns[1]->attentions.n = 0;
}

/* The unit is replaced by one that is not ready while a SANITIZE waits in the foreground: the command
 * ends, and nothing keeps the store open */
static void
test_replaced(void)
{
    const BackstoreConfig gone = { .name = "other", .size = MEDIUM, .fd = -1 };
    LuConfig config = { .name = "other", .uuid = { 5 } };
    g_autoptr(GError) error = NULL;
    gboolean released = FALSE;
    Lu *unit, *replacement;
    Backstore *absent;
    Mailbox mailbox;
    Case c;

    case_init(&c, &plain);
    unit = lu_new(&config, c.rig->store, c.rig->workers, c.rig->n_workers, 0);
    absent = backstore_open_absent(&gone, NULL, c.rig->offload, c.rig->n_workers, &error);
    g_assert_no_error(error);
    config.not_ready = SENSE_NOT_READY_MANUAL;
    replacement = lu_new(&config, absent, c.rig->workers, c.rig->n_workers, 0);
    map_at_one(&c, unit);
    slow_hold(c.rig->store, TRUE);
    test_command_init(&c.test, c.rig->nexus, 1, CRYPTOGRAPHIC_ERASE);
    test_start(&c.test);
    rig_turn(c.rig);
    g_assert_cmpuint(slow_n_held(c.rig->store, 0), ==, 1);

    map_at_one(&c, replacement);
    g_assert_true(mailbox_init(&mailbox, NULL));
    lu_release(unit, &mailbox, on_lu_released, &released);
    rig_turn(c.rig);
    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 0);
    rig_turn(c.rig);
    (void)mailbox_drain(&mailbox);
    g_assert_true(c.test.is_done);
    test_assert_sense(&c.test, SENSE_NOT_READY_BECOMING_READY);
    g_assert_true(released);

    mailbox_deinit(&mailbox);
    map_at_one(&c, NULL);
    rig_turn(c.rig);
    lu_free(replacement);
    lu_free(unit);
    backstore_close(absent);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/erase/" name, fn)
    ADD("overwrite", test_overwrite);
    ADD("overwrite-passes", test_overwrite_passes);
    ADD("overwrite-inverts", test_overwrite_inverts);
    ADD("overwrite-refusals", test_overwrite_refusals);
    ADD("block-erase", test_block_erase);
    ADD("cryptographic-erase", test_cryptographic_erase);
    ADD("write-protected", test_write_protected);
    ADD("immediate", test_immediate);
    ADD("one-after-the-other", test_one_after_the_other);
    ADD("progress", test_progress);
    ADD("commands-under-way", test_commands_under_way);
    ADD("goes-on-after-abort", test_goes_on_after_abort);
    ADD("failure", test_failure);
    ADD("exit-failure-mode", test_exit_failure_mode);
    ADD("exit-failure-mode-needs-the-record", test_exit_failure_mode_needs_the_record);
    ADD("record", test_record);
    ADD("no-record-no-erasing", test_no_record_no_erasing);
    ADD("goes-on-after-restart", test_goes_on_after_restart);
    ADD("failure-after-restart", test_failure_after_restart);
    ADD("bad-records", test_bad_records);
    ADD("format", test_format);
    ADD("format-with-pattern", test_format_with_pattern);
    ADD("format-immediate", test_format_immediate);
    ADD("format-refusals", test_format_refusals);
    ADD("replaced", test_replaced);
    return g_test_run();
}
