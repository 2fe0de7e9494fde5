/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The operation table
 *
 * A row is written so that its bytes read like the drawing of the CDB in the
 * standard. Each bit of a CDB is one of four things:
 *
 *   used        evaluated; this is the usage map of REPORT SUPPORTED OPERATION CODES
 *   reserved    must be zero, unless the administrator asked for lenient CDBs
 *   ignored     may be anything: where SCSI-2 initiators put the LUN into
 *               byte 1 of six-byte CDBs, and bytes after the end of the CDB
 *   unsupported everything else: fields that are defined but not for us
 *               (RDPROTECT, ANCHOR, NACA); always refused with a field pointer
 *
 * The check is two 64-bit words and two masks. Rows are sorted by operation
 * code and service action; tests check that, and the relations between columns.
 */

#include "scsi/optable.h"

#include <string.h>

#include "scsi/handlers.h"
#include "util/bytes.h"

/* A byte of the drawing: used bits, ignored bits, reserved bits; the rest is unsupported */
#define BYTE(used, ignored, reserved)                                                              \
    ((guint32)(used) | (guint32)(ignored) << 8 | (guint32)(reserved) << 16)
#define BITS(used, reserved) BYTE(used, 0x00, reserved)

#define USED     BYTE(0xff, 0x00, 0x00)
#define RESERVED BYTE(0x00, 0x00, 0xff)
#define IGNORED  BYTE(0x00, 0xff, 0x00)

#define R8                   RESERVED
#define R16                  R8, R8
#define R24                  R8, R8, R8
#define R32                  R16, R16
#define R64                  R32, R32
#define PAGE                 USED
#define SUBPAGE              USED
#define LEN8                 USED
#define LEN16                USED, USED
#define LEN32                LEN16, LEN16
#define LBA32                LEN32
#define LBA64                LEN32, LEN32
#define CONTROL              BITS(0x00, 0x3b) /* NACA and the vendor's bits are unsupported */
#define GROUP                BITS(0x00, 0xe0) /* GROUP NUMBER is unsupported */
#define SA                   BITS(0x1f, 0xe0)
#define OLD6(used, reserved) BYTE(used, 0xe0, reserved) /* byte 1 of six-byte CDBs */
#define LBA21                OLD6(0x1f, 0x00), LEN16
#define DPO_FUA              BITS(0x18, 0x03) /* RDPROTECT/WRPROTECT and RARC are unsupported */
#define BYTCHK               BITS(0x06, 0x09) /* VRPROTECT and DPO are unsupported */
#define DPO_BYTCHK           BITS(0x12, 0x09) /* WRPROTECT and BYTCHK=1xb are unsupported */

#define MAP(shift, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15)           \
    {                                                                                              \
        M(b0, shift), M(b1, shift), M(b2, shift), M(b3, shift), M(b4, shift), M(b5, shift),        \
            M(b6, shift), M(b7, shift), M(b8, shift), M(b9, shift), M(b10, shift), M(b11, shift),  \
            M(b12, shift), M(b13, shift), M(b14, shift), M(b15, shift)                             \
    }
#define M(byte, level)                                                                             \
    (guint8)(((byte)&0xff) | ((level) > 0 ? (byte) >> 8 & 0xff : 0) |                              \
             ((level) > 1 ? (byte) >> 16 & 0xff : 0))
#define MAP_(...) MAP(__VA_ARGS__)
#define MAPS(...)                                                                                  \
    .usage = MAP_(0, __VA_ARGS__), .allowed = MAP_(1, __VA_ARGS__), .lenient = MAP_(2, __VA_ARGS__)

#define I4 IGNORED, IGNORED, IGNORED, IGNORED
#define CDB6(code, text, ...)                                                                      \
    .opcode = (code), .cdb_length = 6, .name = (text),                                             \
    MAPS(USED, __VA_ARGS__, IGNORED, IGNORED, I4, I4)
#define CDB10(code, text, ...)                                                                     \
    .opcode = (code), .cdb_length = 10, .name = (text),                                            \
    MAPS(USED, __VA_ARGS__, IGNORED, IGNORED, I4)
#define CDB12(code, text, ...)                                                                     \
    .opcode = (code), .cdb_length = 12, .name = (text), MAPS(USED, __VA_ARGS__, I4)
#define CDB16(code, text, ...)                                                                     \
    .opcode = (code), .cdb_length = 16, .name = (text), MAPS(USED, __VA_ARGS__)

#define ACTION(code) .has_service_action = TRUE, .service_action = (code)
#define NO_DATA      .direction = OPERATION_NO_DATA
#define IN           .direction = OPERATION_IN
#define OUT(how)     .direction = OPERATION_OUT, .out = OPERATION_OUT_##how

