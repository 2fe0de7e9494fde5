/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Sense data
 *
 * Who fails a command names a row of sense.def and, where it helps, the field
 * at fault and the block or byte concerned. The two formats of SPC are made
 * here and nowhere else: fixed (70h), whose INFORMATION field holds 32 bits,
 * and descriptor (72h), which carries each fact in a descriptor of its own. What
 * befell a command that was answered before has the next response code each.
 *
 * sense_from_errno() is the one place where the errno of a backstore gets a
 * meaning on the wire.
 */

#include "scsi/sense.h"

#include <errno.h>
#include <string.h>

#include "util/bytes.h"

#define RESPONSE_FIXED      0x70
#define RESPONSE_DESCRIPTOR 0x72

#define FIXED_LENGTH             18
#define DESCRIPTOR_HEADER_LENGTH 8

#define VALID_BIT     0x80
#define RESPONSE_MASK 0x7e /* without the bit that says deferred */
#define DEFERRED_BIT  0x01

/* clang-format off */
static const SenseInfo sense_table[] = {
#define SENSE(symbol_, key_, asc_, ascq_, text_) \
    [SENSE_##symbol_] = { #symbol_, SENSE_KEY_##key_, asc_, ascq_, text_ },
#include "scsi/sense.def"
#undef SENSE
};
/* clang-format on */

G_STATIC_ASSERT(G_N_ELEMENTS(sense_table) == SENSE_N);

const SenseInfo *
sense_info(SenseCode code)
{
    g_assert((guint)code < SENSE_N);

    return &sense_table[code];
}

/* The three sense-key specific bytes; FALSE when there is nothing to say */
static gboolean
encode_key_specific(const Sense *sense, guint8 bytes[3])
{
    if (sense->field.valid) {
        bytes[0] = VALID_BIT | (sense->field.in_cdb ? 0x40 : 0);
        if (sense->field.bit >= 0)
            bytes[0] = (guint8)(bytes[0] | 0x08 | sense->field.bit);
        put_be16(bytes + 1, sense->field.byte);
        return TRUE;
    }

    if (sense->has_progress) {
        bytes[0] = VALID_BIT;
        put_be16(bytes + 1, sense->progress);
        return TRUE;
    }

    return FALSE;
}

static guint8
encode_fixed(const Sense *sense, const SenseInfo *info, guint8 *buffer)
{
    memset(buffer, 0, FIXED_LENGTH);
    buffer[0] = RESPONSE_FIXED;
    buffer[2] = (guint8)info->key;

    /* A value that the field cannot hold is left out, not cut */
    if (sense->has_information && sense->information <= G_MAXUINT32) {
        buffer[0] |= VALID_BIT;
        put_be32(buffer + 3, (guint32)sense->information);
    }

    buffer[7] = FIXED_LENGTH - 8;
    if (sense->has_segment)
        put_be16(buffer + 10, sense->segment);
    if (sense->has_segment_count)
        put_be32(buffer + 8, sense->segment_count);
    buffer[12] = info->asc;
    buffer[13] = info->ascq;
    (void)encode_key_specific(sense, buffer + 15);
    return FIXED_LENGTH;
}

static guint8
encode_descriptor(const Sense *sense, const SenseInfo *info, guint8 *buffer)
{
    guint8 length = DESCRIPTOR_HEADER_LENGTH;
    guint8 specific[3] = { 0 };

    memset(buffer, 0, SCSI_SENSE_MAX);
    buffer[0] = RESPONSE_DESCRIPTOR;
    buffer[1] = (guint8)info->key;
    buffer[2] = info->asc;
    buffer[3] = info->ascq;

    if (sense->has_information) {
        guint8 *descriptor = buffer + length;

        descriptor[0] = 0x00;
        descriptor[1] = 0x0a;
        descriptor[2] = VALID_BIT;
        put_be64(descriptor + 4, sense->information);
        length += 12;
    }

    /* The third and fourth byte of the COMMAND-SPECIFIC INFORMATION field */
    if (sense->has_segment) {
        guint8 *descriptor = buffer + length;

        descriptor[0] = 0x01;
        descriptor[1] = 0x0a;
        put_be16(descriptor + 6, sense->segment);
        length += 12;
    }

    if (sense->has_segment_count) {
        guint8 *descriptor = buffer + length;

        descriptor[0] = 0x01;
        descriptor[1] = 0x0a;
        put_be64(descriptor + 4, sense->segment_count);
        length += 12;
    }

    if (encode_key_specific(sense, specific)) {
        guint8 *descriptor = buffer + length;

        descriptor[0] = 0x02;
        descriptor[1] = 0x06;
        memcpy(descriptor + 4, specific, sizeof(specific));
        length += 8;
    }

    buffer[7] = (guint8)(length - DESCRIPTOR_HEADER_LENGTH);
    return length;
}

guint8
sense_encode(const Sense *sense, gboolean descriptor, guint8 buffer[SCSI_SENSE_MAX])
{
    const SenseInfo *info = sense_info(sense->code);
    guint8 length =
        descriptor ? encode_descriptor(sense, info, buffer) : encode_fixed(sense, info, buffer);

    if (sense->is_deferred)
        buffer[0] |= DEFERRED_BIT;
    return length;
}

static gboolean
has_descriptors(const guint8 *sense)
{
    return (sense[0] & RESPONSE_MASK) == RESPONSE_DESCRIPTOR;
}

SenseKey
sense_key_of(const guint8 *sense)
{
    return (SenseKey)((has_descriptors(sense) ? sense[1] : sense[2]) & 0x0f);
}

SenseCode
sense_code_of(const guint8 *sense)
{
    const guint8 *code = sense + (has_descriptors(sense) ? 2 : 12);
    SenseKey key = sense_key_of(sense);

    for (guint i = 0; i < SENSE_N; i++) {
        if (sense_table[i].key == key && sense_table[i].asc == code[0] &&
            sense_table[i].ascq == code[1])
            return (SenseCode)i;
    }
    return SENSE_INTERNAL_TARGET_FAILURE;
}

/* clang-format off */
static const struct {
    int error;
    SenseCode read;  /* SENSE_NONE: nothing is wrong, and it will work soon */
    SenseCode write;
} errors[] = {
    { EIO,       SENSE_READ_ERROR,              SENSE_WRITE_ERROR },
    { ENODATA,   SENSE_READ_ERROR,              SENSE_WRITE_ERROR },
    { EILSEQ,    SENSE_READ_ERROR,              SENSE_WRITE_ERROR },
    { EBADMSG,   SENSE_READ_ERROR,              SENSE_WRITE_ERROR },
    { ENOSPC,    SENSE_SPACE_ALLOCATION_FAILED, SENSE_SPACE_ALLOCATION_FAILED },
    { EDQUOT,    SENSE_SPACE_ALLOCATION_FAILED, SENSE_SPACE_ALLOCATION_FAILED },
    { EFBIG,     SENSE_SPACE_ALLOCATION_FAILED, SENSE_SPACE_ALLOCATION_FAILED },
    { ENODEV,    SENSE_NOT_READY,               SENSE_NOT_READY },
    { ENXIO,     SENSE_NOT_READY,               SENSE_NOT_READY },
    { ENOMEDIUM, SENSE_NOT_READY,               SENSE_NOT_READY },
    { EROFS,     SENSE_INTERNAL_TARGET_FAILURE, SENSE_WRITE_PROTECTED },
    { EPERM,     SENSE_INTERNAL_TARGET_FAILURE, SENSE_WRITE_PROTECTED },
    { ETIMEDOUT, SENSE_COMMUNICATION_TIMEOUT,   SENSE_COMMUNICATION_TIMEOUT },
    { EAGAIN,    SENSE_NONE,                    SENSE_NONE },
    { EBUSY,     SENSE_NONE,                    SENSE_NONE },
    { EINTR,     SENSE_NONE,                    SENSE_NONE },
    { ENOMEM,    SENSE_NONE,                    SENSE_NONE },
};
/* clang-format on */

SenseCode
sense_from_errno(int error, gboolean write)
{
    for (gsize i = 0; i < G_N_ELEMENTS(errors); i++) {
        if (errors[i].error == error)
            return write ? errors[i].write : errors[i].read;
    }
    return SENSE_INTERNAL_TARGET_FAILURE;
}
