/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Mode pages and log pages, field by field
 *
 * The tables below are written from SPC-4 (7.3, 7.5), SBC (log and mode
 * parameters) and MMC, not from the code: each row is a page, each field of it
 * has its place. From a row the test makes the bytes that the page must have
 * under each page control, and compares all of them, so that what no field
 * covers must be zero. The list of rows is also the list of pages that the
 * device must have, and no other.
 */

#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

typedef enum {
    OF_DISK,
    OF_THIN_DISK,
    OF_DRIVE,
    N_DEVICES,
} Device;

#define DISKS  (1U << OF_DISK | 1U << OF_THIN_DISK)
#define THIN   (1U << OF_THIN_DISK)
#define DRIVES (1U << OF_DRIVE)
#define ALL    (DISKS | DRIVES)

typedef struct {
    Rig *rig;
    TestCommand test;
} Case;

static void
case_init(Case *c, Device device)
{
    RigConfig config = { .slow = { .thin = device == OF_THIN_DISK } };

    if (device == OF_DRIVE)
        config = (RigConfig){ .slow = { .block_size = 2048, .read_only = TRUE },
                              .lu = { .device = LU_CDROM } };
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(&config);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
    rig_free(c->rig);
}

static const guint8 *
ask(Case *c, const guint8 *cdb, gsize n)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, c->rig->nexus, &c->test, cdb, n, 4096, NULL, 0);
    return c->test.in->data;
}

/* @cdb has its allocation length, of @size bytes, at @at: any that is too short gives the beginning */
static void
check_truncations(Case *c, const guint8 *cdb, gsize n, gsize at, gsize size)
{
    g_autoptr(GByteArray) whole = NULL;
    guint8 shorter[10];

    (void)ask(c, cdb, n);
    test_assert_good(&c->test);
    whole = g_byte_array_ref(c->test.in);
    memcpy(shorter, cdb, n);
    for (guint length = 0; length <= whole->len; length++) {
        if (size == 2)
            put_be16(shorter + at, (guint16)length);
        else
            shorter[at] = (guint8)length;
        (void)ask(c, shorter, n);
        test_assert_good(&c->test);
        g_assert_cmpmem(c->test.in->data, c->test.in->len, whole->data, length);
        g_assert_cmpuint(c->test.command.transfer_length, ==, length);
    }
}

/*
 * Mode pages
 */

typedef struct {
    guint8 byte; /* the first one */
    guint8 bit;  /* the highest one in it */
    guint8 width;
    guint32 value;   /* by default */
    guint32 other;   /* what it can be changed to, of a disk; the same: it cannot be changed */
    guint32 another; /* likewise, or the same as before */
} Field;

#define FIELDS_MAX 8

typedef struct {
    guint devices;
    guint8 code, subpage;
    guint16 length; /* PAGE LENGTH */
    Field fields[FIELDS_MAX];
} ModeRow;

