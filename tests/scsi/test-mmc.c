/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The CD/DVD drive: what it answers, byte by byte, with a medium of 1000 blocks
 * (00:15:25 from the start of the disc, as 150 frames come before block 0), and
 * what its nexuses see of a change of medium
 */

#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

#define BLOCK    2048
#define N_BLOCKS 1000

typedef struct {
    Rig *rig;
    Nexus *other; /* on another worker */
    TestCommand test;
} Case;

static void
case_init_config(Case *c, const RigConfig *config)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(config);
    c->other = rig_new_nexus(c->rig, 1, 2);
}

static void
case_init(Case *c)
{
    case_init_config(c, &(RigConfig){ .n_workers = 2,
                                      .slow = { .size = (guint64)N_BLOCKS * BLOCK,
                                                .block_size = BLOCK,
                                                .read_only = TRUE },
                                      .lu = { .device = LU_CDROM } });
}

static void
case_init_empty(Case *c)
{
    case_init_config(c, &(RigConfig){ .n_workers = 2,
                                      .slow = { .block_size = BLOCK, .read_only = TRUE },
                                      .lu = { .device = LU_CDROM,
                                              .not_ready = SENSE_MEDIUM_NOT_PRESENT_CLOSED } });
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

static void
assert_answer(Case *c, const guint8 *cdb, gsize n, const guint8 *expected, gsize n_expected)
{
    (void)ask(c, c->rig->nexus, cdb, n);
    test_assert_good(&c->test);
    g_assert_cmpmem(c->test.in->data, c->test.in->len, expected, (guint)n_expected);
}

#define BYTES(...) CDB(__VA_ARGS__)

#define TEST_READY    CDB(0x00, 0, 0, 0, 0, 0)
#define EJECT         CDB(0x1b, 0, 0, 0, 0x02, 0)
#define LOAD          CDB(0x1b, 0, 0, 0, 0x03, 0)
#define PREVENT(flag) CDB(0x1e, 0, 0, 0, (flag), 0)
#define MEDIA_EVENT   CDB(0x4a, 0x01, 0, 0, 0x10, 0, 0, 0, 8, 0)

static void
test_inquiry(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0x12, 0, 0, 0, 96, 0));
    g_assert_cmphex(data[0], ==, 0x05);
    g_assert_cmphex(data[1], ==, 0x80);
    g_assert_cmphex(data[5] & 0x08, ==, 0); /* 3PC */
    g_assert_cmpmem(data + 16, 16, "CD/DVD DRIVE    ", 16);
    g_assert_cmphex(get_be16(data + 58), ==, 0x00a0);
    g_assert_cmphex(get_be16(data + 64), ==, 0x04e0); /* MMC-6 */
    data = ask(&c, c.rig->nexus, CDB(0x12, 1, 0x00, 0, 96, 0));
    g_assert_cmpmem(data + 4, c.test.in->len - 4, "\x00\x80\x83\x85\x86\x87\x88", 7);
    (void)ask(&c, c.rig->nexus, CDB(0x12, 1, 0xb0, 0, 96, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    case_clear(&c);
}

static void
test_capacity_and_read(void)
{
    Case c;

    case_init(&c);
    slow_memory(c.rig->store)[7 * BLOCK] = 0x77;
    assert_answer(&c, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), BYTES(0, 0, 3, 0xe7, 0, 0, 8, 0));
    (void)ask(&c, c.rig->nexus, CDB(0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0));
    g_assert_cmpuint(c.test.in->len, ==, BLOCK);
    g_assert_cmphex(c.test.in->data[0], ==, 0x77);
    (void)ask(&c, c.rig->nexus, CDB(0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0));
    g_assert_cmphex(c.test.in->data[0], ==, 0x77);
    (void)ask(&c, c.rig->nexus, CDB(0x08, 0, 0, 7, 1, 0));
    g_assert_cmphex(c.test.in->data[0], ==, 0x77);
    (void)ask(&c, c.rig->nexus, CDB(0x28, 0, 0, 0, 3, 0xe8, 0, 0, 1, 0));
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    case_clear(&c);
}