/* clang-format off */
static const Operation rows[] = {
    { CDB6 (0x00, "TEST UNIT READY",      OLD6(0x00, 0x1f), R24, CONTROL),
      NO_DATA, .pr_class = PR_CONFLICT, .flags = OP_WELL_KNOWN, .exec = spc_test_unit_ready },
    { CDB6 (0x03, "REQUEST SENSE",        OLD6(0x01, 0x1e), R16, LEN8, CONTROL),
      IN, .pr_class = PR_ALLOW, .flags = OP_UA_EXEMPT | OP_NO_UNIT, .length = { 4, 1 }, .exec = spc_request_sense },
    { CDB6 (0x08, "READ(6)",              LBA21, LEN8, CONTROL),
      IN, .pr_class = PR_READ, .flags = OP_MEDIUM | OP_ZERO_IS_256, .lba = { 1, 3 }, .length = { 4, 1 }, .exec = sbc_read },
    { CDB6 (0x0a, "WRITE(6)",             LBA21, LEN8, CONTROL),
      OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_ZERO_IS_256, .lba = { 1, 3 }, .length = { 4, 1 }, .exec = sbc_write },
    { CDB6 (0x12, "INQUIRY",              OLD6(0x01, 0x1c), PAGE, LEN16, CONTROL),
      IN, .pr_class = PR_ALLOW, .flags = OP_UA_EXEMPT | OP_NO_UNIT, .length = { 3, 2 }, .exec = spc_inquiry },
    { CDB6 (0x1a, "MODE SENSE(6)",        OLD6(0x08, 0x17), PAGE, SUBPAGE, LEN8, CONTROL),
      IN, .pr_class = PR_CONFLICT, .length = { 4, 1 }, .exec = mode_sense },
    { CDB6 (0x1b, "START STOP UNIT",      OLD6(0x01, 0x1e), R8, BITS(0x00, 0xf0), BITS(0x05, 0x08), CONTROL),
      NO_DATA, .pr_class = PR_CONFLICT, .exec = sbc_start_stop_unit },
    { CDB10(0x25, "READ CAPACITY(10)",    R8, R32, R16, R8, CONTROL),
      IN, .pr_class = PR_ALLOW, .exec = sbc_read_capacity_10 },
    { CDB10(0x28, "READ(10)",             DPO_FUA, LBA32, GROUP, LEN16, CONTROL),
      IN, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_read },
    { CDB10(0x2a, "WRITE(10)",            DPO_FUA, LBA32, GROUP, LEN16, CONTROL),
      OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_write },
    { CDB10(0x2e, "WRITE AND VERIFY(10)", DPO_BYTCHK, LBA32, GROUP, LEN16, CONTROL),
      OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_write_and_verify },
    { CDB10(0x2f, "VERIFY(10)",           BYTCHK, LBA32, GROUP, LEN16, CONTROL),
      OUT(VERIFY), .pr_class = PR_WRITE, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_verify },
    { CDB10(0x35, "SYNCHRONIZE CACHE(10)",BITS(0x02, 0xfd), LBA32, GROUP, LEN16, CONTROL),
      NO_DATA, .pr_class = PR_WRITE, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_synchronize_cache },
    { CDB10(0x41, "WRITE SAME(10)",       BITS(0x08, 0x01), LBA32, GROUP, LEN16, CONTROL),
      OUT(PATTERN), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_write_same },
    { CDB10(0x42, "UNMAP",                BITS(0x00, 0xfe), R32, GROUP, LEN16, CONTROL),
      OUT(BYTES), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_NEEDS_UNMAP, .length = { 7, 2 }, .exec = sbc_unmap },
    { CDB10(0x5a, "MODE SENSE(10)",       BITS(0x18, 0xe7), PAGE, SUBPAGE, R24, LEN16, CONTROL),
      IN, .pr_class = PR_CONFLICT, .length = { 7, 2 }, .exec = mode_sense },
    { CDB16(0x88, "READ(16)",             DPO_FUA, LBA64, LEN32, GROUP, CONTROL),
      IN, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_read },
    { CDB16(0x8a, "WRITE(16)",            DPO_FUA, LBA64, LEN32, GROUP, CONTROL),
      OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_write },
    { CDB16(0x8e, "WRITE AND VERIFY(16)", DPO_BYTCHK, LBA64, LEN32, GROUP, CONTROL),
      OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_write_and_verify },
    { CDB16(0x8f, "VERIFY(16)",           BYTCHK, LBA64, LEN32, GROUP, CONTROL),
      OUT(VERIFY), .pr_class = PR_WRITE, .flags = OP_MEDIUM, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_verify },
    { CDB16(0x91, "SYNCHRONIZE CACHE(16)",BITS(0x02, 0xfd), LBA64, LEN32, GROUP, CONTROL),
      NO_DATA, .pr_class = PR_WRITE, .flags = OP_MEDIUM, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_synchronize_cache },
    { CDB16(0x93, "WRITE SAME(16)",       BITS(0x09, 0x00), LBA64, LEN32, GROUP, CONTROL),
      OUT(PATTERN), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_write_same },
    { CDB16(0x9e, "READ CAPACITY(16)",    SA, R64, LEN32, R8, CONTROL), ACTION(0x10),
      IN, .pr_class = PR_ALLOW, .length = { 10, 4 }, .exec = sbc_read_capacity_16 },
    { CDB12(0xa0, "REPORT LUNS",          R8, USED, R24, LEN32, R8, CONTROL),
      IN, .pr_class = PR_ALLOW, .flags = OP_UA_EXEMPT | OP_NO_UNIT, .length = { 6, 4 }, .exec = spc_report_luns },
    { CDB12(0xa3, "REPORT SUPPORTED OPERATION CODES", SA, BITS(0x87, 0x78), USED, LEN16, LEN32, R8, CONTROL), ACTION(0x0c),
      IN, .pr_class = PR_CONFLICT, .length = { 6, 4 }, .exec = spc_report_supported_operation_codes },
    { CDB12(0xa3, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", SA, BITS(0x80, 0x7f), R24, LEN32, R8, CONTROL), ACTION(0x0d),
      IN, .pr_class = PR_CONFLICT, .length = { 6, 4 }, .exec = spc_report_supported_tmfs },
    { CDB12(0xa8, "READ(12)",             DPO_FUA, LBA32, LEN32, GROUP, CONTROL),
      IN, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 6, 4 }, .exec = sbc_read },
    { CDB12(0xaa, "WRITE(12)",            DPO_FUA, LBA32, LEN32, GROUP, CONTROL),
      OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 6, 4 }, .exec = sbc_write },
    { CDB12(0xae, "WRITE AND VERIFY(12)", DPO_BYTCHK, LBA32, LEN32, GROUP, CONTROL),
      OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 6, 4 }, .exec = sbc_write_and_verify },
    { CDB12(0xaf, "VERIFY(12)",           BYTCHK, LBA32, LEN32, GROUP, CONTROL),
      OUT(VERIFY), .pr_class = PR_WRITE, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 6, 4 }, .exec = sbc_verify },
};
/* clang-format on */