/* clang-format off */
static const ModeRow mode_rows[] = {
    { DISKS,  0x01, 0x00, 0x0a, { /* read-write error recovery: SBC */
        { 2, 7, 1, 1, 1, 1 },     /* AWRE */
    } },
    { DRIVES, 0x01, 0x00, 0x0a, { { 0 } } }, /* read-write error recovery: MMC */
    { DISKS,  0x02, 0x00, 0x0e, { { 0 } } }, /* disconnect-reconnect: SPC */
    { DISKS,  0x08, 0x00, 0x12, { /* caching: SBC */
        { 2, 2, 1, 1, 0, 0 },     /* WCE */
    } },
    { ALL,    0x0a, 0x00, 0x0a, { /* control: SPC */
        { 2, 7, 3, 1, 1, 1 },     /* TST: a task set for each nexus */
        { 2, 2, 1, 0, 1, 1 },     /* D_SENSE */
        { 3, 7, 4, 1, 1, 1 },     /* QUEUE ALGORITHM MODIFIER */
        { 3, 2, 2, 0, 1, 3 },     /* QERR */
        { 4, 3, 1, 0, 1, 1 },     /* SWP */
        { 5, 6, 1, 1, 0, 0 },     /* TAS */
    } },
    { DISKS,  0x0a, 0x01, 0x1c, { /* control extension: SPC */
        { 4, 1, 1, 1, 1, 1 },     /* SCSIP */
        { 4, 0, 1, 1, 1, 1 },     /* IALUAE */
    } },
    { DRIVES, 0x1a, 0x00, 0x0a, { { 0 } } }, /* power condition: MMC */
    { DISKS,  0x1a, 0x00, 0x26, { { 0 } } }, /* power condition: SPC */
    { ALL,    0x1c, 0x00, 0x0a, { /* informational exceptions control: SPC */
        { 2, 3, 1, 1, 1, 1 },     /* DEXCPT */
    } },
    { THIN,   0x1c, 0x02, 0x0c, { { 0 } } }, /* logical block provisioning, no threshold: SBC */
    { DRIVES, 0x2a, 0x00, 0x1e, { /* capabilities and mechanical status: MMC */
        { 2, 3, 1, 1, 1, 1 },     /* DVD-ROM read */
        { 2, 1, 1, 1, 1, 1 },     /* CD-RW read */
        { 2, 0, 1, 1, 1, 1 },     /* CD-R read */
        { 4, 6, 1, 1, 1, 1 },     /* multi session */
        { 6, 7, 8, 0x29, 0x29, 0x29 }, /* loading mechanism type tray; eject; lock */
        { 8, 7, 16, 8467, 8467, 8467 }, /* maximum read speed, kB/s */
        { 12, 7, 16, 2048, 2048, 2048 }, /* buffer size, KiB */
        { 14, 7, 16, 8467, 8467, 8467 }, /* current read speed */
    } },
};
/* clang-format on */

static gboolean
is_changeable(const Field *field)
{
    return field->other != field->value;
}

static void
put_field(guint8 *page, const Field *field, guint32 value)
{
    guint last = field->byte * 8U + (7U - field->bit) + field->width - 1;

    for (guint i = 0; i < field->width; i++) {
        guint at = last - i;

        page[at / 8] &= (guint8) ~(0x80 >> at % 8);
        if (value >> i & 1)
            page[at / 8] |= (guint8)(0x80 >> at % 8);
    }
}

static guint
row_length(const ModeRow *row)
{
    return (row->subpage == 0 ? 2U : 4U) + row->length;
}

typedef enum {
    CURRENT,
    CHANGEABLE,
    DEFAULT,
    SAVED,
} PageControl;

static void
put_row(const ModeRow *row, Device device, PageControl control, guint8 *page)
{
    memset(page, 0, row_length(row));
    page[0] = row->code;
    if (row->subpage != 0) {
        page[0] |= 0x40; /* SPF */
        page[1] = row->subpage;
        put_be16(page + 2, row->length);
    } else {
        page[1] = (guint8)row->length;
    }

    for (guint i = 0; i < FIELDS_MAX; i++) {
        const Field *field = &row->fields[i];

        gboolean can_change = is_changeable(field) && device != OF_DRIVE;

        if (can_change)
            page[0] |= 0x80; /* PS */
        if (control != CHANGEABLE)
            put_field(page, field, field->value);
        else if (can_change)
            put_field(page, field, G_MAXUINT32);
    }
}

/* All rows of the device that @code and @subpage ask for; returns their length */
static guint
put_rows(Device device, guint8 code, guint8 subpage, PageControl control, guint8 *data)
{
    guint n = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(mode_rows); i++) {
        const ModeRow *row = &mode_rows[i];

        if (!(row->devices & 1U << device) || (code != 0x3f && code != row->code) ||
            (subpage != 0xff && subpage != row->subpage))
            continue;
        put_row(row, device, control, data + n);
        n += row_length(row);
    }
    return n;
}

static void
mode_sense(Case *c, gboolean is_ten, guint8 flags, PageControl control, guint8 code, guint8 subpage)
{
    guint8 byte = (guint8)(control << 6 | code);

    if (is_ten)
        (void)ask(c, CDB(0x5a, flags, byte, subpage, 0, 0, 0, 4, 0, 0));
    else
        (void)ask(c, CDB(0x1a, flags, byte, subpage, 255, 0));
    test_assert_good(&c->test);
}

