/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * POPULATE TOKEN, WRITE USING TOKEN and RECEIVE ROD TOKEN INFORMATION
 *
 * LUN 0 is the slow store, whose requests the test can hold, LUN 1 is memory.
 * Tokens are made on LUN 0 by the initiator of worker 0, and may be used by
 * another one on worker 1. A parameter list is built whole and then changed in
 * one place, so that each case of refusal differs from a good list in one
 * field.
 */

#include "fixture.h"

#include <errno.h>
#include <string.h>

#include "backstore/backstore.h"
#include "scsi/copy.h"
#include "scsi/rod.h"
#include "util/bytes.h"

#define MIB ((guint64)1 << 20)

#define LIST  0x01020304
#define LIST2 0x05060708

#define TOKEN_AT (32 + 6) /* in what RECEIVE ROD TOKEN INFORMATION returns */

typedef struct {
    Rig *rig;
    Backstore *store;
    Lu *lu;
    Nexus *nexus;
    Nexus *other; /* on worker 1 */
    guint8 token[ROD_TOKEN_LENGTH];
    guint8 list[ROD_MAX_LIST];
    gsize length;
} Rod;

static void
set_map(Nexus *nexus, const LunEntry *entries, guint n)
{
    LunMap *map = lun_map_new(entries, n);

    nexus_set_map(nexus, map);
    snapshot_unref(&map->snapshot);
    for (guint i = 0; i < n; i++)
        nexus->luns[i]->attentions.n = 0;
}

static void
rod_init(Rod *r, gboolean read_only)
{
    const BackstoreConfig store = { .type = "ram", .name = "other", .size = 4 * MIB, .fd = -1 };
    const LuConfig config = { .name = "other", .uuid = { 1 } };
    g_autoptr(GError) error = NULL;
    guint8 *memory;

    memset(r, 0, sizeof(*r));
    r->rig = rig_new(&(RigConfig){ .n_workers = 2, .slow = { .size = 4 * MIB } });
    r->nexus = r->rig->nexus;
    r->other = rig_new_nexus(r->rig, 1, 2);
    r->store = backstore_open(&store, r->rig->offload, r->rig->n_workers, &error);
    g_assert_no_error(error);
    r->lu = lu_new(&config, r->store, r->rig->workers, r->rig->n_workers, 1);
    set_map(r->nexus, (LunEntry[]){ { 0, r->rig->lu, FALSE }, { 1, r->lu, read_only } }, 2);
    set_map(r->other, (LunEntry[]){ { 0, r->rig->lu, FALSE }, { 1, r->lu, FALSE } }, 2);

    memory = slow_memory(r->rig->store);
    for (gsize i = 0; i < 4 * MIB; i++)
        memory[i] = (guint8)(i >> 9 ^ i >> 17 ^ i);
}

static void
rod_clear(Rod *r)
{
    set_map(r->nexus, (LunEntry[]){ { 0, r->rig->lu, FALSE } }, 1);
    nexus_free(r->other);
    rig_turn(r->rig);
    lu_free(r->lu);
    backstore_close(r->store);
    rig_free(r->rig);
}

/*
 * Commands
 */

static void
prepare(Rod *r, TestCommand *test, Nexus *nexus, guint lun, guint8 action, guint32 list_id)
{
    guint8 cdb[16] = { 0x83, action };

    put_be32(cdb + 6, list_id);
    put_be32(cdb + 10, (guint32)r->length);
    test_command_init(test, nexus, lun, cdb, sizeof(cdb));
    test->out = r->list;
    test->n_out = r->length;
    test->command.expected_out = (guint32)r->length;
}

static void
put_range(Rod *r, guint header, guint i, guint64 lba, guint32 n_blocks)
{
    guint8 *p = r->list + header + 16 * i;

    put_be64(p, lba);
    put_be32(p + 8, n_blocks);
    r->length = header + 16U * (i + 1);
    put_be16(r->list, (guint16)(r->length - 2));
    put_be16(r->list + header - 2, (guint16)(16 * (i + 1)));
}

/* Blocks 8 to 1031 and 2048 to 2063 */
static void
make_populate(Rod *r)
{
    memset(r->list, 0, sizeof(r->list));
    put_range(r, ROD_POPULATE_HEADER, 0, 8, 1024);
    put_range(r, ROD_POPULATE_HEADER, 1, 2048, 16);
}

/* All of it to block 100, but for the last block, which goes to 4000 */
static void
make_write(Rod *r)
{
    memset(r->list, 0, sizeof(r->list));
    memcpy(r->list + 16, r->token, ROD_TOKEN_LENGTH);
    put_range(r, ROD_WRITE_HEADER, 0, 100, 1039);
    put_range(r, ROD_WRITE_HEADER, 1, 4000, 1);
}

static void
make_zero_write(Rod *r, guint64 lba, guint32 n_blocks)
{
    memset(r->list, 0, sizeof(r->list));
    put_be32(r->list + 16, ROD_TYPE_ZERO);
    put_be16(r->list + 16 + 6, ROD_TOKEN_LENGTH - 8);
    put_range(r, ROD_WRITE_HEADER, 0, lba, n_blocks);
}

static GByteArray *
receive(Rod *r, Nexus *nexus, guint lun, guint8 action, guint32 list_id)
{
    guint8 cdb[16] = { 0x84, action };
    TestCommand test;
    GByteArray *data;

    put_be32(cdb + 2, list_id);
    put_be32(cdb + 10, 1024);
    test_command_init(&test, nexus, lun, cdb, sizeof(cdb));
    test.command.expected_in = 1024;
    test_run(r->rig, &test);
    test_assert_good(&test);
    data = g_byte_array_ref(test.in);
    test_command_clear(&test);
    return data;
}

static GByteArray *
receive_information(Rod *r, Nexus *nexus, guint lun, guint32 list_id)
{
    return receive(r, nexus, lun, 0x07, list_id);
}

/* The list as it is; r->token is the new one */
static void
populate(Rod *r, guint32 list_id)
{
    g_autoptr(GByteArray) data = NULL;
    TestCommand test;

    prepare(r, &test, r->nexus, 0, ROD_POPULATE, list_id);
    test_run(r->rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);

    data = receive_information(r, r->nexus, 0, list_id);
    g_assert_cmpuint(data->len, ==, TOKEN_AT + ROD_TOKEN_LENGTH);
    memcpy(r->token, data->data + TOKEN_AT, ROD_TOKEN_LENGTH);
}

static void
populate_good(Rod *r)
{
    make_populate(r);
    populate(r, LIST);
}

static void
run_write(Rod *r, TestCommand *test, Nexus *nexus, guint lun)
{
    prepare(r, test, nexus, lun, ROD_WRITE, LIST2);
    test_run(r->rig, test);
}