const Operation *
optable_rows(guint *ret_n_rows)
{
    *ret_n_rows = G_N_ELEMENTS(rows);
    return rows;
}

void
optable_build_index(guint8 index[256])
{
    G_STATIC_ASSERT(G_N_ELEMENTS(rows) < 255);

    memset(index, 0, 256);
    for (guint i = G_N_ELEMENTS(rows); i > 0; i--)
        index[rows[i - 1].opcode] = (guint8)i;
}

const Operation *
optable_find(const guint8 index[256], const guint8 cdb[SCSI_CDB_MAX], gboolean *ret_known_opcode)
{
    guint first = index[cdb[0]];

    *ret_known_opcode = first != 0;
    if (first == 0)
        return NULL;

    if (!rows[first - 1].has_service_action)
        return &rows[first - 1];

    for (guint i = first - 1; i < G_N_ELEMENTS(rows) && rows[i].opcode == cdb[0]; i++) {
        if (rows[i].service_action == (cdb[1] & 0x1f))
            return &rows[i];
    }

    return NULL;
}

static inline gboolean
has_other_bits(const guint8 *cdb, const guint8 *map)
{
    guint64 c[2], m[2];

    memcpy(c, cdb, sizeof(c));
    memcpy(m, map, sizeof(m));
    return ((c[0] & ~m[0]) | (c[1] & ~m[1])) != 0;
}

gboolean
operation_check_cdb(const Operation *operation, const guint8 cdb[SCSI_CDB_MAX], gboolean lenient,
                    guint16 *ret_byte, gint8 *ret_bit)
{
    const guint8 *map = lenient ? operation->lenient : operation->allowed;

    if (G_LIKELY(!has_other_bits(cdb, map)))
        return TRUE;

    for (guint i = 0; i < SCSI_CDB_MAX; i++) {
        guint refused = cdb[i] & (guint8)~map[i];

        if (refused != 0) {
            *ret_byte = (guint16)i;
            *ret_bit = (gint8)g_bit_nth_msf(refused, -1);
            return FALSE;
        }
    }
    g_assert_not_reached();
}

static guint64
get_field(OperationField field, const guint8 *cdb)
{
    switch (field.size) {
    case 1:
        return cdb[field.offset];
    case 2:
        return get_be16(cdb + field.offset);
    case 3:
        return get_be24(cdb + field.offset) & 0x1fffff; /* the LBA of six-byte CDBs has 21 bits */
    case 4:
        return get_be32(cdb + field.offset);
    case 8:
        return get_be64(cdb + field.offset);
    default:
        return 0;
    }
}

guint64
operation_get_lba(const Operation *operation, const guint8 cdb[SCSI_CDB_MAX])
{
    return get_field(operation->lba, cdb);
}

guint64
operation_get_length(const Operation *operation, const guint8 cdb[SCSI_CDB_MAX])
{
    guint64 length = get_field(operation->length, cdb);

    return length == 0 && (operation->flags & OP_ZERO_IS_256) ? 256 : length;
}