static void
check_pages(Case *c, Device device, gboolean is_ten, PageControl control, guint8 code,
            guint8 subpage)
{
    guint header = is_ten ? 8 : 4;
    guint8 expected[512] = { 0 };
    guint n = header + put_rows(device, code, subpage, control, expected + header);

    if (is_ten)
        put_be16(expected, (guint16)(n - 2));
    else
        expected[0] = (guint8)(n - 1);
    expected[is_ten ? 3 : 2] = device == OF_DRIVE ? 0 : 0x10; /* DPOFUA */
    mode_sense(c, is_ten, 0x08, control, code, subpage);
    g_assert_cmpmem(c->test.in->data, c->test.in->len, expected, n);
}

/* Each page alone, all pages, all subpages: by both commands, under every page control */
static void
test_mode_pages(void)
{
    for (guint device = 0; device < N_DEVICES; device++) {
        Case c;

        case_init(&c, (Device)device);
        for (guint control = CURRENT; control <= SAVED; control++) {
            for (guint is_ten = 0; is_ten < 2; is_ten++) {
                for (gsize i = 0; i < G_N_ELEMENTS(mode_rows); i++) {
                    const ModeRow *row = &mode_rows[i];

                    if (!(row->devices & 1U << device))
                        continue;
                    check_pages(&c, (Device)device, is_ten == 1, (PageControl)control, row->code,
                                row->subpage);
                    check_pages(&c, (Device)device, is_ten == 1, (PageControl)control, row->code,
                                0xff);
                }
                check_pages(&c, (Device)device, is_ten == 1, (PageControl)control, 0x3f, 0x00);
                check_pages(&c, (Device)device, is_ten == 1, (PageControl)control, 0x3f, 0xff);
            }
        }
        case_clear(&c);
    }
}

static gboolean
has_row(Device device, guint8 code, guint8 subpage)
{
    guint8 data[512];

    return put_rows(device, code, subpage, CURRENT, data) > 0;
}

/* No other page, with a pointer at the field that is wrong */
static void
test_no_other_mode_page(void)
{
    for (guint device = 0; device < N_DEVICES; device++) {
        Case c;

        case_init(&c, (Device)device);
        for (guint code = 0; code < 0x3f; code++) {
            if (!has_row((Device)device, (guint8)code, 0xff)) {
                (void)ask(&c, CDB(0x1a, 0, (guint8)code, 0, 255, 0));
                test_assert_field(&c.test, TRUE, 2, 5);
                continue;
            }
            for (guint subpage = 1; subpage < 0xff; subpage++) {
                if (has_row((Device)device, (guint8)code, (guint8)subpage))
                    continue;
                (void)ask(&c, CDB(0x5a, 0, (guint8)code, (guint8)subpage, 0, 0, 0, 4, 0, 0));
                test_assert_field(&c.test, TRUE, 3, 7);
            }
        }
        (void)ask(&c, CDB(0x1a, 0, 0x3f, 0x01, 255, 0));
        test_assert_field(&c.test, TRUE, 3, 7);
        case_clear(&c);
    }
}

/* The block descriptor, which is there unless DBD says no */
static void
test_block_descriptor(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, OF_DISK);
    mode_sense(&c, FALSE, 0, CURRENT, 0x0a, 0);
    data = c.test.in->data;
    g_assert_cmpuint(c.test.in->len, ==, 4 + 8 + 12);
    g_assert_cmpmem(data, 4, ((guint8[]){ 23, 0, 0x10, 8 }), 4);
    g_assert_cmpmem(data + 4, 8, ((guint8[]){ 0, 0, 8, 0, 0, 0, 2, 0 }), 8);
    mode_sense(&c, TRUE, 0, CURRENT, 0x0a, 0);
    data = c.test.in->data;
    g_assert_cmpmem(data, 8, ((guint8[]){ 0, 26, 0, 0x10, 0, 0, 0, 8 }), 8);
    g_assert_cmpmem(data + 8, 8, ((guint8[]){ 0, 0, 8, 0, 0, 0, 2, 0 }), 8);
    mode_sense(&c, TRUE, 0x10, CURRENT, 0x0a, 0); /* LLBAA */
    data = c.test.in->data;
    g_assert_cmpmem(data, 8, ((guint8[]){ 0, 34, 0, 0x10, 1, 0, 0, 16 }), 8);
    g_assert_cmpmem(data + 8, 16, ((guint8[]){ 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0 }),
                    16);
    case_clear(&c);

    case_init(&c, OF_DRIVE);
    mode_sense(&c, TRUE, 0x10, CURRENT, 0x0a, 0);
    g_assert_cmpmem(c.test.in->data, 8, ((guint8[]){ 0, 18, 0, 0, 0, 0, 0, 0 }), 8);
    case_clear(&c);
}