static void
assert_write_fails(Rod *r, Nexus *nexus, SenseCode code)
{
    TestCommand test;

    run_write(r, &test, nexus, 1);
    test_assert_sense(&test, code);
    test_command_clear(&test);
}

static void
assert_write_good(Rod *r, Nexus *nexus)
{
    TestCommand test;

    run_write(r, &test, nexus, 1);
    test_assert_good(&test);
    test_command_clear(&test);
}

static void
write_block(Rod *r, Nexus *nexus, guint lun, guint64 lba, TestCommand *test)
{
    static const guint8 block[512];
    guint8 cdb[16] = { 0x8a };

    put_be64(cdb + 2, lba);
    put_be32(cdb + 10, 1);
    test_command_init(test, nexus, lun, cdb, sizeof(cdb));
    test->out = block;
    test->n_out = sizeof(block);
    test->command.expected_out = sizeof(block);
    test_start(test);
    rig_turn(r->rig);
}

static void
assert_blocks(Rod *r, guint64 lba, guint n_blocks, const guint8 *expected)
{
    guint8 cdb[16] = { 0x88 };
    TestCommand test;

    put_be64(cdb + 2, lba);
    put_be32(cdb + 10, n_blocks);
    test_command_init(&test, r->nexus, 1, cdb, sizeof(cdb));
    test.command.expected_in = n_blocks * 512;
    test_run(r->rig, &test);
    test_assert_good(&test);
    g_assert_cmpuint(test.in->len, ==, n_blocks * 512);
    if (expected != NULL)
        g_assert_cmpmem(test.in->data, test.in->len, expected, n_blocks * 512);
    for (guint i = 0; expected == NULL && i < test.in->len; i++)
        g_assert_cmpint(test.in->data[i], ==, 0);
    test_command_clear(&test);
}

static void
assert_written(Rod *r)
{
    const guint8 *memory = slow_memory(r->rig->store);

    assert_blocks(r, 99, 1, NULL);
    assert_blocks(r, 100, 1024, memory + 8 * 512);
    assert_blocks(r, 1124, 15, memory + 2048 * 512);
    assert_blocks(r, 1139, 1, NULL);
    assert_blocks(r, 4000, 1, memory + 2063 * 512);
}

/*
 * Tests
 */

static void
test_token_format(void)
{
    g_autoptr(GByteArray) data = NULL;
    guint8 first[ROD_TOKEN_LENGTH];
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    data = receive_information(&r, r.nexus, 0, LIST);
    g_assert_cmpuint(get_be32(data->data), ==, data->len - 4);
    g_assert_cmpint(data->data[4], ==, ROD_POPULATE);
    g_assert_cmpint(data->data[5], ==, 0x01);
    g_assert_cmpint(data->data[15], ==, 0xf1);
    g_assert_cmpuint(get_be64(data->data + 16), ==, 1040);
    g_assert_cmpuint(get_be32(data->data + 32), ==, 2 + ROD_TOKEN_LENGTH);
    g_assert_cmpint(get_be16(data->data + 36), ==, 0);

    g_assert_cmpuint(get_be32(r.token), ==, 0x00800001);
    g_assert_cmpint(get_be16(r.token + 6), ==, 0x01f8);
    g_assert_cmpint(r.token[16], ==, 0xe4);
    g_assert_cmpmem(r.token + 20, 12, r.rig->lu->identity.designators, 12);
    g_assert_cmpuint(get_be24(r.token + 45), ==, 512);
    g_assert_cmpuint(get_be64(r.token + 48), ==, 0);
    g_assert_cmpuint(get_be64(r.token + 56), ==, 1040 * 512);
    g_assert_cmpuint(get_be32(r.token + 96), ==, 512);

    memcpy(first, r.token, sizeof(first));
    populate_good(&r);
    g_assert_cmpint(memcmp(first + 8, r.token + 8, 8), !=, 0);
    g_assert_cmpint(memcmp(first + 480, r.token + 480, 32), !=, 0);
    rod_clear(&r);
}

static void
test_copies(void)
{
    g_autoptr(GByteArray) data = NULL;
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    make_write(&r);
    assert_write_good(&r, r.nexus);
    assert_written(&r);

    data = receive_information(&r, r.nexus, 1, LIST2);
    g_assert_cmpuint(data->len, ==, 36);
    g_assert_cmpint(data->data[4], ==, ROD_WRITE);
    g_assert_cmpint(data->data[5], ==, 0x01);
    g_assert_cmpuint(get_be64(data->data + 16), ==, 1040);
    g_assert_cmpuint(get_be32(data->data + 32), ==, 0);

    assert_write_good(&r, r.nexus); /* once more */
    rod_clear(&r);
}

static void
test_other_session_and_worker(void)
{
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    make_write(&r);
    assert_write_good(&r, r.other);
    assert_written(&r);
    rod_clear(&r);
}

/* Into the second range, and from the middle of the first into the second */
static void
test_offset(void)
{
    const guint8 *memory;
    Rod r;

    rod_init(&r, FALSE);
    memory = slow_memory(r.rig->store);
    populate_good(&r);

    memset(r.list, 0, sizeof(r.list));
    memcpy(r.list + 16, r.token, ROD_TOKEN_LENGTH);
    put_be64(r.list + 8, 1030);
    put_range(&r, ROD_WRITE_HEADER, 0, 10, 2);
    assert_write_good(&r, r.nexus);
    assert_blocks(&r, 10, 2, memory + 2054 * 512);

    put_be64(r.list + 8, 1023);
    put_range(&r, ROD_WRITE_HEADER, 0, 20, 2);
    assert_write_good(&r, r.nexus);
    assert_blocks(&r, 20, 1, memory + 1031 * 512);
    assert_blocks(&r, 21, 1, memory + 2048 * 512);
    assert_blocks(&r, 22, 1, NULL);
    rod_clear(&r);
}

static void
test_zero_token(void)
{
    g_autoptr(GByteArray) data = NULL;
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    make_write(&r);
    assert_write_good(&r, r.nexus);

    make_zero_write(&r, 101, 1038);
    put_range(&r, ROD_WRITE_HEADER, 1, 4000, 1);
    assert_write_good(&r, r.nexus);
    assert_blocks(&r, 100, 1, slow_memory(r.rig->store) + 8 * 512);
    assert_blocks(&r, 101, 1038, NULL);
    assert_blocks(&r, 4000, 1, NULL);
    data = receive_information(&r, r.nexus, 1, LIST2);
    g_assert_cmpint(data->data[5], ==, 0x01);
    g_assert_cmpuint(get_be64(data->data + 16), ==, 1039);
    rod_clear(&r);
}

typedef struct {
    guint byte;
    guint8 value;
    SenseCode code;
    gint field; /* -1: no pointer */
} Refusal;