static void
test_read_cd(void)
{
    Case c;

    case_init(&c);
    slow_memory(c.rig->store)[7 * BLOCK] = 0x77;
    (void)ask(&c, c.rig->nexus, CDB(0xbe, 0x08, 0, 0, 0, 7, 0, 0, 1, 0x10, 0, 0));
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, BLOCK);
    g_assert_cmphex(c.test.in->data[0], ==, 0x77);
    (void)ask(&c, c.rig->nexus, CDB(0xbe, 0x00, 0, 0, 0, 7, 0, 0, 1, 0x00, 0, 0));
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 0);
    (void)ask(&c, c.rig->nexus, CDB(0xbe, 0x04, 0, 0, 0, 7, 0, 0, 1, 0x10, 0, 0)); /* audio */
    test_assert_field(&c.test, TRUE, 1, 4);
    (void)ask(&c, c.rig->nexus, CDB(0xbe, 0x00, 0, 0, 0, 7, 0, 0, 1, 0xf8, 0, 0)); /* raw */
    test_assert_field(&c.test, TRUE, 9, 7);
    (void)ask(&c, c.rig->nexus, CDB(0xbe, 0x00, 0, 0, 0, 7, 0, 0, 1, 0x10, 1, 0));
    test_assert_field(&c.test, TRUE, 10, 2);
    case_clear(&c);
}