static void
test_mode_truncations(void)
{
    for (guint device = 0; device < N_DEVICES; device++) {
        Case c;

        case_init(&c, (Device)device);
        check_truncations(&c, CDB(0x1a, 0, 0x3f, 0xff, 255, 0), 4, 1);
        check_truncations(&c, CDB(0x5a, 0x10, 0x3f, 0xff, 0, 0, 0, 4, 0, 0), 7, 2);
        for (gsize i = 0; i < G_N_ELEMENTS(mode_rows); i++) {
            const ModeRow *row = &mode_rows[i];

            if (row->devices & 1U << device)
                check_truncations(&c, CDB(0x5a, 0x08, row->code, row->subpage, 0, 0, 0, 4, 0, 0), 7,
                                  2);
        }
        case_clear(&c);
    }
}

/* MODE SELECT(10) of the row with this value in the field, and what is sensed after it */
static void
select_field(Case *c, Device device, const ModeRow *row, const Field *field, guint32 value,
             gboolean saves)
{
    guint8 list[8 + 256] = { 0 };
    guint n = 8 + row_length(row);

    put_row(row, device, DEFAULT, list + 8);
    put_field(list + 8, field, value);
    list[8] &= 0x7f;
    test_command_clear(&c->test);
    (void)test_execute(
        c->rig, c->rig->nexus, &c->test,
        CDB(0x55, saves ? 0x11 : 0x10, 0, 0, 0, 0, 0, (guint8)(n >> 8), (guint8)n, 0), 0, list, n);
}

static void
check_field(Case *c, Device device, const ModeRow *row, const Field *field, PageControl control,
            guint32 value)
{
    guint8 expected[256];

    put_row(row, device, control, expected);
    put_field(expected, field, value);
    mode_sense(c, TRUE, 0x08, control, row->code, row->subpage);
    g_assert_cmpmem(c->test.in->data + 8, c->test.in->len - 8, expected, row_length(row));
}

static void
reset(Case *c)
{
    TestCommand test;

    lu_state_reset(c->rig->lu);
    lu_shard_set_state(lu_shard(c->rig->lu, c->rig->workers[0]), &c->rig->lu->state);
    test_command_init(&test, c->rig->nexus, 0, CDB(0, 0, 0, 0, 0, 0));
    test_run(c->rig, &test);
    test_command_clear(&test);
}

static void
change_and_save(Case *c, Device device, const ModeRow *row, const Field *field, guint32 value)
{
    select_field(c, device, row, field, value, FALSE);
    test_assert_good(&c->test);
    check_field(c, device, row, field, CURRENT, value);
    check_field(c, device, row, field, SAVED, field->value);
    check_field(c, device, row, field, DEFAULT, field->value);

    reset(c);
    check_field(c, device, row, field, CURRENT, field->value);
    select_field(c, device, row, field, value, TRUE);
    test_assert_good(&c->test);
    check_field(c, device, row, field, SAVED, value);
    check_field(c, device, row, field, DEFAULT, field->value);
    reset(c);
    check_field(c, device, row, field, CURRENT, value);

    select_field(c, device, row, field, field->value, TRUE);
    test_assert_good(&c->test);
    check_field(c, device, row, field, CURRENT, field->value);
    check_field(c, device, row, field, SAVED, field->value);
}

