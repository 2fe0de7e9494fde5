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
#define LEN24                LEN16, USED
#define LEN32                LEN16, LEN16
#define LBA32                LEN32
#define LBA64                LEN32, LEN32
#define CONTROL              BITS(0x00, 0x3b) /* NACA and the vendor's bits are unsupported */
#define GROUP                BITS(0x00, 0xe0) /* GROUP NUMBER is unsupported */
#define SA                   BITS(0x1f, 0xe0)
#define OLD6(used, reserved) BYTE(used, 0xe0, reserved) /* byte 1 of six-byte CDBs */
#define LBA21                OLD6(0x1f, 0x00), LEN16
#define DPO_FUA              BITS(0x18, 0x03) /* RDPROTECT/WRPROTECT and RARC are unsupported */
#define BYTCHK               BITS(0x16, 0x09) /* VRPROTECT is unsupported */
#define SANITIZE             BITS(0xbf, 0x40) /* IMMED, AUSE, service action */
#define NO_BOUNDARY          BITS(0x00, 0x00), BITS(0x00, 0x00) /* ATOMIC BOUNDARY is unsupported */
#define IGNORED_GROUP        BYTE(0x00, 0x1f, 0xe0)
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
#define DISK         .devices = ON_DISK
#define CDROM        .devices = ON_CDROM
#define ANY          .devices = ON_DISK | ON_CDROM

