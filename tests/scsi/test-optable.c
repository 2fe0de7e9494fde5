/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Relations between the columns of the operation table, and every refused bit
 * of every row.
 */

#include "scsi/optable.h"

#include <string.h>

#include "fixture.h"

static const Operation *
first_row(void)
{
    guint n;

    return optable_rows(&n);
}

static const Operation *
end_row(void)
{
    guint n;
    const Operation *rows = optable_rows(&n);

    return rows + n;
}

#define foreach_row(op) for (op = first_row(); op < end_row(); op++)

static guint
group_length(guint8 opcode)
{
    static const guint lengths[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

    return lengths[opcode >> 5];
}

static void
test_sorted(void)
{
    const Operation *b;

    foreach_row(b)
    {
        const Operation *a = b - 1;

        if (b == first_row())
            continue;
        g_assert_cmpuint((guint)a->opcode << 8 | a->service_action, <,
                         (guint)b->opcode << 8 | b->service_action);
        if (a->opcode == b->opcode)
            g_assert_true(a->has_service_action && b->has_service_action);
    }
}

static void
test_complete(void)
{
    const Operation *op;

    foreach_row(op)
    {
        g_assert_nonnull(op->name);
        g_assert_nonnull(op->exec);
        g_assert_cmpuint(op->cdb_length, ==, group_length(op->opcode));
    }
}

static void
test_names_are_unique(void)
{
    const Operation *op;

    foreach_row(op)
    {
        for (const Operation *other = first_row(); other < op; other++)
            g_assert_cmpstr(op->name, !=, other->name);
    }
}

static void
assert_field_is_used(const Operation *op, OperationField field)
{
    for (guint i = 0; i < field.size; i++) {
        gboolean is_lba21 = op->cdb_length == 6 && field.size == 3 && i == 0;

        g_assert_cmphex(op->usage[field.offset + i], ==, is_lba21 ? 0x1f : 0xff);
    }
    g_assert_cmpuint(field.offset + field.size, <, op->cdb_length);
}

static void
test_fields_are_used(void)
{
    const Operation *op;

    foreach_row(op)
    {
        assert_field_is_used(op, op->lba);
        assert_field_is_used(op, op->length);
        if (op->has_service_action)
            g_assert_cmphex(op->usage[1] & 0x1f, ==, 0x1f);
    }
}

static void
test_maps_contain_each_other(void)
{
    const Operation *op;

    foreach_row(op)
    {
        for (guint i = 0; i < SCSI_CDB_MAX; i++) {
            g_assert_cmphex(op->usage[i] & ~op->allowed[i], ==, 0);
            g_assert_cmphex(op->allowed[i] & ~op->lenient[i], ==, 0);
            if (i >= op->cdb_length)
                g_assert_cmphex(op->allowed[i], ==, 0xff);
        }
    }
}

static void
test_naca_is_refused(void)
{
    const Operation *op;

    foreach_row(op) g_assert_cmphex(op->lenient[op->cdb_length - 1] & 0x04, ==, 0);
}

static void
test_safety_columns(void)
{
    const Operation *op;

    foreach_row(op)
    {
        /* What changes the medium is of the WRITE class, what only touches it need not be */
        if (op->flags & OP_WRITES)
            g_assert_cmpint(op->pr_class, ==, PR_WRITE);
        /* What copies has READ and WRITE commands of its own pass the gates of the medium */
        if (op->pr_class == PR_WRITE)
            g_assert_true((op->flags & OP_MEDIUM) || op->opcode == 0x83);
        if (op->pr_class == PR_READ)
            g_assert_true((op->flags & OP_MEDIUM) || op->direction == OPERATION_IN ||
                          op->opcode == 0x83);
        if (op->flags & OP_WRITES)
            g_assert_true(op->flags & OP_MEDIUM);
        g_assert_cmpint(op->direction == OPERATION_OUT, ==, op->out != OPERATION_OUT_NONE);
        if (op->flags & OP_UA_EXEMPT)
            g_assert_false(op->flags & OP_MEDIUM);
        g_assert_cmphex(op->devices, !=, 0);
        if (op->devices & ON_CDROM) /* which is never written */
            g_assert_false(op->flags & OP_WRITES);
    }
}

/*
 * The tables of SPC-4 ("SPC-4 commands that are allowed in the presence of various reservations") and
 * SBC-4: what others may do under Write Exclusive and under Exclusive Access. What decides itself, and
 * what depends on fields, is not here.
 */
static void
test_reservations(void)
{
    static const struct {
        guint8 opcode;
        gint16 action; /* -1: all */
        gboolean write_exclusive, exclusive_access;
    } table[] = {
        { 0x00, -1, TRUE, TRUE },     { 0x03, -1, TRUE, TRUE },     { 0x04, -1, FALSE, FALSE },
        { 0x08, -1, TRUE, FALSE },    { 0x0a, -1, FALSE, FALSE },   { 0x12, -1, TRUE, TRUE },
        { 0x15, -1, FALSE, FALSE },   { 0x1a, -1, TRUE, FALSE },    { 0x1c, -1, TRUE, FALSE },
        { 0x1d, -1, FALSE, FALSE },   { 0x25, -1, TRUE, TRUE },     { 0x28, -1, TRUE, FALSE },
        { 0x2a, -1, FALSE, FALSE },   { 0x2e, -1, FALSE, FALSE },   { 0x2f, -1, TRUE, FALSE },
        { 0x34, -1, TRUE, FALSE },    { 0x35, -1, FALSE, FALSE },   { 0x37, -1, TRUE, FALSE },
        { 0x3b, -1, FALSE, FALSE },   { 0x3c, -1, TRUE, FALSE },    { 0x41, -1, FALSE, FALSE },
        { 0x42, -1, FALSE, FALSE },   { 0x48, -1, FALSE, FALSE },   { 0x4c, -1, FALSE, FALSE },
        { 0x4d, -1, TRUE, TRUE },     { 0x55, -1, FALSE, FALSE },   { 0x5a, -1, TRUE, FALSE },
        { 0x83, 0x00, FALSE, FALSE }, { 0x83, 0x01, FALSE, FALSE }, { 0x83, 0x1c, FALSE, FALSE },
        { 0x84, -1, TRUE, TRUE },     { 0x88, -1, TRUE, FALSE },    { 0x89, -1, FALSE, FALSE },
        { 0x8a, -1, FALSE, FALSE },   { 0x8b, -1, FALSE, FALSE },   { 0x8e, -1, FALSE, FALSE },
        { 0x8f, -1, TRUE, FALSE },    { 0x90, -1, TRUE, FALSE },    { 0x91, -1, FALSE, FALSE },
        { 0x93, -1, FALSE, FALSE },   { 0x9c, -1, FALSE, FALSE },   { 0x9e, 0x10, TRUE, TRUE },
        { 0x9e, 0x12, TRUE, FALSE },  { 0xa0, -1, TRUE, TRUE },     { 0xa3, 0x05, TRUE, TRUE },
        { 0xa3, 0x0a, TRUE, TRUE },   { 0xa3, 0x0c, TRUE, FALSE },  { 0xa3, 0x0d, TRUE, FALSE },
        { 0xa3, 0x0f, TRUE, TRUE },   { 0xa4, -1, FALSE, FALSE },   { 0xa8, -1, TRUE, FALSE },
        { 0xaa, -1, FALSE, FALSE },   { 0xae, -1, FALSE, FALSE },   { 0xaf, -1, TRUE, FALSE },
        { 0xb7, -1, TRUE, FALSE },
    };
    const Operation *op;

    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        guint n = 0;

        foreach_row(op)
        {
            gboolean is_free = op->pr_class == PR_STATUS || op->pr_class == PR_ALLOW;

            if (op->opcode != table[i].opcode ||
                (table[i].action >= 0 && op->service_action != table[i].action))
                continue;
            n++;
            g_assert_cmpint(op->pr_class, !=, PR_OWN);
            g_assert_cmpint(is_free || op->pr_class == PR_READ, ==, table[i].write_exclusive);
            g_assert_cmpint(is_free, ==, table[i].exclusive_access);
        }
        g_assert_cmpuint(n, >, 0);
    }
}