/* Each field that can be changed: current, saved with SP, and in force after a reset */
static void
test_mode_changes(void)
{
    guint n = 0;
    Case c;

    case_init(&c, OF_THIN_DISK);
    for (gsize i = 0; i < G_N_ELEMENTS(mode_rows); i++) {
        const ModeRow *row = &mode_rows[i];

        for (guint j = 0; j < FIELDS_MAX && row->devices & THIN; j++) {
            const Field *field = &row->fields[j];

            if (!is_changeable(field))
                continue;
            n++;
            change_and_save(&c, OF_THIN_DISK, row, field, field->other);
            change_and_save(&c, OF_THIN_DISK, row, field, field->another);
        }
    }
    g_assert_cmpuint(n, ==, 5);
    case_clear(&c);
}

/* At the bit, or where the field begins that it is part of: up to four bytes that cannot be changed. Which
 * bits are one field tests/scsi/test-mode.c knows. */
static void
assert_points_at(const TestCommand *test, guint byte, guint bit, const guint8 *changeable)
{
    const guint8 *sense = test->command.sense;
    guint first_byte = get_be16(sense + 16), first_bit = sense[15] & 0x07;
    guint first = 8 * (first_byte - 8) + 7 - first_bit, at = 8 * byte + 7 - bit;

    test_assert_field(test, FALSE, first_byte, first_bit);
    g_assert_cmpuint(first, <=, at);
    g_assert_cmpuint(at - first, <, 32);
    for (guint i = first; i <= at; i++)
        g_assert_cmphex(changeable[i / 8] & 0x80 >> i % 8, ==, 0);
}

/* Every bit of every page that cannot be changed, with a pointer at it */
static void
test_mode_refusals(void)
{
    Case c;

    case_init(&c, OF_THIN_DISK);
    for (gsize i = 0; i < G_N_ELEMENTS(mode_rows); i++) {
        const ModeRow *row = &mode_rows[i];
        guint8 changeable[256], now[256];

        if (!(row->devices & THIN))
            continue;
        put_row(row, OF_THIN_DISK, CHANGEABLE, changeable);
        put_row(row, OF_THIN_DISK, DEFAULT, now);
        for (guint byte = row->subpage == 0 ? 2 : 4; byte < row_length(row); byte++) {
            for (guint bit = 0; bit < 8; bit++) {
                const Field field = { (guint8)byte, (guint8)bit, 1, 0, 0, 0 };

                if (changeable[byte] >> bit & 1)
                    continue;
                select_field(&c, OF_THIN_DISK, row, &field, !(now[byte] >> bit & 1), FALSE);
                assert_points_at(&c.test, byte, bit, changeable);
            }
        }
    }

    /* The reserved value of QERR */
    select_field(&c, OF_THIN_DISK, &mode_rows[4], &mode_rows[4].fields[3], 2, FALSE);
    test_assert_field(&c.test, FALSE, 8 + 3, 2);
    case_clear(&c);
}

/*
 * Log pages
 */

#define COUNTER 0x22 /* TSD, FORMAT AND LINKING 10b */
#define ASCII   0x21
#define BINARY  0x23

typedef struct {
    guint16 code, last; /* as many parameters of this form */
    guint8 control;
    guint8 length;
    const char *value; /* NULL: zeros */
} Parameter;

#define PARAMETERS_MAX 4

typedef struct {
    guint devices;
    guint8 code, subpage;
    gboolean is_list; /* of pages; DS is zero */
    Parameter parameters[PARAMETERS_MAX];
} LogRow;