/* clang-format off */
static const Operation rows[] = {
    { CDB6 (0x00, "TEST UNIT READY",      OLD6(0x00, 0x1f), R24, CONTROL),
      ANY, NO_DATA, .pr_class = PR_STATUS, .flags = OP_WELL_KNOWN | OP_READY, .exec = spc_test_unit_ready },
    { CDB6 (0x03, "REQUEST SENSE",        OLD6(0x01, 0x1e), R16, LEN8, CONTROL),
      ANY, IN, .pr_class = PR_ALLOW, .alua_class = ALUA_CLASS_ALWAYS, .flags = OP_UA_EXEMPT | OP_NO_UNIT | OP_ERASE_EXEMPT, .length = { 4, 1 }, .exec = spc_request_sense },
    { CDB6 (0x04, "FORMAT UNIT",          BITS(0x3f, 0x00), R8, R16, CONTROL), /* FMTPINFO is unsupported */
      DISK, OUT(FORMAT), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_ERASES, .exec = sbc_format_unit },
    { CDB6 (0x08, "READ(6)",              LBA21, LEN8, CONTROL),
      ANY, IN, .pr_class = PR_READ, .flags = OP_MEDIUM | OP_ZERO_IS_256, .lba = { 1, 3 }, .length = { 4, 1 }, .exec = sbc_read },
    { CDB6 (0x0a, "WRITE(6)",             LBA21, LEN8, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_ZERO_IS_256, .lba = { 1, 3 }, .length = { 4, 1 }, .exec = sbc_write },
    { CDB6 (0x12, "INQUIRY",              OLD6(0x01, 0x1c), PAGE, LEN16, CONTROL),
      ANY, IN, .pr_class = PR_ALLOW, .alua_class = ALUA_CLASS_ALWAYS, .flags = OP_UA_EXEMPT | OP_NO_UNIT | OP_ERASE_EXEMPT, .length = { 3, 2 }, .exec = spc_inquiry },
    { CDB6 (0x15, "MODE SELECT(6)",       OLD6(0x11, 0x0e), R16, LEN8, CONTROL),
      ANY, OUT(BYTES), .pr_class = PR_CONFLICT, .alua_class = ALUA_CLASS_STANDBY, .length = { 4, 1 }, .exec = mode_select },
    { CDB6 (0x16, "RESERVE(6)",           OLD6(0x00, 0x1f), IGNORED, R16, CONTROL),
      ANY, NO_DATA, .pr_class = PR_OWN, .exec = spc_reserve },
    { CDB6 (0x17, "RELEASE(6)",           OLD6(0x00, 0x1f), IGNORED, R16, CONTROL),
      ANY, NO_DATA, .pr_class = PR_OWN, .exec = spc_release },
    { CDB6 (0x1a, "MODE SENSE(6)",        OLD6(0x08, 0x17), PAGE, SUBPAGE, LEN8, CONTROL),
      ANY, IN, .pr_class = PR_READ, .alua_class = ALUA_CLASS_STANDBY, .length = { 4, 1 }, .exec = mode_sense },
    { CDB6 (0x1b, "START STOP UNIT",      OLD6(0x01, 0x1e), R8, BITS(0x0f, 0xf0), BITS(0xf7, 0x08), CONTROL),
      ANY, NO_DATA, .pr_class = PR_CONFLICT, .exec = sbc_start_stop_unit },
    { CDB6 (0x1c, "RECEIVE DIAGNOSTIC RESULTS", OLD6(0x01, 0x1e), PAGE, LEN16, CONTROL),
      ANY, IN, .pr_class = PR_READ, .alua_class = ALUA_CLASS_STANDBY, .length = { 3, 2 }, .exec = spc_receive_diagnostic_results },
    { CDB6 (0x1d, "SEND DIAGNOSTIC",      BITS(0x17, 0x08), R8, LEN16, CONTROL), /* other self-tests are unsupported */
      ANY, OUT(BYTES), .pr_class = PR_CONFLICT, .alua_class = ALUA_CLASS_STANDBY, .flags = OP_READY, .length = { 3, 2 }, .exec = spc_send_diagnostic },
    { CDB6 (0x1e, "PREVENT ALLOW MEDIUM REMOVAL", OLD6(0x00, 0x1f), R16, BITS(0x01, 0xfc), CONTROL),
      ANY, NO_DATA, .pr_class = PR_CONFLICT, .flags = OP_REMOVABLE, .exec = sbc_prevent_allow },
    { CDB10(0x25, "READ CAPACITY(10)",    R8, R32, R16, R8, CONTROL),
      ANY, IN, .pr_class = PR_ALLOW, .alua_class = ALUA_CLASS_STANDBY, .flags = OP_READY, .exec = sbc_read_capacity_10 },
    { CDB10(0x28, "READ(10)",             DPO_FUA, LBA32, GROUP, LEN16, CONTROL),
      ANY, IN, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_read },
    { CDB10(0x2a, "WRITE(10)",            DPO_FUA, LBA32, GROUP, LEN16, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_write },
    { CDB10(0x2e, "WRITE AND VERIFY(10)", DPO_BYTCHK, LBA32, GROUP, LEN16, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_write_and_verify },
    { CDB10(0x2f, "VERIFY(10)",           BYTCHK, LBA32, GROUP, LEN16, CONTROL),
      DISK, OUT(VERIFY), .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_verify },
    { CDB10(0x34, "PRE-FETCH(10)",        BITS(0x02, 0xfd), LBA32, IGNORED_GROUP, LEN16, CONTROL),
      DISK, NO_DATA, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_pre_fetch },
    { CDB10(0x35, "SYNCHRONIZE CACHE(10)",BITS(0x02, 0xfd), LBA32, GROUP, LEN16, CONTROL),
      DISK, NO_DATA, .pr_class = PR_WRITE, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_synchronize_cache },
    { CDB10(0x37, "READ DEFECT DATA(10)", R8, BITS(0x1f, 0xe0), R32, LEN16, CONTROL),
      DISK, IN, .pr_class = PR_READ, .flags = OP_READY | OP_MEDIUM, .length = { 7, 2 }, .exec = sbc_read_defect_data_10 },
    { CDB10(0x3b, "WRITE BUFFER",         BITS(0x1f, 0x00), USED, LEN24, LEN24, CONTROL),
      DISK, OUT(BYTES), .pr_class = PR_CONFLICT, .alua_class = ALUA_CLASS_UNAVAILABLE, .length = { 6, 3 }, .exec = spc_write_buffer },
    { CDB10(0x3c, "READ BUFFER(10)",      BITS(0x1f, 0x00), USED, LEN24, LEN24, CONTROL),
      DISK, IN, .pr_class = PR_READ, .alua_class = ALUA_CLASS_UNAVAILABLE, .length = { 6, 3 }, .exec = spc_read_buffer },
    { CDB10(0x41, "WRITE SAME(10)",       BITS(0x08, 0x01), LBA32, GROUP, LEN16, CONTROL),
      DISK, OUT(PATTERN), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 7, 2 }, .exec = sbc_write_same },
    { CDB10(0x42, "UNMAP",                BITS(0x00, 0xfe), R32, GROUP, LEN16, CONTROL),
      DISK, OUT(BYTES), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_NEEDS_UNMAP, .length = { 7, 2 }, .exec = sbc_unmap },
    { CDB10(0x43, "READ TOC/PMA/ATIP",    BITS(0x02, 0xfd), BITS(0x0f, 0xf0), R24, USED, LEN16, BITS(0xc0, 0x3b)), /* the format may be where SFF 8020 had it */
      CDROM, IN, .pr_class = PR_READ, .flags = OP_READY, .length = { 7, 2 }, .exec = mmc_read_toc },
    { CDB10(0x46, "GET CONFIGURATION",    BITS(0x03, 0xfc), LEN16, R24, LEN16, CONTROL),
      CDROM, IN, .pr_class = PR_ALLOW, .flags = OP_UA_EXEMPT, .length = { 7, 2 }, .exec = mmc_get_configuration },
    { CDB10(0x48, "SANITIZE, OVERWRITE", SANITIZE, R8, R32, LEN16, CONTROL), ACTION(0x01),
      DISK, OUT(BYTES), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_ERASES, .length = { 7, 2 }, .exec = sbc_sanitize_overwrite },
    { CDB10(0x48, "SANITIZE, BLOCK ERASE", SANITIZE, R8, R32, LEN16, CONTROL), ACTION(0x02),
      DISK, NO_DATA, .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_ERASES, .exec = sbc_sanitize_block_erase },
    { CDB10(0x48, "SANITIZE, CRYPTOGRAPHIC ERASE", SANITIZE, R8, R32, LEN16, CONTROL), ACTION(0x03),
      DISK, NO_DATA, .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_ERASES, .exec = sbc_sanitize_cryptographic_erase },
    { CDB10(0x48, "SANITIZE, EXIT FAILURE MODE", SANITIZE, R8, R32, LEN16, CONTROL), ACTION(0x1f),
      DISK, NO_DATA, .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES | OP_ERASES, .exec = sbc_sanitize_exit_failure_mode },
    { CDB10(0x4a, "GET EVENT STATUS NOTIFICATION", BITS(0x01, 0xfe), R16, USED, R16, LEN16, CONTROL),
      CDROM, IN, .pr_class = PR_ALLOW, .flags = OP_UA_EXEMPT, .length = { 7, 2 }, .exec = mmc_get_event_status },
    { CDB10(0x4c, "LOG SELECT",           BITS(0x02, 0xfc), PAGE, SUBPAGE, R24, LEN16, CONTROL), /* SP is unsupported */
      DISK, OUT(BYTES), .pr_class = PR_CONFLICT, .alua_class = ALUA_CLASS_STANDBY, .length = { 7, 2 }, .exec = log_select },
    { CDB10(0x4d, "LOG SENSE",            BITS(0x00, 0xfe), PAGE, SUBPAGE, R8, LEN16, LEN16, CONTROL), /* SP is unsupported */
      DISK, IN, .pr_class = PR_ALLOW, .alua_class = ALUA_CLASS_STANDBY, .length = { 7, 2 }, .exec = log_sense },
    { CDB10(0x51, "READ DISC INFORMATION", BITS(0x07, 0xf8), R32, R8, LEN16, CONTROL),
      CDROM, IN, .pr_class = PR_READ, .flags = OP_READY, .length = { 7, 2 }, .exec = mmc_read_disc_information },
    { CDB10(0x52, "READ TRACK INFORMATION", BITS(0x03, 0xf8), LEN32, R8, LEN16, CONTROL), /* OPEN is unsupported */
      CDROM, IN, .pr_class = PR_READ, .flags = OP_READY, .length = { 7, 2 }, .exec = mmc_read_track_information },
    { CDB10(0x55, "MODE SELECT(10)",      BITS(0x11, 0xee), R8, R32, LEN16, CONTROL),
      ANY, OUT(BYTES), .pr_class = PR_CONFLICT, .alua_class = ALUA_CLASS_STANDBY, .length = { 7, 2 }, .exec = mode_select },
    { CDB10(0x56, "RESERVE(10)",          BITS(0x00, 0xff), IGNORED, R32, R16, CONTROL),
      ANY, NO_DATA, .pr_class = PR_OWN, .exec = spc_reserve },
    { CDB10(0x57, "RELEASE(10)",          BITS(0x00, 0xff), IGNORED, R32, R16, CONTROL),
      ANY, NO_DATA, .pr_class = PR_OWN, .exec = spc_release },
    { CDB10(0x5a, "MODE SENSE(10)",       BITS(0x18, 0xe7), PAGE, SUBPAGE, R24, LEN16, CONTROL),
      ANY, IN, .pr_class = PR_READ, .alua_class = ALUA_CLASS_STANDBY, .length = { 7, 2 }, .exec = mode_sense },
    { CDB10(0x5e, "PERSISTENT RESERVE IN, READ KEYS", SA, R32, R8, LEN16, CONTROL), ACTION(0x00),
      ANY, IN, .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 7, 2 }, .exec = pr_in_read_keys },
    { CDB10(0x5e, "PERSISTENT RESERVE IN, READ RESERVATION", SA, R32, R8, LEN16, CONTROL), ACTION(0x01),
      ANY, IN, .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 7, 2 }, .exec = pr_in_read_reservation },
    { CDB10(0x5e, "PERSISTENT RESERVE IN, REPORT CAPABILITIES", SA, R32, R8, LEN16, CONTROL), ACTION(0x02),
      ANY, IN, .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 7, 2 }, .exec = pr_in_report_capabilities },
    { CDB10(0x5e, "PERSISTENT RESERVE IN, READ FULL STATUS", SA, R32, R8, LEN16, CONTROL), ACTION(0x03),
      ANY, IN, .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 7, 2 }, .exec = pr_in_read_full_status },
    { CDB10(0x5f, "PERSISTENT RESERVE OUT, REGISTER", SA, USED, R16, LEN32, CONTROL), ACTION(0x00),
      ANY, OUT(BYTES), .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 5, 4 }, .exec = pr_out },
    { CDB10(0x5f, "PERSISTENT RESERVE OUT, RESERVE", SA, USED, R16, LEN32, CONTROL), ACTION(0x01),
      ANY, OUT(BYTES), .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 5, 4 }, .exec = pr_out },
    { CDB10(0x5f, "PERSISTENT RESERVE OUT, RELEASE", SA, USED, R16, LEN32, CONTROL), ACTION(0x02),
      ANY, OUT(BYTES), .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 5, 4 }, .exec = pr_out },
    { CDB10(0x5f, "PERSISTENT RESERVE OUT, CLEAR", SA, USED, R16, LEN32, CONTROL), ACTION(0x03),
      ANY, OUT(BYTES), .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 5, 4 }, .exec = pr_out },
    { CDB10(0x5f, "PERSISTENT RESERVE OUT, PREEMPT", SA, USED, R16, LEN32, CONTROL), ACTION(0x04),
      ANY, OUT(BYTES), .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 5, 4 }, .exec = pr_out },
    { CDB10(0x5f, "PERSISTENT RESERVE OUT, PREEMPT AND ABORT", SA, USED, R16, LEN32, CONTROL), ACTION(0x05),
      ANY, OUT(BYTES), .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 5, 4 }, .exec = pr_out },
    { CDB10(0x5f, "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY", SA, USED, R16, LEN32, CONTROL), ACTION(0x06),
      ANY, OUT(BYTES), .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 5, 4 }, .exec = pr_out },
    { CDB10(0x5f, "PERSISTENT RESERVE OUT, REGISTER AND MOVE", SA, USED, R16, LEN32, CONTROL), ACTION(0x07),
      ANY, OUT(BYTES), .pr_class = PR_OWN, .alua_class = ALUA_CLASS_STANDBY, .length = { 5, 4 }, .exec = pr_out },
    { CDB16(0x83, "EXTENDED COPY(LID1)",  SA, R64, LEN32, R8, CONTROL), ACTION(0x00),
      DISK, OUT(BYTES), .pr_class = PR_CONFLICT, .length = { 10, 4 }, .exec = copy_extended_copy },
    { CDB16(0x83, "EXTENDED COPY(LID4)",  SA, R64, LEN32, R8, CONTROL), ACTION(0x01),
      DISK, OUT(BYTES), .pr_class = PR_CONFLICT, .length = { 10, 4 }, .exec = copy_extended_copy },
    { CDB16(0x83, "POPULATE TOKEN",       SA, R32, LEN32, LEN32, GROUP, CONTROL), ACTION(0x10),
      DISK, OUT(BYTES), .pr_class = PR_READ, .flags = OP_READY, .length = { 10, 4 }, .exec = rod_populate_token },
    { CDB16(0x83, "WRITE USING TOKEN",    SA, R32, LEN32, LEN32, GROUP, CONTROL), ACTION(0x11),
      DISK, OUT(BYTES), .pr_class = PR_WRITE, .flags = OP_READY, .length = { 10, 4 }, .exec = rod_write_using_token },
    { CDB16(0x83, "COPY OPERATION ABORT", SA, LEN32, R64, R8, CONTROL), ACTION(0x1c),
      DISK, NO_DATA, .pr_class = PR_CONFLICT, .exec = copy_operation_abort },
    { CDB16(0x84, "RECEIVE COPY STATUS(LID1)", SA, USED, R32, R16, R8, LEN32, R8, CONTROL), ACTION(0x00),
      DISK, IN, .pr_class = PR_STATUS, .length = { 10, 4 }, .exec = copy_status_lid1 },
    { CDB16(0x84, "RECEIVE COPY OPERATING PARAMETERS", SA, IGNORED, R32, R16, R8, LEN32, R8, CONTROL), ACTION(0x03),
      DISK, IN, .pr_class = PR_STATUS, .length = { 10, 4 }, .exec = copy_operating_parameters },
    { CDB16(0x84, "RECEIVE COPY FAILURE DETAILS(LID1)", SA, USED, R32, R16, R8, LEN32, R8, CONTROL), ACTION(0x04),
      DISK, IN, .pr_class = PR_STATUS, .length = { 10, 4 }, .exec = copy_failed_segment_details },
    { CDB16(0x84, "RECEIVE COPY STATUS(LID4)", SA, LEN32, R32, LEN32, R8, CONTROL), ACTION(0x05),
      DISK, IN, .pr_class = PR_STATUS, .length = { 10, 4 }, .exec = copy_status_lid4 },
    { CDB16(0x84, "RECEIVE ROD TOKEN INFORMATION", SA, LEN32, R32, LEN32, R8, CONTROL), ACTION(0x07),
      DISK, IN, .pr_class = PR_STATUS, .length = { 10, 4 }, .exec = rod_receive_information },
    { CDB16(0x88, "READ(16)",             DPO_FUA, LBA64, LEN32, GROUP, CONTROL),
      DISK, IN, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_read },
    { CDB16(0x89, "COMPARE AND WRITE",    DPO_FUA, LBA64, R24, LEN8, GROUP, CONTROL),
      DISK, OUT(DOUBLE), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 13, 1 }, .exec = sbc_compare_and_write },
    { CDB16(0x8a, "WRITE(16)",            DPO_FUA, LBA64, LEN32, GROUP, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_write },
    { CDB16(0x8b, "ORWRITE(16)",          DPO_FUA, LBA64, LEN32, GROUP, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_or_write },
    { CDB16(0x8e, "WRITE AND VERIFY(16)", DPO_BYTCHK, LBA64, LEN32, GROUP, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_write_and_verify },
    { CDB16(0x8f, "VERIFY(16)",           BYTCHK, LBA64, LEN32, GROUP, CONTROL),
      DISK, OUT(VERIFY), .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_verify },
    { CDB16(0x90, "PRE-FETCH(16)",        BITS(0x02, 0xfd), LBA64, LEN32, IGNORED_GROUP, CONTROL),
      DISK, NO_DATA, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_pre_fetch },
    { CDB16(0x91, "SYNCHRONIZE CACHE(16)",BITS(0x02, 0xfd), LBA64, LEN32, GROUP, CONTROL),
      DISK, NO_DATA, .pr_class = PR_WRITE, .flags = OP_MEDIUM, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_synchronize_cache },
    { CDB16(0x93, "WRITE SAME(16)",       BITS(0x09, 0x00), LBA64, LEN32, GROUP, CONTROL),
      DISK, OUT(PATTERN), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 10, 4 }, .exec = sbc_write_same },
    { CDB16(0x9c, "WRITE ATOMIC(16)",     DPO_FUA, LBA64, NO_BOUNDARY, LEN16, GROUP, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 8 }, .length = { 12, 2 }, .exec = sbc_write_atomic },
    { CDB16(0x9e, "READ CAPACITY(16)",    SA, R64, LEN32, R8, CONTROL), ACTION(0x10),
      DISK, IN, .pr_class = PR_ALLOW, .alua_class = ALUA_CLASS_STANDBY, .flags = OP_READY, .length = { 10, 4 }, .exec = sbc_read_capacity_16 },
    { CDB16(0x9e, "GET LBA STATUS",       SA, LBA64, LEN32, R8, CONTROL), ACTION(0x12),
      DISK, IN, .pr_class = PR_READ, .flags = OP_READY | OP_MEDIUM, .length = { 10, 4 }, .exec = sbc_get_lba_status },
    { CDB12(0xa0, "REPORT LUNS",          R8, USED, R24, LEN32, R8, CONTROL),
      ANY, IN, .pr_class = PR_ALLOW, .alua_class = ALUA_CLASS_ALWAYS, .flags = OP_UA_EXEMPT | OP_NO_UNIT | OP_ERASE_EXEMPT, .length = { 6, 4 }, .exec = spc_report_luns },
    { CDB12(0xa3, "REPORT IDENTIFYING INFORMATION", SA, R32, LEN32, BITS(0xfe, 0x01), CONTROL), ACTION(0x05),
      DISK, IN, .pr_class = PR_ALLOW, .length = { 6, 4 }, .exec = spc_report_identifying_information },
    { CDB12(0xa3, "REPORT TARGET PORT GROUPS", USED, R32, LEN32, R8, CONTROL), ACTION(0x0a),
      ANY, IN, .pr_class = PR_ALLOW, .alua_class = ALUA_CLASS_ALWAYS, .length = { 6, 4 }, .exec = spc_report_target_port_groups },
    { CDB12(0xa3, "REPORT SUPPORTED OPERATION CODES", SA, BITS(0x87, 0x78), USED, LEN16, LEN32, R8, CONTROL), ACTION(0x0c),
      ANY, IN, .pr_class = PR_READ, .alua_class = ALUA_CLASS_STANDBY, .flags = OP_ERASE_EXEMPT, .length = { 6, 4 }, .exec = spc_report_supported_operation_codes },
    { CDB12(0xa3, "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", SA, BITS(0x80, 0x7f), R24, LEN32, R8, CONTROL), ACTION(0x0d),
      ANY, IN, .pr_class = PR_READ, .alua_class = ALUA_CLASS_STANDBY, .flags = OP_ERASE_EXEMPT, .length = { 6, 4 }, .exec = spc_report_supported_tmfs },
    { CDB12(0xa3, "REPORT TIMESTAMP",     SA, R32, LEN32, R8, CONTROL), ACTION(0x0f),
      DISK, IN, .pr_class = PR_ALLOW, .length = { 6, 4 }, .exec = spc_report_timestamp },
    { CDB12(0xa4, "SET IDENTIFYING INFORMATION", SA, R32, LEN32, BITS(0xfe, 0x01), CONTROL), ACTION(0x06),
      DISK, OUT(BYTES), .pr_class = PR_CONFLICT, .length = { 6, 4 }, .exec = spc_set_identifying_information },
    { CDB12(0xa4, "SET TARGET PORT GROUPS", SA, R32, LEN32, R8, CONTROL), ACTION(0x0a),
      ANY, OUT(BYTES), .pr_class = PR_CONFLICT, .alua_class = ALUA_CLASS_UNAVAILABLE, .length = { 6, 4 }, .exec = spc_set_target_port_groups },
    { CDB12(0xa4, "SET TIMESTAMP",        SA, R32, LEN32, R8, CONTROL), ACTION(0x0f),
      DISK, OUT(BYTES), .pr_class = PR_CONFLICT, .length = { 6, 4 }, .exec = spc_set_timestamp },
    { CDB12(0xa8, "READ(12)",             DPO_FUA, LBA32, LEN32, GROUP, CONTROL),
      ANY, IN, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 6, 4 }, .exec = sbc_read },
    { CDB12(0xaa, "WRITE(12)",            DPO_FUA, LBA32, LEN32, GROUP, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 6, 4 }, .exec = sbc_write },
    { CDB12(0xac, "GET PERFORMANCE",      BITS(0x1f, 0xe0), LEN32, R16, USED, USED, USED, CONTROL),
      CDROM, IN, .pr_class = PR_READ, .flags = OP_READY, .length = { 8, 2 }, .exec = mmc_get_performance },
    { CDB12(0xad, "READ DISC STRUCTURE",  BITS(0x0f, 0xf0), LEN32, USED, USED, LEN16, BITS(0xc0, 0x3f), CONTROL),
      CDROM, IN, .pr_class = PR_READ, .flags = OP_READY, .length = { 8, 2 }, .exec = mmc_read_disc_structure },
    { CDB12(0xae, "WRITE AND VERIFY(12)", DPO_BYTCHK, LBA32, LEN32, GROUP, CONTROL),
      DISK, OUT(BLOCKS), .pr_class = PR_WRITE, .flags = OP_MEDIUM | OP_WRITES, .lba = { 2, 4 }, .length = { 6, 4 }, .exec = sbc_write_and_verify },
    { CDB12(0xaf, "VERIFY(12)",           BYTCHK, LBA32, LEN32, GROUP, CONTROL),
      DISK, OUT(VERIFY), .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 6, 4 }, .exec = sbc_verify },
    { CDB12(0xb7, "READ DEFECT DATA(12)", BITS(0x1f, 0xe0), R32, LEN32, R8, CONTROL),
      DISK, IN, .pr_class = PR_READ, .flags = OP_READY | OP_MEDIUM, .length = { 6, 4 }, .exec = sbc_read_defect_data_12 },
    { CDB12(0xbb, "SET CD SPEED",         BITS(0x03, 0xfc), LEN16, LEN16, R32, R8, CONTROL),
      CDROM, NO_DATA, .pr_class = PR_CONFLICT, .exec = mmc_set_cd_speed },
    { CDB12(0xbd, "MECHANISM STATUS",     R8, R32, R16, LEN16, R8, CONTROL),
      CDROM, IN, .pr_class = PR_ALLOW, .length = { 8, 2 }, .exec = mmc_mechanism_status },
    { CDB12(0xbe, "READ CD",              BITS(0x1c, 0xe1), LBA32, LEN24, BITS(0xfe, 0x01), BITS(0x07, 0xf8), CONTROL), /* DAP is unsupported */
      CDROM, IN, .pr_class = PR_READ, .flags = OP_MEDIUM, .lba = { 2, 4 }, .length = { 6, 3 }, .exec = mmc_read_cd },
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