static void
test_find(void)
{
    guint8 index[256];
    const Operation *op;
    gboolean known;

    optable_build_index(index);
    foreach_row(op)
    {
        guint8 cdb[SCSI_CDB_MAX] = { op->opcode, op->has_service_action ? op->service_action : 0 };

        g_assert_true(optable_find(index, cdb, &known) == op);
        g_assert_true(known);
    }

    g_assert_null(optable_find(index, (guint8[SCSI_CDB_MAX]){ 0xff }, &known));
    g_assert_false(known);
    g_assert_null(optable_find(index, (guint8[SCSI_CDB_MAX]){ 0x9e, 0x1f }, &known));
    g_assert_true(known);
}

/* It is a bit of the command at or before @bit, with nothing but refused bits from there on */
static void
assert_points_at(const TestCommand *test, const Operation *op, guint bit)
{
    const guint8 *sense = test->command.sense;
    guint byte = (guint)sense[16] << 8 | sense[17];
    guint first = sense[15] & 0x07;

    test_assert_field(test, TRUE, byte, first);
    g_assert_cmpuint(byte, <=, bit / 8);
    if (byte == bit / 8)
        g_assert_cmpuint(first, >=, bit % 8);
    else
        g_assert_cmpuint(first, ==, 7);
    for (guint i = byte; i <= bit / 8; i++) {
        guint high = i == byte ? first : 7, low = i == bit / 8 ? bit % 8 : 0;

        for (guint j = low; j <= high; j++)
            g_assert_cmphex(op->allowed[i] & 1 << j, ==, 0);
    }
}