/* clang-format off */
static const LogRow log_rows[] = {
    { DISKS, 0x00, 0x00, TRUE,  { { 0 } } },
    { DISKS, 0x00, 0xff, TRUE,  { { 0 } } },
    { DISKS, 0x02, 0x00, FALSE, { /* write error counters */
        { 3, 3, COUNTER, 8, NULL }, /* total errors corrected */
        { 5, 6, COUNTER, 8, NULL }, /* total bytes processed, total uncorrected errors */
    } },
    { DISKS, 0x03, 0x00, FALSE, { /* read error counters */
        { 3, 3, COUNTER, 8, NULL },
        { 5, 6, COUNTER, 8, NULL },
    } },
    { DISKS, 0x05, 0x00, FALSE, { /* verify error counters */
        { 3, 3, COUNTER, 8, NULL },
        { 5, 6, COUNTER, 8, NULL },
    } },
    { THIN,  0x0c, 0x00, FALSE, { { 0 } } }, /* logical block provisioning: this store cannot tell */
    { DISKS, 0x0d, 0x00, FALSE, { /* temperature */
        { 0, 1, BINARY, 2, "\x00\xff" },
    } },
    { DISKS, 0x0e, 0x00, FALSE, { /* start-stop cycle counter */
        { 1, 2, ASCII, 6, "      " }, /* date of manufacture, accounting date */
        { 3, 4, BINARY, 4, NULL },    /* cycles specified, accumulated */
    } },
    { DISKS, 0x10, 0x00, FALSE, { /* self-test results */
        { 1, 20, BINARY, 16, NULL },
    } },
    { DISKS, 0x19, 0x00, FALSE, { /* general statistics and performance */
        { 1, 1, COUNTER, 64, NULL }, /* access statistics */
        { 2, 2, COUNTER, 8, NULL },  /* idle time */
        { 3, 3, BINARY, 8, "\0\0\0\6\0\0\0\1" }, /* time interval: a microsecond */
    } },
    { DISKS, 0x2f, 0x00, FALSE, { /* informational exceptions */
        { 0, 0, BINARY, 4, "\x00\x00\xff\x00" }, /* no exception; temperature unknown */
    } },
};
/* clang-format on */

static guint
put_lists(const LogRow *row, Device device, guint8 *data)
{
    guint n = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(log_rows); i++) {
        if (!(log_rows[i].devices & 1U << device) ||
            (row->subpage == 0 && log_rows[i].subpage != 0))
            continue;
        data[n++] = log_rows[i].code;
        if (row->subpage != 0)
            data[n++] = log_rows[i].subpage;
    }
    return n;
}

static guint
put_parameters(const LogRow *row, guint pointer, guint8 *data)
{
    guint n = 0;

    for (guint i = 0; i < PARAMETERS_MAX; i++) {
        const Parameter *p = &row->parameters[i];

        for (guint code = p->code; code <= p->last && p->length > 0; code++) {
            if (code < pointer)
                continue;
            put_be16(data + n, (guint16)code);
            data[n + 2] = p->control;
            data[n + 3] = p->length;
            if (p->value != NULL)
                memcpy(data + n + 4, p->value, p->length);
            n += 4U + p->length;
        }
    }
    return n;
}

static guint
last_parameter(const LogRow *row)
{
    guint last = 0;

    for (guint i = 0; i < PARAMETERS_MAX; i++)
        last = MAX(last, row->parameters[i].last);
    return last;
}

static gboolean
has_counters(const LogRow *row)
{
    for (guint i = 0; i < PARAMETERS_MAX; i++) {
        if (row->parameters[i].control == COUNTER)
            return TRUE;
    }
    return FALSE;
}

static void
check_log_page(Case *c, Device device, const LogRow *row, guint control, guint pointer)
{
    guint8 expected[1024] = { 0 };
    guint n = row->is_list ? put_lists(row, device, expected + 4)
                           : put_parameters(row, pointer, expected + 4);

    expected[0] = row->code | (row->is_list ? 0 : 0x80) | (row->subpage != 0 ? 0x40 : 0);
    expected[1] = row->subpage;
    put_be16(expected + 2, (guint16)n);
    (void)ask(c, CDB(0x4d, 0, (guint8)(control << 6 | row->code), row->subpage, 0,
                     (guint8)(pointer >> 8), (guint8)pointer, 4, 0, 0));
    test_assert_good(&c->test);
    g_assert_cmpmem(c->test.in->data, c->test.in->len, expected, 4 + n);
}