static void
assert_refused(Rod *r, guint lun, guint8 action, const Refusal *refusal)
{
    TestCommand test;

    r->list[refusal->byte] = refusal->value;
    prepare(r, &test, r->nexus, lun, action, 99);
    test_run(r->rig, &test);
    test_assert_sense(&test, refusal->code);
    if (refusal->field >= 0) {
        g_assert_cmpint(test.command.sense[15] & 0xc0, ==, 0x80);
        g_assert_cmpint(get_be16(test.command.sense + 16), ==, refusal->field);
    }
    test_command_clear(&test);
    g_assert_null(rod_find(r->nexus->luns[lun], 99));
}

static void
test_refused_populate(void)
{
    static const Refusal refusals[] = {
        { 1, 0x1d, SENSE_INVALID_FIELD_IN_PARAMETERS, 0 },
        { 2, 0x04, SENSE_INVALID_FIELD_IN_PARAMETERS, 2 },
        { 5, 0x01, SENSE_INVALID_FIELD_IN_PARAMETERS, 4 }, /* INACTIVITY TIMEOUT */
        { 15, 0x00, SENSE_INVALID_FIELD_IN_PARAMETERS, 14 },
        { 15, 0x11, SENSE_INVALID_FIELD_IN_PARAMETERS, 14 },
        { 15, 0x30, SENSE_INVALID_FIELD_IN_PARAMETERS, 14 }, /* more than the data */
        { 16, 0x80, SENSE_LBA_OUT_OF_RANGE, -1 },
        { 24, 0x80, SENSE_LBA_OUT_OF_RANGE, -1 },
        { 38, 0x04, SENSE_INVALID_FIELD_IN_PARAMETERS, 32 }, /* overlap */
    };
    Rod r;

    rod_init(&r, FALSE);
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        make_populate(&r);
        assert_refused(&r, 0, ROD_POPULATE, &refusals[i]);
    }

    make_populate(&r);
    r.length = 30; /* less than the header says */
    assert_refused(&r, 0, ROD_POPULATE, &(Refusal){ 3, 0, SENSE_PARAMETER_LIST_LENGTH, -1 });
    r.length = 15;
    assert_refused(&r, 0, ROD_POPULATE, &(Refusal){ 3, 0, SENSE_PARAMETER_LIST_LENGTH, -1 });
    g_assert_cmpuint(r.rig->lu->shards[0].n_rods, ==, 0);
    rod_clear(&r);
}

/* RTV: only what is promised is given */
static void
test_types(void)
{
    static const struct {
        guint32 type;
        gboolean good;
    } types[] = {
        { 0x00800001, TRUE },  /* point in time copy, change vulnerable */
        { 0x0080ffff, TRUE },  /* any point in time copy */
        { 0x00010000, FALSE }, /* access upon reference */
        { 0x00800000, FALSE }, /* default */
        { 0x00800002, FALSE }, /* persistent */
        { 0xffff0001, FALSE }, /* zero */
    };
    Rod r;

    rod_init(&r, FALSE);
    for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
        make_populate(&r);
        put_be32(r.list + 8, types[i].type);
        if (types[i].good) {
            r.list[2] = 0x02;
            populate(&r, LIST);
            g_assert_cmpuint(get_be32(r.token), ==, 0x00800001);
        } else {
            assert_refused(&r, 0, ROD_POPULATE,
                           &(Refusal){ 2, 0x02, SENSE_INVALID_FIELD_IN_PARAMETERS, 8 });
        }
    }
    rod_clear(&r);
}

static void
test_refused_write(void)
{
    static const Refusal refusals[] = {
        { 1, 0x10, SENSE_INVALID_FIELD_IN_PARAMETERS, 0 },
        { 2, 0x80, SENSE_INVALID_FIELD_IN_PARAMETERS, 2 },
        { 8, 0x80, SENSE_INVALID_FIELD_IN_PARAMETERS, 8 },    /* beyond the end */
        { 15, 0x01, SENSE_INVALID_FIELD_IN_PARAMETERS, 534 }, /* more than is left */
        { 16, 0x01, SENSE_TOKEN_TYPE, -1 },
        { 23, 0xf7, SENSE_TOKEN_LENGTH, -1 },
        { 40, 0xff, SENSE_TOKEN_UNKNOWN, -1 }, /* another unit */
        { 535, 0x08, SENSE_INVALID_FIELD_IN_PARAMETERS, 534 },
        { 536, 0x80, SENSE_LBA_OUT_OF_RANGE, -1 },
        { 544, 0x80, SENSE_LBA_OUT_OF_RANGE, -1 },
    };
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        make_write(&r);
        assert_refused(&r, 1, ROD_WRITE, &refusals[i]);
    }

    make_write(&r);
    r.list[16 + 511] ^= 1;
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_CORRUPT);
    r.list[16 + 511] ^= 1;
    r.list[16 + 15] ^= 1;
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_UNKNOWN);
    assert_blocks(&r, 100, 1024, NULL);

    make_write(&r);
    assert_write_good(&r, r.nexus);
    rod_clear(&r);
}

static void
test_too_many_ranges(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    memset(r.list, 0, sizeof(r.list));
    for (guint i = 0; i < ROD_MAX_RANGES + 1; i++)
        put_range(&r, ROD_POPULATE_HEADER, i, 2 * i, 1);
    prepare(&r, &test, r.nexus, 0, ROD_POPULATE, LIST);
    test_run(r.rig, &test);
    test_assert_sense(&test, SENSE_TOO_MANY_SEGMENTS);
    test_command_clear(&test);

    memset(r.list, 0, sizeof(r.list));
    for (guint i = 0; i < ROD_MAX_RANGES; i++)
        put_range(&r, ROD_POPULATE_HEADER, i, 2 * i, 1);
    populate(&r, LIST);

    /* Every second block, as many other blocks */
    memset(r.list, 0, sizeof(r.list));
    memcpy(r.list + 16, r.token, ROD_TOKEN_LENGTH);
    for (guint i = 0; i < ROD_MAX_RANGES; i++)
        put_range(&r, ROD_WRITE_HEADER, i, 300 - 4 * i, 1);
    assert_write_good(&r, r.other);
    for (guint i = 0; i < ROD_MAX_RANGES; i++)
        assert_blocks(&r, 300 - 4 * i, 1, slow_memory(r.rig->store) + 2 * i * 512);
    rod_clear(&r);
}

