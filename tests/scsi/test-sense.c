/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/sense.h"

#include <errno.h>
#include <string.h>

static void
test_fixed(void)
{
    static const guint8 expected[18] = { 0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0x00 };
    guint8 buffer[SCSI_SENSE_MAX];
    guint8 n = sense_encode(&(Sense){ .code = SENSE_INVALID_OPCODE }, FALSE, buffer);

    g_assert_cmpmem(buffer, n, expected, sizeof(expected));
}

static void
test_fixed_information(void)
{
    Sense sense = { .code = SENSE_READ_ERROR, .has_information = TRUE, .information = 0x12345678 };
    guint8 buffer[SCSI_SENSE_MAX];

    (void)sense_encode(&sense, FALSE, buffer);
    g_assert_cmpmem(buffer, 7, ((guint8[]){ 0xf0, 0, 0x03, 0x12, 0x34, 0x56, 0x78 }), 7);
}

static void
test_fixed_information_too_large(void)
{
    Sense sense = { .code = SENSE_READ_ERROR,
                    .has_information = TRUE,
                    .information = (guint64)G_MAXUINT32 + 1 };
    guint8 buffer[SCSI_SENSE_MAX];

    (void)sense_encode(&sense, FALSE, buffer);
    g_assert_cmpmem(buffer, 7, ((guint8[]){ 0x70, 0, 0x03, 0, 0, 0, 0 }), 7);
}

static void
test_fixed_field(void)
{
    Sense sense = { .code = SENSE_INVALID_FIELD_IN_CDB,
                    .field = { .valid = TRUE, .in_cdb = TRUE, .byte = 0x102, .bit = 5 } };
    guint8 buffer[SCSI_SENSE_MAX];

    (void)sense_encode(&sense, FALSE, buffer);
    g_assert_cmpmem(buffer + 12, 6, ((guint8[]){ 0x24, 0, 0, 0xcd, 0x01, 0x02 }), 6);
}

static void
test_field_without_bit(void)
{
    Sense sense = { .code = SENSE_INVALID_FIELD_IN_PARAMETERS,
                    .field = { .valid = TRUE, .byte = 8, .bit = -1 } };
    guint8 buffer[SCSI_SENSE_MAX];

    (void)sense_encode(&sense, FALSE, buffer);
    g_assert_cmpmem(buffer + 15, 3, ((guint8[]){ 0x80, 0, 8 }), 3);
}

static void
test_progress(void)
{
    Sense sense = { .code = SENSE_NOT_READY_BECOMING_READY,
                    .has_progress = TRUE,
                    .progress = 0x8000 };
    guint8 buffer[SCSI_SENSE_MAX];

    (void)sense_encode(&sense, FALSE, buffer);
    g_assert_cmpmem(buffer + 15, 3, ((guint8[]){ 0x80, 0x80, 0x00 }), 3);
}

static void
test_descriptor(void)
{
    static const guint8 expected[] = {
        0x72, 0x0e, 0x1d, 0x00, 0,    0,    0,    20,                           /* header */
        0x00, 0x0a, 0x80, 0,    0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, /* information */
        0x02, 0x06, 0,    0,    0xc0, 0,    3,    0, /* sense key specific */
    };
    Sense sense = { .code = SENSE_MISCOMPARE_DURING_VERIFY,
                    .has_information = TRUE,
                    .information = G_GUINT64_CONSTANT(0x1122334455667788),
                    .field = { .valid = TRUE, .in_cdb = TRUE, .byte = 3, .bit = -1 } };
    guint8 buffer[SCSI_SENSE_MAX];
    guint8 n = sense_encode(&sense, TRUE, buffer);

    g_assert_cmpmem(buffer, n, expected, sizeof(expected));
}

/* The response code says that it is about an earlier command, and changes nothing else */
static void
test_deferred(void)
{
    guint8 now[SCSI_SENSE_MAX], later[SCSI_SENSE_MAX];

    for (guint i = 0; i < 2; i++) {
        guint8 length = sense_encode(&(Sense){ .code = SENSE_WRITE_ERROR }, i == 1, now);

        g_assert_cmpuint(
            sense_encode(&(Sense){ .code = SENSE_WRITE_ERROR, .is_deferred = TRUE }, i == 1, later),
            ==, length);
        g_assert_cmphex(later[0], ==, i == 1 ? 0x73 : 0x71);
        g_assert_cmphex(now[0], ==, later[0] - 1);
        g_assert_cmpmem(later + 1, length - 1, now + 1, length - 1);
        g_assert_cmphex(sense_key_of(later), ==, SENSE_KEY_MEDIUM_ERROR);
    }
}

/* Back from the bytes to the row of the table */
static void
test_code_of(void)
{
    guint8 sense[SCSI_SENSE_MAX];

    for (guint i = 0; i < SENSE_N; i++) {
        for (guint format = 0; format < 2; format++) {
            const SenseInfo *info = sense_info((SenseCode)i), *found;

            (void)sense_encode(&(Sense){ .code = (SenseCode)i, .is_deferred = TRUE }, format == 1,
                               sense);
            found = sense_info(sense_code_of(sense));
            g_assert_cmpuint(found->key, ==, info->key);
            g_assert_cmpuint(found->asc, ==, info->asc);
            g_assert_cmpuint(found->ascq, ==, info->ascq);
        }
    }
}

static void
test_errno(void)
{
    g_assert_cmpint(sense_from_errno(EIO, FALSE), ==, SENSE_READ_ERROR);
    g_assert_cmpint(sense_from_errno(EIO, TRUE), ==, SENSE_WRITE_ERROR);
    g_assert_cmpint(sense_from_errno(ENOSPC, TRUE), ==, SENSE_SPACE_ALLOCATION_FAILED);
    g_assert_cmpint(sense_from_errno(EDQUOT, TRUE), ==, SENSE_SPACE_ALLOCATION_FAILED);
    g_assert_cmpint(sense_from_errno(ENODEV, TRUE), ==, SENSE_NOT_READY);
    g_assert_cmpint(sense_from_errno(ENXIO, FALSE), ==, SENSE_NOT_READY);
    g_assert_cmpint(sense_from_errno(EROFS, TRUE), ==, SENSE_WRITE_PROTECTED);
    g_assert_cmpint(sense_from_errno(EINVAL, FALSE), ==, SENSE_INTERNAL_TARGET_FAILURE);
}

static void
test_table(void)
{
    for (guint i = 0; i < SENSE_N; i++) {
        const SenseInfo *info = sense_info((SenseCode)i);

        g_assert_cmpuint(strlen(info->text), >, 0);
        for (guint j = 0; j < i; j++) {
            const SenseInfo *other = sense_info((SenseCode)j);

            g_assert_false(info->key == other->key && info->asc == other->asc &&
                           info->ascq == other->ascq);
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/sense/fixed", test_fixed);
    g_test_add_func("/scsi/sense/fixed-information", test_fixed_information);
    g_test_add_func("/scsi/sense/fixed-information-too-large", test_fixed_information_too_large);
    g_test_add_func("/scsi/sense/fixed-field", test_fixed_field);
    g_test_add_func("/scsi/sense/field-without-bit", test_field_without_bit);
    g_test_add_func("/scsi/sense/progress", test_progress);
    g_test_add_func("/scsi/sense/descriptor", test_descriptor);
    g_test_add_func("/scsi/sense/deferred", test_deferred);
    g_test_add_func("/scsi/sense/code-of", test_code_of);
    g_test_add_func("/scsi/sense/errno", test_errno);
    g_test_add_func("/scsi/sense/table", test_table);
    return g_test_run();
}