/* Whatever the page control; thresholds there are none of, and lists have no page control */
static void
test_log_pages(void)
{
    for (guint device = OF_DISK; device <= OF_THIN_DISK; device++) {
        Case c;

        case_init(&c, (Device)device);
        for (gsize i = 0; i < G_N_ELEMENTS(log_rows); i++) {
            const LogRow *row = &log_rows[i];

            if (!(row->devices & 1U << device))
                continue;
            for (guint control = 0; control < 4; control++) {
                if (!has_counters(row) || control == 1 || control == 3) {
                    check_log_page(&c, (Device)device, row, control, 0);
                    continue;
                }
                (void)ask(&c,
                          CDB(0x4d, 0, (guint8)(control << 6 | row->code), 0, 0, 0, 0, 4, 0, 0));
                test_assert_field(&c.test, TRUE, 2, 7);
            }
        }
        case_clear(&c);
    }
}

/* From each parameter code on, one that does not exist means the next; behind the last is an error */
static void
test_log_pointers(void)
{
    Case c;

    case_init(&c, OF_THIN_DISK);
    for (gsize i = 0; i < G_N_ELEMENTS(log_rows); i++) {
        const LogRow *row = &log_rows[i];
        guint last = last_parameter(row);

        for (guint pointer = 0; pointer <= last; pointer++)
            check_log_page(&c, OF_THIN_DISK, row, 1, pointer);
        (void)ask(&c, CDB(0x4d, 0, 0x40 | row->code, row->subpage, 0, (guint8)((last + 1) >> 8),
                          (guint8)(last + 1), 4, 0, 0));
        test_assert_field(&c.test, TRUE, 5, 7);
        (void)ask(&c, CDB(0x4d, 0, 0x40 | row->code, row->subpage, 0, 0xff, 0xff, 4, 0, 0));
        test_assert_field(&c.test, TRUE, 5, 7);
    }
    case_clear(&c);
}

static void
test_log_truncations(void)
{
    Case c;

    case_init(&c, OF_THIN_DISK);
    for (gsize i = 0; i < G_N_ELEMENTS(log_rows); i++) {
        const LogRow *row = &log_rows[i];

        check_truncations(&c, CDB(0x4d, 0, 0x40 | row->code, row->subpage, 0, 0, 0, 4, 0, 0), 7, 2);
    }
    check_truncations(&c, CDB(0x4d, 0, 0x42, 0xff, 0, 0, 0, 4, 0, 0), 7, 2);
    case_clear(&c);
}

static void
test_no_other_log_page(void)
{
    Case c;

    case_init(&c, OF_DISK);
    for (guint code = 0; code < 0x40; code++) {
        gboolean exists = FALSE;

        for (gsize i = 0; i < G_N_ELEMENTS(log_rows); i++)
            exists = exists || (log_rows[i].code == code && log_rows[i].devices & 1U << OF_DISK);
        (void)ask(&c, CDB(0x4d, 0, (guint8)(0x40 | code), exists ? 1 : 0, 0, 0, 0, 4, 0, 0));
        if (exists)
            test_assert_field(&c.test, TRUE, 3, 7);
        else
            test_assert_field(&c.test, TRUE, 2, 5);

        /* The subpages of a page that there is: itself, and this list */
        (void)ask(&c, CDB(0x4d, 0, (guint8)code, 0xff, 0, 0, 0, 4, 0, 0));
        if (!exists)
            test_assert_field(&c.test, TRUE, 2, 5);
        else if (code != 0)
            g_assert_cmpmem(c.test.in->data, c.test.in->len,
                            ((guint8[]){ 0x40 | (guint8)code, 0xff, 0, 4, (guint8)code, 0,
                                         (guint8)code, 0xff }),
                            8);
    }
    case_clear(&c);
}

/*
 * LOG SELECT
 */

/* Where the number is that the traffic of move_data() has changed, and which pages have one */
static const guint8 counting_pages[] = { 0x02, 0x03, 0x05, 0x19 };

static void
move_data(Case *c)
{
    static const guint8 blocks[1024];

    test_command_clear(&c->test);
    (void)test_execute(c->rig, c->rig->nexus, &c->test, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0), 0,
                       blocks, sizeof(blocks));
    test_assert_good(&c->test);
    (void)ask(c, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    (void)ask(c, CDB(0x2f, 0, 0, 0, 0, 0, 0, 0, 4, 0));
    test_assert_good(&c->test);
}