static void
test_empty_lists(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    r.length = 0;
    prepare(&r, &test, r.nexus, 0, ROD_POPULATE, LIST);
    test_run(r.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_null(rod_find(r.nexus->luns[0], LIST));

    /* No block to be written is no error either */
    populate_good(&r);
    make_write(&r);
    put_range(&r, ROD_WRITE_HEADER, 0, 100, 0);
    assert_write_good(&r, r.nexus);
    rod_clear(&r);
}

/* Any kind of write of a block that the token represents, from any worker */
static void
test_write_cancels(void)
{
    static const guint8 cdbs[][16] = {
        { 0x8a, 0, 0, 0, 0, 0, 0, 0, 0x04, 0x07, 0, 0, 0, 1 }, /* WRITE of 1031 */
        { 0x93, 1, 0, 0, 0, 0, 0, 0, 0x00, 0x00, 0, 0, 0, 9 }, /* WRITE SAME, NDOB */
        { 0x8b, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x0f, 0, 0, 0, 1 }, /* ORWRITE of 2063 */
        { 0x9c, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x08, 0, 0, 0, 1 }, /* WRITE ATOMIC */
        { 0x89, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x08, 0, 0, 0, 1 }, /* COMPARE AND WRITE */
    };
    guint8 data[1024];
    Rod r;

    rod_init(&r, FALSE);
    for (gsize i = 0; i < 2 * G_N_ELEMENTS(cdbs); i++) {
        Nexus *nexus = i & 1 ? r.other : r.nexus;
        TestCommand test;

        populate_good(&r);
        memcpy(data, slow_memory(r.rig->store) + 8 * 512, 512);
        memcpy(data + 512, data, 512);
        (void)test_execute(r.rig, nexus, &test, cdbs[i / 2], 16, 0, data,
                           cdbs[i / 2][0] == 0x93   ? 0
                           : cdbs[i / 2][0] == 0x89 ? 1024
                                                    : 512);
        test_assert_good(&test);
        test_command_clear(&test);

        make_write(&r);
        assert_write_fails(&r, nexus == r.nexus ? r.other : r.nexus, SENSE_TOKEN_CANCELLED);
        assert_write_fails(&r, nexus, SENSE_TOKEN_CANCELLED);
    }
    g_assert_cmpuint(r.rig->lu->shards[0].n_rods, ==, 0);
    rod_clear(&r);
}

static void
test_other_blocks_do_not_cancel(void)
{
    static const guint64 lbas[] = { 7, 1032, 2047, 2064 };
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    for (gsize i = 0; i < G_N_ELEMENTS(lbas); i++) {
        write_block(&r, r.other, 0, lbas[i], &test);
        test_assert_good(&test);
        test_command_clear(&test);
    }
    (void)test_execute(r.rig, r.nexus, &test, CDB(0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_assert_good(&test);
    test_command_clear(&test);

    make_write(&r);
    assert_write_good(&r, r.other);
    assert_written(&r);
    rod_clear(&r);
}

/* What is in flight belongs to the time before the token, which waits for it */
static void
test_populate_awaits_writes(void)
{
    TestCommand test, writer;
    Rod r;

    rod_init(&r, FALSE);
    slow_hold(r.rig->store, TRUE);
    write_block(&r, r.other, 0, 8, &writer);
    g_assert_cmpuint(slow_n_held(r.rig->store, 1), ==, 1);

    make_populate(&r);
    prepare(&r, &test, r.nexus, 0, ROD_POPULATE, LIST);
    test_start(&test);
    rig_turn(r.rig);
    g_assert_false(test.is_done);

    slow_hold(r.rig->store, FALSE);
    slow_release(r.rig->store, 1);
    rig_turn(r.rig);
    g_assert_true(writer.is_done);
    g_assert_true(test.is_done);
    test_assert_good(&test);
    test_command_clear(&test);
    test_command_clear(&writer);
    g_assert_cmpuint(r.rig->lu->shards[1].n_rods, ==, 1);
    rod_clear(&r);
}

static void
start_held(Rod *r, TestCommand *test, gboolean immediate)
{
    populate_good(r);
    slow_hold(r->rig->store, TRUE);
    make_write(r);
    r->list[2] = immediate ? 0x01 : 0x00;
    prepare(r, test, r->nexus, 1, ROD_WRITE, LIST2);
    test_start(test);
    rig_turn(r->rig);
    g_assert_cmpuint(slow_n_held(r->rig->store, 0), >, 0);
}

static void
let_go(Rod *r)
{
    slow_hold(r->rig->store, FALSE);
    slow_release(r->rig->store, 0);
    slow_release(r->rig->store, 1);
    rig_turn(r->rig);
}

/* A write while the copy runs: no block counts */
static void
test_write_cancels_copy(void)
{
    g_autoptr(GByteArray) data = NULL;
    TestCommand test, writer;
    Rod r;

    rod_init(&r, FALSE);
    start_held(&r, &test, FALSE);
    write_block(&r, r.other, 0, 2050, &writer);
    let_go(&r);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_TOKEN_CANCELLED);
    test_assert_good(&writer);

    data = receive_information(&r, r.nexus, 1, LIST2);
    g_assert_cmpint(data->data[5], ==, 0x02);
    g_assert_cmpint(data->data[12], ==, SCSI_CHECK_CONDITION);
    g_assert_cmpuint(get_be64(data->data + 16), ==, 0);
    g_assert_cmpint(data->data[13], ==, test.command.sense_length);
    g_assert_cmpmem(data->data + 32, data->data[14], test.command.sense, test.command.sense_length);
    test_command_clear(&test);
    test_command_clear(&writer);
    rod_clear(&r);
}

/* What the token represents cannot be written with it */
static void
test_onto_itself(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    make_write(&r);
    run_write(&r, &test, r.nexus, 0);
    test_assert_field(&test, FALSE, 536, 7);
    test_command_clear(&test);

    put_range(&r, ROD_WRITE_HEADER, 0, 4096, 1040);
    run_write(&r, &test, r.nexus, 0);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_cmpmem(slow_memory(r.rig->store) + 4096 * 512, 1024 * 512,
                    slow_memory(r.rig->store) + 8 * 512, 1024 * 512);
    rod_clear(&r);
}

static void
test_expiry(void)
{
    Rod r;

    rod_init(&r, FALSE);
    make_populate(&r);
    put_be32(r.list + 4, 10);
    populate(&r, LIST);
    make_write(&r);

    for (guint i = 0; i < 3; i++) { /* each use starts the time anew */
        clock_advance(&r.rig->clock, 9 * USEC_PER_SEC);
        rig_turn(r.rig);
        assert_write_good(&r, r.other);
    }

    clock_advance(&r.rig->clock, 11 * USEC_PER_SEC);
    rig_turn(r.rig);
    assert_write_fails(&r, r.other, SENSE_TOKEN_EXPIRED);
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_EXPIRED);

    make_populate(&r);
    populate(&r, LIST);
    make_write(&r);
    clock_advance(&r.rig->clock, ROD_TIMEOUT_DEFAULT * USEC_PER_SEC);
    rig_turn(r.rig);
    assert_write_good(&r, r.nexus);
    clock_advance(&r.rig->clock, (ROD_TIMEOUT_DEFAULT + 1) * USEC_PER_SEC);
    rig_turn(r.rig);
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_EXPIRED);
    rod_clear(&r);
}