/* What only disks have; of an operation code with several service actions none is known */
static void
test_disk_commands(void)
{
    static const guint8 table[][16] = {
        { 0x0a },       { 0x2a },       { 0x35 },       { 0x42 },       { 0x88 },
        { 0x9e, 0x10 }, { 0x9e, 0x1f }, { 0x83, 0x00 }, { 0x4d, 0, 0 }, { 0x04 },
    };
    const guint8 *data;
    Case c;

    case_init(&c);
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        (void)ask(&c, c.rig->nexus, table[i], 16);
        test_assert_sense(&c.test, SENSE_INVALID_OPCODE);
    }

    /* Other service actions are there */
    (void)ask(&c, c.rig->nexus, CDB(0xa3, 0x05, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 1, 4);

    data = ask(&c, c.rig->nexus, CDB(0xa3, 0x0c, 1, 0x2a, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmphex(data[1], ==, 1);
    data = ask(&c, c.rig->nexus, CDB(0xa3, 0x0c, 1, 0x43, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmphex(data[1], ==, 3);
    case_clear(&c);
}

static void
test_drive_commands_on_disk(void)
{
    static const guint8 table[] = { 0x43, 0x46, 0x4a, 0x51, 0x52, 0xac, 0xad, 0xbb, 0xbd, 0xbe };
    Case c;

    case_init_config(&c, &(RigConfig){ .n_workers = 2, .lu = { .removable = TRUE } });
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        (void)ask(&c, c.rig->nexus, (const guint8[16]){ table[i] }, 16);
        test_assert_sense(&c.test, SENSE_INVALID_OPCODE);
    }
    case_clear(&c);
}

static void
test_toc(void)
{
    Case c;

    case_init(&c);
    assert_answer(&c, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0),
                  BYTES(0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 3, 0xe8));
    assert_answer(&c, CDB(0x43, 0x02, 0, 0, 0, 0, 0, 0, 255, 0),
                  BYTES(0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 0, 15, 25));
    assert_answer(&c, CDB(0x43, 0, 0, 0, 0, 0, 0xaa, 0, 255, 0),
                  BYTES(0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 3, 0xe8));
    assert_answer(&c, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 4, 0), BYTES(0, 18, 1, 1));
    (void)ask(&c, c.rig->nexus, CDB(0x43, 0, 0, 0, 0, 0, 2, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 6, 7);
    case_clear(&c);
}

static void
test_toc_sessions(void)
{
    Case c;

    case_init(&c);
    assert_answer(&c, CDB(0x43, 0, 1, 0, 0, 0, 0, 0, 255, 0),
                  BYTES(0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0));
    /* As SFF 8020 had it, and Linux still asks */
    assert_answer(&c, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40),
                  BYTES(0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0));
    case_clear(&c);
}

static void
test_toc_raw(void)
{
    Case c;

    case_init(&c);
    assert_answer(&c, CDB(0x43, 0x02, 2, 0, 0, 0, 1, 0, 255, 0),
                  BYTES(0, 46, 1, 1,                             /* */
                        1, 0x14, 0, 0xa0, 0, 0, 0, 0, 1, 0, 0,   /* */
                        1, 0x14, 0, 0xa1, 0, 0, 0, 0, 1, 0, 0,   /* */
                        1, 0x14, 0, 0xa2, 0, 0, 0, 0, 0, 15, 25, /* */
                        1, 0x14, 0, 0x01, 0, 0, 0, 0, 0, 2, 0));
    (void)ask(&c, c.rig->nexus, CDB(0x43, 0x02, 2, 0, 0, 0, 2, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 6, 7);
    case_clear(&c);
}

static void
test_toc_other_formats(void)
{
    Case c;

    case_init(&c);
    for (guint8 format = 3; format < 16; format++) {
        (void)ask(&c, c.rig->nexus, CDB(0x43, 0, format, 0, 0, 0, 0, 0, 255, 0));
        test_assert_field(&c.test, TRUE, 2, 3);
    }
    (void)ask(&c, c.rig->nexus, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0xc0));
    test_assert_field(&c.test, TRUE, 9, 7);
    case_clear(&c);
}

static void
test_configuration(void)
{
    Case c;

    case_init(&c);
    assert_answer(&c, CDB(0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0),
                  BYTES(0, 0, 0, 80, 0, 0, 0, 0x08,                  /* CD-ROM */
                        0, 0, 0x03, 8, 0, 0x10, 0, 0, 0, 0x08, 1, 0, /* */
                        0, 1, 0x0b, 8, 0, 0, 0, 1, 2, 0, 0, 0,       /* */
                        0, 2, 0x07, 4, 2, 0, 0, 0,                   /* */
                        0, 3, 0x0b, 4, 0x39, 0, 0, 0,                /* */
                        0, 0x10, 0x01, 8, 0, 0, 8, 0, 0, 1, 1, 0,    /* */
                        0, 0x1d, 0x01, 0,                            /* */
                        0, 0x1e, 0x09, 4, 0, 0, 0, 0,                /* */
                        0, 0x1f, 0x04, 4, 0, 0, 0, 0,                /* */
                        1, 0, 0x03, 0));
    /* What is current, from 001Dh on */
    assert_answer(&c, CDB(0x46, 1, 0, 0x1d, 0, 0, 0, 1, 0, 0),
                  BYTES(0, 0, 0, 20, 0, 0, 0, 0x08, 0, 0x1d, 0x01, 0, 0, 0x1e, 0x09, 4, 0, 0, 0, 0,
                        1, 0, 0x03, 0));
    assert_answer(&c, CDB(0x46, 2, 0, 0x1f, 0, 0, 0, 1, 0, 0),
                  BYTES(0, 0, 0, 12, 0, 0, 0, 0x08, 0, 0x1f, 0x04, 4, 0, 0, 0, 0));
    assert_answer(&c, CDB(0x46, 2, 0, 0x20, 0, 0, 0, 1, 0, 0), BYTES(0, 0, 0, 4, 0, 0, 0, 0x08));
    (void)ask(&c, c.rig->nexus, CDB(0x46, 3, 0, 0, 0, 0, 0, 1, 0, 0));
    test_assert_field(&c.test, TRUE, 1, 1);
    case_clear(&c);
}

static void
test_profile_of_dvd(void)
{
    const guint8 *data;
    Case c;

    case_init_config(&c, &(RigConfig){ .n_workers = 2,
                                       .type = "null",
                                       .size = (guint64)1 << 32,
                                       .lu = { .device = LU_CDROM } });
    data = ask(&c, c.rig->nexus, CDB(0x46, 2, 0, 0x1f, 0, 0, 0, 1, 0, 0));
    g_assert_cmphex(get_be16(data + 6), ==, 0x0010);
    g_assert_cmphex(data[10], ==, 0x05);
    data = ask(&c, c.rig->nexus, CDB(0xad, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0));
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 2052);
    g_assert_cmpuint(get_be16(data), ==, 2050);
    g_assert_cmphex(get_be24(data + 9), ==, 0x030000);
    data = ask(&c, c.rig->nexus, CDB(0xad, 0, 0, 0, 0, 0, 0, 0xff, 0x10, 0, 0, 0));
    g_assert_cmpuint(get_be16(data), ==, 14);
    /* More than MM:SS:FF can say */
    data = ask(&c, c.rig->nexus, CDB(0x43, 0x02, 0, 0, 0, 0, 0xaa, 0, 12, 0));
    g_assert_cmpmem(data + 8, 4, "\x00\xff\x3b\x4a", 4);
    case_clear(&c);
}

