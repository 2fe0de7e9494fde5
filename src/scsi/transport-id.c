/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "scsi/transport-id.h"

#include <string.h>

#include "util/bytes.h"
#include "util/name.h"

#define FORMAT_MASK      0xc0
#define FORMAT_INITIATOR 0x00
#define FORMAT_PORT      0x40
#define PROTOCOL_MASK    0x0f
#define PROTOCOL_ISCSI   0x05
#define HEADER_LENGTH    4
#define SEPARATOR        ",i,0x"
#define ISID_DIGITS      12
#define LENGTH_MIN       20

guint32
transport_id_put(const char *initiator_port, guint8 *data)
{
    gsize length = strlen(initiator_port) + 1;
    guint16 padded = (guint16)MAX(round_up(length, 4), LENGTH_MIN);

    memset(data, 0, HEADER_LENGTH + (gsize)padded);
    data[0] = FORMAT_PORT | PROTOCOL_ISCSI;
    put_be16(data + 2, padded);
    memcpy(data + HEADER_LENGTH, initiator_port, length);
    return HEADER_LENGTH + (guint32)padded;
}

/* "NAME" in normal form, NULL when it is none */
static char *
normalize_initiator(const char *text)
{
    g_autofree char *name = name_normalize_iscsi(text);

    return name != NULL && name_check_iscsi(name, NULL) ? g_steal_pointer(&name) : NULL;
}

/* "NAME,i,0xISID" with a name in normal form */
static char *
normalize_port(const char *text)
{
    const char *separator = strstr(text, SEPARATOR);
    const char *isid;
    g_autofree char *plain = NULL;
    g_autofree char *name = NULL;
    g_autofree char *lower = NULL;

    if (separator == NULL)
        return NULL;

    isid = separator + strlen(SEPARATOR);
    if (strlen(isid) != ISID_DIGITS || strspn(isid, "0123456789abcdefABCDEF") != ISID_DIGITS)
        return NULL;

    plain = g_strndup(text, (gsize)(separator - text));
    name = normalize_initiator(plain);
    if (name == NULL)
        return NULL;

    lower = g_ascii_strdown(isid, ISID_DIGITS);
    return g_strconcat(name, SEPARATOR, lower, NULL);
}

gboolean
transport_id_is_initiator(const guint8 *data)
{
    return (data[0] & FORMAT_MASK) == FORMAT_INITIATOR;
}

gboolean
transport_id_is_port_of(const char *port_name, const char *initiator)
{
    gsize length = strlen(initiator);

    return strncmp(port_name, initiator, length) == 0 &&
           g_str_has_prefix(port_name + length, SEPARATOR);
}

static gboolean
is_format(guint8 byte)
{
    guint8 format = byte & FORMAT_MASK;

    return (byte & PROTOCOL_MASK) == PROTOCOL_ISCSI &&
           (format == FORMAT_PORT || format == FORMAT_INITIATOR);
}

guint32
transport_id_parse(const guint8 *data, gsize size, char *ret_name, guint *ret_byte)
{
    char text[PORT_NAME_MAX + 8];
    g_autofree char *name = NULL;
    gsize length;

    *ret_byte = 0;
    if (size < HEADER_LENGTH || !is_format(data[0]))
        return 0;

    *ret_byte = 2;
    length = get_be16(data + 2);
    if (length < LENGTH_MIN || length % 4 != 0 || length > size - HEADER_LENGTH ||
        length >= sizeof(text))
        return 0;

    *ret_byte = HEADER_LENGTH;
    memcpy(text, data + HEADER_LENGTH, length);
    text[length] = '\0';
    if (strlen(text) == length)
        return 0;
    name = transport_id_is_initiator(data) ? normalize_initiator(text) : normalize_port(text);
    if (name == NULL || strlen(name) > PORT_NAME_MAX)
        return 0;

    g_strlcpy(ret_name, name, PORT_NAME_MAX + 1);
    return HEADER_LENGTH + (guint32)length;
}