static void
test_no_expiry_in_use(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    start_held(&r, &test, FALSE);
    clock_advance(&r.rig->clock, (ROD_TIMEOUT_MAX + 1) * USEC_PER_SEC);
    rig_turn(r.rig);
    let_go(&r);
    test_assert_good(&test);
    test_command_clear(&test);
    assert_written(&r);
    rod_clear(&r);
}

static void
test_delete(void)
{
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    make_write(&r);
    r.list[2] = 0x02;
    assert_write_good(&r, r.other);
    assert_written(&r);
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_DELETED);
    assert_write_fails(&r, r.other, SENSE_TOKEN_DELETED);
    rod_clear(&r);
}

static void
on_reset(Lu *lu, gpointer user_data)
{
}

static void
test_reset(void)
{
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    lu_reset(r.rig->lu, &r.rig->workers[0]->inbox, on_reset, NULL);
    rig_turn(r.rig);
    r.nexus->luns[0]->attentions.n = 0;
    r.other->luns[0]->attentions.n = 0;
    make_write(&r);
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_CANCELLED);
    g_assert_cmpuint(r.rig->lu->shards[0].n_rods, ==, 0);
    g_assert_cmpuint(r.rig->lu->shards[1].n_rods, ==, 0);
    rod_clear(&r);
}

static void
on_resized(Lu *lu, gboolean success, gpointer user_data)
{
    g_assert_true(success);
}

static void
resize(Rod *r, guint64 size)
{
    lu_set_size(r->rig->lu, size, &r->rig->workers[0]->inbox, on_resized, NULL);
    rig_turn(r->rig);
    r->nexus->luns[0]->attentions.n = 0;
    r->other->luns[0]->attentions.n = 0;
}

static void
test_shrinking_source(void)
{
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    make_write(&r);
    resize(&r, 2064 * 512);
    assert_write_good(&r, r.other);
    resize(&r, 2063 * 512);
    assert_write_fails(&r, r.other, SENSE_TOKEN_CANCELLED);
    resize(&r, 4 * MIB);
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_CANCELLED);
    rod_clear(&r);
}

/* Who cannot reach the source cannot use its token, nor find out whether there is one */
static void
test_hidden_source(void)
{
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    make_write(&r);
    set_map(r.other, (LunEntry[]){ { 1, r.lu, FALSE } }, 1);
    assert_write_fails(&r, r.other, SENSE_TOKEN_UNKNOWN);
    r.list[16 + 511] ^= 1;
    assert_write_fails(&r, r.other, SENSE_TOKEN_UNKNOWN);
    rod_clear(&r);
}

static void
test_reserved_source(void)
{
    g_autoptr(GByteArray) data = NULL;
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    test_command_init(&test, r.nexus, 0, CDB(0x16, 0, 0, 0, 0, 0)); /* RESERVE */
    test_run(r.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);

    make_write(&r);
    assert_write_fails(&r, r.other, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    data = receive_information(&r, r.other, 1, LIST2);
    g_assert_cmpint(data->data[5], ==, 0x02);
    g_assert_cmpuint(get_be64(data->data + 16), ==, 0);
    assert_write_good(&r, r.nexus);

    make_populate(&r);
    prepare(&r, &test, r.other, 0, ROD_POPULATE, LIST);
    test_run(r.rig, &test);
    g_assert_cmpint(test.command.status, ==, SCSI_RESERVATION_CONFLICT);
    test_command_clear(&test);
    test_command_init(&test, r.nexus, 0, CDB(0x17, 0, 0, 0, 0, 0));
    test_run(r.rig, &test);
    test_command_clear(&test);
    rod_clear(&r);
}

static void
test_source_vanishes(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    start_held(&r, &test, FALSE);
    set_map(r.nexus, (LunEntry[]){ { 1, r.lu, FALSE } }, 1);
    let_go(&r);
    g_assert_true(test.is_done);
    test_assert_sense(&test, SENSE_COPY_TARGET_NOT_REACHABLE);
    test_command_clear(&test);
    set_map(r.nexus, (LunEntry[]){ { 0, r.rig->lu, FALSE }, { 1, r.lu, FALSE } }, 2);
    rod_clear(&r);
}

/* The unit has gone and come again in the middle: what was written in between, nobody has seen */
static void
test_source_is_replaced(void)
{
    const BackstoreConfig config = { .type = "ram", .name = "again", .size = 4 * MIB, .fd = -1 };
    g_autoptr(GError) error = NULL;
    LuConfig lu_config = { .name = "disk" };
    Backstore *store;
    TestCommand test;
    Lu *lu;
    Rod r;

    rod_init(&r, FALSE);
    store = backstore_open(&config, r.rig->offload, r.rig->n_workers, &error);
    g_assert_no_error(error);
    memcpy(lu_config.uuid, rig_uuid, sizeof(rig_uuid));
    lu = lu_new(&lu_config, store, r.rig->workers, r.rig->n_workers, 0);

    start_held(&r, &test, FALSE);
    set_map(r.nexus, (LunEntry[]){ { 0, lu, FALSE }, { 1, r.lu, FALSE } }, 2);
    let_go(&r);
    test_wait(r.rig, &test);
    test_assert_sense(&test, SENSE_TOKEN_UNKNOWN);
    test_command_clear(&test);
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_UNKNOWN);
    assert_write_good(&r, r.other);

    set_map(r.nexus, (LunEntry[]){ { 0, r.rig->lu, FALSE }, { 1, r.lu, FALSE } }, 2);
    rig_turn(r.rig);
    lu_free(lu);
    backstore_close(store);
    rod_clear(&r);
}

static void
start_populate(Rod *r, TestCommand *test)
{
    make_populate(r);
    prepare(r, test, r->nexus, 0, ROD_POPULATE, LIST);
    test_start(test);
    g_assert_false(test->is_done);
}

/* Between the judgement and the token a gate of the unit closes, or the blocks go: it says why */
static void
test_changes_before_the_token(void)
{
    LuShard *shard;
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    shard = r.nexus->luns[0]->shard;
    start_populate(&r, &test);
    shard->state.power_condition = POWER_STOPPED;
    test_wait(r.rig, &test);
    test_assert_sense(&test, SENSE_NOT_READY_INITIALIZING);
    test_command_clear(&test);
    shard->state.power_condition = POWER_ACTIVE;

    start_populate(&r, &test);
    r.rig->lu->state.size = 512 * 2048;
    test_wait(r.rig, &test);
    test_assert_sense(&test, SENSE_LBA_OUT_OF_RANGE);
    test_command_clear(&test);
    g_assert_cmpuint(shard->n_rods, ==, 0);
    g_assert_cmpuint(r.nexus->n_copies, ==, 0);
    r.rig->lu->state.size = 4 * MIB;
    rod_clear(&r);
}