static guint64
count_of(Case *c, guint8 page)
{
    const guint8 *data = ask(c, CDB(0x4d, 0, 0x40 | page, 0, 0, 0, 0, 4, 0, 0));

    test_assert_good(&c->test);
    return get_be64(data + (page == 0x19 ? 8 : 4 + 12 + 4));
}

typedef struct {
    guint8 pcr, control, code, subpage;
    guint resets; /* a bit for each of counting_pages */
} Selection;

/* SPC-4, tables 185 and 186, without SP */
static const Selection selections[] = {
    { 0, 0, 0x00, 0x00, 0 },   { 0, 1, 0x00, 0x00, 0 },   { 0, 2, 0x00, 0x00, 0 },
    { 0, 3, 0x00, 0x00, 0xf }, { 1, 0, 0x00, 0x00, 0xf }, { 1, 1, 0x00, 0x00, 0xf },
    { 1, 2, 0x00, 0x00, 0xf }, { 1, 3, 0x00, 0x00, 0xf }, { 1, 1, 0x02, 0x00, 0x1 },
    { 1, 1, 0x03, 0x00, 0x2 }, { 1, 3, 0x05, 0x00, 0x4 }, { 0, 3, 0x19, 0x00, 0x8 },
    { 1, 0, 0x02, 0xff, 0x1 }, { 1, 0, 0x00, 0xff, 0 },   { 1, 0, 0x0d, 0x00, 0 },
    { 0, 1, 0x02, 0x00, 0 },   { 0, 2, 0x02, 0x00, 0 },
};

static void
test_log_select(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(selections); i++) {
        const Selection *s = &selections[i];
        Nexus *other;
        Case c;

        case_init(&c, OF_DISK);
        other = rig_new_nexus(c.rig, 0, 2);
        move_data(&c);
        (void)ask(&c, CDB(0x4c, (guint8)(s->pcr << 1), (guint8)(s->control << 6 | s->code),
                          s->subpage, 0, 0, 0, 0, 0, 0));
        test_assert_good(&c.test);
        for (guint j = 0; j < G_N_ELEMENTS(counting_pages); j++) {
            guint64 count = count_of(&c, counting_pages[j]);

            if (s->resets >> j & 1)
                g_assert_cmpuint(count, ==, 0);
            else
                g_assert_cmpuint(count, >, 0);
        }

        /* Who else looks at the counters is told, if anything has changed */
        g_assert_cmpuint(other->luns[0]->attentions.n, ==, s->resets != 0 ? 1 : 0);
        nexus_free(other);
        case_clear(&c);
    }
}

static void
test_log_select_refusals(void)
{
    Case c;

    case_init(&c, OF_DISK);
    (void)ask(&c, CDB(0x4c, 0x01, 0x40, 0, 0, 0, 0, 0, 0, 0)); /* SP */
    test_assert_field(&c.test, TRUE, 1, 0);
    (void)ask(&c, CDB(0x4c, 0x02, 0x40, 0, 0, 0, 0, 0, 4, 0)); /* a list */
    test_assert_field(&c.test, TRUE, 7, 7);
    (void)ask(&c, CDB(0x4c, 0x02, 0x44, 0, 0, 0, 0, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 5);
    (void)ask(&c, CDB(0x4c, 0x02, 0x44, 0xff, 0, 0, 0, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 5);
    (void)ask(&c, CDB(0x4c, 0x02, 0x42, 0x01, 0, 0, 0, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 3, 7);
    (void)ask(&c, CDB(0x4c, 0x02, 0x40, 0x01, 0, 0, 0, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 3, 7);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/pages/" name, fn)
    ADD("mode", test_mode_pages);
    ADD("mode-no-other", test_no_other_mode_page);
    ADD("mode-block-descriptor", test_block_descriptor);
    ADD("mode-truncations", test_mode_truncations);
    ADD("mode-changes", test_mode_changes);
    ADD("mode-refusals", test_mode_refusals);
    ADD("log", test_log_pages);
    ADD("log-pointers", test_log_pointers);
    ADD("log-truncations", test_log_truncations);
    ADD("log-no-other", test_no_other_log_page);
    ADD("log-select", test_log_select);
    ADD("log-select-refusals", test_log_select_refusals);
#undef ADD
    return g_test_run();
}
