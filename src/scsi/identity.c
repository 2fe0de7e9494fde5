/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Identity
 *
 * All names of a logical unit come from its stored UUID, unless the
 * administrator gave it those of the disk it was before:
 *
 *   serial number   the UUID in 32 hexadecimal digits
 *   NAA             3h (locally assigned) and 60 bits of SHA-256 of the UUID
 *   T10 vendor ID   the vendor and the UUID as text
 *   UUID            the UUID itself
 *
 * A designator is: code set, association and type, length, then the bytes.
 */

#include "scsi/identity.h"

#include <string.h>

#include "util/bytes.h"

#define DEFAULT_VENDOR  "LUNPORT"
#define DEFAULT_PRODUCT "DISK"
#define DEFAULT_DRIVE   "CD/DVD DRIVE"

enum {
    CODE_SET_BINARY = 1,
    CODE_SET_ASCII = 2,
    CODE_SET_UTF8 = 3,
};

enum {
    ASSOCIATION_UNIT = 0,
    ASSOCIATION_PORT = 1,
    ASSOCIATION_DEVICE = 2,
};

enum {
    TYPE_T10_VENDOR = 1,
    TYPE_NAA = 3,
    TYPE_RELATIVE_PORT = 4,
    TYPE_PORT_GROUP = 5,
    TYPE_SCSI_NAME = 8,
    TYPE_UUID = 10,
};

#define PROTOCOL_ISCSI 5
#define PIV            0x80

#define NAA_LOCALLY_ASSIGNED ((guint64)3 << 60)

static void
copy_padded(guint8 *field, gsize size, const char *text)
{
    gsize length = MIN(strlen(text), size);

    memset(field, ' ', size);
    memcpy(field, text, length);
}

static void
format_hex(const guint8 *bytes, gsize n, char *text)
{
    for (gsize i = 0; i < n; i++)
        (void)g_snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void
format_uuid(const guint8 uuid[16], char text[37])
{
    char hex[33];

    format_hex(uuid, 16, hex);
    (void)g_snprintf(text, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                     hex + 20);
}

/* The 8-byte NAA identifier */
static guint64
make_naa(const LuConfig *config)
{
    guint8 digest[32];
    gsize size = sizeof(digest);
    g_autoptr(GChecksum) checksum = NULL;

    if (config->naa != 0)
        return config->naa;

    checksum = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(checksum, config->uuid, sizeof(config->uuid));
    g_checksum_get_digest(checksum, digest, &size);
    return NAA_LOCALLY_ASSIGNED | get_be64(digest) >> 4;
}

void
lu_format_serial(const LuConfig *config, char *text, gsize size)
{
    char hex[33];

    if (config->serial != NULL) {
        (void)g_strlcpy(text, config->serial, size);
        return;
    }

    format_hex(config->uuid, sizeof(config->uuid), hex);
    (void)g_strlcpy(text, hex, size);
}

void
lu_format_wwn(const LuConfig *config, char *text, gsize size)
{
    char hex[33];

    if (config->naa6[0] != 0) {
        format_hex(config->naa6, sizeof(config->naa6), hex);
        (void)g_snprintf(text, size, "naa.%s", hex);
        return;
    }

    (void)g_snprintf(text, size, "naa.%016" G_GINT64_MODIFIER "x", make_naa(config));
}

/* Returns the bytes written */
static guint16
put_designator(guint8 *p, guint8 code_set, guint8 association, guint8 type, gconstpointer bytes,
               gsize size)
{
    gboolean of_protocol = association != ASSOCIATION_UNIT;

    p[0] = (guint8)((of_protocol ? PROTOCOL_ISCSI << 4 : 0) | code_set);
    p[1] = (guint8)((of_protocol ? PIV : 0) | association << 4 | type);
    p[2] = 0;
    p[3] = (guint8)size;
    memcpy(p + 4, bytes, size);
    return (guint16)(4 + size);
}

static guint16
put_naa(const LuConfig *config, guint8 *p)
{
    guint8 naa[8];

    if (config->naa6[0] != 0)
        return put_designator(p, CODE_SET_BINARY, ASSOCIATION_UNIT, TYPE_NAA, config->naa6,
                              sizeof(config->naa6));

    put_be64(naa, make_naa(config));
    return put_designator(p, CODE_SET_BINARY, ASSOCIATION_UNIT, TYPE_NAA, naa, sizeof(naa));
}

static guint16
put_t10_vendor(const Identity *identity, const LuConfig *config, guint8 *p)
{
    char body[8 + 37];

    memcpy(body, identity->vendor, 8);
    format_uuid(config->uuid, body + 8);
    return put_designator(p, CODE_SET_ASCII, ASSOCIATION_UNIT, TYPE_T10_VENDOR, body, 8 + 36);
}

static guint16
put_uuid(const LuConfig *config, guint8 *p)
{
    guint8 body[18] = { 0x10, 0 }; /* UUID type 1h */

    memcpy(body + 2, config->uuid, 16);
    return put_designator(p, CODE_SET_BINARY, ASSOCIATION_UNIT, TYPE_UUID, body, sizeof(body));
}

static const char *
default_product(const LuConfig *config)
{
    return config->device == LU_CDROM ? DEFAULT_DRIVE : DEFAULT_PRODUCT;
}

void
identity_init(Identity *identity, const LuConfig *config)
{
    guint16 n = 0;

    memset(identity, 0, sizeof(*identity));
    copy_padded(identity->vendor, 8, config->vendor != NULL ? config->vendor : DEFAULT_VENDOR);
    copy_padded(identity->product, 16,
                config->product != NULL ? config->product : default_product(config));
    copy_padded(identity->revision, 4,
                config->revision != NULL ? config->revision : LUNPORT_VERSION);
    lu_format_serial(config, identity->serial, sizeof(identity->serial));

    n += put_naa(config, identity->designators + n);
    n += put_t10_vendor(identity, config, identity->designators + n);
    n += put_uuid(config, identity->designators + n);
    identity->designators_length = n;
}

/* SCSI name strings end with a zero byte and are padded to a multiple of four */
static guint16
put_name(guint8 *p, guint8 association, const char *name)
{
    gsize size = round_up(strlen(name) + 1, 4);
    guint8 padded[256] = { 0 };

    size = MIN(size, 252);
    memcpy(padded, name, MIN(strlen(name), size - 1));
    return put_designator(p, CODE_SET_UTF8, association, TYPE_SCSI_NAME, padded, size);
}

guint16
identity_put_port_name(const char *target_name, guint16 target_port_group, guint8 *buffer)
{
    char name[256];

    (void)g_snprintf(name, sizeof(name), "%s,t,0x%04x", target_name, target_port_group);
    return put_name(buffer, ASSOCIATION_PORT, name);
}

guint16
identity_put_port(const char *target_name, guint16 relative_target_port, guint16 target_port_group,
                  guint8 *buffer)
{
    guint8 body[4] = { 0 };
    guint16 n = 0;

    put_be16(body + 2, relative_target_port);
    n += put_designator(buffer + n, CODE_SET_BINARY, ASSOCIATION_PORT, TYPE_RELATIVE_PORT, body, 4);
    put_be16(body + 2, target_port_group);
    n += put_designator(buffer + n, CODE_SET_BINARY, ASSOCIATION_PORT, TYPE_PORT_GROUP, body, 4);

    n += identity_put_port_name(target_name, target_port_group, buffer + n);
    n += put_name(buffer + n, ASSOCIATION_DEVICE, target_name);
    return n;
}