/* No more than EXTENDED COPY may have */
static void
test_background_is_bounded(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    r.nexus->n_copies = COPY_MAX_OF_NEXUS - 1;
    slow_hold(r.rig->store, TRUE);
    for (guint i = 0; i < 2; i++) {
        make_zero_write(&r, 8 * i, 8);
        r.list[2] = 0x01; /* IMMED */
        prepare(&r, &test, r.nexus, 0, ROD_WRITE, LIST + i);
        test_run(r.rig, &test);
        g_assert_cmphex(test.command.status, ==, i == 0 ? SCSI_GOOD : SCSI_BUSY);
        test_command_clear(&test);
    }
    slow_hold(r.rig->store, FALSE);
    slow_release(r.rig->store, 0);
    rig_turn(r.rig);
    g_assert_cmpuint(r.nexus->n_copies, ==, COPY_MAX_OF_NEXUS - 1);
    g_assert_cmpuint(r.nexus->scsi->n_copies, ==, 0);
    rod_clear(&r);
}

static void
test_write_protected(void)
{
    Rod r;

    rod_init(&r, TRUE);
    populate_good(&r);
    make_write(&r);
    assert_write_fails(&r, r.nexus, SENSE_WRITE_PROTECTED);
    assert_write_good(&r, r.other);
    rod_clear(&r);
}

static void
test_read_error(void)
{
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    make_write(&r);
    slow_fail_next(r.rig->store, EIO);
    assert_write_fails(&r, r.nexus, SENSE_THIRD_PARTY_DEVICE_FAILURE);
    assert_write_good(&r, r.nexus); /* the token has not suffered */
    rod_clear(&r);
}

/* Of one initiator the token that was not used for the longest time makes room, for others there is
 * room as well */
static void
test_tokens_are_bounded(void)
{
    guint8 first[ROD_TOKEN_LENGTH], second[ROD_TOKEN_LENGTH];
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    memcpy(first, r.token, sizeof(first));
    clock_advance(&r.rig->clock, USEC_PER_SEC);
    rig_turn(r.rig);
    populate_good(&r);
    memcpy(second, r.token, sizeof(second));
    clock_advance(&r.rig->clock, USEC_PER_SEC);
    rig_turn(r.rig);
    memcpy(r.token, first, sizeof(first)); /* used */
    make_write(&r);
    assert_write_good(&r, r.other);

    for (guint i = 0; i < ROD_MAX_OWN_TOKENS - 1; i++)
        populate_good(&r);
    g_assert_cmpuint(r.rig->lu->shards[0].n_rods, ==, ROD_MAX_OWN_TOKENS);
    make_write(&r);
    assert_write_good(&r, r.other);
    memcpy(r.token, first, sizeof(first));
    make_write(&r);
    assert_write_good(&r, r.other);
    memcpy(r.token, second, sizeof(second));
    make_write(&r);
    assert_write_fails(&r, r.other, SENSE_TOKEN_CANCELLED);
    g_assert_cmpuint(r.rig->lu->shards[1].n_rods, ==, ROD_MAX_OWN_TOKENS);
    rod_clear(&r);
}

static void
test_tokens_of_all_are_bounded(void)
{
    const guint n = ROD_MAX_TOKENS / ROD_MAX_OWN_TOKENS;
    Nexus *nexuses[ROD_MAX_TOKENS / ROD_MAX_OWN_TOKENS];
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    for (guint i = 0; i < n; i++) {
        nexuses[i] = rig_new_nexus(r.rig, i % 2, 10 + i);
        for (guint j = 0; j < ROD_MAX_OWN_TOKENS; j++) {
            make_populate(&r);
            prepare(&r, &test, nexuses[i], 0, ROD_POPULATE, LIST);
            test_run(r.rig, &test);
            test_assert_good(&test);
            test_command_clear(&test);
        }
    }

    g_assert_cmpuint(r.rig->lu->shards[0].n_rods, ==, ROD_MAX_TOKENS);
    prepare(&r, &test, r.nexus, 0, ROD_POPULATE, LIST);
    test_run(r.rig, &test);
    test_assert_sense(&test, SENSE_NO_ROOM_FOR_TOKEN);
    test_command_clear(&test);
    prepare(&r, &test, nexuses[0], 0, ROD_POPULATE, LIST);
    test_run(r.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);

    for (guint i = 0; i < n; i++)
        nexus_free(nexuses[i]);
    rod_clear(&r);
}

static void
test_in_the_background(void)
{
    g_autoptr(GByteArray) running = NULL;
    g_autoptr(GByteArray) status = NULL;
    g_autoptr(GByteArray) ended = NULL;
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    start_held(&r, &test, TRUE);
    g_assert_true(test.is_done);
    test_assert_good(&test);
    test_command_clear(&test);
    running = receive_information(&r, r.nexus, 1, LIST2);
    g_assert_cmpint(running->data[5], ==, 0x12);
    g_assert_cmpuint(get_be32(running->data + 8), >, 0);
    g_assert_cmpuint(get_be64(running->data + 16), ==, 0);

    make_write(&r);
    assert_write_fails(&r, r.nexus, SENSE_OPERATION_IN_PROGRESS); /* the same list identifier */

    let_go(&r);
    ended = receive_information(&r, r.nexus, 1, LIST2);
    g_assert_cmpint(ended->data[5], ==, 0x01);
    g_assert_cmpuint(get_be64(ended->data + 16), ==, 1040);
    status = receive(&r, r.nexus, 1, 0x05, LIST2);
    g_assert_cmpuint(status->len, ==, 32);
    g_assert_cmpuint(get_be32(status->data), ==, 28);
    g_assert_cmpmem(status->data + 4, 28, ended->data + 4, 28);
    assert_written(&r);
    g_assert_cmpuint(nexus_n_commands(r.nexus), ==, 0);
    rod_clear(&r);
}

static void
test_populate_immediate(void)
{
    Rod r;

    rod_init(&r, FALSE);
    make_populate(&r);
    r.list[2] = 0x01;
    populate(&r, LIST);
    make_write(&r);
    assert_write_good(&r, r.other);
    rod_clear(&r);
}

/* The session goes while the copy runs on behind an answered command */
static void
test_nexus_loss(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    start_held(&r, &test, TRUE);
    test_command_clear(&test);
    g_assert_cmpuint(nexus_n_commands(r.nexus), >, 0);
    nexus_abort_all(r.nexus);
    let_go(&r);
    g_assert_cmpuint(nexus_n_commands(r.nexus), ==, 0);
    g_assert_cmpint(rod_find(r.nexus->luns[1], LIST2)->outcome, ==, COPY_ABORTED);
    rod_clear(&r);
}

