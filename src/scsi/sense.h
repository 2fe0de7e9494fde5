/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * Sense data: one table of (key, ASC, ASCQ) by name, two encodings
 */

#define SCSI_SENSE_MAX 96

typedef enum {
    SENSE_KEY_NO_SENSE = 0x0,
    SENSE_KEY_RECOVERED_ERROR = 0x1,
    SENSE_KEY_NOT_READY = 0x2,
    SENSE_KEY_MEDIUM_ERROR = 0x3,
    SENSE_KEY_HARDWARE_ERROR = 0x4,
    SENSE_KEY_ILLEGAL_REQUEST = 0x5,
    SENSE_KEY_UNIT_ATTENTION = 0x6,
    SENSE_KEY_DATA_PROTECT = 0x7,
    SENSE_KEY_BLANK_CHECK = 0x8,
    SENSE_KEY_COPY_ABORTED = 0xa,
    SENSE_KEY_ABORTED_COMMAND = 0xb,
    SENSE_KEY_VOLUME_OVERFLOW = 0xd,
    SENSE_KEY_MISCOMPARE = 0xe,
    SENSE_KEY_COMPLETED = 0xf,
} SenseKey;

/* clang-format off */
typedef enum {
#define SENSE(symbol, key, asc, ascq, text) SENSE_##symbol,
#include "scsi/sense.def"
#undef SENSE
    SENSE_N,
} SenseCode;
/* clang-format on */

typedef struct {
    const char *symbol;
    SenseKey key;
    guint8 asc;
    guint8 ascq;
    const char *text;
} SenseInfo;

const SenseInfo *sense_info(SenseCode code);

/* Where in the CDB or the parameter list the fault lies (SPC, sense key specific field pointer) */
typedef struct {
    gboolean valid;
    gboolean in_cdb; /* else in the parameter list */
    guint16 byte;
    gint8 bit; /* -1: no bit pointer */
} SenseField;

typedef struct {
    SenseCode code;
    SenseField field;
    gboolean has_information;
    guint64 information;
    gboolean has_segment; /* of EXTENDED COPY */
    guint16 segment;
    gboolean has_segment_count; /* likewise: the COMMAND-SPECIFIC INFORMATION field as a whole */
    guint32 segment_count;
    gboolean has_progress;
    guint16 progress;
    gboolean is_deferred; /* of a command that was answered with GOOD before */
} Sense;

/**
 * sense_encode() - fixed (70h, deferred 71h) or descriptor (72h, 73h) format
 *
 * Returns: the length written to @buffer, at most SCSI_SENSE_MAX
 */
guint8 sense_encode(const Sense *sense, gboolean descriptor, guint8 buffer[SCSI_SENSE_MAX]);

/* The sense key of encoded sense data, in either format */
SenseKey sense_key_of(const guint8 *sense);

/* What of the table it is */
SenseCode sense_code_of(const guint8 *sense);

/* The one place where an errno of a backstore becomes sense; @write: of a write or flush */
SenseCode sense_from_errno(int error, gboolean write);