/* How fields that are not supported lie in a byte: part of a longer one or all of it, protection
 * information and the like, what belongs to vendors, a group number. Others have one bit. */
static const guint8 field_masks[] = { 0xff, 0xe0, 0xc0, 0x1f };

/*
 * Where the field begins to which the first of the @refused bits of a byte belongs: a pointer names the
 * left-most bit of the left-most byte of a field (SPC). A reserved byte is a field of its own; of bytes
 * that are reserved in part it is the bit itself, as the table does not tell reserved bits from
 * obsolete ones.
 */
static void
find_field(const Operation *operation, guint byte, guint8 refused, guint16 *ret_byte,
           gint8 *ret_bit)
{
    const guint8 *lenient = operation->lenient;
    guint8 unsupported = (guint8)~lenient[byte];
    guint bit = 7;

    while (bit > 0 && (refused & 1U << bit) == 0)
        bit--;
    if (operation->allowed[byte] == 0 && unsupported == 0)
        bit = 7;
    for (gsize i = 0; i < G_N_ELEMENTS(field_masks); i++) {
        if (field_masks[i] & 1U << bit && (unsupported & field_masks[i]) == field_masks[i]) {
            bit = (guint)g_bit_nth_msf(field_masks[i], -1);
            break;
        }
    }
    while (lenient[byte] == 0 && lenient[byte - 1] == 0)
        byte--;

    *ret_byte = (guint16)byte;
    *ret_bit = (gint8)bit;
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
            find_field(operation, i, (guint8)refused, ret_byte, ret_bit);
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
        return get_be24(cdb + field.offset);
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
    guint64 lba = get_field(operation->lba, cdb);

    return operation->cdb_length == 6 ? lba & 0x1fffff : lba; /* six-byte CDBs have 21 bits */
}

guint64
operation_get_length(const Operation *operation, const guint8 cdb[SCSI_CDB_MAX])
{
    guint64 length = get_field(operation->length, cdb);

    return length == 0 && (operation->flags & OP_ZERO_IS_256) ? 256 : length;
}