static void
test_abort(void)
{
    g_autoptr(GByteArray) data = NULL;
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    start_held(&r, &test, FALSE);
    scsi_command_abort(&test.command);
    rig_turn(r.rig);
    g_assert_false(test.is_done);
    let_go(&r);
    g_assert_true(test.is_done);
    g_assert_true(test.command.aborted);
    test_command_clear(&test);
    data = receive_information(&r, r.nexus, 1, LIST2);
    g_assert_cmpint(data->data[5], ==, 0x60);
    make_write(&r);
    assert_write_good(&r, r.nexus);
    rod_clear(&r);
}

/* A token that its requester never hears of is for nobody */
static void
test_abort_populate(void)
{
    TestCommand test, writer;
    Rod r;

    rod_init(&r, FALSE);
    slow_hold(r.rig->store, TRUE);
    write_block(&r, r.other, 0, 8, &writer);
    make_populate(&r);
    prepare(&r, &test, r.nexus, 0, ROD_POPULATE, LIST);
    test_start(&test);
    rig_turn(r.rig);
    nexus_abort_all(r.nexus);
    let_go(&r);
    g_assert_true(test.is_done);
    g_assert_true(test.command.aborted);
    g_assert_cmpint(rod_find(r.nexus->luns[0], LIST)->outcome, ==, COPY_ABORTED);
    g_assert_null(rod_find(r.nexus->luns[0], LIST)->token);
    test_command_clear(&test);
    test_command_clear(&writer);
    write_block(&r, r.nexus, 0, 4000, &writer);
    test_command_clear(&writer);
    g_assert_cmpuint(r.rig->lu->shards[0].n_rods, ==, 0);
    rod_clear(&r);
}

static void
test_operation_abort(void)
{
    guint8 cdb[16] = { 0x83, 0x1c };
    TestCommand test, stop;
    Rod r;

    rod_init(&r, FALSE);
    start_held(&r, &test, FALSE);
    put_be32(cdb + 2, LIST2);
    test_command_init(&stop, r.nexus, 1, cdb, sizeof(cdb));
    test_start(&stop);
    rig_turn(r.rig);
    g_assert_false(stop.is_done);
    let_go(&r);
    g_assert_true(test.is_done);
    g_assert_true(stop.is_done);
    g_assert_cmpint(test.command.status, ==, SCSI_TASK_ABORTED);
    test_assert_good(&stop);
    test_command_clear(&test);
    test_command_clear(&stop);

    test_command_init(&stop, r.nexus, 1, cdb, sizeof(cdb)); /* it has ended */
    test_run(r.rig, &stop);
    test_assert_field(&stop, TRUE, 2, 7);
    test_command_clear(&stop);
    rod_clear(&r);
}

/* One list identifier is not for two operations of the nexus at a time, of whatever kind */
static void
test_list_in_use(void)
{
    static const guint8 list[COPY_LID1_HEADER] = { 0x21 };
    TestCommand test, copy;
    Rod r;

    rod_init(&r, FALSE);
    make_zero_write(&r, 0, 8);
    prepare(&r, &test, r.nexus, 0, ROD_WRITE, 0x21);
    slow_hold(r.rig->store, TRUE);
    test_start(&test);
    rig_turn(r.rig);
    g_assert_false(test.is_done);
    (void)test_execute(r.rig, r.nexus, &copy,
                       CDB(0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0), 0, list,
                       sizeof(list));
    test_assert_sense(&copy, SENSE_INVALID_FIELD_IN_PARAMETERS);
    test_command_clear(&copy);
    slow_hold(r.rig->store, FALSE);
    slow_release(r.rig->store, 0);
    test_wait(r.rig, &test);
    test_assert_good(&test);
    test_command_clear(&test);
    rod_clear(&r);
}

/* What is told of a list identifier is of the newest operation with it, of whatever kind */
static void
test_list_is_used_anew(void)
{
    static const guint8 list[COPY_LID1_HEADER] = { 0x21 };
    g_autoptr(GByteArray) of_copy = NULL;
    g_autoptr(GByteArray) of_token = NULL;
    TestCommand copy;
    Rod r;

    rod_init(&r, FALSE);
    make_populate(&r);
    populate(&r, 0x21);
    (void)test_execute(r.rig, r.nexus, &copy,
                       CDB(0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0), 0, list,
                       sizeof(list));
    test_assert_good(&copy);
    test_command_clear(&copy);
    of_copy = receive(&r, r.nexus, 0, 0x05, 0x21);
    g_assert_cmphex(of_copy->data[4], ==, 0); /* the service action of EXTENDED COPY(LID1) */
    g_assert_null(rod_find(r.nexus->luns[0], 0x21));

    populate(&r, 0x21);
    of_token = receive(&r, r.nexus, 0, 0x05, 0x21);
    g_assert_cmphex(of_token->data[4], ==, ROD_POPULATE);
    g_assert_null(copy_find(r.nexus->luns[0], 0x21));
    rod_clear(&r);
}

static void
test_unknown_list(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    (void)test_execute(r.rig, r.nexus, &test,
                       CDB(0x84, 0x07, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0), 512, NULL, 0);
    test_assert_field(&test, TRUE, 2, 7);
    test_command_clear(&test);
    rod_clear(&r);
}

static void
test_results_are_bounded(void)
{
    guint n = 0;
    Rod r;

    rod_init(&r, FALSE);
    for (guint i = 0; i < 2 * ROD_MAX_KEPT; i++) {
        make_populate(&r);
        populate(&r, i);
    }
    for (guint i = 0; i < 2 * ROD_MAX_KEPT; i++)
        n += rod_find(r.nexus->luns[0], i) != NULL;
    g_assert_cmpuint(n, ==, ROD_MAX_KEPT);
    rod_clear(&r);
}

/* The unit is erased, or its medium taken out */
static void
test_sanitize(void)
{
    TestCommand test;
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    (void)test_execute(r.rig, r.other, &test, CDB(0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0), 0, NULL, 0);
    test_assert_good(&test);
    test_command_clear(&test);
    make_write(&r);
    assert_write_fails(&r, r.nexus, SENSE_TOKEN_CANCELLED);
    rod_clear(&r);
}

static void
test_vpd(void)
{
    static const guint16 types[] = { 0x0000, 0x0001, 0x0004, 0x0008, 0x0106, 0x0108, 0x8001 };
    const guint8 *p;
    TestCommand test;
    guint at = 4;
    Rod r;

    rod_init(&r, FALSE);
    (void)test_execute(r.rig, r.nexus, &test, CDB(0x12, 1, 0x8f, 2, 0, 0), 512, NULL, 0);
    test_assert_good(&test);
    g_assert_cmpuint(test.in->len, ==, 4U + get_be16(test.in->data + 2));
    p = test.in->data + 4;
    g_assert_cmpint(get_be16(p + 2), ==, 0x20); /* Windows looks for this one */
    g_assert_cmpint(get_be16(p + 10), ==, ROD_MAX_RANGES);
    g_assert_cmpuint(get_be32(p + 12), ==, ROD_TIMEOUT_MAX);
    g_assert_cmpuint(get_be32(p + 16), ==, ROD_TIMEOUT_DEFAULT);
    g_assert_cmpuint(get_be64(p + 20), ==, ROD_MAX_BYTES / 512);
    g_assert_cmpuint(get_be64(p + 28), ==, ROD_OPTIMAL_BYTES / 512);
    for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
        g_assert_cmpint(get_be16(test.in->data + at), ==, types[i]);
        at += 4U + get_be16(test.in->data + at + 2);
        g_assert_cmpuint(at % 4, ==, 0);
    }
    g_assert_cmpuint(at, ==, test.in->len);
    test_command_clear(&test);
    rod_clear(&r);
}