/* Each bit that the usage map does not name, one after the other, through the whole pipeline */
static void
test_every_refused_bit_is_pointed_at(void)
{
    Rig *disk = rig_new(&(RigConfig){ .slow = { .thin = TRUE }, .lu = { .removable = TRUE } });
    Rig *drive =
        rig_new(&(RigConfig){ .slow = { .block_size = 2048 }, .lu = { .device = LU_CDROM } });
    const Operation *op;

    foreach_row(op)
    {
        Rig *rig = op->devices & ON_DISK ? disk : drive;

        for (guint bit = 0; bit < 8U * op->cdb_length; bit++) {
            guint8 cdb[SCSI_CDB_MAX] = { op->opcode, op->service_action };
            TestCommand test;

            if (op->allowed[bit / 8] & 1 << bit % 8)
                continue;

            cdb[bit / 8] |= (guint8)(1 << bit % 8);
            (void)test_execute(rig, rig->nexus, &test, cdb, sizeof(cdb), 0, NULL, 0);
            assert_points_at(&test, op, bit);
            test_command_clear(&test);
        }
    }
    rig_free(drive);
    rig_free(disk);
}

/* SPC: the pointer names the left-most bit of the left-most byte of the field in error */
static void
test_pointer_names_the_field(void)
{
    static const struct {
        guint8 cdb[SCSI_CDB_MAX];
        guint8 byte, bit;
    } table[] = {
        { { 0x28, 0x20 }, 1, 7 }, /* RDPROTECT */
        { { 0x28, 0x04 }, 1, 2 }, /* RARC */
        { { 0x28, 0x03 }, 1, 1 }, /* obsolete, one bit each: the first */
        { { 0x28, 0x01 }, 1, 0 },
        { { 0x28, [6] = 0x01 }, 6, 4 },             /* GROUP NUMBER */
        { { 0x28, [6] = 0x20 }, 6, 5 },             /* reserved in part */
        { { 0x28, [9] = 0x40 }, 9, 7 },             /* of vendors */
        { { 0x28, [9] = 0x04 }, 9, 2 },             /* NACA */
        { { 0x2e, 0x04, [8] = 1 }, 1, 2 },          /* BYTCHK */
        { { 0x41, 0x20, [8] = 1 }, 1, 7 },          /* WRPROTECT */
        { { 0x41, 0x10, [8] = 1 }, 1, 4 },          /* ANCHOR */
        { { 0x93, 0x02, [13] = 1 }, 1, 1 },         /* LBDATA, obsolete */
        { { 0x9c, [11] = 0x01, [13] = 1 }, 10, 7 }, /* ATOMIC BOUNDARY */
        { { 0x25, [6] = 0x01 }, 6, 7 },             /* reserved bytes: each of them */
        { { 0x1d, 0x20 }, 1, 7 },                   /* SELF-TEST CODE */
        { { 0x04, 0x40 }, 1, 7 },                   /* FMTPINFO */
        { { 0x42, 0x01 }, 1, 0 },                   /* ANCHOR */
        { { 0x00, 0x01 }, 1, 0 },                   /* reserved behind the LUN of SCSI-2 */
    };
    Rig *rig = rig_new(&(RigConfig){ .slow = { .thin = TRUE } });

    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        TestCommand test;

        (void)test_execute(rig, rig->nexus, &test, table[i].cdb, sizeof(table[i].cdb), 0, NULL, 0);
        test_assert_field(&test, TRUE, table[i].byte, table[i].bit);
        test_command_clear(&test);
    }
    rig_free(rig);
}