static void
test_structure_of_cd(void)
{
    Case c;

    case_init(&c);
    (void)ask(&c, c.rig->nexus, CDB(0xad, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_INCOMPATIBLE_MEDIUM);
    case_clear(&c);
}

static void
test_disc_and_track_information(void)
{
    Case c;

    case_init(&c);
    assert_answer(&c, CDB(0x51, 0, 0, 0, 0, 0, 0, 0, 255, 0),
                  BYTES(0, 32, 0x0e, 1, 1, 1, 1, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255,
                        255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    (void)ask(&c, c.rig->nexus, CDB(0x51, 1, 0, 0, 0, 0, 0, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 1, 2);
    assert_answer(&c, CDB(0x52, 1, 0, 0, 0, 1, 0, 0, 255, 0),
                  BYTES(0, 34, 1, 1, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                        0, 3, 0xe8, 0, 0, 0, 0, 0, 0, 0, 0));
    (void)ask(&c, c.rig->nexus, CDB(0x52, 1, 0, 0, 0, 2, 0, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    (void)ask(&c, c.rig->nexus, CDB(0x52, 0, 0, 0, 3, 0xe8, 0, 0, 255, 0));
    test_assert_sense(&c.test, SENSE_LBA_OUT_OF_RANGE);
    case_clear(&c);
}

static void
test_speed(void)
{
    Case c;

    case_init(&c);
    (void)ask(&c, c.rig->nexus, CDB(0xbb, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0));
    test_assert_good(&c.test);
    assert_answer(&c, CDB(0xac, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0),
                  BYTES(0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x13, 0, 0, 3, 0xe7, 0, 0,
                        0x21, 0x13));
    (void)ask(&c, c.rig->nexus, CDB(0xac, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0));
    test_assert_field(&c.test, TRUE, 10, 7);
    case_clear(&c);
}

static void
test_mode_pages(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    data = ask(&c, c.rig->nexus, CDB(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255, 0));
    g_assert_cmpuint(c.test.in->len, ==, 8 + 32);
    g_assert_cmpmem(data, 8, "\x00\x26\x00\x00\x00\x00\x00\x00", 8); /* no block descriptor */
    g_assert_cmpmem(data + 8, 7, "\x2a\x1e\x0b\x00\x40\x00\x29", 7);
    data = ask(&c, c.rig->nexus, CDB(0x1a, 0, 0x01, 0, 255, 0));
    g_assert_cmpmem(data, c.test.in->len, "\x0f\x00\x00\x00\x01\x0a\0\0\0\0\0\0\0\0\0\0", 16);
    (void)ask(&c, c.rig->nexus, CDB(0x1a, 0, 0x08, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 2, 5);
    data = ask(&c, c.rig->nexus, CDB(0x5a, 0, 0x7f, 0, 0, 0, 0, 0, 255, 0)); /* changeable */
    g_assert_cmphex(data[8 + 12 + 2], ==, 0);
    case_clear(&c);
}

/*
 * The medium
 */

static void
test_no_medium(void)
{
    const guint8 *data;
    Case c;

    case_init_empty(&c);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT_CLOSED);
    (void)ask(&c, c.rig->nexus, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0));
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT_CLOSED);
    (void)ask(&c, c.rig->nexus, CDB(0x1b, 0, 0, 0, 0x01, 0)); /* start */
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT_CLOSED);
    data = ask(&c, c.rig->nexus, CDB(0x46, 1, 0, 0, 0, 0, 0, 1, 0, 0));
    g_assert_cmphex(get_be16(data + 6), ==, 0);
    assert_answer(&c, CDB(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0), BYTES(0, 0, 0, 0, 0, 0, 0, 0));

    /* The tray goes out and in all the same */
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_good(&c.test);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT_OPEN);
    data = ask(&c, c.other, CDB(0x03, 0, 0, 0, 18, 0));
    g_assert_cmphex(data[13], ==, 0x02);
    assert_answer(&c, CDB(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0), BYTES(0, 16, 0, 0, 0, 0, 0, 0));
    assert_answer(&c, MEDIA_EVENT, BYTES(0, 6, 4, 0x16, 0, 1, 0, 0));
    (void)ask(&c, c.rig->nexus, LOAD);
    test_assert_good(&c.test);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT_CLOSED);
    case_clear(&c);
}

static void
test_eject_and_load(void)
{
    const guint8 *data;
    Case c;

    case_init(&c);
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_good(&c.test);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT_OPEN);
    data = ask(&c, c.other, MEDIA_EVENT);
    g_assert_cmpmem(data, 8, "\x00\x06\x04\x16\x03\x01\x00\x00", 8);
    data = ask(&c, c.other, MEDIA_EVENT); /* once */
    g_assert_cmpmem(data, 8, "\x00\x06\x04\x16\x00\x01\x00\x00", 8);

    (void)ask(&c, c.rig->nexus, LOAD);
    test_assert_good(&c.test);
    /* Events are told before the unit attention, and leave it alone */
    data = ask(&c, c.other, MEDIA_EVENT);
    g_assert_cmpmem(data, 8, "\x00\x06\x04\x16\x02\x02\x00\x00", 8);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_sense(&c.test, SENSE_NOT_READY_TO_READY);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_prevent(void)
{
    Case c;

    case_init(&c);
    (void)ask(&c, c.other, PREVENT(1));
    (void)ask(&c, c.rig->nexus, EJECT);
    test_assert_sense(&c.test, SENSE_REMOVAL_PREVENTED);
    (void)ask(&c, c.rig->nexus, LOAD);
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_events(void)
{
    Case c;

    case_init(&c);
    (void)ask(&c, c.rig->nexus, CDB(0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8, 0)); /* asynchronous */
    test_assert_field(&c.test, TRUE, 1, 0);
    assert_answer(&c, CDB(0x4a, 1, 0, 0, 0x20, 0, 0, 0, 8, 0), BYTES(0, 2, 0x80, 0x16));
    assert_answer(&c, CDB(0x4a, 1, 0, 0, 0x04, 0, 0, 0, 8, 0), BYTES(0, 6, 2, 0x16, 0, 1, 0, 0));
    assert_answer(&c, CDB(0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8, 0), BYTES(0, 6, 1, 0x16, 0, 0, 0, 0));

    (void)ask(&c, c.rig->nexus, EJECT);
    /* What has no room stays */
    assert_answer(&c, CDB(0x4a, 1, 0, 0, 0x12, 0, 0, 0, 4, 0), BYTES(0, 6, 1, 0x16));
    assert_answer(&c, CDB(0x4a, 1, 0, 0, 0x12, 0, 0, 0, 8, 0), BYTES(0, 6, 1, 0x16, 2, 0, 0, 1));
    assert_answer(&c, CDB(0x4a, 1, 0, 0, 0x12, 0, 0, 0, 8, 0), BYTES(0, 6, 4, 0x16, 3, 1, 0, 0));
    case_clear(&c);
}

/*
 * The administrator
 */

typedef struct {
    guint n_calls;
    LuEjectResult result;
} Answer;

static void
on_ejected(Lu *lu, LuEjectResult result, gpointer data)
{
    Answer *answer = data;

    answer->n_calls++;
    answer->result = result;
}

static void
on_loaded(Lu *lu, gpointer data)
{
    ((Answer *)data)->n_calls++;
}

static LuEjectResult
admin_eject(const Case *c, gboolean force)
{
    Answer answer = { 0 };

    lu_eject(c->rig->lu, force, &c->rig->workers[0]->inbox, on_ejected, &answer);
    rig_turn(c->rig);
    g_assert_cmpuint(answer.n_calls, ==, 1);
    return answer.result;
}

static void
test_admin_eject(void)
{
    Answer answer = { 0 };
    const guint8 *data;
    Case c;

    case_init(&c);
    (void)ask(&c, c.other, PREVENT(1));
    g_assert_cmpint(admin_eject(&c, FALSE), ==, LU_EJECT_PREVENTED);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_good(&c.test);
    data = ask(&c, c.other, MEDIA_EVENT); /* it is asked to eject */
    g_assert_cmpmem(data, 8, "\x00\x06\x04\x16\x01\x02\x00\x00", 8);

    g_assert_cmpint(admin_eject(&c, TRUE), ==, LU_EJECTED);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT_OPEN);

    lu_load(c.rig->lu, &c.rig->workers[0]->inbox, on_loaded, &answer);
    rig_turn(c.rig);
    g_assert_cmpuint(answer.n_calls, ==, 1);
    (void)ask(&c, c.rig->nexus, TEST_READY);
    test_assert_sense(&c.test, SENSE_NOT_READY_TO_READY);
    case_clear(&c);
}

/* What is being read is read to its end first */
static void
test_admin_eject_waits(void)
{
    Answer answer = { 0 };
    TestCommand read;
    Case c;

    case_init(&c);
    slow_hold(c.rig->store, TRUE);
    test_command_init(&read, c.other, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    read.command.expected_in = BLOCK;
    test_start(&read);
    lu_eject(c.rig->lu, FALSE, &c.rig->workers[0]->inbox, on_ejected, &answer);
    rig_turn(c.rig);
    g_assert_cmpuint(answer.n_calls, ==, 0);
    slow_hold(c.rig->store, FALSE);
    slow_release(c.rig->store, 1);
    test_wait(c.rig, &read);
    test_assert_good(&read);
    rig_turn(c.rig);
    g_assert_cmpuint(answer.n_calls, ==, 1);
    test_command_clear(&read);
    case_clear(&c);
}

static void
on_medium(Lu *lu, gboolean is_ejected, gpointer data)
{
    g_array_append_val((GArray *)data, is_ejected);
}

/* What initiators do is told; not more often than it is listened to, and what the administrator does
 * is not */
static void
test_medium_is_told(void)
{
    g_autoptr(GArray) told = g_array_new(FALSE, FALSE, sizeof(gboolean));
    Mailbox control;
    Case c;

    g_assert_true(mailbox_init(&control, NULL));
    case_init_config(&c, &(RigConfig){ .n_workers = 2,
                                       .slow = { .block_size = BLOCK, .read_only = TRUE },
                                       .lu = { .device = LU_CDROM,
                                               .medium_fn = on_medium,
                                               .medium_data = told,
                                               .medium_to = &control } });
    (void)ask(&c, c.other, EJECT);
    (void)mailbox_drain(&control);
    rig_turn(c.rig);
    g_assert_cmpuint(told->len, ==, 1);
    g_assert_true(g_array_index(told, gboolean, 0));

    (void)ask(&c, c.other, LOAD);
    (void)ask(&c, c.other, EJECT);
    (void)ask(&c, c.other, LOAD);
    (void)ask(&c, c.other, EJECT);
    for (guint i = 0; i < 3; i++) {
        (void)mailbox_drain(&control);
        rig_turn(c.rig);
    }
    g_assert_cmpuint(told->len, ==, 3); /* the first of them, and where it ended */
    g_assert_true(g_array_index(told, gboolean, 2));
    (void)ask(&c, c.other, LOAD);
    (void)mailbox_drain(&control);
    rig_turn(c.rig);
    g_assert_cmpuint(told->len, ==, 4);

    g_assert_cmpint(admin_eject(&c, FALSE), ==, LU_EJECTED);
    (void)mailbox_drain(&control);
    g_assert_cmpuint(told->len, ==, 4);
    case_clear(&c);
    mailbox_deinit(&control);
}

/*
 * Another medium: another Lu in the place of the old one
 */

static LunMap *
map_of(Lu *lu)
{
    return lun_map_new(&(LunEntry){ .lun = 0, .lu = lu }, 1);
}

static void
on_released(Lu *lu, gpointer data)
{
    *(gboolean *)data = TRUE;
}

/* Give @nexus @lu, and free @map, which only this does */
static void
set_lu(Nexus *nexus, Lu *lu)
{
    LunMap *map = map_of(lu);

    nexus_set_map(nexus, map);
    snapshot_unref(&map->snapshot);
}

static void
test_another_medium(void)
{
    LuConfig config = { .name = "test", .device = LU_CDROM };
    gboolean is_released = FALSE;
    const guint8 *data;
    Lu *empty, *old;
    Case c;

    case_init(&c);
    old = c.rig->lu;
    memcpy(config.uuid, rig_uuid, 16);
    config.not_ready = SENSE_MEDIUM_NOT_PRESENT_CLOSED;
    config.is_ejected = TRUE;
    empty = lu_new(&config, c.rig->store, c.rig->workers, c.rig->n_workers, 1);
    (void)ask(&c, c.other, PREVENT(1));

    set_lu(c.other, empty);
    (void)ask(&c, c.other, TEST_READY); /* no unit attention for a medium that has gone */
    test_assert_sense(&c.test, SENSE_MEDIUM_NOT_PRESENT_OPEN);
    data = ask(&c, c.other, MEDIA_EVENT);
    g_assert_cmphex(data[4], ==, 0x03);
    (void)ask(&c, c.other, EJECT); /* the nexus still prevents it, but the tray is out already */
    test_assert_sense(&c.test, SENSE_REMOVAL_PREVENTED);

    set_lu(c.other, old);
    (void)ask(&c, c.other, TEST_READY);
    test_assert_sense(&c.test, SENSE_NOT_READY_TO_READY);
    (void)ask(&c, c.other, TEST_READY); /* and nothing of a reset or of another capacity */
    test_assert_good(&c.test);
    data = ask(&c, c.other, MEDIA_EVENT);
    g_assert_cmphex(data[4], ==, 0x02);

    lu_release(empty, &c.rig->workers[0]->inbox, on_released, &is_released);
    rig_turn(c.rig);
    g_assert_true(is_released);
    lu_free(empty);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/mmc/" name, fn)
    ADD("inquiry", test_inquiry);
    ADD("capacity-and-read", test_capacity_and_read);
    ADD("read-cd", test_read_cd);
    ADD("disk-commands", test_disk_commands);
    ADD("drive-commands-on-disk", test_drive_commands_on_disk);
    ADD("toc", test_toc);
    ADD("toc-sessions", test_toc_sessions);
    ADD("toc-raw", test_toc_raw);
    ADD("toc-other-formats", test_toc_other_formats);
    ADD("configuration", test_configuration);
    ADD("profile-of-dvd", test_profile_of_dvd);
    ADD("structure-of-cd", test_structure_of_cd);
    ADD("disc-and-track-information", test_disc_and_track_information);
    ADD("speed", test_speed);
    ADD("mode-pages", test_mode_pages);
    ADD("no-medium", test_no_medium);
    ADD("eject-and-load", test_eject_and_load);
    ADD("prevent", test_prevent);
    ADD("events", test_events);
    ADD("admin-eject", test_admin_eject);
    ADD("admin-eject-waits", test_admin_eject_waits);
    ADD("medium-is-told", test_medium_is_told);
    ADD("another-medium", test_another_medium);
    return g_test_run();
}
