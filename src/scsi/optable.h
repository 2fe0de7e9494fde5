/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "scsi/command.h"
#include "scsi/lu.h"

/*
 * The operation table: one row per (operation code, service action)
 *
 * Dispatch, the check of the CDB, the gates, REPORT SUPPORTED OPERATION CODES,
 * docs/scsi-commands.md and the tests read it. What is not in it does not exist.
 */

typedef enum {
    OPERATION_NO_DATA,
    OPERATION_IN,
    OPERATION_OUT,
} OperationDirection;

/* What a reservation of another nexus does to the operation; zero is the strictest */
typedef enum {
    PR_CONFLICT, /* refused to everybody but the holder */
    PR_WRITE,    /* refused under Write Exclusive and Exclusive Access */
    PR_READ,     /* refused under Exclusive Access, allowed under Write Exclusive */
    PR_STATUS,   /* allowed under every persistent reservation, refused under RESERVE */
    PR_OWN,      /* decides itself */
    PR_ALLOW,    /* never refused */
} PrClass;

/* In which states of its target port group the operation runs; zero is the strictest */
typedef enum {
    ALUA_CLASS_ACTIVE,      /* active/optimized and active/non-optimized */
    ALUA_CLASS_STANDBY,     /* and standby */
    ALUA_CLASS_UNAVAILABLE, /* and unavailable and offline */
    ALUA_CLASS_ALWAYS,      /* and transitioning */
} AluaClass;

typedef enum {
    OP_MEDIUM = 1 << 0,    /* needs a ready medium and an LBA range inside it */
    OP_WRITES = 1 << 1,    /* refused when write protected */
    OP_UA_EXEMPT = 1 << 2, /* runs in spite of a pending unit attention */
    OP_NO_UNIT =
        1 << 3, /* runs on a LUN without a logical unit, and on the REPORT LUNS well-known one */
    OP_WELL_KNOWN = 1 << 4,    /* runs on the REPORT LUNS well-known logical unit */
    OP_NEEDS_UNMAP = 1 << 5,   /* only where the unit is thin provisioned */
    OP_ZERO_IS_256 = 1 << 6,   /* a transfer length of zero is 256 blocks */
    OP_READY = 1 << 7,         /* needs a medium in the unit, as all OP_MEDIUM do */
    OP_REMOVABLE = 1 << 8,     /* only where the medium can be removed */
    OP_ERASE_EXEMPT = 1 << 12, /* runs while the medium is erased as a whole */
    OP_ERASES = 1 << 13,       /* runs after that failed, to try again */
} OperationFlags;

/* On which units the operation exists */
typedef enum {
    ON_DISK = 1 << LU_DISK,
    ON_CDROM = 1 << LU_CDROM,
} OperationDevices;

/* How many bytes of Data-Out the CDB asks for, in terms of the length field */
typedef enum {
    OPERATION_OUT_NONE,
    OPERATION_OUT_BYTES,   /* a parameter list length */
    OPERATION_OUT_BLOCKS,  /* a transfer length */
    OPERATION_OUT_PATTERN, /* WRITE SAME: one block, none with NDOB */
    OPERATION_OUT_DOUBLE,  /* COMPARE AND WRITE: a transfer length, twice */
    OPERATION_OUT_FORMAT,  /* FORMAT UNIT: a parameter list, whose length the CDB does not tell */
    OPERATION_OUT_VERIFY,  /* by BYTCHK: none, all blocks, one block */
} OperationOut;

typedef struct {
    guint8 offset; /* in the CDB */
    guint8 size;   /* 0: the operation has no such field */
} OperationField;

struct Operation {
    guint8 opcode;
    guint8 cdb_length;
    gboolean has_service_action;
    guint8 service_action;
    OperationDirection direction;
    OperationOut out;
    PrClass pr_class;
    AluaClass alua_class;
    OperationFlags flags;
    OperationDevices devices;
    OperationField lba;
    OperationField length; /* blocks of OP_MEDIUM operations, else bytes */
    void (*exec)(ScsiCommand *command);
    const char *name;
    guint8 usage[SCSI_CDB_MAX];   /* bits that are evaluated, as RSOC reports them */
    guint8 allowed[SCSI_CDB_MAX]; /* these and bits that are ignored by tradition */
    guint8 lenient[SCSI_CDB_MAX]; /* these and reserved bits */
};

const Operation *optable_rows(guint *ret_n_rows);

/* Index of the first row of each operation code plus one, 0 where there is none */
void optable_build_index(guint8 index[256]);

/**
 * optable_find() - the row of a CDB
 *
 * Returns: NULL when the operation code or its service action is unknown; @ret_known_opcode then
 *     says whether the operation code alone is known.
 */
const Operation *optable_find(const guint8 index[256], const guint8 cdb[SCSI_CDB_MAX],
                              gboolean *ret_known_opcode);

/**
 * operation_check_cdb() - judge all bits of a CDB by the usage map
 *
 * Returns: TRUE, or FALSE with the first byte and bit of the first field with a refused bit
 */
gboolean operation_check_cdb(const Operation *operation, const guint8 cdb[SCSI_CDB_MAX],
                             gboolean lenient, guint16 *ret_byte, gint8 *ret_bit);

guint64 operation_get_lba(const Operation *operation, const guint8 cdb[SCSI_CDB_MAX]);
guint64 operation_get_length(const Operation *operation, const guint8 cdb[SCSI_CDB_MAX]);