static void
test_lenient_ignores_reserved_bits(void)
{
    guint8 cdb[SCSI_CDB_MAX] = { 0x25, 0x00, 0, 0, 0, 0, 0x01 };
    guint8 index[256];
    const Operation *op;
    gboolean known;
    guint16 byte;
    gint8 bit;

    optable_build_index(index);
    op = optable_find(index, cdb, &known);
    g_assert_false(operation_check_cdb(op, cdb, FALSE, &byte, &bit));
    g_assert_true(operation_check_cdb(op, cdb, TRUE, &byte, &bit));
}

static void
test_lenient_refuses_unsupported_fields(void)
{
    guint8 cdb[SCSI_CDB_MAX] = { 0x28, 0x20 }; /* RDPROTECT=001b */
    guint8 index[256];
    const Operation *op;
    gboolean known;
    guint16 byte;
    gint8 bit;

    optable_build_index(index);
    op = optable_find(index, cdb, &known);
    g_assert_false(operation_check_cdb(op, cdb, TRUE, &byte, &bit));
    g_assert_cmpuint(byte, ==, 1);
    g_assert_cmpint(bit, ==, 7);
}

static void
test_lun_in_byte_1_is_ignored(void)
{
    guint8 cdb[SCSI_CDB_MAX] = { 0x00, 0xe0 };
    guint8 index[256];
    gboolean known;
    guint16 byte;
    gint8 bit;

    optable_build_index(index);
    g_assert_true(operation_check_cdb(optable_find(index, cdb, &known), cdb, FALSE, &byte, &bit));
}

static void
test_fields(void)
{
    static const guint8 read6[SCSI_CDB_MAX] = { 0x08, 0xff, 0x34, 0x56, 0x00 };
    static const guint8 read16[SCSI_CDB_MAX] = { 0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
    guint8 index[256];
    const Operation *op;
    gboolean known;

    optable_build_index(index);
    op = optable_find(index, read6, &known);
    g_assert_cmphex(operation_get_lba(op, read6), ==, 0x1f3456);
    g_assert_cmpuint(operation_get_length(op, read6), ==, 256);
    op = optable_find(index, read16, &known);
    g_assert_cmphex(operation_get_lba(op, read16), ==, G_GUINT64_CONSTANT(0x0102030405060708));
    g_assert_cmphex(operation_get_length(op, read16), ==, 0x090a0b0c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/optable/sorted", test_sorted);
    g_test_add_func("/scsi/optable/complete", test_complete);
    g_test_add_func("/scsi/optable/names-are-unique", test_names_are_unique);
    g_test_add_func("/scsi/optable/fields-are-used", test_fields_are_used);
    g_test_add_func("/scsi/optable/maps-contain-each-other", test_maps_contain_each_other);
    g_test_add_func("/scsi/optable/naca-is-refused", test_naca_is_refused);
    g_test_add_func("/scsi/optable/safety-columns", test_safety_columns);
    g_test_add_func("/scsi/optable/reservations", test_reservations);
    g_test_add_func("/scsi/optable/find", test_find);
    g_test_add_func("/scsi/optable/every-refused-bit-is-pointed-at",
                    test_every_refused_bit_is_pointed_at);
    g_test_add_func("/scsi/optable/pointer-names-the-field", test_pointer_names_the_field);
    g_test_add_func("/scsi/optable/lenient-ignores-reserved-bits",
                    test_lenient_ignores_reserved_bits);
    g_test_add_func("/scsi/optable/lenient-refuses-unsupported-fields",
                    test_lenient_refuses_unsupported_fields);
    g_test_add_func("/scsi/optable/lun-in-byte-1-is-ignored", test_lun_in_byte_1_is_ignored);
    g_test_add_func("/scsi/optable/fields", test_fields);
    return g_test_run();
}