/* WRITE USING TOKEN with the zero token whose WRITE SAME waits has not to be waited for, and writes
 * nothing after its abort. Parked behind what somebody else has aborted: */
static void
test_zero_parked(void)
{
    TestCommand test, writer;
    TestManagement tmf, other;
    Nexus *third;
    Rod r;

    rod_init(&r, FALSE);
    third = rig_new_nexus(r.rig, 0, 9);
    slow_hold(r.rig->store, TRUE);
    write_block(&r, third, 0, 10, &writer);
    test_manage(&other, TMF_ABORT_TASK, third, 0, &writer.command);
    g_assert_false(other.is_done);
    make_zero_write(&r, 8, 64);
    prepare(&r, &test, r.nexus, 0, ROD_WRITE, LIST2);
    test_start(&test);
    rig_turn(r.rig);
    g_assert_cmpuint(slow_n_held(r.rig->store, 0), ==, 1);

    test_manage(&tmf, TMF_ABORT_TASK, r.nexus, 0, &test.command);
    rig_turn(r.rig);
    g_assert_true(tmf.is_done);
    let_go(&r);
    g_assert_cmpuint(slow_n_done(r.rig->store, IO_ZERO), ==, 0);
    test_command_clear(&test);
    test_command_clear(&writer);
    nexus_free(third);
    rod_clear(&r);
}

/* All that the pool has */
static void
take_all(Pool *pool, GPtrArray *taken)
{
    for (gsize size = POOL_BUFFER_MAX; size >= 4096; size /= 2) {
        gpointer buffer;

        while ((buffer = pool_take(pool, size)) != NULL)
            g_ptr_array_add(taken, buffer);
    }
}

/* The same while it waits for a buffer: */
static void
test_zero_without_buffer(void)
{
    g_autoptr(GPtrArray) taken = g_ptr_array_new();
    TestCommand test;
    TestManagement tmf;
    Pool *pool;
    Rod r;

    rod_init(&r, FALSE);
    make_zero_write(&r, 8, 64);
    prepare(&r, &test, r.nexus, 0, ROD_WRITE, LIST2);
    test.hold_data_out = TRUE;
    test_start(&test);
    pool = r.rig->workers[0]->pool;
    take_all(pool, taken);
    test_send_data(&test);
    take_all(pool, taken); /* also what held the list */
    rig_turn(r.rig);
    g_assert_false(test.is_done);

    test_manage(&tmf, TMF_ABORT_TASK, r.nexus, 0, &test.command);
    rig_turn(r.rig);
    g_assert_true(tmf.is_done);
    for (guint i = 0; i < taken->len; i++)
        pool_give(pool, taken->pdata[i]);
    rig_turn(r.rig);
    g_assert_cmpuint(slow_n_done(r.rig->store, IO_ZERO), ==, 0);
    test_command_clear(&test);
    rod_clear(&r);
}

/* What was sent after ABORT TASK SET is not concerned, nor is what it consists of */
static void
test_spared(void)
{
    TestCommand test;
    TestManagement tmf;
    Rod r;

    rod_init(&r, FALSE);
    populate_good(&r);
    slow_hold(r.rig->store, TRUE);
    make_write(&r);
    prepare(&r, &test, r.nexus, 1, ROD_WRITE, LIST2);
    test_start(&test);
    rig_turn(r.rig);
    test.command.is_spared = TRUE;
    test_manage(&tmf, TMF_ABORT_TASK_SET, r.nexus, 0, NULL); /* where the READs are */
    rig_turn(r.rig);
    let_go(&r);
    g_assert_true(tmf.is_done);
    g_assert_true(test.is_done);
    test_assert_good(&test);
    test_command_clear(&test);
    assert_written(&r);
    rod_clear(&r);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add_func("/scsi/rod/" name, function)
    ADD("token-format", test_token_format);
    ADD("copies", test_copies);
    ADD("other-session-and-worker", test_other_session_and_worker);
    ADD("offset", test_offset);
    ADD("zero-token", test_zero_token);
    ADD("refused-populate", test_refused_populate);
    ADD("types", test_types);
    ADD("refused-write", test_refused_write);
    ADD("too-many-ranges", test_too_many_ranges);
    ADD("empty-lists", test_empty_lists);
    ADD("write-cancels", test_write_cancels);
    ADD("other-blocks-do-not-cancel", test_other_blocks_do_not_cancel);
    ADD("populate-awaits-writes", test_populate_awaits_writes);
    ADD("write-cancels-copy", test_write_cancels_copy);
    ADD("onto-itself", test_onto_itself);
    ADD("expiry", test_expiry);
    ADD("no-expiry-in-use", test_no_expiry_in_use);
    ADD("delete", test_delete);
    ADD("reset", test_reset);
    ADD("shrinking-source", test_shrinking_source);
    ADD("hidden-source", test_hidden_source);
    ADD("reserved-source", test_reserved_source);
    ADD("source-vanishes", test_source_vanishes);
    ADD("source-is-replaced", test_source_is_replaced);
    ADD("changes-before-the-token", test_changes_before_the_token);
    ADD("background-is-bounded", test_background_is_bounded);
    ADD("write-protected", test_write_protected);
    ADD("read-error", test_read_error);
    ADD("tokens-are-bounded", test_tokens_are_bounded);
    ADD("tokens-of-all-are-bounded", test_tokens_of_all_are_bounded);
    ADD("in-the-background", test_in_the_background);
    ADD("populate-immediate", test_populate_immediate);
    ADD("nexus-loss", test_nexus_loss);
    ADD("abort", test_abort);
    ADD("abort-populate", test_abort_populate);
    ADD("zero-parked", test_zero_parked);
    ADD("zero-without-buffer", test_zero_without_buffer);
    ADD("spared", test_spared);
    ADD("operation-abort", test_operation_abort);
    ADD("list-is-used-anew", test_list_is_used_anew);
    ADD("list-in-use", test_list_in_use);
    ADD("unknown-list", test_unknown_list);
    ADD("results-are-bounded", test_results_are_bounded);
    ADD("sanitize", test_sanitize);
    ADD("vpd", test_vpd);
    return g_test_run();
}
